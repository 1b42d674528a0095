"""Whatever a client sends, the Messages body keeps Anthropic's rules, and says what the client said."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.chat_request import (
    ChatRequest,
    CustomTool,
    FunctionTool,
    HostedTool,
    Image,
    Message,
    Options,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from proxy.core.failures import ProxyError
from proxy.dialects.anthropic_messages.parse import parse_messages_request
from proxy.upstreams.poe_rest.messages_body import build_messages_body

MAX_TOKENS: Final = 64_000
EPHEMERAL: Final = {"type": "ephemeral"}


def built(request: ChatRequest, *, cache: bool = False) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(
        build_messages_body(request, model="m", stream=False, max_tokens=MAX_TOKENS, cache=cache)
    )
    return sent


def through(body: dict[str, Any]) -> dict[str, Any]:
    """A client's body as Poe gets it."""
    request = parse_messages_request(json.dumps(body).encode()).request
    sent: dict[str, Any] = json.loads(
        build_messages_body(
            request, model=request.model or "", stream=request.stream, max_tokens=MAX_TOKENS, cache=False
        )
    )
    return sent


AGENTS: Final[dict[str, Any]] = {
    "model": "claude-haiku-4.5",
    "max_tokens": 4_096,
    "stream": True,
    "temperature": 0.5,
    "stop_sequences": ["END"],
    "system": [
        {"type": "text", "text": "You are an agent."},
        {"type": "text", "text": "Today is Tuesday.", "cache_control": EPHEMERAL},
    ],
    "tools": [
        {
            "name": "look",
            "description": "Looks.",
            "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        },
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
    ],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look at these."},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
                {"type": "image", "source": {"type": "url", "url": "https://x.org/a.png"}},
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjcK"},
                    "title": "Report",
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Both of them.", "signature": "Ers="},
                {"type": "text", "text": "I'll look."},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": "ä"}},
                {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": [
                        {"type": "text", "text": "It is blue."},
                        {"type": "image", "source": {"type": "url", "url": "https://x.org/b.png"}},
                    ],
                },
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": [], "is_error": True},
                {"type": "text", "text": "And now?", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            ],
        },
    ],
}


def test_an_agents_body_is_the_same_behind_the_proxy() -> None:
    expected = json.loads(json.dumps(AGENTS))
    del expected["messages"][2]["content"][1]["content"]

    assert through(AGENTS) == expected


def test_the_same_conversation_gives_the_same_bytes() -> None:
    """Else nothing of it would be read from the cache."""
    messages = [
        Message("user", [Text("Hi")]),
        *[Message("assistant", [ToolCall("look:0", "look.at", "")]), Message("tool", [ToolResult("look:0", [], "")])]
        * 3,
    ]
    longer = [*messages, Message("assistant", [Text("Done.")]), Message("user", [Text("Thanks.")])]

    sent, more = (built(ChatRequest(some))["messages"] for some in (messages, longer))

    assert more[: len(sent)] == sent


# Anthropic's rules.


def broken_rules(body: dict[str, Any]) -> Iterator[str]:
    """What Anthropic would refuse a body for."""
    messages = body["messages"]
    roles = [message["role"] for message in messages]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2):
        yield "turns do not alternate"
    for block in blocks_of(body):
        if block.get("type") == "text" and not block["text"].strip():
            yield "a blank text"
    last = messages[-1]
    if last["role"] == "assistant" and last["content"][-1].get("text", "").rstrip() != last["content"][-1].get(
        "text", ""
    ):
        yield "the last answer ends with a blank"
    if len([block for block in blocks_of(body) if "cache_control" in block]) > 4:
        yield "too many marks for caching"
    yield from broken_rules_of_calls(messages)
    yield from broken_rules_of_tools(body)


def blocks_of(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from body.get("tools", ())
    yield from body.get("system", ())
    for message in body["messages"]:
        if not message["content"]:
            yield {"type": "text", "text": ""}
        for block in message["content"]:
            yield block
            if isinstance(block.get("content"), list):
                yield from block["content"]


def broken_rules_of_calls(messages: list[dict[str, Any]]) -> Iterator[str]:
    ids: list[str] = []
    calls: list[str] = []
    for message in messages:
        kinds = [block["type"] for block in message["content"]]
        results = [block["tool_use_id"] for block in message["content"] if block["type"] == "tool_result"]
        if kinds[: len(results)] != ["tool_result"] * len(results):
            yield "results do not come first"
        if sorted(results) != sorted(calls):
            yield "results and calls do not match"
        calls = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
        ids += calls
        if "thinking" in kinds and (kinds[0] != "thinking" or kinds[-1] == "thinking"):
            yield "thoughts stand in a wrong place"
        if not all(isinstance(block["input"], dict) for block in message["content"] if block["type"] == "tool_use"):
            yield "an input is no object"
    if calls or len(set(ids)) != len(ids) or not all(re.fullmatch("[a-zA-Z0-9_-]+", one) for one in ids):
        yield "ids of calls"


def broken_rules_of_tools(body: dict[str, Any]) -> Iterator[str]:
    tools = body.get("tools", [])
    names = [tool["name"] for tool in tools]
    if len(set(names)) != len(names) or not all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in names):
        yield "names of tools"
    if not all(tool["input_schema"]["type"] == "object" for tool in tools if "input_schema" in tool):
        yield "a schema that is no object"
    kinds = [block["type"] for message in body["messages"] for block in message["content"]]
    if "tool_use" in kinds and not tools:
        yield "calls without tools"
    if (thinking := body.get("thinking")) and not 1_024 <= thinking["budget_tokens"] < body["max_tokens"]:
        yield "the budget for thoughts"
    if thinking and {"temperature", "top_k"} & body.keys():
        yield "options that do not go with thoughts"


