"""Legacy completions, as chats."""

import json
from typing import Any

import pytest

from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.openai_chat.request import ChatCompletionRequest
from proxy.dialects.openai_completions.as_chat import chat_of_completion
from proxy.dialects.openai_completions.request import parse_completion_request


def completion(**fields: Any) -> ChatCompletionRequest:
    return chat_of_completion(parse_completion_request(json.dumps({"prompt": "Once", **fields}).encode()))


def test_a_prompt_that_is_echoed_has_a_bound() -> None:
    """It is sent back once for each choice."""
    completion(prompt="x" * 100_000, echo=True, n=10)
    completion(prompt="x" * 100_001)
    with pytest.raises(UnsupportedFeature) as caught:
        completion(prompt="x" * 100_001, echo=True)

    assert caught.value.param == "echo"


@pytest.mark.parametrize("prompt", ["Once", ["Once"]])
def test_a_prompt_is_what_a_user_says(prompt: object) -> None:
    chat = completion(prompt=prompt)

    assert [(message.role, message.content) for message in chat.messages] == [("user", "Once")]


@pytest.mark.parametrize("prompt", [[], ["a", "b"], [1, 2, 3], [[1, 2]], [None], [{}], None, 7, {}])
def test_any_other_prompt_is_refused_by_name(prompt: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        completion(prompt=prompt)

    assert caught.value.param == "prompt"


def test_what_both_have_is_carried_over() -> None:
    fields = {
        "model": "Echo",
        "max_tokens": 5,
        "n": 2,
        "stop": ["a", "b"],
        "stream": True,
        "temperature": 0,
        "top_p": 1,
        "logit_bias": {"1": 2},
    }
    chat = completion(**fields, stream_options={"include_usage": True})

    assert {name: getattr(chat, name) for name in fields} == fields
    assert chat.stream_options is not None
    assert chat.stream_options.include_usage is True


def test_fields_of_the_bots_own_are_carried_over() -> None:
    chat = completion(thinking_budget=5, messages=[{"role": "user", "content": "something else"}])

    assert chat.model_extra == {"thinking_budget": 5}
    assert [message.content for message in chat.messages] == ["Once"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"suffix": "the end"}, "suffix"),
        ({"best_of": 2}, "best_of"),
        ({"best_of": 3, "n": 2}, "best_of"),
        ({"logprobs": 1}, "logprobs"),
    ],
)
def test_what_a_chat_cannot_do_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        completion(**fields)

    assert caught.value.param == param


@pytest.mark.parametrize("fields", [{"suffix": ""}, {"best_of": 1}, {"best_of": 2, "n": 2}, {"logprobs": 0}])
def test_asking_for_nothing_special_is_no_feature(fields: dict[str, Any]) -> None:
    assert completion(**fields).messages == completion().messages


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"reasoning_effort": 7}, "reasoning_effort"),
        ({"tools": [7]}, "tools[0]"),
        ({"response_format": "json"}, "response_format"),
        ({"modalities": "text"}, "modalities"),
        ({"tool_choice": {}}, "tool_choice.type"),
    ],
)
def test_a_chats_own_field_is_checked_as_there(fields: dict[str, Any], param: str) -> None:
    """In the words of JSON, not of Python."""
    with pytest.raises(InvalidRequest) as caught:
        completion(**fields)

    assert caught.value.param == param
    assert not {"dictionary", "list", "instance"} & set(caught.value.message.split())
