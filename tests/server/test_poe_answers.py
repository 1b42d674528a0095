"""Answers of Poe and what clients get of them: how they end, refusals, nothing at all, events that make no sense."""

import json
from typing import Any, Final

import httpx
import pytest
from openai import AsyncOpenAI, InternalServerError
from openai.lib.streaming.chat import ChatCompletionStreamState

from proxy.settings import Settings
from tests.gateway.world import ONE, TWO, opened
from tests.support.scripted_poe import DONE, META, Reply, ScriptedPoe, answer, event, text
from tests.support.streams import post

HELLO: Final[list[Any]] = [{"role": "user", "content": "Hi"}]
TOOLS: Final[list[Any]] = [{"type": "function", "function": {"name": "look"}}]


def chunk(reason: str | None = None, **delta: object) -> bytes:
    """A ``json`` event."""
    return event("json", {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


def call(arguments: str, **more: object) -> dict[str, object]:
    return {"index": 0, "function": {"arguments": arguments, **more}}


BEGUN: Final = chunk(tool_calls=[{"id": "call_0", **call('{"place": "Ber', name="look")}])


async def completed(client: AsyncOpenAI, *, stream: bool, **fields: Any) -> Any:
    """The completion as OpenAI's SDK has it, streamed or not."""
    asked = {"model": "Echo", "messages": HELLO, **fields}
    if not stream:
        return await client.chat.completions.create(**asked)
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    async for one in await client.chat.completions.create(**asked, stream=True):
        state.handle_chunk(one)
    return state.current_completion_snapshot


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_a_call_that_was_cut_does_not_end_as_a_call(
    client: AsyncOpenAI, poe: ScriptedPoe, reason: str, stream: bool
) -> None:
    """With half its arguments, as they came."""
    poe.script = lambda _: Reply([BEGUN, chunk(reason), DONE])
    made = await completed(client, stream=stream, tools=TOOLS, n=2)

    assert [one.finish_reason for one in made.choices] == [reason, reason]
    assert [one.message.tool_calls[0].function.arguments for one in made.choices] == ['{"place": "Ber'] * 2


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_that_is_whole_ends_as_one(client: AsyncOpenAI, poe: ScriptedPoe, stream: bool) -> None:
    poe.script = lambda _: Reply([BEGUN, chunk(tool_calls=[call('lin"}')]), chunk("stop"), DONE])
    made = await completed(client, stream=stream, tools=TOOLS)

    assert made.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "events",
    [
        [chunk(refusal="I can"), chunk(refusal="not.")],
        [chunk(content=[{"type": "refusal", "refusal": "I cannot."}])],
    ],
    ids=["field", "part"],
)
@pytest.mark.parametrize("fields", [{}, {"response_format": {"type": "json_object"}}, {"max_tokens": 50}, {"n": 2}])
async def test_a_refusal_is_one(
    client: AsyncOpenAI, poe: ScriptedPoe, events: list[bytes], fields: dict[str, Any], stream: bool
) -> None:
    """It is no text, it is not checked for JSON, and it counts."""
    poe.script = lambda _: Reply([*events, DONE])
    made = await completed(client, stream=stream, **fields)

    for choice in made.choices:
        assert (choice.message.refusal, choice.message.content) == ("I cannot.", None)
        assert choice.finish_reason == "stop"
    if not stream:
        assert made.usage.completion_tokens > 0


async def test_a_legacy_completion_has_a_refusal_as_its_text(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([chunk(refusal="I cannot."), DONE])
    whole = await client.completions.create(model="Echo", prompt="Hi")
    streamed = [one async for one in await client.completions.create(model="Echo", prompt="Hi", stream=True)]

    assert whole.choices[0].text == "I cannot."
    assert "".join(one.choices[0].text for one in streamed) == "I cannot."


@pytest.mark.parametrize("stream", [True, False])
async def test_the_parts_of_a_text_are_joined(client: AsyncOpenAI, poe: ScriptedPoe, stream: bool) -> None:
    parts = [{"type": "text", "text": "one "}, "two ", {"type": "thinking", "thinking": "hm"}, {"text": "three"}]
    poe.script = lambda _: Reply([chunk(content=parts), DONE])
    made = await completed(client, stream=stream)

    assert made.choices[0].message.content == "one two three"


NOTHING: Final = {
    "done": [DONE],
    "hints": [META, event("suggested_reply", {"text": "And then?"}), DONE],
    "an empty text": [text(""), DONE],
    "a call though no tools were offered": [BEGUN, chunk("tool_calls"), DONE],
    "an empty chunk": [chunk("stop", content=""), DONE],
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", NOTHING)
async def test_an_empty_answer_is_tried_with_another_key(
    client: AsyncOpenAI, poe: ScriptedPoe, name: str, stream: bool
) -> None:
    poe.script = lambda _: Reply(NOTHING[name]) if len(poe.queries) == 1 else answer("Hello")
    made = await completed(client, stream=stream)

    assert made.choices[0].message.content == "Hello"
    assert len(set(poe.keys_used())) == 2


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"n": 2}, {"response_format": {"type": "json_object"}}])
async def test_an_answer_that_stays_empty_is_an_error_that_says_so(
    client: AsyncOpenAI, poe: ScriptedPoe, fields: dict[str, Any]
) -> None:
    poe.script = lambda _: Reply([DONE])

    with pytest.raises(InternalServerError, match="empty answer") as caught:
        await client.chat.completions.create(model="Echo", messages=HELLO, **fields)
    assert (caught.value.status_code, caught.value.code) == (502, "empty_answer")