TEXTS: Final = st.sampled_from(["", " ", "a", "b \n"]) | st.text(max_size=5)
CACHES: Final = st.sampled_from(["", "", "5m", "1h"])
IDS: Final = st.sampled_from(["a", "a_2", "a:0", "", "ä"])
NAMES: Final = st.sampled_from(["f", "f.g", "g" * 70, "patch"])
CONTENTS: Final = st.builds(Text, TEXTS, CACHES) | st.builds(Image, st.just("https://x.org/a.png"), st.just(""), CACHES)
THOUGHTS: Final = st.builds(Thinking, TEXTS, st.sampled_from(["", "sig"]))
CALLS: Final = st.builds(ToolCall, IDS, NAMES, st.sampled_from(["", "{}", "[1]", '{"input":1}', "{"]) | TEXTS)
RESULTS: Final = st.builds(ToolResult, IDS, st.lists(CONTENTS, max_size=2), st.just(""), st.booleans(), CACHES)
MESSAGES: Final = st.one_of(
    st.builds(Message, st.sampled_from(["system", "developer", "user"]), st.lists(CONTENTS, max_size=3)),
    st.builds(Message, st.just("user"), st.lists(CONTENTS, max_size=2), st.sampled_from(["", "Ann", "Ben"])),
    st.builds(Message, st.just("assistant"), st.lists(st.builds(Text, TEXTS) | THOUGHTS | CALLS, max_size=4)),
    st.builds(Message, st.just("tool"), st.lists(RESULTS, max_size=3)),
)
TOOLS: Final = st.one_of(
    st.builds(FunctionTool, NAMES, st.just(""), st.none() | TEXTS, st.none() | st.just({"type": "x"}), cache=CACHES),
    st.builds(CustomTool, NAMES, st.just("")),
    st.just(HostedTool("web_search", "", {"type": "web_search_20250305", "name": "web_search"})),
    st.just(HostedTool("image_generation", "", {"type": "image_generation"})),
)
OPTIONS: Final = st.builds(
    Options,
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    top_k=st.none() | st.integers(0, 100),
    max_tokens=st.none() | st.integers(1, 100_000),
    max_visible_tokens=st.none() | st.integers(1, 100_000),
    thinking_tokens=st.none() | st.integers(0, 100_000),
    reasoning_effort=st.sampled_from([None, "none", "low", "max"]),
    stops=st.lists(TEXTS, max_size=2),
)
REQUESTS: Final = st.builds(
    ChatRequest,
    messages=st.lists(MESSAGES, max_size=8),
    tools=st.lists(TOOLS, max_size=3),
    tool_choice=st.sampled_from(["auto", "none", "required"]),
    parallel_tool_calls=st.booleans(),
    options=OPTIONS,
)


@given(REQUESTS, st.booleans())
def test_every_body_keeps_anthropics_rules(request: ChatRequest, cache: bool) -> None:
    try:
        body = built(request, cache=cache)
    except ProxyError:  # a call is demanded where there is nothing to call
        return

    assert list(broken_rules(body)) == []


@given(REQUESTS)
def test_no_text_is_lost(request: ChatRequest) -> None:
    request.tool_choice = "auto"
    said = [
        part.text
        for message in request.messages
        if message.role != "tool"
        for part in message.parts
        if isinstance(part, Text)
    ]
    said += [
        content.text
        for message in request.messages
        for part in message.parts
        if isinstance(part, ToolResult)
        for content in part.content
        if isinstance(content, Text)
    ]

    sent = [block["text"] for block in blocks_of(built(request)) if block.get("type") == "text"]

    for text in said:
        if text.strip():
            sent.remove(text if text in sent else text.rstrip())


@given(REQUESTS)
def test_what_was_built_is_built_the_same_again(request: ChatRequest) -> None:
    """A proxy behind a proxy changes nothing more, except that it makes an effort of a number of tokens."""
    request.tool_choice = "auto"
    request.options.thinking_tokens, request.options.reasoning_effort = None, None
    once = built(request) | {"model": "m", "temperature": 0.5}
    once.pop("top_p", None)
    once.pop("top_k", None)

    again = through(once)

    assert again == once


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "assistant", "content": [{"type": "text", "text": "a "}]}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": []}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a:", "name": "f", "input": {}}]},
            ]
        },
    ],
)
def test_broken_rules_are_seen(body: dict[str, Any]) -> None:
    """The tests above would be worth nothing if these passed."""
    assert len(list(broken_rules(body))) >= 2
