"""What clients are told of a model. Pure."""

from typing import NamedTuple


class ModelCard(NamedTuple):
    """One entry of the list of models.

    Attributes:
        created: in Unix seconds.
        shown_as: the name that people read, where it is another than the id.
        takes_tools: whether Poe lists that it calls tools.
        context_tokens, output_tokens: most tokens of prompt and answer together, and of an answer; 0 = not known.
    """

    id: str
    created: int
    owned_by: str
    shown_as: str = ""
    takes_tools: bool = False
    context_tokens: int = 0
    output_tokens: int = 0
