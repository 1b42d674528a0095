"""Legacy completions as clients send them."""

import json
from typing import Any

import pytest

from proxy.core.failures import InvalidRequest
from proxy.dialects.openai_completions.request import COMPLETION_BODY


def parse(**fields: Any) -> Any:
    return COMPLETION_BODY.read(json.dumps(fields).encode())


def test_the_fields_of_a_request_are_read() -> None:
    fields = {"prompt": "Once", "model": "Echo", "max_tokens": 5, "stop": ["a", "b"], "echo": True, "temperature": 1}
    read = parse(**fields, aspect="4:3")

    assert read == {**fields, "aspect": "4:3"}
    assert COMPLETION_BODY.unknown(read) == {"aspect": "4:3"}


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("prompt", None),
        ("prompt", []),
        ("max_tokens", 0),
        ("max_tokens", "5"),
        ("n", 0),
        ("best_of", 21),
        ("logprobs", 6),
        ("temperature", 2.1),
        ("stream", "yes"),
        ("echo", 1),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(param: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(**{"prompt": "Once", param: value})

    assert refused.value.param == param


def test_a_request_without_a_prompt_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(model="Echo")

    assert refused.value.param == "prompt"
