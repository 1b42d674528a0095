"""What clients send beyond plain text, over a real socket with OpenAI's own client: tools, JSON, limits, choices."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from proxy.gateway.key_source import PoolKeySource
from proxy.ledger.streams import StreamEntry, StreamReader
from proxy.server.observability.call_log import CallLog, Ended
from proxy.settings import Settings
from proxy.store.redis import RedisStore
from tests.support.scripted_poe import (
    DONE,
    META,
    Asked,
    Reply,
    ScriptedPoe,
    answer,
    echo,
    error_event,
    event,
    failure,
    replace,
    text,
)
from tests.support.serving import KEYS, sdk, serving
from tests.support.waiting import wait_until

HELLO: Final[list[Any]] = [{"role": "user", "content": "hello"}]
WEATHER: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/city"}},
            "$defs": {"city": {"type": "string"}},
            "additionalProperties": False,
        },
        "strict": True,
    },
}
WIDTH: Final[dict[str, Any]] = {
    "type": "json_schema",
    "json_schema": {
        "name": "box",
        "schema": {"type": "object", "required": ["width"], "properties": {"width": {"type": "integer"}}},
    },
}


def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
    """A json event as Poe sends it when tools are in play."""
    return event("json", {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


def call(index: int, **fields: Any) -> bytes:
    return chunk({"tool_calls": [{"index": index, **fields}]})


TWO_CALLS: Final = Reply(
    [
        META,
        text("Let me look."),
        call(0, id="call_0", type="function", function={"name": "get_weather", "arguments": ""}),
        call(0, function={"arguments": '{"city": '}),
        call(0, function={"arguments": '"Oslo"}'}),
        call(1, id="call_1", type="function", function={"name": "get_weather", "arguments": '{"city": "Bergen"}'}),
        chunk({}, "tool_calls"),
        DONE,
    ]
)


async def ask(client: AsyncOpenAI, *, stream: bool, **more: Any) -> Any:
    """The completion, whichever way it came: a stream is put together by the SDK itself."""
    more = {"model": "Echo", "messages": HELLO, **more}
    if not stream:
        return await client.chat.completions.create(**more)
    async with client.chat.completions.stream(**more, stream_options={"include_usage": True}) as events:
        try:
            return await events.get_final_completion()
        except openai.LengthFinishReasonError as error:
            return error.completion


@pytest.mark.parametrize("stream", [False, True])
async def test_calls_and_their_results_go_round(client: AsyncOpenAI, poe: ScriptedPoe, stream: bool) -> None:
    """Two calls at once, and their results sent back as any OpenAI program does."""
    poe.script = lambda _: TWO_CALLS if len(poe.queries) == 1 else answer("It rains in both.")

    first = await ask(client, stream=stream, tools=[WEATHER])
    message = first.choices[0].message
    results = [
        {"role": "tool", "tool_call_id": made.id, "content": f"rain {number}"}
        for number, made in enumerate(message.tool_calls)
    ]
    history = [*HELLO, message.model_dump(exclude_unset=True, include={"role", "content", "tool_calls"}), *results]
    second = await ask(client, stream=stream, tools=[WEATHER], messages=history)

    assert [json.loads(made.function.arguments) for made in message.tool_calls] == [
        {"city": "Oslo"},
        {"city": "Bergen"},
    ]
    assert len({made.id for made in message.tool_calls}) == 2
    assert (message.content, first.choices[0].finish_reason) == ("Let me look.", "tool_calls")
    assert second.choices[0].message.content == "It rains in both."
    *_, said, calls, result = poe.queries[1].query["query"]
    assert (said["role"], said["content"]) == ("bot", "Let me look.")
    assert (calls["role"], calls["message_type"]) == ("bot", "function_call")
    assert [made["id"] for made in json.loads(calls["content"])] == [made.id for made in message.tool_calls]
    assert result["role"] == "tool"
    assert [(one["name"], one["content"]) for one in json.loads(result["content"])] == [
        ("get_weather", "rain 0"),
        ("get_weather", "rain 1"),
    ]


async def test_a_definition_reaches_poe_whole(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    """fastapi-poe's own type would drop ``$defs``, ``additionalProperties`` and ``strict``."""
    await client.chat.completions.create(model="Echo", messages=HELLO, tools=[WEATHER])  # type: ignore[list-item]

    sent = poe.queries[0].query["tools"][0]
    assert sent["function"] == {**WEATHER["function"], "description": "get_weather"}


