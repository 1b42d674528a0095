"""The list of models as OpenAI's own type reads it, strictly."""

import json

from openai.types import Model

from proxy.core.models import ModelCard
from proxy.dialects.openai.models import model_list_body


def test_the_model_list_is_openais() -> None:
    raw = json.loads(model_list_body([ModelCard("gpt-4o", 1_700_000_000, "OpenAI"), ModelCard("é", 0, "")]))

    assert raw.keys() == {"object", "data"}
    assert raw["object"] == "list"
    assert all(card.keys() <= Model.model_fields.keys() for card in raw["data"])
    assert [Model.model_validate_json(json.dumps(card), strict=True).id for card in raw["data"]] == ["gpt-4o", "é"]


def test_an_empty_model_list_is_a_list() -> None:
    assert json.loads(model_list_body([])) == {"object": "list", "data": []}
