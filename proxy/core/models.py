"""What clients are told of a model. Pure."""

from typing import NamedTuple


class ModelCard(NamedTuple):
    """One entry of the list of models; ``created`` in Unix seconds."""

    id: str
    created: int
    owned_by: str
