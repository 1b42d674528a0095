"""Faults of requests, in Anthropic's words."""

import json
from typing import Any

import pytest

from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.anthropic_messages.parse import parse_count_request, parse_messages_request

USER = {"role": "user", "content": "Hi"}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}


def body(**fields: Any) -> bytes:
    """A body with these fields; without those that are None."""
    whole = {"model": "GPT-5", "max_tokens": 100, "messages": [USER], **fields}
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def said(*blocks: Any, role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": list(blocks)}]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"model": None}, "model: Field required"),
        ({"messages": None}, "messages: Field required"),
        ({"max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [USER, {"role": "bot", "content": ""}]}, "messages.1.role: Input should be 'user', "),
        ({"messages": said({"type": "text"})}, "messages.0.content.0.text.text: Field required"),
        ({"messages": said({"type": "riddle"})}, "messages.0.content.0: Input tag 'riddle' found using 'type' "),
        (
            {"messages": said({**PICTURE, "source": {"type": "base64", "media_type": "image/png"}})},
            "messages.0.content.0.image.source.base64.data: Field required",
        ),
        (
            {"messages": said({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": 4}]})},
            "messages.0.content.0.tool_result.content.0.text.text: Input should be a valid string",
        ),
        (
            {"messages": said({"type": "tool_result", "tool_use_id": "a"}, role="assistant")},
            "messages.0.content: `tool_result` blocks can only be in `user` messages",
        ),
        (
            {"messages": said({"type": "tool_use", "id": "a", "name": "b", "input": {}})},
            "messages.0.content: `tool_use` blocks can only be in `assistant` messages",
        ),
        ({"system": [PICTURE]}, "system.0.type: Input should be 'text'"),
        ({"tools": [{"name": "a b", "input_schema": {}}]}, "tools.0.name: String should match pattern"),
        ({"tools": [{"name": "a"}]}, "tools.0.input_schema: Field required"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.name: Field required"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.tool.name: Field required"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort: Input should be 'none', "),
        ({"stop_sequences": "END"}, "stop_sequences: Input should be a valid array"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_fault_names_its_field_as_anthropic_does(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_messages_request(body(**fields))

    assert caught.value.message.startswith(message)
    assert caught.value.param == message.partition(":")[0]


@pytest.mark.parametrize("large", [False, True])
def test_large_bodies_have_the_same_faults(*, large: bool) -> None:
    with pytest.raises(InvalidRequest, match=r"^messages\.0\.content\.0\.text\.text: Field required$"):
        parse_messages_request(body(messages=said({"type": "text"})), large=large)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (
            {"messages": said({"type": "image", "source": {"type": "file", "file_id": "file_1"}})},
            "messages.0.content.0.image.source",
        ),
        ({"mcp_servers": [{"type": "url", "url": "https://example.org"}]}, "mcp_servers"),
    ],
)
def test_what_is_at_anthropic_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        parse_messages_request(body(**fields))

    assert caught.value.param == param


def test_fields_that_are_not_known_are_no_fault() -> None:
    block = {"type": "text", "text": "Hi", "citations": {"enabled": True}, "cache_control": {"type": "eternal"}}
    parsed = parse_messages_request(body(messages=said(block), service_tier="auto", container="c", brand_new=[1]))

    assert parsed.request.options.more == {"brand_new": [1]}


def test_tokens_can_be_counted_without_a_limit() -> None:
    assert parse_count_request(body(max_tokens=None)).model == "GPT-5"
