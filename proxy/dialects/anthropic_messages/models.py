"""The list of models as Anthropic has it, and an entry of it. Pure.

Shapes: https://docs.anthropic.com/en/api/models.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from proxy.core.models import ModelCard


def model_json(card: ModelCard) -> dict[str, Any]:
    """Anthropic's ``model`` object."""
    return {
        "type": "model",
        "id": card.id,
        "display_name": card.shown_as or card.id,
        "created_at": f"{datetime.fromtimestamp(card.created, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "lifecycle": "active",
        "max_input_tokens": card.context_tokens or None,
        "max_tokens": card.output_tokens or None,
    }


def model_list_body(cards: Sequence[ModelCard]) -> bytes:
    """The answer to ``GET /v1/models``: all of them in one page."""
    first, last = (cards[0].id, cards[-1].id) if cards else (None, None)
    data = [model_json(card) for card in cards]
    return orjson.dumps({"data": data, "has_more": False, "first_id": first, "last_id": last})
