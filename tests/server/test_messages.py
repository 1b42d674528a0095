"""Anthropic's Messages over a real socket, as Claude Code and Anthropic's libraries send and read them."""

import asyncio
import contextlib
import json
from typing import Any, Final

import httpx
import pytest

from proxy.settings import Settings
from tests.dialects.anthropic_messages.accumulated import accumulated, events
from tests.support import claude_code
from tests.support.scripted_poe import CUT, DONE, META, Asked, Reply, ScriptedPoe, answer, event, failure, text
from tests.support.serving import TOKEN, http, serving

HELLO: Final[dict[str, Any]] = {
    "model": "Echo",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello 🙂"}],
}
POES_LIST: Final[list[dict[str, Any]]] = [
    {
        "id": "gpt-5",
        "created": 1_600_000_000_000,
        "metadata": {"display_name": "GPT-5"},
        "supported_features": ["tools"],
        "context_window": {"context_length": 400_000, "max_output_tokens": 128_000},
    },
    {"id": "claude-sonnet-4.5", "metadata": {"display_name": "Claude-Sonnet-4.5"}, "supported_features": ["tools"]},
    {"id": "echo", "metadata": {"display_name": "Echo"}},
]


def calls(*pieces: tuple[int, str, str], text_before: str = "") -> Reply:
    """An answer that calls tools: index, name (in the first piece of a call) and a piece of the arguments."""
    said = [text(text_before)] if text_before else []
    for index, name, arguments in pieces:
        head = {"id": f"call_{index}", "type": "function"} if name else {}
        function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
        said.append(_chunk({"tool_calls": [{"index": index, **head, "function": function}]}))
    return Reply([META, *said, _chunk({}, "tool_calls"), DONE])


