"""Messages of the local Poe over bare HTTP."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest

from tests.support.serving import http

TOOLS: Final = [{"name": "look", "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}}}]
THINKING: Final = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture
async def client(poe_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with http(poe_url, None) as client:
        client.headers.update({"x-api-key": "key-a1", "anthropic-version": "2023-06-01"})
        yield client


def a_body(*messages: Any, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": one} if isinstance(one, str) else one for one in messages]
    return {"model": "claude-demo", "max_tokens": 2_000, "messages": turns, **more}


async def ask(client: httpx.AsyncClient, *messages: Any, **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/messages", json=a_body(*messages, **more))
    said: dict[str, Any] = answer.json()
    return said


def gathered(stream: str) -> dict[str, Any]:
    """The message that a stream's events come to, as Anthropic's own library puts them together."""
    message: dict[str, Any] = {}
    inputs: dict[int, str] = {}
    for frame in stream.strip().split("\n\n"):
        name, _, data = frame.partition("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                message["content"].append(event["content_block"])
            case "content_block_delta":
                delta, block = event["delta"], message["content"][event["index"]]
                inputs[event["index"]] = inputs.get(event["index"], "") + delta.pop("partial_json", "")
                for field in delta.keys() - {"type"}:
                    block[field] += delta[field]
            case "message_delta":
                message |= event["delta"] | {"usage": event["usage"]}
    for index, text in inputs.items():
        if text:
            message["content"][index]["input"] = json.loads(text)
    return message


@pytest.mark.parametrize("said", ["Say this  to me.", "Please look."])
async def test_an_answer_is_the_same_whole_and_streamed(client: httpx.AsyncClient, said: str) -> None:
    more = {"thinking": THINKING, "tools": TOOLS}
    whole = await ask(client, said, **more)
    streamed = gathered((await client.post("/v1/messages", json=a_body(said, stream=True, **more))).text)

    for message in (whole, streamed):
        del message["id"]
        for block in message["content"]:
            block.pop("id", None)
    assert streamed == whole
    assert whole["model"] == "claude-demo-20260101"
    assert [block["type"] for block in whole["content"]] == ["thinking", "tool_use" if "look" in said else "text"]


async def test_thoughts_come_back_with_their_signature_or_not_at_all(client: httpx.AsyncClient) -> None:
    more = {"thinking": THINKING, "tools": TOOLS}
    content = (await ask(client, "look", **more))["content"]
    result = {"type": "tool_result", "tool_use_id": content[1]["id"], "content": "a tree"}
    turns = ["look", {"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    told = await ask(client, *turns, **more)
    changed = content[0] | {"thinking": "Something else."}
    turns[1] = {"role": "assistant", "content": [changed, content[1]]}
    refused = await ask(client, *turns, **more)
    turns[1] = {"role": "assistant", "content": content[1:]}
    missing = await ask(client, *turns, **more)

    assert told["content"][-1]["text"] == "I asked: look says a tree."
    assert refused["error"]["message"] == "messages.1.content.0: Invalid `signature` in `thinking` block"
    assert "Expected `thinking` or `redacted_thinking`, but found `tool_use`" in missing["error"]["message"]


async def test_limits_and_stop_sequences_are_obeyed(client: httpx.AsyncClient) -> None:
    cut = await ask(client, "abcdefghij", max_tokens=2)
    stopped = await ask(client, "one two three", stop_sequences=["three", "tw"])

    assert (cut["content"][0]["text"], cut["stop_reason"]) == ("abcdefgh", "max_tokens")
    assert (stopped["content"][0]["text"], stopped["stop_sequence"]) == ("one ", "tw")


async def test_turns_of_one_role_are_merged(client: httpx.AsyncClient) -> None:
    assert (await ask(client, "one", "two"))["content"][0]["text"] == "two"


def _call(identity: str = "a") -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": identity, "name": "look", "input": {}}]}


def _result(identity: str = "a", *before: Any) -> dict[str, Any]:
    return {"role": "user", "content": [*before, {"type": "tool_result", "tool_use_id": identity, "content": "42"}]}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (a_body("Hi", seed=1), "seed: Extra inputs are not permitted"),
        (a_body("Hi", max_tokens=99_999), "max_tokens: 99999 > 64000"),
        (a_body("Hi", tools=[{"name": "x", "input_schema": {}}]), "tools.0.custom.input_schema.type: Field required"),
        (a_body("Hi", thinking=THINKING, max_tokens=1024), "`max_tokens` must be greater than"),
        (a_body("Hi", thinking=THINKING, temperature=0.5), "`temperature` may only be set to 1"),
        (a_body("Hi", tools=TOOLS, tool_choice={"type": "any"}, thinking=THINKING), "when tool_choice forces"),
        (a_body("Hi", thinking=THINKING, model="claude-demo-max"), "is not supported for this model"),
        (a_body("Hi", tool_choice={"type": "auto"}), "tool_choice may only be specified while providing tools"),
        (a_body(""), "text content blocks must be non-empty"),
        (a_body(" "), "must contain non-whitespace text"),
        (a_body({"role": "assistant", "content": "Hi"}), 'first message must use the "user" role'),
        (a_body({"role": "system", "content": "Hi"}), 'Unexpected role "system"'),
        (a_body("Hi", {"role": "assistant", "content": "So "}), "cannot end with trailing whitespace"),
        (a_body("Hi", _call(), _result()), "must define tools"),
        (a_body("Hi", _call(), "No.", tools=TOOLS), "without `tool_result` blocks immediately after: a"),
        (a_body("Hi", _call(), tools=TOOLS), "without `tool_result` blocks immediately after: a"),
        (a_body("Hi", _call(), _result("a", {"type": "text", "text": "x"}), tools=TOOLS), "immediately after: a"),
        (a_body("Hi", _call(), _result("b"), tools=TOOLS), "unexpected `tool_use_id` found"),
        (a_body("Hi", _call(), _result(), _result(), tools=TOOLS), "Found multiple `tool_result` blocks with id: a"),
        (a_body("Hi", _call(), _result(), _call(), _result(), tools=TOOLS), "ids must be unique"),
        (
            a_body(
                *[{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}]
                * 5
            ),
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_anthropic_refuses(client: httpx.AsyncClient, body: dict[str, Any], says: str) -> None:
    answer = await client.post("/v1/messages", json=body)

    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]
    assert answer.headers["anthropic-ratelimit-requests-limit"] == "500"


@pytest.mark.parametrize(
    ("model", "key", "status", "kind", "says"),
    [
        ("claude-nobody", "key-a1", 404, "not_found_error", "model: claude-nobody"),
        ("gpt-demo", "key-a1", 404, "api_error", "Internal server error"),
        ("claude-demo", "nobody's", 401, "authentication_error", "Invalid API key"),
    ],
)
async def test_errors_have_anthropics_form(
    client: httpx.AsyncClient, model: str, key: str, status: int, kind: str, says: str
) -> None:
    answer = await client.post("/v1/messages", json=a_body("Hi", model=model), headers={"x-api-key": key})

    error = answer.json()
    assert (answer.status_code, error["error"]) == (status, {"type": kind, "message": says})
    assert error["request_id"].startswith("req_poe_")