async def test_an_empty_answer_costs_neither_key_nor_bot_anything(settings: Settings, poe: ScriptedPoe) -> None:
    """The prompt may be why, so nobody else is to suffer for it."""
    async with opened(settings, poe) as world:
        poe.script = lambda _: Reply([DONE])
        for _ in range(4):
            assert (await world.chat()).code == "empty_answer"
        poe.script = lambda _: answer("Hello")

        assert (await world.chat()).text == "Hello"
        assert await world.counts() == (2, 0, 0, 0)
        assert await world.cooldown_s(ONE) < 0
        assert await world.cooldown_s(TWO) < 0


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("events", "fields", "ending"),
    [
        ([text("END"), DONE], {"stop": "END"}, ("", "stop")),
        ([chunk("length"), DONE], {}, ("", "length")),
        ([chunk("content_filter"), DONE], {}, ("", "content_filter")),
        ([text(" "), DONE], {}, (" ", "stop")),
        ([text("Thinking..."), DONE], {}, ("Thinking...", "stop")),
        ([text("<think>hm</think>"), DONE], {}, ("", "stop")),
        ([chunk(reasoning_content="hm"), DONE], {}, ("", "stop")),
        ([BEGUN, DONE], {"tools": TOOLS}, ("", "tool_calls")),
    ],
    ids=["stop", "length", "filter", "blank", "progress", "thoughts", "thoughts in json", "a call"],
)
async def test_an_answer_with_a_reason_or_thoughts_is_not_empty(
    client: AsyncOpenAI,
    poe: ScriptedPoe,
    events: list[bytes],
    fields: dict[str, Any],
    ending: tuple[str, str],
    stream: bool,
) -> None:
    poe.script = lambda _: Reply(events)
    made = await completed(client, stream=stream, **fields)

    assert (made.choices[0].message.content or "", made.choices[0].finish_reason) == ending
    assert len(poe.queries) == 1


@pytest.mark.parametrize(
    "malformed",
    [
        event("text", {}),
        event("text", {"text": 7}),
        event("replace_response", {"words": "x"}),
        event("file", {"name": "a.png"}),
        event("json", {"choices": "x"}),
        event("json", {"choices": [None]}),
        event("json", {"choices": [{"delta": "x"}]}),
        chunk(content=7),
        chunk(content=[7]),
        chunk(content=[{"type": "text", "text": ["x"]}]),
        chunk(refusal=["x"]),
        chunk(tool_calls={"index": 0}),
        chunk(tool_calls=["x"]),
    ],
)
async def test_an_event_that_makes_no_sense_is_poes_failure(
    raw: httpx.AsyncClient, poe: ScriptedPoe, malformed: bytes
) -> None:
    """Before anything was shown the next key is tried; later the answer ends with an error."""
    poe.script = lambda _: Reply([malformed, text("lost"), DONE]) if len(poe.queries) == 1 else answer("Hello")
    whole = await raw.post("/v1/chat/completions", json={"model": "Echo", "messages": HELLO})
    poe.script = lambda _: Reply([text("one"), malformed, text("two"), DONE])
    streamed, _ = await post(raw, {"model": "Echo", "messages": HELLO, "stream": True})

    assert whole.json()["choices"][0]["message"]["content"] == "Hello"
    last = json.loads(streamed.text.strip().rpartition("data: ")[2])
    assert last["error"]["code"] == "upstream_error"
