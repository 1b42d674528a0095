"""What callers send is taken in within bounds: of a body, of all together, and of what one becomes when decoded."""

import asyncio
import gc
import gzip
import json
import os
import threading
import zlib
from collections.abc import Callable
from typing import Any, Final

import httpx
import orjson
import pytest
from openai import AsyncOpenAI

from proxy.core.chat_request import Text
from proxy.core.failures import InvalidRequest, TooManyBodies, UnsupportedEncoding
from proxy.dialects.bodies import validation
from proxy.dialects.bodies.json_outline import read_large_json
from proxy.dialects.openai_chat.parse import parse_chat_request
from proxy.server.http.body_budget import BodyBudget, BodyShare
from proxy.server.http.content_encoding import decoded, encoding_of
from proxy.settings import Settings
from proxy.upstreams.poe_bot.plan import build_plan
from proxy.upstreams.poe_bot.query import build_query_body
from tests.support.scripted_poe import ScriptedPoe
from tests.support.serving import http, serving
from tests.support.waiting import wait_until

HELLO: Final[list[Any]] = [{"role": "user", "content": "Hello"}]
CHAT: Final = {"model": "Echo", "messages": HELLO}
MB: Final = 1024 * 1024


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


async def test_a_large_body_waits_for_its_place_and_others_behind_it() -> None:
    bodies, order = BodyBudget(4 * MB), list[str]()
    first = BodyShare(bodies, "alice")
    await first.grow(2 * MB)

    async def come(name: str, size: int) -> None:
        room = BodyShare(bodies, "alice")
        await room.grow(size)
        order.append(name)
        room.leave()

    tasks = [asyncio.create_task(come("second", 2 * MB)), asyncio.create_task(come("third", MB // 2))]
    await asyncio.sleep(0)
    await BodyShare(bodies, "bob").grow(1000)  # a short one does not wait behind them
    assert order == []
    first.leave()
    await asyncio.gather(*tasks)

    assert order == ["second", "third"]
    assert bodies.taken_bytes == 1000


async def test_a_large_body_without_a_place_in_time_is_told_to_come_again() -> None:
    bodies = BodyBudget(4 * MB, wait_s=0.01)
    held = [BodyShare(bodies, name) for name in ("bob", "carol")]
    for room in held:
        await room.grow(3 * MB // 2)

    with pytest.raises(TooManyBodies) as caught:
        await BodyShare(bodies, "alice").grow(MB)
    for room in held:
        room.leave()

    assert caught.value.retry_after_s == 1
    assert bodies.taken_bytes == 0


async def test_who_leaves_while_waiting_leaves_no_gap() -> None:
    """At whichever moment: while it waits, or just when its place has come."""
    bodies = BodyBudget(4 * MB)
    other = BodyShare(bodies, "bob")
    await other.grow(MB)
    first = BodyShare(bodies, "carol")
    await first.grow(2 * MB)
    waiting = [asyncio.create_task(BodyShare(bodies, "alice").grow(2 * MB)) for _ in range(2)]
    await asyncio.sleep(0)

    waiting[0].cancel()
    first.leave()  # the second one's place
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    other.leave()

    assert bodies.taken_bytes == 0


async def test_a_caller_takes_half_of_the_room_at_most_and_stands_in_nobodys_way() -> None:
    """Its next large body waits for its own, not before others; its next short one is refused."""
    bodies, order = BodyBudget(4 * MB), list[str]()
    greedy = [BodyShare(bodies, "greedy") for _ in range(2)]
    for room in greedy:
        await room.grow(MB)

    async def come(caller: str) -> None:
        await BodyShare(bodies, caller).grow(MB)
        order.append(caller)

    its_next = asyncio.create_task(come("greedy"))
    await asyncio.sleep(0)
    with pytest.raises(TooManyBodies):
        await BodyShare(bodies, "greedy").grow(1000)
    await asyncio.wait_for(come("alice"), 5)
    assert order == ["alice"]
    greedy[0].leave()
    await its_next

    assert order == ["alice", "greedy"]


async def test_two_callers_with_keys_of_their_own_have_a_share_each(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.server.context.BodyBudget", lambda _: BodyBudget(1_000_000, wait_s=0.05))
    changed = settings.model_copy(update={"poe_api_keys": (), "access_tokens": (), "allow_caller_keys": True})
    async with (
        serving(changed) as base_url,
        http(base_url, "poe-key-of-one") as one,
        http(base_url, "another") as other,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(base_url).port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer poe-key-of-one\r\n")
        writer.write(b"expect: 100-continue\r\ncontent-length: 600000\r\n\r\n")
        await reader.readline()  # it is known who sends it
        writer.write(b" " * 90_000)  # for which four times as much is kept
        large = {**CHAT, "x": "x" * 100_000}

        async def is_refused() -> bool:
            return (await one.post("/v1/chat/completions", json=large)).status_code == 503

        await wait_until(is_refused, "the first has its share")
        served = await other.post("/v1/chat/completions", json=large)
        writer.close()

    assert served.status_code == 200


async def test_short_bodies_are_bounded_too() -> None:
    bodies = BodyBudget(MB)
    for number in range(10):
        await BodyShare(bodies, f"caller {number}").grow(100_000)

    with pytest.raises(TooManyBodies):
        await BodyShare(bodies, "one more").grow(100_000)


async def test_what_a_body_took_is_free_again_however_its_call_ends(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, poe: ScriptedPoe
) -> None:
    """Answered, refused, no JSON, with a client who left."""
    kept: list[BodyBudget] = []

    def bodies(size: int) -> BodyBudget:
        kept.append(BodyBudget(size))
        return kept[-1]

    monkeypatch.setattr("proxy.server.context.BodyBudget", bodies)
    async with serving(settings) as base_url, http(base_url) as raw:
        padded = {**CHAT, "x": "x" * 400_000}
        for body in (json.dumps(CHAT), json.dumps(padded), "{", json.dumps({**padded, "n": 0}), " " * 300_000):
            await raw.post("/v1/chat/completions", content=body)
        await raw.post("/v1/chat/completions", json={**padded, "stream": True})
        writer = (await asyncio.open_connection("127.0.0.1", httpx.URL(base_url).port))[1]
        token = raw.headers["authorization"]
        writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n".encode())
        writer.write(b"content-length: 1000000\r\n\r\n{")
        await wait_until(
            lambda: kept[0].taken_bytes == 65_540, "the body has its place: four times what came, and a little"
        )
        writer.close()

        await wait_until(lambda: kept[0].taken_bytes == 0, "every place is free")

    assert len(poe.queries) == 3


async def test_a_large_body_beyond_all_room_is_a_503_and_a_short_one_is_served(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.server.context.BodyBudget", lambda _: BodyBudget(400_000, wait_s=0.05))
    async with serving(settings) as base_url, http(base_url) as raw:
        large = await raw.post("/v1/chat/completions", json={**CHAT, "x": "x" * 400_000})
        short = await raw.post("/v1/chat/completions", json=CHAT)

    assert (large.status_code, large.json()["error"]["code"]) == (503, "too_many_large_requests")
    assert large.headers["retry-after"] == "1"
    assert short.status_code == 200


@pytest.mark.parametrize(("padding", "where"), [(1_000, "loop"), (300_000, "thread")])
async def test_a_large_body_is_parsed_and_planned_beside_the_event_loop(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, padding: int, where: str
) -> None:
    seen: list[str] = []

    def watched(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            seen.append("loop" if threading.current_thread() is threading.main_thread() else "thread")
            return work(*arguments)

        return run

    monkeypatch.setattr(validation, "read_large_json", watched(read_large_json))
    monkeypatch.setattr("proxy.gateway.bot_way._prepared", watched(_prepared()))
    async with serving(settings) as base_url, http(base_url) as raw:
        answer = await raw.post("/v1/chat/completions", json={**CHAT, "x": "x" * padding})

    assert answer.status_code == 200
    assert set(seen) == {where}


def _prepared() -> Callable[..., Any]:
    from proxy.gateway import bot_way  # noqa: PLC0415 - before it is patched

    return bot_way._prepared  # noqa: SLF001 - the step that is watched


async def test_a_long_conversation_reaches_the_bot_as_it_was(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    """Through all that is done in pieces: text with escapes, in scripts of every width, calls and their results."""
    text = 'line\n"quoted" \\ back 中文 é 😀\t' * 40_000
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"x": text})}}
    messages: list[Any] = [
        {"role": "user", "content": text},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": text},
        {"role": "user", "content": [{"type": "text", "text": text}, {"type": "text", "text": "end"}]},
    ]
    await client.chat.completions.create(model="Echo", messages=messages)

    first, called, result, last = [one["content"] for one in poe.queries[0].query["query"]]
    assert first == text
    assert json.loads(called)[0]["function"]["arguments"] == json.dumps({"x": text})
    assert json.loads(result)[0]["content"] == text
    assert last == f"{text}\nend"


def test_much_text_is_written_in_pieces_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one long text or in many of some length, in messages, calls and results; it comes to the same."""
    text = 'a "quoted" \\ \n 中😀' * 20_000
    calls = [{"id": f"c{at}", "function": {"name": "f", "arguments": text}} for at in range(4)]
    results = [{"role": "tool", "tool_call_id": f"c{at}", "content": text} for at in range(4)]
    said = [{"role": "user", "content": text}] * 4 + [{"role": "user", "content": text * 2, "seed": 10**30}]
    asked, *_ = parse_chat_request(
        json.dumps({"messages": [*said, {"role": "assistant", "tool_calls": calls}, *results]}).encode()
    )
    monkeypatch.setattr("proxy.upstreams.poe_bot.query._LONG_CHARACTERS", 10**9)
    monkeypatch.setattr("proxy.upstreams.poe_bot.tools._LONG_CHARACTERS", 10**9)
    whole = build_query_body(build_plan(asked).query)
    monkeypatch.undo()
    sizes = list[int]()

    def watched(dumps: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            written = dumps(*arguments, **options)
            sizes.append(len(written))
            return written

        return run

    monkeypatch.setattr("orjson.dumps", watched(orjson.dumps))
    monkeypatch.setattr("json.dumps", watched(json.dumps))

    assert build_query_body(build_plan(asked).query) == whole
    assert max(sizes) <= 1.5 * MB
    assert len(whole) > 4 * MB


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate)],
)
@pytest.mark.parametrize("padding", [0, 3 * MB])
async def test_an_encoded_body_is_decoded(
    raw: httpx.AsyncClient, encoding: str, encode: Callable[[bytes], bytes], padding: int
) -> None:
    body = encode(json.dumps({**CHAT, "x": "x" * padding}).encode())
    answer = await raw.post("/v1/chat/completions", content=body, headers={"content-encoding": encoding})

    assert answer.json()["choices"][0]["message"]["content"] == "Hello"


@pytest.mark.parametrize("encoding", ["zstd", "br", "gzip, gzip", "compress", "GZIP;q=1", "é"])
async def test_another_encoding_is_a_415_that_names_those_we_know(raw: httpx.AsyncClient, encoding: str) -> None:
    answer = await raw.post("/v1/chat/completions", content=b"x", headers=[(b"content-encoding", encoding.encode())])

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (415, "unsupported_encoding")
    assert "gzip, deflate" in error["message"]
    assert answer.headers["accept-encoding"] == "gzip, deflate"


async def test_a_small_body_that_would_become_huge_is_a_413(settings: Settings) -> None:
    bomb = gzip.compress(b" " * 40 * MB)
    async with (
        serving(settings.model_copy(update={"max_body_bytes": 2 * MB})) as base_url,
        http(base_url) as raw,
    ):
        answer = await raw.post("/v1/chat/completions", content=bomb, headers={"content-encoding": "gzip"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    "body",
    [b"", b"no gzip", gzip.compress(b"{}" * 1000)[:-5], gzip.compress(b"{}") + b"more", gzip.compress(b"{}") * 2],
    ids=["empty", "other", "cut", "followed", "twice"],
)
async def test_what_is_not_encoded_as_it_says_is_a_400(raw: httpx.AsyncClient, body: bytes) -> None:
    answer = await raw.post("/v1/chat/completions", content=body, headers={"content-encoding": "gzip"})

    assert answer.status_code == 400
    assert "Content-Encoding" in answer.json()["error"]["message"]


def test_decoding_makes_a_megabyte_at_most_at_a_time() -> None:
    sizes = [len(piece) for piece in decoded(gzip.compress(b"x" * 10 * MB), "gzip")]

    assert sum(sizes) == 10 * MB
    assert max(sizes) <= MB


def test_an_encoding_is_known_by_its_name() -> None:
    assert [encoding_of(name) for name in ("", "identity", " GZip ", "deflate")] == ["", "", "gzip", "deflate"]
    with pytest.raises(UnsupportedEncoding):
        encoding_of("br")
    with pytest.raises(InvalidRequest):
        list(decoded(b"x", "deflate"))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_large_prompt_is_not_kept_when_its_call_is_over(raw: httpx.AsyncClient, *, stream: bool) -> None:
    """Sanic's context knows the last request, and a timer knows the context that it was set in."""
    prompt = f"{os.urandom(8).hex()} " * 40_000
    body = {**CHAT, "messages": [{"role": "user", "content": prompt}], "stream": stream}

    def kept() -> int:
        texts = (one for one in gc.get_objects() if isinstance(one, Text))
        return sum(one.text == prompt for one in texts)

    gc.collect()
    gc.freeze()  # what other tests left in this process would be looked through each time
    gc.disable()
    try:
        await raw.post("/v1/chat/completions", json=body)
        await wait_until(lambda: not kept(), "nobody knows the prompt any more")
    finally:
        gc.enable()
        gc.unfreeze()


async def test_one_that_gave_up_waiting_stands_in_nobodys_way() -> None:
    bodies = BodyBudget(100, wait_s=0.01)
    await bodies.take(40, "alice")
    await bodies.take(30, "bob")
    with pytest.raises(TooManyBodies):
        await bodies.take(30, "carol")

    async with asyncio.timeout(5):
        await bodies.take(5, "dave")

    assert bodies.taken_bytes == 75


async def test_who_announces_much_and_sends_little_takes_no_room_from_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.server.context.BodyBudget", lambda _: BodyBudget(8_000_000, wait_s=0.2))
    async with serving(settings) as base_url, http(base_url) as raw:
        token = raw.headers["authorization"]
        writers = []
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(base_url).port)
            writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n".encode())
            writer.write(b"content-length: 4000000\r\n\r\n{")
            writers.append(writer)
        large = await raw.post("/v1/chat/completions", json={**CHAT, "x": "x" * 400_000})
        for writer in writers:
            writer.close()

    assert large.status_code == 200


async def test_a_whole_body_keeps_no_more_room_than_it_has_bytes() -> None:
    """While it comes it is made room for ahead, which for one of unknown length is much more than it has."""
    bodies = BodyBudget(1_000_000)
    room = BodyShare(bodies, "alice")
    await room.grow(400_000)

    room.shrink(100_000)

    assert bodies.taken_bytes == 100_000

    room.leave()

    assert bodies.taken_bytes == 0
