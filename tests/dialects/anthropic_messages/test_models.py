"""The list of models in Anthropic's form."""

import json

from proxy.core.models import ModelCard
from proxy.dialects.anthropic_messages.models import model_list_body


def test_the_list_is_one_page() -> None:
    cards = [
        ModelCard("GPT-5", 1_700_000_000, "OpenAI", "GPT 5", context_tokens=9, output_tokens=5),
        ModelCard("Echo", 0, "poe"),
    ]

    assert json.loads(model_list_body(cards)) == {
        "data": [
            {
                "type": "model",
                "id": "GPT-5",
                "display_name": "GPT 5",
                "created_at": "2023-11-14T22:13:20Z",
                "lifecycle": "active",
                "max_input_tokens": 9,
                "max_tokens": 5,
            },
            {
                "type": "model",
                "id": "Echo",
                "display_name": "Echo",
                "created_at": "1970-01-01T00:00:00Z",
                "lifecycle": "active",
                "max_input_tokens": None,
                "max_tokens": None,
            },
        ],
        "has_more": False,
        "first_id": "GPT-5",
        "last_id": "Echo",
    }


def test_no_models_are_an_empty_page() -> None:
    assert json.loads(model_list_body([])) == {"data": [], "has_more": False, "first_id": None, "last_id": None}
