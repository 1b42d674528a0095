"""The list of models as OpenAI has it, and an entry of it. Shapes: …/docs/api-reference/models."""

from collections.abc import Iterable
from typing import Any

import orjson

from proxy.core.models import ModelCard


def model_json(card: ModelCard) -> dict[str, Any]:
    """OpenAI's ``model`` object."""
    return {"id": card.id, "object": "model", "created": card.created, "owned_by": card.owned_by}


def model_list_body(cards: Iterable[ModelCard]) -> bytes:
    """The answer to ``GET /v1/models``."""
    return orjson.dumps({"object": "list", "data": [model_json(card) for card in cards]})
