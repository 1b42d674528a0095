"""Chat completions over a real socket, with OpenAI's own client."""

import asyncio
import json
import socket
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from sanic import Sanic

from proxy.server.app import APP_NAME
from tests.support.scripted_poe import (
    CUT,
    DONE,
    META,
    Asked,
    Reply,
    ScriptedPoe,
    answer,
    error_event,
    event,
    failure,
    replace,
    text,
)
from tests.support.serving import TOKEN, http, sdk, serving
from tests.support.streams import post
from tests.support.waiting import wait_until

HELLO: list[Any] = [{"role": "user", "content": "Hello 🙂 你好"}]


async def streamed(client: AsyncOpenAI, **more: Any) -> list[Any]:
    """Every chunk of a streamed answer."""
    stream = await client.chat.completions.create(model="Echo", messages=HELLO, stream=True, **more)
    return [chunk async for chunk in stream]


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def test_a_plain_completion_says_what_the_bot_said(client: AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(model="Echo", messages=HELLO)

    assert completion.choices[0].message.content == "Hello 🙂 你好"
    assert completion.choices[0].message.role == "assistant"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == "Echo"


async def test_a_stream_has_one_chunk_an_event_and_one_id(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    poe.script = lambda _: answer("one ", "two ", "three")

    chunks = await streamed(client)

    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "one ", "two ", "three", None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, None, "stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("together", [1, 2, 7, 60])
@pytest.mark.parametrize("limits", [{}, {"max_tokens": 5_000}, {"n": 2}, {"stop": ["never"]}])
async def test_however_many_texts_come_together_each_is_a_chunk(
    client: AsyncOpenAI, poe: ScriptedPoe, line_end: bytes, together: int, limits: dict[str, Any]
) -> None:
    """Whatever they say, and whatever stands among them."""
    words = ["plain ", 'a "quote", ', "你好 🙂 ", "\\ and \n ", "[link](x) ", "more "]
    said = [f"{number}:{words[number % len(words)]}" for number in range(120)]
    events = [text(one) for one in said]
    writes = [b"".join(events[at : at + together]) for at in range(0, len(events), together)]
    writes[len(writes) // 2] += b": a comment\n\n" + META
    poe.script = lambda _: Reply([one.replace(b"\n", line_end) for one in [*writes, DONE]])

    chunks = await streamed(client, **limits)

    for index in range(limits.get("n", 1)):
        contents = [one.choices[0].delta.content for one in chunks if one.choices[0].index == index]
        assert "".join(filter(None, contents)) == "".join(said)
        if not limits.get("stop"):  # that holds back what could be its beginning
            assert [content for content in contents if content] == said


async def test_equal_pieces_are_not_taken_for_repeats(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    """A proxy that dropped a chunk equal to the one before would eat one 'ha'."""
    poe.script = lambda _: answer("ha", "ha", "ha")

    assert text_of(await streamed(client)) == "hahaha"


async def test_usage_is_the_same_streamed_or_not(client: AsyncOpenAI) -> None:
    chunks = await streamed(client, stream_options={"include_usage": True})
    whole = await client.chat.completions.create(model="Echo", messages=HELLO)

    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert whole.usage
    assert whole.usage.prompt_tokens > whole.usage.completion_tokens > 0
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


async def test_characters_split_over_network_reads_arrive_whole(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    """Each byte of the answer is a network write of its own."""
    raw = (
        text("naïve 🙂👩‍👩‍👧 你好").replace(b"\\u", b"\\u")
        + 'event: text\r\ndata: {"text": "é🙂"}\r\n\r\n'.encode()
        + DONE
    )
    poe.script = lambda _: Reply([bytes([byte]) for byte in raw])

    assert text_of(await streamed(client)) == "naïve 🙂👩‍👩‍👧 你好é🙂"


async def test_fifty_streams_at_once_do_not_mix(client: AsyncOpenAI) -> None:
    async def one(number: int) -> str:
        stream = await client.chat.completions.create(
            model="Echo", messages=[{"role": "user", "content": f"stream {number}"}], stream=True
        )
        return text_of([chunk async for chunk in stream])

    answers = await asyncio.gather(*(one(number) for number in range(50)))

    assert answers == [f"stream {number}" for number in range(50)]


#: More than Sanic's buffer takes before it stops reading, and by far.
LARGE = pytest.mark.parametrize("characters", [5, 70_000, 1_000_000])


@LARGE
async def test_a_client_that_leaves_closes_the_connection_to_poe(
    client: AsyncOpenAI, poe: ScriptedPoe, characters: int
) -> None:
    never = asyncio.Event()
    poe.script = lambda _: Reply([text("begin"), never, DONE])
    asked: Any = [{"role": "user", "content": "x" * characters}]
    stream = await client.chat.completions.create(model="Echo", messages=asked, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content == "begin":
            break
    await stream.close()

    await wait_until(poe.queries[0].left.is_set, "Poe sees the connection closed", within_s=1)


@LARGE
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_before_the_first_text_closes_the_connection_to_poe(
    client: AsyncOpenAI, poe: ScriptedPoe, characters: int, *, stream: bool
) -> None:
    poe.script = lambda _: Reply([META, asyncio.Event(), DONE])
    asked: Any = [{"role": "user", "content": "x" * characters}]
    asking: Any = client.chat.completions.create(model="Echo", messages=asked, stream=stream)
    call = asyncio.create_task(asking)
    await wait_until(lambda: bool(poe.queries), "Poe was asked")
    call.cancel()

    await wait_until(poe.queries[0].left.is_set, "Poe sees the connection closed", within_s=1)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_bot_is_not_found(client: AsyncOpenAI, poe: ScriptedPoe, stream: bool) -> None:
    poe.script = lambda _: error_event("Bot does not exist")

    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="Nobody", messages=HELLO, stream=stream)

    assert caught.value.code == "model_not_found"
    assert len(poe.queries) == 1, "a caller's mistake is not tried with another key"


@pytest.mark.parametrize(
    "name", ["../usage/current_balance", "a?b", "a#b", "..", "/y", "x/", "%2e%2e", "\n", "a" * 101]
)
async def test_a_name_that_is_no_bots_never_reaches_poe(client: AsyncOpenAI, poe: ScriptedPoe, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model=name, messages=HELLO)

    assert caught.value.param == "model"
    assert poe.queries == []
    assert [asked.path for asked in poe.other if asked.method == "POST"] == []


async def test_a_bots_name_is_one_encoded_path_segment(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    await client.chat.completions.create(model="My Bot+é&=", messages=HELLO)

    assert poe.queries[0].path == "/bot/My%20Bot%2B%C3%A9%26%3D"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [*HELLO, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": 2.5}, "temperature"),
        ({"stop": [1]}, "stop[0]"),
        ({"logit_bias": {"50256": 101}}, "logit_bias.50256"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 11}, "n"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
    ],
)
async def test_a_bad_field_is_a_400_that_names_it(
    raw: httpx.AsyncClient, poe: ScriptedPoe, change: dict[str, Any], param: str
) -> None:
    response = await raw.post("/v1/chat/completions", json={"model": "Echo", "messages": HELLO, **change})

    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert f"'{param}" in error["message"]
    assert poe.queries == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"messages": [{"role":"user","content":"\\ud83d"}]}']
)
async def test_a_body_that_is_no_json_object_is_a_400(raw: httpx.AsyncClient, body: bytes) -> None:
    response = await raw.post("/v1/chat/completions", content=body)

    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_unknown_fields_are_ignored(client: AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(
        model="Echo", messages=HELLO, extra_body={"telemetry": {"deep": [1]}}, user="me", seed=3, top_p=0.5
    )

    assert completion.choices[0].message.content == "Hello 🙂 你好"


async def test_poe_is_sent_the_conversation_in_its_own_terms(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    await client.chat.completions.create(
        model="Echo",
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "developer", "content": "and kind"},
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            {"role": "assistant", "content": "yes?"},
            {"role": "user", "content": "three"},
        ],
        temperature=0.3,
        stop=["END", " "],
        logit_bias={"50256": -100},
    )

    query = poe.queries[0].query
    assert [(message["role"], message["content"]) for message in query["query"]] == [
        ("system", "be brief"),
        ("system", "and kind"),
        ("user", "one\ntwo"),
        ("bot", "yes?"),
        ("user", "three"),
    ]
    assert (query["temperature"], query["stop_sequences"], query["logit_bias"]) == (0.3, ["END"], {"50256": -100.0})
    assert (query["version"], query["type"]) == ("1.2", "query")


@pytest.mark.parametrize("stream", [False, True])
async def test_replacements_neither_double_nor_lose_text(client: AsyncOpenAI, poe: ScriptedPoe, stream: bool) -> None:
    """Progress lines vanish; the last replacement is the beginning of what follows."""
    poe.script = lambda _: Reply(
        [
            META,
            replace("Thinking..."),
            replace("Thinking... (1s elapsed)"),
            replace("Thinking... (2s elapsed)"),
            replace("The an"),
            text("swer is "),
            text("42."),
            DONE,
        ]
    )

    if stream:
        assert text_of(await streamed(client)) == "The answer is 42."
    else:
        completion = await client.chat.completions.create(model="Echo", messages=HELLO)
        assert completion.choices[0].message.content == "The answer is 42."


async def test_a_failure_after_the_first_text_is_an_error_event_and_a_body_that_breaks_off(
    raw: httpx.AsyncClient, poe: ScriptedPoe
) -> None:
    """Without ``[DONE]`` and without HTTP's own end: some clients see only the one or the other."""
    poe.script = lambda _: Reply([text("Half an ans"), CUT])

    response, breaks_off = await post(raw, {"model": "Echo", "messages": HELLO, "stream": True})

    assert (response.status_code, breaks_off) == (200, True)
    events = [line for line in response.text.split("\n\n") if line]
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "upstream_error"
    assert "[DONE]" not in response.text
    assert len(poe.queries) == 1, "nothing is sent to Poe again after visible text"


async def test_a_client_raises_when_an_answer_breaks_off(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([text("Half an ans"), CUT])

    with pytest.raises(openai.APIError):
        await streamed(client)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_without_done_is_an_error(client: AsyncOpenAI, poe: ScriptedPoe, stream: bool) -> None:
    """fastapi-poe's client takes this for a whole answer."""
    poe.script = lambda _: Reply([text("Half an ans")])

    whole = client.chat.completions.create(model="Echo", messages=HELLO)
    with pytest.raises(openai.APIError):
        await (streamed(client) if stream else whole)
    whole.close()


@pytest.mark.parametrize(
    ("reply", "raised", "code"),
    [
        (failure(500), openai.InternalServerError, "upstream_error"),
        (error_event("Internal server error"), openai.InternalServerError, "upstream_error"),
        (failure(401), openai.InternalServerError, "upstream_auth"),
        (failure(402, {"message": "You've used up your points!"}), openai.RateLimitError, "insufficient_quota"),
        (
            error_event("This bot needs more points to answer your request."),
            openai.RateLimitError,
            "insufficient_quota",
        ),
        (failure(429, retry_after="7"), openai.RateLimitError, "rate_limit_exceeded"),
        (error_event("x", error_type="subscription_required"), openai.PermissionDeniedError, "model_not_available"),
        (error_event("x", error_type="user_message_too_long"), openai.BadRequestError, "context_length_exceeded"),
        (failure(403), openai.PermissionDeniedError, "content_policy_violation"),
        (failure(404), openai.NotFoundError, "model_not_found"),
        (
            Reply([b"<html>busy</html>"], 200, {"content-type": "text/html"}),
            openai.InternalServerError,
            "upstream_error",
        ),
        (Reply([], 302, {"location": "/elsewhere"}), openai.InternalServerError, "upstream_error"),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_poes_failures_before_any_text_get_their_real_status(
    client: AsyncOpenAI, poe: ScriptedPoe, reply: Reply, raised: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    poe.script = lambda _: reply

    with pytest.raises(raised) as caught:
        await client.chat.completions.create(model="Echo", messages=HELLO, stream=stream)

    assert caught.value.code == code


async def test_poes_words_are_not_passed_on(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = lambda asked: error_event(f"internal trouble with {asked.key}")

    response = await raw.post("/v1/chat/completions", json={"model": "Echo", "messages": HELLO})

    assert "internal trouble" not in response.text
    assert "poe-key" not in response.text


async def test_silence_is_filled_with_heartbeats(settings: Any, poe: ScriptedPoe) -> None:
    """After the hold time the stream opens without text, and comments keep it alive."""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([META, go_on, text("late"), DONE])
    impatient = settings.model_copy(update={"commit_hold_s": 0.05, "heartbeat_s": 0.05})
    async with serving(impatient) as base_url, http(base_url) as raw:
        body = {"model": "Echo", "messages": HELLO, "stream": True}
        async with raw.stream("POST", "/v1/chat/completions", json=body) as response:
            received = ""
            async for piece in response.aiter_text():
                received += piece
                if received.count(": ping\n\n") == 3:
                    go_on.set()

    assert received.startswith('data: {"id":')
    assert received.count('"role":"assistant"') == 1
    assert received.endswith("data: [DONE]\n\n")
    assert '"content":"late"' in received


async def test_behind_the_heartbeats_failover_goes_on(settings: Any, poe: ScriptedPoe) -> None:
    fail_now = asyncio.Event()

    def script(_: Asked) -> Reply:
        if len(poe.queries) == 1:
            return Reply([META, fail_now, CUT])
        return answer("from the second key")

    poe.script = script
    impatient = settings.model_copy(update={"commit_hold_s": 0.05, "heartbeat_s": 0.05})
    async with serving(impatient) as base_url, sdk(base_url) as client:
        stream = await client.chat.completions.create(model="Echo", messages=HELLO, stream=True)
        fail_now.set()
        chunks = [chunk async for chunk in stream]

    assert text_of(chunks) == "from the second key"
    assert len(set(poe.keys_used())) == 2


async def test_plain_text_and_all_else_come_in_the_order_that_poe_sent_them(
    client: AsyncOpenAI, poe: ScriptedPoe
) -> None:
    """Plain text passes decoder and translator by; it overtakes nothing."""
    pairs = [(f"{number} ", f"{number}{' [x]' * (number % 5 == 0)}; ") for number in range(100)]
    go_on = [asyncio.Event() for _ in pairs]
    writes = [text(one) + text(two) for one, two in pairs]
    poe.script = lambda _: Reply([step for steps in zip(writes, go_on, strict=True) for step in steps] + [DONE])
    stream = await client.chat.completions.create(model="Echo", messages=HELLO, stream=True)
    said: list[str] = []
    async for chunk in stream:
        if content := chunk.choices[0].delta.content:
            said.append(content)
            go_on[(len(said) - 1) // 2].set()

    assert said == [one for pair in pairs for one in pair]


async def test_a_slow_reader_gets_every_piece_in_order(proxy: str, poe: ScriptedPoe) -> None:
    """Pieces that find no room wait in their place, and few wait here: Poe is read no further."""

    def waiting_bytes() -> int:
        connections = Sanic.get_app(APP_NAME).ctx.connections
        return max((one.transport.get_write_buffer_size() for one in connections if one.transport), default=0)

    pieces = [f"{number:05d}" + "x" * 4000 for number in range(4000)]  # more than the kernel holds for us
    poe.script = lambda _: Reply([META, *map(text, pieces), DONE])
    reader, writer = await asyncio.open_connection(*proxy.removeprefix("http://").split(":"), limit=16_384)
    body = json.dumps({"model": "Echo", "stream": True, "messages": [{"role": "user", "content": "go"}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n"
    writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    await reader.readuntil(b"\r\n\r\n")
    await wait_until(lambda: waiting_bytes() > 0, "nobody reads, and the kernel is full")

    wire, most = b"", 0
    while data := await reader.read(100_000):
        wire += data
        most = max(most, waiting_bytes())
    writer.close()

    said = "".join(
        json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
        for line in dechunked(wire).decode().splitlines()
        if line.startswith("data: {")
    )
    assert said == "".join(pieces)
    assert most < 200_000


async def post_raw(proxy: str, path: str, body: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request on a connection that holds little; what comes back is read as it is on the wire."""
    host, _, port = proxy.removeprefix("http://").partition(":")
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.setblocking(False)  # noqa: FBT003 - the standard library's signature
    await asyncio.get_running_loop().sock_connect(narrow, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=narrow, limit=4096)
    sent = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n"
    writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(sent) + sent)
    return reader, writer


async def test_thoughts_that_are_not_shown_do_not_end_a_legacy_completion(proxy: str, poe: ScriptedPoe) -> None:
    """They come to no bytes, and a chunk of no bytes is HTTP's end of a body."""
    steps = [asyncio.Event() for _ in range(3)]
    one, two, three, last = map(text, ["*Thinking...*\n\n> one\n", "> two\n", "> three\n\nHello", " world"])
    poe.script = lambda _: Reply([META, one, steps[0], two, steps[1], three, steps[2], last, DONE])
    reader, writer = await post_raw(proxy, "/v1/completions", {"model": "Echo", "prompt": "x", "stream": True})
    for step in steps:
        asyncio.get_running_loop().call_later(0.1, step.set)
        await step.wait()
    wire = (await reader.read(-1)).partition(b"\r\n\r\n")[2]
    writer.close()

    assert wire.count(b"0\r\n\r\n") == 1
    assert dechunked(wire).endswith(b"data: [DONE]\n\n")
    assert b"world" in dechunked(wire)


async def test_what_is_said_once_is_not_lost_where_the_client_reads_slowly(proxy: str, poe: ScriptedPoe) -> None:
    """The echo of a legacy completion stands before its first text, which waits until the client has read more."""
    flood, pause = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().call_later(0.3, flood.set)
    asyncio.get_running_loop().call_later(0.6, pause.set)
    poe.script = lambda _: Reply(
        [text("*Thinking...*\n\n> one\n"), flood, text("\nHello" + "x" * 6_000_000), text(" world"), DONE]
    )
    body = {"model": "Echo", "prompt": "Say: ", "echo": True, "stream": True}
    reader, writer = await post_raw(proxy, "/v1/completions", body)
    await pause.wait()
    wire = (await reader.read(-1)).partition(b"\r\n\r\n")[2]
    writer.close()

    said = "".join(
        json.loads(line[6:])["choices"][0]["text"]
        for line in dechunked(wire).decode().splitlines()
        if line.startswith("data: {")
    )
    assert said == "Say: Hello" + "x" * 6_000_000 + " world"


async def test_large_ends_of_several_choices_reach_a_client_that_reads_slowly(proxy: str, poe: ScriptedPoe) -> None:
    """Large batches that wait are cut when they are sent, and what is cut off is sent, too."""
    flood, pause = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().call_later(0.3, flood.set)
    asyncio.get_running_loop().call_later(0.9, pause.set)
    large = event("json", {"choices": [{"delta": {"content": "x" * 1_500_000}}]})
    poe.script = lambda _: Reply([text("begin "), flood, large + DONE])
    body = {"model": "Echo", "stream": True, "n": 3, "messages": HELLO}
    reader, writer = await post_raw(proxy, "/v1/chat/completions", body)
    await pause.wait()
    wire = dechunked((await reader.read(-1)).partition(b"\r\n\r\n")[2])
    writer.close()

    said = ["", "", ""]
    for line in wire.decode().splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                said[choice["index"]] += choice["delta"].get("content") or ""
    assert said == ["begin " + "x" * 1_500_000] * 3
    assert wire.endswith(b"data: [DONE]\n\n")


async def test_who_leaves_while_the_rest_waits_leaves_nothing_to_the_next(proxy: str, poe: ScriptedPoe) -> None:
    """Poe has sent all, the client has not read it and hangs up: the connection to Poe is used by another client."""
    flood, more, rest = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def script(asked: Asked) -> Reply:
        if asked.query["query"][-1]["content"] == "alice":
            return Reply(
                [text("begin "), flood, text("x" * 6_000_000), more, text("more"), rest, text("ALICE-SECRET"), DONE]
            )
        return answer("hello bob")

    poe.script = script
    alice = {"model": "Echo", "stream": True, "messages": [{"role": "user", "content": "alice"}]}
    reader, writer = await post_raw(proxy, "/v1/chat/completions", alice)
    await reader.readuntil(b"begin ")
    flood.set()
    await wait_until(lambda: not reader._transport.is_reading(), "nobody reads any more")  # type: ignore[attr-defined]  # noqa: SLF001
    for step in (more, rest, asyncio.Event()):
        pause = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, pause.set)
        await pause.wait()
        step.set()
    writer.transport.abort()
    async with http(proxy) as raw:
        for _ in range(3):
            bob = await raw.post(
                "/v1/chat/completions", json={**alice, "messages": [{"role": "user", "content": "bob"}]}
            )
            assert "ALICE" not in bob.text
            assert "hello bob" in bob.text


def dechunked(wire: bytes) -> bytes:
    """The body of a chunked answer."""
    body = b""
    while wire:
        size, _, wire = wire.partition(b"\r\n")
        length = int(size, 16)
        body, wire = body + wire[:length], wire[length + 2 :]
    return body