async def test_calls_without_text_have_null_content(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([call(0, id="x", function={"name": "get_weather", "arguments": "{}"}), DONE])

    for stream in (False, True):
        completion = await ask(client, stream=stream, tools=[WEATHER])
        assert completion.choices[0].message.content is None
        assert completion.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "refusal",
    [
        failure(400, {"message": "Words.", "code": "unsupported_feature_for_model"}),
        error_event("This bot does not support tool calling."),
    ],
)
async def test_a_bot_that_refuses_tools_that_it_must_call_is_a_400_that_names_them(
    client: AsyncOpenAI, poe: ScriptedPoe, stream: bool, refusal: Reply
) -> None:
    poe.script = lambda _: refusal

    with pytest.raises(openai.BadRequestError) as caught:
        await ask(client, stream=stream, tools=[WEATHER], tool_choice="required")

    assert (caught.value.code, caught.value.param) == ("unsupported_feature", "tools")
    assert len(poe.queries) == 1, "no other key would help"


async def test_calls_nobody_asked_for_are_left_out(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    poe.script = lambda _: TWO_CALLS

    completion = await client.chat.completions.create(model="Echo", messages=HELLO)

    assert completion.choices[0].message.tool_calls is None
    assert completion.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_thoughts_are_no_part_of_the_answer(client: AsyncOpenAI, poe: ScriptedPoe, stream: bool) -> None:
    poe.script = lambda _: answer("*Thin", "king...*\n\n> Let me", " see.\n> Yes.\n\n", "It is", " 42.\n> quoted")

    completion = await ask(client, stream=stream)

    message = completion.choices[0].message
    assert (message.reasoning_content, message.content) == ("Let me see.\nYes.", "It is 42.\n> quoted")
    assert completion.usage.completion_tokens_details.reasoning_tokens > 0
    assert completion.usage.completion_tokens > completion.usage.completion_tokens_details.reasoning_tokens


async def test_thoughts_are_streamed_as_they_grow(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    """Also where the bot says everything anew with each second."""
    poe.script = lambda _: Reply(
        [
            replace("Thinking... (1s elapsed)"),
            replace("Thinking... (2s elapsed)\n\n> Let me"),
            replace("Thinking... (3s elapsed)\n\n> Let me see."),
            replace("It is 42."),
            DONE,
        ]
    )

    deltas = []
    async for one in await client.chat.completions.create(model="Echo", messages=HELLO, stream=True):
        deltas += [one.choices[0].delta.to_dict()]

    assert [delta["reasoning_content"] for delta in deltas if "reasoning_content" in delta] == ["Let me", " see."]
    assert "".join(str(delta.get("content") or "") for delta in deltas) == "It is 42."


async def test_a_failure_before_the_first_thought_fails_over(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    def script(_: Asked) -> Reply:
        return answer("42") if len(poe.queries) > 1 else Reply([replace("Thinking... (1s elapsed)"), *failing])

    failing = error_event("Internal server error").steps
    poe.script = script

    completion = await ask(client, stream=True)

    assert completion.choices[0].message.content == "42"
    assert len(set(poe.keys_used())) == 2


def endless(_: Asked) -> Reply:
    """Words until the caller leaves: the last step waits for nobody."""
    return Reply([META, *(text(f"word{number} ") for number in range(300)), asyncio.Event(), DONE])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_an_answer_ends_at_its_limit_and_so_does_poe(
    client: AsyncOpenAI, poe: ScriptedPoe, stream: bool, field: str
) -> None:
    poe.script = endless

    completion = await ask(client, stream=stream, **{field: 10})

    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens == 10
    assert completion.choices[0].message.content.startswith("word0 word1 ")
    await asyncio.wait_for(poe.queries[0].left.wait(), 5)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stop_sequence_that_the_bot_ignores_ends_the_answer(
    client: AsyncOpenAI, poe: ScriptedPoe, stream: bool
) -> None:
    """Also one that is split over two events, and a blank one, which Poe does not take."""
    poe.script = lambda _: Reply([text("One.\n"), text("\nTwo."), asyncio.Event(), DONE])

    completion = await ask(client, stream=stream, stop=["\n\n", "Three"])

    assert (completion.choices[0].message.content, completion.choices[0].finish_reason) == ("One.", "stop")
    assert poe.queries[0].query["stop_sequences"] == ["Three"]
    await asyncio.wait_for(poe.queries[0].left.wait(), 5)


@pytest.mark.parametrize("stream", [False, True])
async def test_choices_are_answers_of_their_own(client: AsyncOpenAI, poe: ScriptedPoe, stream: bool) -> None:
    poe.script = lambda _: answer("answer ", str(len(poe.queries)))

    completion = await ask(client, stream=stream, n=3)

    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert {choice.message.content for choice in completion.choices} == {"answer 1", "answer 2", "answer 3"}
    assert {choice.finish_reason for choice in completion.choices} == {"stop"}
    assert set(poe.keys_used()) == set(KEYS), "each takes its turn in the rotation"


async def test_choices_share_one_count_of_the_prompt(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    poe.script = lambda _: answer("four tokens are here")

    one = await client.chat.completions.create(model="Echo", messages=HELLO)
    three = await client.chat.completions.create(model="Echo", messages=HELLO, n=3)

    assert one.usage
    assert three.usage
    assert three.usage.prompt_tokens == one.usage.prompt_tokens
    assert three.usage.completion_tokens == 3 * one.usage.completion_tokens


async def test_one_choice_that_fails_ends_the_others(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    def script(_: Asked) -> Reply:
        if len(poe.queries) == 2:
            return error_event("no", error_type="user_message_too_long")
        return Reply([text("on and on"), asyncio.Event(), DONE])

    poe.script = script

    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="Echo", messages=HELLO, n=2)

    await asyncio.wait_for(poe.queries[0].left.wait(), 5)


@pytest.mark.parametrize("stream", [False, True])
async def test_json_comes_without_what_stands_around_it(client: AsyncOpenAI, poe: ScriptedPoe, stream: bool) -> None:
    poe.script = lambda _: answer("Here you are:\n```json\n", '{"width": 3}', "\n```")

    completion = await ask(client, stream=stream, response_format=WIDTH)

    assert completion.choices[0].message.content == '{"width": 3}'
    assert len(poe.queries) == 1
    assert '"required": ["width"]' in poe.queries[0].query["query"][0]["content"]


@pytest.mark.parametrize("stream", [False, True])
async def test_json_that_is_wrong_is_asked_for_once_more(client: AsyncOpenAI, poe: ScriptedPoe, stream: bool) -> None:
    poe.script = lambda _: answer('{"width": "three"}' if len(poe.queries) == 1 else '{"width": 3}')

    completion = await ask(client, stream=stream, response_format=WIDTH)

    assert completion.choices[0].message.content == '{"width": 3}'
    *_, said, correction = poe.queries[1].query["query"]
    assert (said["role"], said["content"]) == ("bot", '{"width": "three"}')
    assert "$.width: 'three' is not of type 'integer'" in correction["content"]


@pytest.mark.parametrize("stream", [False, True])
async def test_json_that_is_wrong_twice_is_an_error(client: AsyncOpenAI, poe: ScriptedPoe, stream: bool) -> None:
    poe.script = lambda _: answer("I'd rather not.")

    with pytest.raises(openai.InternalServerError) as caught:
        await ask(client, stream=stream, response_format={"type": "json_object"})

    assert (caught.value.status_code, caught.value.code) == (502, "invalid_json_answer")
    assert len(poe.queries) == 2


async def test_json_that_a_limit_cut_is_not_asked_for_again(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    """As at OpenAI: it ends with ``length``, and the client knows."""
    poe.script = lambda _: answer('{"width": ', "1" * 100)

    completion = await ask(client, stream=False, response_format=WIDTH, max_tokens=6)

    assert completion.choices[0].finish_reason == "length"
    assert len(poe.queries) == 1


async def test_a_fields_of_the_bots_own_reach_it(settings: Settings, poe: ScriptedPoe) -> None:
    """Those that Poe lists for it, and no others; ``reasoning_effort`` in the bot's own terms."""
    poe.models = [
        {
            "id": "thinker",
            "metadata": {"display_name": "Thinker"},
            "parameters": [
                {"name": "thinking_budget", "schema": {"type": "integer", "minimum": 0, "maximum": 10_000}},
                {"name": "web_search", "schema": {"type": "boolean"}},
            ],
        }
    ]
    async with serving(settings) as base_url, sdk(base_url) as client:
        await client.chat.completions.create(
            model="thinker",
            messages=HELLO,
            reasoning_effort="low",
            extra_body={"web_search": True, "unheard_of": 1},
        )
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="thinker", messages=HELLO, extra_body={"web_search": "perhaps"})

    assert poe.queries[0].query["query"][-1]["parameters"] == {"thinking_budget": 2_000, "web_search": True}
    assert caught.value.param == "web_search"
    assert len(poe.queries) == 1


async def test_what_a_caller_used_who_left_midway_is_recorded(
    settings: Settings, poe: ScriptedPoe, raw: httpx.AsyncClient
) -> None:
    poe.script = endless
    body = {"model": "Echo", "messages": HELLO, "stream": True}
    async with raw.stream("POST", "/v1/chat/completions", json=body) as response:
        async for line in response.aiter_lines():
            if "word299 " in line:
                break
    store = RedisStore(settings.redis_url, settings.redis_namespace)
    entries: list[StreamEntry] = []

    async def recorded() -> bool:
        entries[:] = await StreamReader(store.reports).requests(1)
        return bool(entries)

    try:
        await wait_until(recorded, "the trail has the request")
    finally:
        await store.close()

    facts = entries[0].facts
    assert facts["outcome"] == "client_left"
    assert facts["completion_tokens"] > 300
    assert facts["prompt_tokens"] > 0


async def test_what_a_caller_used_who_leaves_at_the_very_end_is_counted(
    client: AsyncOpenAI, poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is got for nothing by leaving while a place of the client's is given back, after the last text."""
    poe.script = lambda _: answer("one ", "two ", "three")
    ended: list[Ended] = []
    releasing = asyncio.Event()

    async def release(_: PoolKeySource, tokens: int) -> None:  # noqa: ARG001 - the real one's
        releasing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(PoolKeySource, "release", release)
    monkeypatch.setattr(CallLog, "note", lambda _, one: ended.append(one))
    call = asyncio.create_task(client.chat.completions.create(model="Echo", messages=HELLO))
    await releasing.wait()
    call.cancel()
    await wait_until(lambda: bool(ended), "the call has ended")

    usage = ended[0].call.record.usage
    assert usage is not None
    assert usage.completion_tokens > 0


PICTURE: Final = "data:image/png;base64,aGVsbG8gd29ybGQ="


def with_picture(url: str = PICTURE) -> list[Any]:
    content = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": content}]


async def test_a_picture_of_three_turns_is_uploaded_once_by_each_account(settings: Settings, poe: ScriptedPoe) -> None:
    history = with_picture()
    async with serving(settings) as base_url, sdk(base_url) as client:
        for turn in range(6):
            history += [{"role": "assistant", "content": f"turn {turn}"}, {"role": "user", "content": "go on"}]
            await client.chat.completions.create(model="Echo", messages=history)

    assert sorted(upload.headers["authorization"] for upload in poe.uploads) == sorted(KEYS)
    assert len(poe.queries) == 6
    for asked in poe.queries:
        attached = asked.query["query"][0]["attachments"]
        assert [(one["content_type"], one["name"]) for one in attached] == [("image/png", "image.png")]


async def test_keys_of_one_account_share_its_uploads(settings: Settings, poe: ScriptedPoe) -> None:
    one_account = settings.model_copy(
        update={"poe_api_keys": tuple(type(key)(key.secret, "me") for key in settings.poe_api_keys)}
    )
    async with serving(one_account) as base_url, sdk(base_url) as client:
        for _ in range(3):
            await client.chat.completions.create(model="Echo", messages=with_picture())

    assert len(poe.uploads) == 1
    assert set(poe.keys_used()) == set(KEYS)


async def test_a_remote_picture_is_poes_to_fetch(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    await client.chat.completions.create(model="Echo", messages=with_picture("http://127.0.0.1:1/cat.png"))

    assert b"download_url=http%3A%2F%2F127.0.0.1%3A1%2Fcat.png" in poe.uploads[0].body


async def test_a_key_that_may_not_upload_gives_way_to_the_next(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    accept = poe.upload_script

    def refuse_one(asked: Asked) -> Any:
        return (
            failure(429) if asked.headers["authorization"] == poe.uploads[0].headers["authorization"] else accept(asked)
        )

    poe.upload_script = refuse_one

    await client.chat.completions.create(model="Echo", messages=with_picture())

    assert len(poe.uploads) == 2
    assert len(poe.queries) == 1


async def test_a_picture_that_is_none_is_a_400_and_costs_no_key_anything(
    client: AsyncOpenAI, poe: ScriptedPoe, raw: httpx.AsyncClient
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="Echo", messages=with_picture("data:image/png;base64,%%%"))

    assert caught.value.param == "messages[0].content[1].image_url.url"
    assert poe.uploads == poe.queries == []
    assert (await raw.get("/ready")).json()["keys"]["ready"] == 2


def painting(url: str) -> Callable[[Asked], Reply]:
    picture = {"url": url, "content_type": "image/png", "name": "cat.png"}
    return lambda _: Reply([replace("Generating image (1s elapsed)"), event("file", picture), DONE])


async def test_images_are_found_in_the_answers(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    poe.script = painting("https://pfst.cf2.poecdn.net/cat.png")

    images = await client.images.generate(model="Painter", prompt="a cat", n=2)

    assert images.data
    assert [image.url for image in images.data] == ["https://pfst.cf2.poecdn.net/cat.png"] * 2
    assert [asked.query["query"][-1]["content"] for asked in poe.queries] == ["a cat"] * 2


async def test_an_images_size_is_put_in_the_bots_terms(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = painting("https://pfst.cf2.poecdn.net/cat.png")
    aspect = {"name": "aspect", "schema": {"enum": ["1:1", "16:9", "9:16"]}}
    poe.models = [{"id": "painter", "metadata": {"display_name": "Painter"}, "parameters": [aspect]}]
    async with serving(settings) as base_url, sdk(base_url) as client:
        await client.images.generate(model="painter", prompt="a cat", size="1792x1024")

    assert poe.queries[0].query["query"][-1]["parameters"] == {"aspect": "16:9"}


async def test_an_image_in_base64_is_fetched_from_poe(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    """From Poe's own origin; files of another host are never fetched."""
    poe.script = painting(f"{poe.base_url}/usage/current_balance")

    images = await client.images.generate(model="Painter", prompt="a cat", response_format="b64_json")

    assert images.data
    assert images.data[0].b64_json == "eyJjdXJyZW50X3BvaW50X2JhbGFuY2UiOiAxMDAwMDAwfQ=="
    assert any("authorization" not in asked.headers for asked in poe.other)  # the others ask for balances


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/cat.png",
        "https://poecdn.net.evil.example/cat.png",
        "https://evilpoecdn.net/cat.png",
        "http://pfst.cf2.poecdn.net/cat.png",
        "https://pfst.cf2.poecdn.net:444/cat.png",
        "https://pfst.cf2.poecdn.net@evil.example/cat.png",
        "https://pfst.cf2.poecdn.net:99999/cat.png",
        "https://:443/cat.png",
        "https:///cat.png",
        "https://ⓟoecdn.net/cat.png",
        "https://xn--.poecdn.net/cat.png",
        "https://user:password@pfst.cf2.poecdn.net/cat.png",
    ],
)
async def test_an_image_elsewhere_is_not_fetched(client: AsyncOpenAI, poe: ScriptedPoe, url: str) -> None:
    poe.script = painting(url)

    with pytest.raises(openai.InternalServerError) as caught:
        await client.images.generate(model="Painter", prompt="a cat", response_format="b64_json")

    assert "not at Poe" in caught.value.message


async def test_an_answer_without_an_image_is_an_error(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    poe.script = echo

    with pytest.raises(openai.BadRequestError) as caught:
        await client.images.generate(model="Echo", prompt="a cat")

    assert caught.value.code == "no_image_generated"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_legacy_completion_is_a_chat(client: AsyncOpenAI, poe: ScriptedPoe, stream: bool) -> None:
    poe.script = lambda _: answer("Once ", "upon a time")

    if stream:
        chunks = [one async for one in await client.completions.create(model="Echo", prompt="Say", stream=True)]
        texts, reasons = [one.choices[0].text for one in chunks], [one.choices[0].finish_reason for one in chunks]
        assert (texts, reasons) == (["Once ", "upon a time", ""], [None, None, "stop"])
    else:
        completion = await client.completions.create(model="Echo", prompt=["Say"], echo=True)
        assert completion.choices[0].text == "SayOnce upon a time"
        assert completion.object == "text_completion"
    assert poe.queries[0].query["query"][-1]["content"] == "Say"


async def test_a_picture_of_the_last_answer_is_shown_to_the_bot_again(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    """Beside the message that asks for a change; other hosts' files and other turns' are not."""
    own, other = "https://pfst.cf2.poecdn.net/base/image/a1?w=1024", "https://elsewhere.example/b.png"
    history: list[Any] = [
        *HELLO,
        {"role": "assistant", "content": f"![cat.png]({own})\n\n![b]({other})"},
        {"role": "user", "content": "make it blue"},
    ]

    await client.chat.completions.create(model="Echo", messages=history)

    first, said, last = poe.queries[0].query["query"]
    assert [(one["url"], one["content_type"]) for one in last["attachments"]] == [(own, "image/png")]
    assert first["attachments"] == said["attachments"] == []
    assert poe.uploads == []


async def test_leaving_closes_every_choice_at_poe(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = endless
    body = {"model": "Echo", "messages": HELLO, "stream": True, "n": 2}

    async with raw.stream("POST", "/v1/chat/completions", json=body) as response:
        async for line in response.aiter_lines():
            if '"index":1' in line and "word299" in line:
                break

    for asked in poe.queries:
        await asyncio.wait_for(asked.left.wait(), 5)
    assert len(poe.queries) == 2


async def test_an_endpoint_for_files_that_fails_is_nobodys_fault(poe: ScriptedPoe, raw: httpx.AsyncClient) -> None:
    """Neither a key's nor the bot's, whose breaker would open at the third such request in a row."""
    accept, poe.upload_script = poe.upload_script, lambda _: failure(500)
    body = {"model": "Echo", "messages": with_picture()}

    statuses = [(await raw.post("/v1/chat/completions", json=body)).status_code for _ in range(4)]
    poe.upload_script = accept
    after = await raw.post("/v1/chat/completions", json=body)

    assert statuses == [502] * 4
    assert after.status_code == 200
    assert (await raw.get("/ready")).json()["keys"]["ready"] == 2


async def test_a_conversation_of_too_many_files_is_refused(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="Echo", messages=with_picture() * 101)

    assert caught.value.param == "messages"
    assert poe.uploads == poe.queries == []


async def test_openais_own_image_models_answer_in_base64(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    """Clients that spell a model as OpenAI does send no format, and expect no URL."""
    poe.script = painting(f"{poe.base_url}/usage/current_balance")

    images = await client.images.generate(model="gpt-image-1", prompt="a cat")

    assert images.data
    assert images.data[0].b64_json
    assert images.data[0].url is None
