"""Responses over a real socket, with OpenAI's own client: streamed, whole, with tools, and what ends them early."""

import asyncio
import json
from typing import Any, Final

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from proxy.settings import Settings
from tests.dialects.openai_responses.reading import check_events, events_of
from tests.support.scripted_poe import (
    CUT,
    DONE,
    META,
    Asked,
    Reply,
    ScriptedPoe,
    answer,
    event,
    failure,
    replace,
    text,
)
from tests.support.serving import http, sdk, serving

WEATHER: Final[dict[str, Any]] = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather now.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
PATCH: Final = {
    "type": "custom",
    "name": "apply_patch",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: begin_patch hunk+ end_patch"},
}
CODEX: Final = {"originator": "codex_exec"}
ENVELOPE: Final = "*** Begin Patch\n*** Add File: a.txt\n+hi\n*** End Patch\n"
CALL_ENDS: Final = event("json", {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})


def call(index: int, name: str, *arguments: str) -> list[bytes]:
    """A call as Poe sends it, its arguments in these pieces; every backend of Poe's has ids of its own."""
    first, *rest = arguments
    function = {"name": name, "arguments": first}
    entries: list[dict[str, Any]] = [{"index": index, "id": f"call_{index}", "type": "function", "function": function}]
    entries += [{"index": index, "function": {"arguments": piece}} for piece in rest]
    return [
        event("json", {"choices": [{"index": 0, "delta": {"tool_calls": [entry]}, "finish_reason": None}]})
        for entry in entries
    ]


TWO_CALLS: Final = Reply(
    [
        META,
        text("Let me look."),
        *call(0, "get_weather", '{"city": ', '"Oslo"}'),
        *call(1, "get_weather", '{"city": "Bergen"}'),
        CALL_ENDS,
        DONE,
    ]
)


async def events_from(
    raw: httpx.AsyncClient, headers: dict[str, str] | None = None, **fields: Any
) -> list[dict[str, Any]]:
    """The events of a stream, whose body has an end even when it fails."""
    asked = {"model": "Echo", "input": "Hi", "stream": True, **fields}
    response = await raw.post("/v1/responses", json=asked, headers=headers)
    assert response.status_code == 200
    return events_of(b"\n\n".join(one for one in response.content.split(b"\n\n") if not one.startswith(b":")))


async def test_a_whole_response_says_what_the_bot_said(client: AsyncOpenAI) -> None:
    response = await client.responses.create(model="Echo", input="Hello 🙂", instructions="Be kind.")

    assert response.output_text == "Hello 🙂"
    assert (response.status, response.model, response.instructions) == ("completed", "Echo", "Be kind.")
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response.id.startswith("resp_")