def _chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
    return event("json", {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


async def ask(raw: httpx.AsyncClient, body: "dict[str, Any] | bytes", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await raw.post("/v1/messages?beta=true", content=content, headers=headers)


async def broken_stream(
    raw: httpx.AsyncClient, body: "dict[str, Any] | bytes", gate: asyncio.Event | None = None
) -> tuple[bytes, str]:
    """What comes of a stream until its connection breaks off, as it must, and the request's id.

    ``gate`` opens with the first read.
    """
    seen = b""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with raw.stream("POST", "/v1/messages", content=content) as response:
        with contextlib.suppress(httpx.RemoteProtocolError):
            async for read in response.aiter_bytes():
                seen += read
                if gate is not None:
                    gate.set()
            pytest.fail("the stream ended as if it were whole")
    return seen, response.headers["request-id"]


async def test_a_whole_message(raw: httpx.AsyncClient) -> None:
    response = await ask(raw, HELLO)

    message = response.json()
    assert response.status_code == 200
    assert (message["content"], message["stop_reason"]) == ([{"type": "text", "text": "Hello 🙂"}], "end_turn")
    assert message["model"] == "Echo"
    assert message["usage"]["input_tokens"] > 0 < message["usage"]["output_tokens"]


async def test_a_streamed_message_adds_up_to_the_whole_one(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: answer("one ", "two ", "three")

    streamed = await ask(raw, {**HELLO, "stream": True})
    whole = await ask(raw, HELLO)

    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert {**accumulated(streamed.content), "id": ""} == {**whole.json(), "id": ""}
    assert [one["type"] for one in events(streamed.content)].count("content_block_delta") == 3


@pytest.mark.parametrize("path", ["/v1/messages", "/messages", "/v1/messages?beta=true"])
@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
async def test_every_way_to_say_where_and_who(settings: Settings, path: str, header: str) -> None:
    value = TOKEN if header == "x-api-key" else f"Bearer {TOKEN}"
    async with serving(settings) as base_url, httpx.AsyncClient(base_url=base_url) as client:
        response = await client.post(path, json=HELLO, headers={header: value})

    assert response.status_code == 200


async def test_a_task_of_claude_code(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    """Two calls at once; then their results, one of them a failure."""
    poe.models = list(POES_LIST)
    await raw.get("/v1/models")

    def script(asked: Asked) -> Reply:
        if any(message["role"] == "tool" for message in asked.query["query"]):
            return answer("It says hi.")
        return calls((0, "Read", '{"file_path":'), (0, "", '"/a"}'), (1, "Bash", '{"command":"ls"}'), text_before="So:")

    poe.script = script
    first = accumulated((await ask(raw, claude_code.request(model="claude-gpt-5"), **claude_code.HEADERS)).content)
    read, bash = first["content"][1:]
    turns = [
        *claude_code.ASKED,
        {"role": "assistant", "content": first["content"]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": read["id"], "content": "1\thi"},
                {"type": "tool_result", "tool_use_id": bash["id"], "content": "No such file", "is_error": True},
            ],
        },
    ]
    second = accumulated((await ask(raw, claude_code.request(turns), **claude_code.HEADERS)).content)

    assert first["stop_reason"] == "tool_use"
    assert [(block["name"], block["input"]) for block in (read, bash)] == [
        ("Read", {"file_path": "/a"}),
        ("Bash", {"command": "ls"}),
    ]
    assert second["content"] == [{"type": "text", "text": "It says hi."}]
    assert [asked.path for asked in poe.queries] == ["/bot/GPT-5"] * 2
    system, _, reminder, said, called, results = poe.queries[1].query["query"]
    assert "x-anthropic-billing-header" not in system["content"]
    assert reminder["role"] == "user"
    assert reminder["content"].startswith("<system-reminder>\n# Environment")
    assert (said["content"], called["message_type"]) == ("So:", "function_call")
    assert [one["content"] for one in json.loads(results["content"])] == ["1\thi", "[The tool failed]\nNo such file"]
    assert [tool["function"]["name"] for tool in poe.queries[1].query["tools"]] == ["Bash", "Read", "ToolSearch"]


async def test_only_the_first_of_parallel_calls_is_passed_on_where_one_is_wanted(
    raw: httpx.AsyncClient, poe: ScriptedPoe
) -> None:
    poe.script = lambda _: calls((0, "Read", "{}"), (1, "Bash", "{}"))
    choice = {"type": "auto", "disable_parallel_tool_use": True}

    message = (await ask(raw, claude_code.request(stream=False, tool_choice=choice))).json()

    assert [block["name"] for block in message["content"]] == ["Read"]


async def test_a_long_name_comes_back_as_it_was(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    long = f"mcp__plugin__{'x' * 60}"
    poe.script = lambda asked: calls((0, asked.query["tools"][0]["function"]["name"], ""))

    message = (await ask(raw, claude_code.request(stream=False, tools=[claude_code.tool(long)]))).json()

    assert message["content"] == [{**message["content"][0], "name": long, "input": {}}]
    assert len(poe.queries[0].query["tools"][0]["function"]["name"]) == 64


async def test_broken_arguments_are_a_failure(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    broken = calls((0, "Read", '{"file_path":')).steps
    gate = asyncio.Event()
    poe.script = lambda _: Reply(broken)
    message = is_told(await ask(raw, claude_code.request(stream=False)), 502, "api_error")
    poe.script = lambda _: Reply([*broken[:-1], gate, DONE])
    seen, _ = await broken_stream(raw, claude_code.request(), gate)

    assert "arguments that are not JSON" in message
    assert events(seen)[-1]["error"]["message"] == message
    assert b"content_block_stop" not in seen


async def test_silence_has_events_once_the_bot_answers_and_comments_before(
    settings: Settings, poe: ScriptedPoe
) -> None:
    """An event says that Poe is there: Claude Code waits for 90 s without one, and then asks again."""
    began, goes_on = asyncio.Event(), asyncio.Event()

    async def script(_: Asked) -> Reply:
        await began.wait()
        return Reply([META, goes_on, text("Yes."), DONE])

    poe.script = script
    changed = settings.model_copy(update={"commit_hold_s": 0.02, "heartbeat_s": 0.02})
    seen = b""
    async with (
        serving(changed) as base_url,
        http(base_url) as raw,
        raw.stream("POST", "/v1/messages", json={**HELLO, "stream": True}) as response,
    ):
        async for read in response.aiter_bytes():
            seen += read
            if b": ping\n\n" in seen:
                began.set()
            if b"event: ping" in seen:
                goes_on.set()

    frames = seen.split(b"\n\n")
    silent = [b"event: ping" in frame for frame in frames if b"ping" in frame]
    assert b"event: message_start" in frames[0]
    assert silent == sorted(silent)
    assert silent[0] is False
    assert silent[-1] is True
    assert accumulated(seen.replace(b": ping\n\n", b""))["content"] == [{"type": "text", "text": "Yes."}]


@pytest.mark.parametrize(
    ("thinking", "types"),
    [
        ({"type": "adaptive"}, ["thinking", "text"]),
        ({"type": "adaptive", "display": "omitted"}, ["thinking", "text"]),
        (None, ["text"]),
    ],
)
async def test_thoughts_are_for_those_who_ask_for_them(
    raw: httpx.AsyncClient, poe: ScriptedPoe, thinking: dict[str, str] | None, types: list[str]
) -> None:
    poe.script = lambda _: answer("*Thinking...*\n\n> Hm.\n> So.\n\n", "Yes.")

    message = accumulated((await ask(raw, {**HELLO, "stream": True, "thinking": thinking})).content)

    assert [block["type"] for block in message["content"]] == types
    assert message["content"][-1]["text"] == "Yes."


async def test_a_stop_sequence_is_reported(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: answer("one ", "EN", "D two")

    message = (await ask(raw, {**HELLO, "stop_sequences": ["###", "END"]})).json()

    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")
    assert message["content"] == [{"type": "text", "text": "one "}]


async def test_max_tokens_end_an_answer(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: answer("one two three four five")

    message = (await ask(raw, {**HELLO, "max_tokens": 2})).json()

    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("max_tokens", 2)


async def test_tokens_are_counted_and_nothing_is_asked(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    body = {name: value for name, value in HELLO.items() if name != "max_tokens"}
    few = await raw.post("/v1/messages/count_tokens?beta=true", json=body)
    many = await raw.post("/v1/messages/count_tokens", content=claude_code.request())

    assert few.json() == {"input_tokens": few.json()["input_tokens"]}
    assert 0 < few.json()["input_tokens"] < many.json()["input_tokens"]
    assert poe.queries == []


def is_told(response: httpx.Response, status: int, kind: str) -> str:
    """Checks an error's form, and returns its message."""
    body = response.json()
    assert (response.status_code, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert body["request_id"] == response.headers["request-id"] == response.headers["x-request-id"]
    return str(body["error"]["message"])


async def test_a_wrong_token_is_told_once(settings: Settings) -> None:
    """Claude Code asks eleven times after a 401, unless it is told not to."""
    async with serving(settings) as base_url, httpx.AsyncClient(base_url=base_url) as client:
        response = await client.post("/v1/messages", json=HELLO, headers={"x-api-key": "wrong"})

    is_told(response, 401, "authentication_error")
    assert response.headers["x-should-retry"] == "false"


async def test_faults_of_a_request_name_their_field(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    response = await ask(raw, {**HELLO, "messages": [{"role": "user"}]})

    assert is_told(response, 400, "invalid_request_error") == "messages.0.content: Field required"
    assert poe.queries == []


async def test_no_such_route_or_method_has_anthropics_form(raw: httpx.AsyncClient) -> None:
    is_told(await raw.get("/v1/messages"), 405, "invalid_request_error")
    headers = {"anthropic-version": "2023-06-01"}
    is_told(await raw.get("/v1/nothing", headers=headers), 404, "not_found_error")
    assert (await raw.get("/v1/nothing")).json()["error"]["code"] == "unknown_url"


async def test_a_body_that_is_too_large(settings: Settings) -> None:
    changed = settings.model_copy(update={"max_body_bytes": 2_048})
    async with serving(changed) as base_url, http(base_url) as raw:
        response = await ask(raw, {**HELLO, "system": "x" * 4_096})

    is_told(response, 413, "request_too_large")


async def test_a_search_for_a_bot_that_has_none_is_refused(raw: httpx.AsyncClient) -> None:
    message = is_told(await ask(raw, claude_code.search_request()), 400, "invalid_request_error")

    assert "'web_search'" in message


@pytest.mark.parametrize(
    ("reply", "status", "kind"),
    [
        (failure(404), 404, "not_found_error"),
        (failure(402), 402, "billing_error"),
        (failure(500), 502, "api_error"),
        (failure(429), 429, "rate_limit_error"),
        (failure(413), 400, "invalid_request_error"),
    ],
)
async def test_failures_of_poe(raw: httpx.AsyncClient, poe: ScriptedPoe, reply: Reply, status: int, kind: str) -> None:
    poe.script = lambda _: reply

    response = await ask(raw, {**HELLO, "stream": True})

    message = is_told(response, status, kind)
    if status == 429:
        assert int(response.headers["retry-after"]) > 0
    if status == 400:
        assert "maximum context length" in message


async def test_an_answer_that_breaks_off_ends_with_an_error(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([META, text("Once "), CUT])

    seen, request_id = await broken_stream(raw, {**HELLO, "stream": True})

    *_, last = events(seen)
    assert (last["type"], last["error"]["type"]) == ("error", "api_error")
    assert last["error"]["message"].startswith("Connection lost")
    assert last["request_id"] == request_id
    assert b"content_block_stop" not in seen


async def test_the_list_of_models_has_the_form_of_who_asks(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.models = list(POES_LIST)
    version = {"anthropic-version": "2023-06-01"}

    openais = (await raw.get("/v1/models")).json()
    anthropics = (await raw.get("/v1/models?limit=1000", headers=version)).json()
    one = (await raw.get("/v1/models/gpt-5", headers=version)).json()

    assert openais["object"] == "list"
    assert [model["id"] for model in anthropics["data"]][:3] == ["GPT-5", "Claude-Sonnet-4.5", "Echo"]
    assert anthropics["data"][0] == one
    assert (one["type"], one["max_input_tokens"], one["max_tokens"]) == ("model", 400_000, 128_000)


@pytest.mark.parametrize("aliases", ["on", "off"])
async def test_claude_code_is_shown_every_bot_that_calls_tools(
    settings: Settings, poe: ScriptedPoe, aliases: str
) -> None:
    poe.models = list(POES_LIST)
    changed = settings.model_copy(update={"claude_code_aliases": aliases, "model_aliases": {}})
    headers = {"anthropic-version": "2023-06-01", "user-agent": "claude-code/2.1.332"}
    async with serving(changed) as base_url, http(base_url) as raw:
        shown = (await raw.get("/v1/models?limit=1000", headers=headers)).json()["data"]
        answered = [
            await ask(raw, {**HELLO, "model": name})
            for name in ("claude-gpt-5", "claude-sonnet-4-5-20250929", "claude-sonnet-4.5")
        ]

    listed = ["claude-gpt-5", "claude-sonnet-4.5"] if aliases == "on" else ["GPT-5", "Claude-Sonnet-4.5"]
    assert [model["id"] for model in shown][:2] == listed
    assert [model["display_name"] for model in shown][:2] == ["GPT-5", "Claude-Sonnet-4.5"]
    bots = ["GPT-5" if aliases == "on" else "claude-gpt-5", "Claude-Sonnet-4.5", "Claude-Sonnet-4.5"]
    assert [asked.path for asked in poe.queries] == [f"/bot/{bot}" for bot in bots]
    assert answered[0].json()["model"] == "claude-gpt-5"
