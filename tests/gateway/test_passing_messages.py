"""Requests for messages of Claude that are passed through to Poe's Messages, and their answers."""

import json
from typing import Any, Final

import httpx
import pytest
from anthropic import AsyncAnthropic

from proxy.credentials import parse_poe_keys
from proxy.settings import Settings
from tests.gateway.test_passing import ready
from tests.gateway.world import ONE, TWO, opened
from tests.support.local_poe import running_local_poe
from tests.support.rest_answers import listed, messages_steps, rest_answer
from tests.support.scripted_poe import CUT, Asked, Reply, ScriptedPoe, Step, event, failure
from tests.support.serving import TOKEN, http, serving

_STREAM: Final = {"content-type": "text/event-stream; charset=utf-8"}
_TURN: Final = [{"role": "user", "content": "hello"}]
WHOLE: Final = {
    "id": "req_poe_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x-2026",
    "content": [
        {"type": "thinking", "thinking": "well", "signature": "c2ln"},
        {"type": "text", "text": "Hello", "citations": [{"type": "char_location"}]},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}, "caller": {"type": "direct"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 9, "output_tokens": 3, "cache_read_input_tokens": 5},
    "container": {"id": "c"},
}


@pytest.fixture(autouse=True)
def _rest_poe(poe: ScriptedPoe) -> None:
    poe.models = [listed("Claude-X", "Anthropic", "messages")]
    poe.script = lambda asked: rest_answer(asked.path, "Hello", " there")


def asking(*, stream: bool = True, **more: Any) -> dict[str, Any]:
    return {"model": "claude-x", "max_tokens": 50, "messages": _TURN, "stream": stream, **more}


async def send(client: httpx.AsyncClient, body: dict[str, Any], **headers: str) -> bytes:
    """The answer as far as it came."""
    read = b""
    try:
        async with client.stream("POST", "/v1/messages", json=body, headers=headers) as response:
            async for piece in response.aiter_bytes():
                read += piece
    except httpx.RemoteProtocolError:
        pass
    return read


def as_client_sees(steps: list[Step]) -> bytes:
    """Poe's bytes, with the model's name put back."""
    return b"".join(step for step in steps if isinstance(step, bytes)).replace(b"a-2026", b"claude-x")


async def test_a_stream_goes_on_byte_for_byte_but_for_the_models_name(settings: Settings, poe: ScriptedPoe) -> None:
    block = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"model": "other"}]}
    begun, *rest = messages_steps("Hello", " there")
    steps: list[Step] = [
        begun,
        event("ping", {"type": "ping"}),
        event("content_block_start", {"type": "content_block_start", "index": 7, "content_block": block}),
        event("content_block_stop", {"type": "content_block_stop", "index": 7}),
        *rest,
    ]
    poe.script = lambda _: Reply(steps, headers=_STREAM)
    async with opened(settings, poe) as world:
        seen = await send(await ready(world), asking())

    assert seen == as_client_sees(steps)


async def test_a_whole_answer_goes_on_as_it_came_but_for_the_models_name(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([json.dumps(WHOLE).encode()], headers={"content-type": "application/json"})
    async with opened(settings, poe) as world:
        seen = await send(await ready(world), asking(stream=False))

    assert seen == json.dumps(WHOLE | {"model": "claude-x"}).encode()


async def test_fields_betas_marks_and_tools_of_anthropics_stay(settings: Settings, poe: ScriptedPoe) -> None:
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]},
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "", "signature": "c2ln"}, {"type": "text", "text": "yes"}],
        },
        *_TURN,
    ]
    body = asking(
        messages=turns,
        context_management={"edits": []},
        metadata={"user_id": "me"},
        tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
        top_k=4,
        temperature=1.0,
    )
    async with opened(settings, poe) as world:
        await send(await ready(world), body, **{"anthropic-beta": "context-management-2025-06-27,other"})

    assert poe.queries[0].query == body | {"model": "Claude-X"}
    assert poe.queries[0].headers["anthropic-beta"] == "context-management-2025-06-27,other"
    assert poe.queries[0].headers["anthropic-version"] == "2023-06-01"


async def test_a_conversation_without_marks_is_marked_here(settings: Settings, poe: ScriptedPoe) -> None:
    turns = [*_TURN, {"role": "assistant", "content": "hi"}, *_TURN]
    async with opened(settings, poe) as world:
        await send(await ready(world), asking(messages=turns, metadata={"user_id": "me"}))

    assert b"cache_control" in poe.queries[0].body


async def test_a_beta_that_poe_refuses_is_left_out_unseen(settings: Settings, poe: ScriptedPoe) -> None:
    def refuses_once(asked: Asked) -> Reply:
        if "context_management" in asked.query:
            words = "context_management: Extra inputs are not permitted"
            return failure(400, {"message": words, "type": "invalid_request_error"})
        return rest_answer(asked.path, "Hello")

    poe.script = refuses_once
    async with opened(settings, poe) as world:
        client = await ready(world)
        seen = await send(client, asking(context_management={"edits": []}), **{"anthropic-beta": "some"})

    assert b"Hello" in seen
    assert ["anthropic-beta" in asked.headers for asked in poe.queries] == [True, False]


async def test_a_stream_that_is_cut_before_it_began_goes_to_the_next_key(settings: Settings, poe: ScriptedPoe) -> None:
    def cut_once(_: Asked) -> Reply:
        steps = messages_steps("Hello")
        return Reply([*steps[:2], CUT] if len(poe.queries) == 1 else steps, headers=_STREAM)

    poe.script = cut_once
    async with opened(settings, poe) as world:
        seen = await send(await ready(world), asking())

    assert seen == as_client_sees(messages_steps("Hello"))
    assert {asked.key for asked in poe.queries} == {ONE, TWO}


async def test_a_stream_that_is_cut_after_it_began_ends_with_an_error(settings: Settings, poe: ScriptedPoe) -> None:
    steps = messages_steps("Hello", " there")[:3]
    poe.script = lambda _: Reply([*steps, CUT], headers=_STREAM)
    async with opened(settings, poe) as world:
        seen = await send(await ready(world), asking())

    assert seen.startswith(as_client_sees(steps) + b"event: error\n")
    assert b"message_stop" not in seen


async def test_anthropics_own_client_takes_what_is_passed(settings: Settings) -> None:
    async with running_local_poe(ONE) as url:
        changed = settings.model_copy(update={"poe_base_url": url, "poe_api_keys": parse_poe_keys(ONE)})
        async with serving(changed) as served, http(served) as raw:
            assert (await raw.get("/v1/models")).status_code == 200
            async with AsyncAnthropic(api_key=TOKEN, base_url=served, max_retries=0) as client:
                turns: list[Any] = [{"role": "user", "content": "Say hello"}]
                async with client.messages.stream(model="Claude-Demo", max_tokens=50, messages=turns) as stream:
                    streamed = await stream.get_final_message()
                whole = await client.messages.create(model="Claude-Demo", max_tokens=50, messages=turns)

    assert streamed.model == whole.model == "Claude-Demo"
    assert [block.to_dict().get("text") for block in streamed.content] == [
        block.to_dict().get("text") for block in whole.content
    ]
    assert streamed.id.startswith("req_poe_")
    assert streamed.usage.input_tokens == whole.usage.input_tokens > 0