async def test_a_stream_comes_to_the_same(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    poe.script = lambda _: answer("one ", "two ", "three")
    whole = await client.responses.create(model="Echo", input="Hi")

    async with client.responses.stream(model="Echo", input="Hi") as stream:
        texts = [one.delta async for one in stream if one.type == "response.output_text.delta"]
        final = await stream.get_final_response()

    assert "".join(texts) == final.output_text == whole.output_text == "one two three"
    assert final.usage == whole.usage


async def test_every_event_of_a_stream_is_openais(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    thoughts = "*Thinking...*\n\n> Hm.\n\n"
    poe.script = lambda _: Reply([META, replace(thoughts), *TWO_CALLS.steps[1:]])

    events = await events_from(raw, tools=[WEATHER], include=["reasoning.encrypted_content"])

    check_events(events)
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert output[0]["summary"] == [{"type": "summary_text", "text": "Hm."}]


@pytest.mark.parametrize("streams", [False, True])
async def test_tools_go_to_and_fro(client: AsyncOpenAI, poe: ScriptedPoe, *, streams: bool) -> None:
    poe.script = lambda _: TWO_CALLS
    tools: Any = [WEATHER]
    if streams:
        async with client.responses.stream(model="Echo", input="Weather?", tools=tools) as stream:
            first: Any = await stream.get_final_response()
    else:
        first = await client.responses.create(model="Echo", input="Weather?", tools=tools)
    calls = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(one.arguments)["city"] for one in calls] == ["Oslo", "Bergen"]

    poe.script = lambda _: answer("Rain.")
    results: list[Any] = [{"type": "function_call_output", "call_id": one.call_id, "output": "rain"} for one in calls]
    conversation: Any = [{"role": "user", "content": "Weather?"}, *first.to_dict()["output"], *results]
    second = await client.responses.create(model="Echo", input=conversation, tools=tools)

    assert second.output_text == "Rain."
    asked = poe.queries[-1].query["query"]
    assert [one["role"] for one in asked] == ["user", "bot", "bot", "tool"]
    assert [one["tool_call_id"] for one in json.loads(asked[3]["content"])] == [one.call_id for one in calls]


async def test_ids_of_calls_are_unique_over_turns(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    """Poe's backends begin to count anew in each turn."""
    poe.script = lambda _: TWO_CALLS
    tools: Any = [WEATHER]
    answers = [await client.responses.create(model="Echo", input="Hi", tools=tools) for _ in range(2)]

    ids = [item.call_id for one in answers for item in one.output if item.type == "function_call"]
    assert len(set(ids)) == len(ids) == 4


async def test_without_parallel_calls_only_the_first_is_passed_on(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    poe.script = lambda _: TWO_CALLS
    tools: Any = [WEATHER]

    response = await client.responses.create(model="Echo", input="Hi", tools=tools, parallel_tool_calls=False)

    assert [item.type for item in response.output] == ["message", "function_call"]


async def test_a_custom_tool_is_a_function_at_poe_and_custom_here(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    arguments = json.dumps({"input": ENVELOPE})
    poe.script = lambda _: Reply([META, *call(0, "apply_patch", arguments[:20], arguments[20:]), CALL_ENDS, DONE])
    tools: Any = [PATCH]

    response = await client.responses.create(model="Echo", input="Hi", tools=tools)

    (item,) = response.output
    assert item.type == "custom_tool_call"
    assert (item.name, item.input) == ("apply_patch", ENVELOPE)
    (offered,) = poe.queries[0].query["tools"]
    assert "begin_patch hunk+ end_patch" in offered["function"]["description"]


async def test_long_names_are_shortened_for_the_bot_and_restored(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    def script(asked: Asked) -> Reply:
        name = asked.query["tools"][0]["function"]["name"]
        assert len(name) <= 64
        return Reply([META, *call(0, name, "{}"), CALL_ENDS, DONE])

    poe.script = script
    name = "mcp__" + "a" * 85
    tools: Any = [{**WEATHER, "name": name}]

    response = await client.responses.create(model="Echo", input="Hi", tools=tools)

    assert [item.name for item in response.output if item.type == "function_call"] == [name]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("apply_patch", json.dumps({"input": "no patch"})), ("get_weather", '{"city": ')],
)
@pytest.mark.parametrize("before", [(), ("Well", ", ")])
async def test_a_broken_call_fails_the_stream_and_is_never_ended(
    raw: httpx.AsyncClient, poe: ScriptedPoe, before: tuple[str, ...], name: str, arguments: str
) -> None:
    """A client would run it. Codex asks again after ``server_error``."""
    more = call(1, "get_weather", '{"city": "Oslo"}')
    steps = [META, *map(text, before), *call(0, name, arguments[:5], arguments[5:]), *more, CALL_ENDS, DONE]
    poe.script = lambda _: Reply(steps)

    events = await events_from(raw, CODEX, tools=[WEATHER, PATCH])

    check_events(events)
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "server_error"
    done = [one["item"]["type"] for one in events if one["type"] == "response.output_item.done"]
    assert done == ["message"] * bool(before)


async def test_a_broken_call_fails_a_whole_answer(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([META, *call(0, "get_weather", '{"city": '), CALL_ENDS, DONE])
    tools: Any = [WEATHER]

    with pytest.raises(openai.InternalServerError, match="not JSON"):
        await client.responses.create(model="Echo", input="Hi", tools=tools)


class Box(BaseModel):
    width: int


async def test_json_is_checked_and_parsed(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    said = iter(["no JSON", 'Here: {"width": 3}'])
    poe.script = lambda _: answer(next(said))

    response = await client.responses.parse(model="Echo", input="A box", text_format=Box)

    assert response.output_parsed == Box(width=3)
    assert len(poe.queries) == 2


async def test_a_limit_makes_it_incomplete(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    poe.script = lambda _: answer("one two three four five six seven eight nine ten")

    response = await client.responses.create(model="Echo", input="Hi", max_output_tokens=3)

    assert (response.status, response.output_text) == ("incomplete", "one two three")
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


async def test_a_cut_stream_is_a_failed_response(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([META, text("half"), CUT])

    events = await events_from(raw)

    check_events(events)
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "server_error"
    assert "Connection lost" in events[-1]["response"]["error"]["message"]
    assert "response.completed" not in [one["type"] for one in events]


async def test_a_key_that_fails_before_any_text_is_not_seen(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    replies = iter([failure(500, "no"), answer("fine")])
    poe.script = lambda _: next(replies)

    events = await events_from(raw)

    check_events(events)
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "fine"


async def test_the_stream_begins_before_the_answer_and_failover_goes_on_behind_it(
    settings: Settings, poe: ScriptedPoe
) -> None:
    """Agents warn when nothing comes; ``response.created`` promises nothing."""
    go_on = asyncio.Event()
    replies = iter([Reply([META, go_on, CUT]), answer("fine")])
    poe.script = lambda _: next(replies)

    async with serving(settings.model_copy(update={"commit_hold_s": 0.05})) as url, sdk(url) as client:
        stream = await client.responses.create(model="Echo", input="Hi", stream=True)
        kinds = []
        async for one in stream:
            kinds.append(one.type)
            go_on.set()

    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds.count("response.created") == 1
    assert kinds[-1] == "response.completed"


async def test_what_fails_behind_the_beginning_is_told_in_the_stream(settings: Settings, poe: ScriptedPoe) -> None:
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([go_on, *failure(500, "no").steps])

    async with serving(settings.model_copy(update={"commit_hold_s": 0.05})) as url, http(url) as raw:
        asyncio.get_running_loop().call_later(0.3, go_on.set)
        events = await events_from(raw)

    check_events(events)
    assert [one["type"] for one in events] == ["response.created", "response.in_progress", "response.failed"]


async def test_a_response_is_kept_so_its_stream_is_bounded_like_a_whole_one(
    settings: Settings, poe: ScriptedPoe
) -> None:
    """It stands once more in the last event. A chat, of which nothing is kept, may be larger."""
    poe.script = lambda _: answer(*["a" * 100_000] * 15)

    async with serving(settings.model_copy(update={"max_answer_bytes": 1_048_576})) as url, http(url) as raw:
        events = await events_from(raw)
        chat = {"model": "Echo", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        streamed = await raw.post("/v1/chat/completions", json=chat)

    assert events[-1]["type"] == "response.failed"
    assert "MAX_ANSWER_BYTES" in events[-1]["response"]["error"]["message"]
    assert streamed.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("path", ["/v1/responses", "/responses"])
async def test_errors_have_openais_form(raw: httpx.AsyncClient, path: str) -> None:
    response = await raw.post(path, json={"input": "Hi", "previous_response_id": "resp_1"})

    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["param"], error["code"]) == ("previous_response_id", "unsupported_feature")
    assert "send the whole conversation" in error["message"]


async def test_an_unknown_model_is_final_for_codex(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    poe.script = lambda _: failure(404, {"message": "Bot does not exist"})

    with pytest.raises(openai.NotFoundError) as refusal:
        await client.responses.create(model="Nobody", input="Hi")

    assert refusal.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (failure(404, {"message": "Bot does not exist"}), 404, "model_not_found"),
        (failure(500, "no"), 502, "server_error"),
        (failure(402, {"message": "insufficient points"}), 429, "insufficient_quota"),
        (failure(429, {"message": "slow down"}, retry_after="7"), 429, "rate_limit_exceeded"),
        (failure(429, {"message": "slow down"}, retry_after="600"), 429, "insufficient_quota"),
    ],
)
async def test_codex_gets_failures_within_the_stream_and_others_a_status(
    raw: httpx.AsyncClient, poe: ScriptedPoe, reply: Reply, status: int, code: str
) -> None:
    """After a status of 500 Codex asks thirty times, after 403 six times; a code says what to do."""
    poe.script = lambda _: reply

    plain = await raw.post("/v1/responses", json={"model": "Echo", "input": "Hi", "stream": True})
    events = await events_from(raw, CODEX)

    check_events(events)
    assert plain.status_code == status
    assert [one["type"] for one in events] == ["response.created", "response.in_progress", "response.failed"]
    assert events[-1]["response"]["error"]["code"] == code


async def test_responses_are_not_stored(client: AsyncOpenAI) -> None:
    response = await client.responses.create(model="Echo", input="Hi", store=True)

    for ask in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(openai.NotFoundError, match="not stored here"):
            await ask(response.id)
    with pytest.raises(openai.NotFoundError, match="not stored here"):
        await client.responses.input_items.list(response.id)


async def test_compaction_is_refused_in_words(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="ask the model for a summary"):
        await client.responses.compact(model="gpt-5", input="Hi")


async def test_input_is_counted_without_asking_poe(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    tools: Any = [WEATHER]
    counted = await client.responses.input_tokens.count(model="Echo", input="Hi", tools=tools)
    asked = len(poe.queries)
    response = await client.responses.create(model="Echo", input="Hi", tools=tools)

    assert asked == 0
    assert response.usage is not None
    assert counted.input_tokens == response.usage.input_tokens > 10


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/responses"),
        ("POST", "/v1/responses/input_tokens"),
        ("POST", "/v1/responses/compact"),
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1/responses/resp_1/input_items"),
    ],
)
async def test_every_route_asks_for_a_token(proxy: str, method: str, path: str) -> None:
    async with http(proxy, token=None) as nobody:
        response = await nobody.request(method, path)

    assert response.status_code == 401
