"""Legacy completions in core's terms: chats with one message."""

import json
from typing import Any

import pytest

from proxy.core.chat_request import ChatRequest, Text
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.openai_completions.parse import parse_completion_request


def completion(**fields: Any) -> ChatRequest:
    return parse_completion_request(json.dumps({"prompt": "Once", **fields}).encode()).request


def said(chat: ChatRequest) -> list[tuple[str, list[str]]]:
    return [
        (message.role, [part.text for part in message.parts if isinstance(part, Text)]) for message in chat.messages
    ]


def test_a_prompt_that_is_echoed_has_a_bound() -> None:
    """It is sent back once for each choice."""
    completion(prompt="x" * 100_000, echo=True, n=10)
    completion(prompt="x" * 100_001)
    with pytest.raises(UnsupportedFeature) as caught:
        completion(prompt="x" * 100_001, echo=True)

    assert caught.value.param == "echo"


@pytest.mark.parametrize("prompt", ["Once", ["Once"]])
def test_a_prompt_is_what_a_user_says(prompt: object) -> None:
    assert said(completion(prompt=prompt)) == [("user", ["Once"])]


@pytest.mark.parametrize("prompt", [[], ["a", "b"], [1, 2, 3], [[1, 2]], [None], [{}], None, 7, {}])
def test_any_other_prompt_is_refused_by_name(prompt: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        completion(prompt=prompt)

    assert caught.value.param == "prompt"


def test_what_both_have_is_carried_over() -> None:
    chat, include_usage, echo = parse_completion_request(
        json.dumps(
            {
                "prompt": "Once",
                "model": "Echo",
                "max_tokens": 5,
                "n": 2,
                "stop": ["a", "b"],
                "stream": True,
                "temperature": 0,
                "top_p": 1,
                "logit_bias": {"1": 2},
                "stream_options": {"include_usage": True},
                "echo": True,
            }
        ).encode()
    )
    options = chat.options

    assert (chat.model, chat.stream, options.choices, options.stops) == ("Echo", True, 2, ["a", "b"])
    assert (options.max_visible_tokens, options.temperature, options.top_p) == (5, 0, 1)
    assert options.logit_bias == {"1": 2}
    assert (include_usage, echo) == (True, "Once")


@pytest.mark.parametrize(("logprobs", "wanted"), [(1, True), (0, False), (None, False)])
def test_log_probabilities_are_for_the_upstream_to_refuse(logprobs: int | None, *, wanted: bool) -> None:
    assert completion(logprobs=logprobs).options.logprobs is wanted


def test_fields_of_the_bots_own_are_carried_over() -> None:
    chat = completion(thinking_budget=5, messages=[{"role": "user", "content": "something else"}])

    assert chat.options.more["thinking_budget"] == 5
    assert said(chat) == [("user", ["Once"])]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"suffix": "the end"}, "suffix"),
        ({"best_of": 2}, "best_of"),
        ({"best_of": 3, "n": 2}, "best_of"),
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
