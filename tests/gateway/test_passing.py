"""Requests and answers that are passed through: the client speaks the dialect of its model's own endpoint."""

import asyncio
import json
from typing import Any, Final

import httpx
import pytest

from proxy.credentials import parse_access_tokens, parse_poe_keys
from proxy.settings import Settings
from tests.gateway.world import ONE, TWO, World, opened
from tests.support.local_poe import running_local_poe
from tests.support.rest_answers import COMPLETION, PROMPT, chat_chunk, chat_steps, data, listed, rest_answer
from tests.support.scripted_poe import CUT, Asked, Reply, ScriptedPoe, Step, answer, failure
from tests.support.serving import http, sdk, serving
from tests.support.streams import post
from tests.support.waiting import wait_until

ADMIN: Final = "an-operators-token"
MODELS: Final = [
    {
        **listed("GPT-X", "OpenAI", "responses", "chat/completions"),
        "parameters": [{"name": "web_search_options", "schema": {"type": "object"}}],
    },
    listed("Gemini-X", "Google", "chat/completions"),
]
_STREAM: Final = {"content-type": "text/event-stream; charset=utf-8"}
_MESSAGES: Final = [{"role": "user", "content": "hello"}]
USAGE: Final = {"prompt_tokens": PROMPT, "completion_tokens": COMPLETION, "total_tokens": PROMPT + COMPLETION}
WHOLE: Final = {
    "id": "chatcmpl-poes",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-x-2026",
    "system_fingerprint": None,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello", "annotations": [{"type": "url_citation"}]},
            "logprobs": {"content": [{"token": "Hello", "logprob": -0.1}]},
            "finish_reason": "stop",
        }
    ],
    "usage": USAGE,
}


@pytest.fixture(autouse=True)
def _rest_poe(poe: ScriptedPoe) -> None:
    poe.models = MODELS
    poe.script = lambda asked: rest_answer(asked.path, "Hello", " there")


def chat(*, stream: bool = True, model: str = "GPT-X", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": _MESSAGES, "stream": stream, **more}


def whole_body() -> Reply:
    return Reply([json.dumps(WHOLE).encode()], headers={"content-type": "application/json"})


async def ready(world: World) -> httpx.AsyncClient:
    """Once the models are known."""
    assert (await world.clients[0].get("/v1/models")).status_code == 200
    return world.clients[0]


def as_client_sees(steps: list[Step]) -> bytes:
    """Poe's bytes, with the model's name put back."""
    return b"".join(step for step in steps if isinstance(step, bytes)).replace(b"a-2026", b"GPT-X")


async def test_a_stream_goes_on_byte_for_byte_but_for_the_models_name(settings: Settings, poe: ScriptedPoe) -> None:
    steps: list[Step] = [
        chat_chunk({"role": "assistant", "content": ""}, service_tier="default"),
        chat_chunk({"content": "Hello"}, citations=["https://a.example"]),
        data({"id": "chatcmpl-1", "model": "a-2026", "choices": [{"index": 0, "delta": {}, "logprobs": {"x": 1}}]}),
        chat_chunk({"content": ' "model": "a-2027" \u2028'}),
        *chat_steps(" there")[1:],
    ]
    poe.script = lambda _: Reply(steps, headers=_STREAM)
    async with opened(settings, poe) as world:
        client = await ready(world)
        response, _ = await post(client, chat(stream_options={"include_usage": True}))

    assert response.content == as_client_sees(steps)


async def test_a_whole_answer_goes_on_as_it_came_but_for_the_models_name(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = lambda _: whole_body()
    async with opened(settings, poe) as world:
        client = await ready(world)
        response, _ = await post(client, chat(stream=False, logprobs=True))

    assert response.content == json.dumps({**WHOLE, "model": "GPT-X"}).encode()
    assert poe.queries[0].query == chat(stream=False, logprobs=True)


async def test_token_counts_are_asked_for_and_left_out_for_a_client_that_does_not_want_them(
    settings: Settings, poe: ScriptedPoe
) -> None:
    async with opened(settings, poe) as world:
        client = await ready(world)
        response, _ = await post(client, chat())

    assert poe.queries[0].query == chat(stream_options={"include_usage": True})
    steps = chat_steps("Hello", " there")
    assert response.content == as_client_sees([*steps[:-2], steps[-1]])


async def test_only_fields_that_poe_would_refuse_are_left_out(settings: Settings, poe: ScriptedPoe) -> None:
    kept: dict[str, Any] = {
        "web_search_options": {"search_context_size": "low"},
        "metadata": {"a": "b"},
        "top_p": 0.5,
        "user": "me",
    }
    body = chat(stream_options={"include_usage": True}, **kept, verbosity="low", safety_identifier="x", stop=None)
    async with opened(settings, poe) as world:
        client = await ready(world)
        response, _ = await post(client, body)

    assert response.status_code == 200
    assert poe.queries[0].query == chat(stream_options={"include_usage": True}, **kept)


async def test_a_body_that_needs_no_change_keeps_its_bytes(settings: Settings, poe: ScriptedPoe) -> None:
    body = (
        b'{ "stream" : false, "model" : "gpt-x",\n'
        b' "messages":[{"role":"user","content":"\\u00e9 \\"model\\": 1.0"}] }\n'
    )
    poe.script = lambda _: whole_body()
    async with opened(settings, poe) as world:
        client = await ready(world)
        await client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})

    assert poe.queries[0].body == body.replace(b'"gpt-x"', b'"GPT-X"')


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"model": "Gemini-X"}, id="a model of another vendor"),
        pytest.param({"messages": [{"role": "developer", "content": "be brief"}, *_MESSAGES]}, id="a role Poe lacks"),
        pytest.param({"max_tokens": 5, "max_completion_tokens": 9}, id="two limits"),
        pytest.param({"stop": [" "]}, id="a blank stop sequence"),
        pytest.param({"tools": [{"type": "function", "function": {"name": "a.b"}}]}, id="a name models refuse"),
        pytest.param({"tools": [{"type": "web_search"}]}, id="a tool that a vendor runs"),
    ],
)
async def test_what_needs_work_here_is_translated(settings: Settings, poe: ScriptedPoe, more: dict[str, Any]) -> None:
    async with opened(settings, poe) as world:
        client = await ready(world)
        response, _ = await post(client, chat() | more)

    assert b"Hello" in response.content
    assert b'"chatcmpl-1"' not in response.content  # the id is ours


async def test_an_endpoint_that_refuses_the_model_is_left_unseen(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = lambda asked: (
        failure(400, {"message": "Model does not support chat method.", "type": "invalid_request_error"})
        if asked.path == "/v1/chat/completions"
        else rest_answer(asked.path, "Hello")
        if asked.path == "/v1/responses"
        else answer("from the bot")
    )
    async with opened(settings, poe) as world:
        client = await ready(world)
        response, _ = await post(client, chat())

    assert b'"content":"Hello"' in response.content
    assert response.content.endswith(b"data: [DONE]\n\n")
    assert [asked.path for asked in poe.queries] == ["/v1/chat/completions", "/v1/responses"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_field_that_poe_refuses_after_all_is_unseen(settings: Settings, poe: ScriptedPoe, stream: bool) -> None:
    def is_strict(asked: Asked) -> Reply:
        if "refusal" in asked.query["messages"][0]:
            words = "Extra inputs are not permitted"
            return failure(400, {"message": words, "type": "invalid_request_error", "param": "messages.0.refusal"})
        return rest_answer(asked.path, "Hello")

    poe.script = is_strict
    messages = [{"role": "assistant", "content": "hi", "refusal": None}, *_MESSAGES]
    async with opened(settings, poe) as world:
        client = await ready(world)
        response, _ = await post(client, chat(stream=stream) | {"messages": messages})
        counts = await world.counts()

    assert b"Hello" in response.content
    assert (len(poe.queries), counts) == (2, (2, 0, 0, 0))


async def test_a_stream_that_is_cut_before_it_began_goes_to_the_next_key(settings: Settings, poe: ScriptedPoe) -> None:
    def cut_once(_: Asked) -> Reply:
        steps = chat_steps("Hello")
        return Reply([*steps[:1], CUT] if len(poe.queries) == 1 else steps, headers=_STREAM)

    poe.script = cut_once
    async with opened(settings, poe) as world:
        client = await ready(world)
        response, breaks_off = await post(client, chat(stream_options={"include_usage": True}))

    assert (response.content, breaks_off) == (as_client_sees(chat_steps("Hello")), False)
    assert {asked.key for asked in poe.queries} == {ONE, TWO}


async def test_a_stream_that_is_cut_after_it_began_ends_with_an_error(settings: Settings, poe: ScriptedPoe) -> None:
    steps = chat_steps("Hello", " there")[:2]
    poe.script = lambda _: Reply([*steps, CUT], headers=_STREAM)
    async with opened(settings, poe) as world:
        client = await ready(world)
        response, breaks_off = await post(client, chat())

    assert response.content.startswith(as_client_sees(steps))
    assert json.loads(response.content.split(b"data: ")[-1])["error"]["code"] == "upstream_error"
    assert breaks_off
    assert len(poe.queries) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_an_empty_answer_is_tried_with_another_key(settings: Settings, poe: ScriptedPoe, stream: bool) -> None:
    def empty_once(_: Asked) -> Reply:
        texts = [] if len(poe.queries) == 1 else ["Hello"]
        if stream:
            return Reply(chat_steps(*texts), headers=_STREAM)
        choice = {"index": 0, "message": {"role": "assistant", "content": "".join(texts)}, "finish_reason": "stop"}
        body = json.dumps({**WHOLE, "choices": [choice]}).encode()
        return Reply([body], headers={"content-type": "application/json"})

    poe.script = empty_once
    async with opened(settings, poe) as world:
        client = await ready(world)
        response, _ = await post(client, chat(stream=stream))

    assert b"Hello" in response.content
    assert len(poe.queries) == 2


async def test_a_stream_without_done_gets_it(settings: Settings, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply(chat_steps("Hello")[:-2], headers=_STREAM)
    async with opened(settings, poe) as world:
        client = await ready(world)
        response, _ = await post(client, chat())

    assert response.content == as_client_sees([*chat_steps("Hello")[:-2], b"data: [DONE]\n\n"])


@pytest.mark.parametrize("stream", [True, False])
async def test_the_trail_and_the_books_know_of_it(settings: Settings, poe: ScriptedPoe, stream: bool) -> None:
    poe.script = lambda asked: rest_answer(asked.path, "Hello") if stream else whole_body()
    admin: Any = {"admin_tokens": parse_access_tokens(f"operator:{ADMIN}")}
    async with opened(settings, poe, **admin) as world:
        client = await ready(world)
        response = await client.post("/v1/chat/completions", json=chat(stream=stream), headers={"x-admin-token": ADMIN})
        counted: dict[str, int] = {}

        async def is_counted() -> bool:
            counted.update((await client.get("/v1/usage")).json()["today"])
            return counted["requests"] == 1

        await wait_until(is_counted, "the request is counted")

    attempt = json.loads(response.headers["x-why"])["attempts"][0]
    assert (attempt["upstream"], attempt["passed"]) == ("chat", True)
    assert (counted["prompt_tokens"], counted["completion_tokens"]) == (PROMPT, COMPLETION)


async def test_a_client_that_waits_sees_no_beginning_but_poes(settings: Settings, poe: ScriptedPoe) -> None:
    """A beginning of ours would have another id than what follows."""
    held = asyncio.Event()
    steps = chat_steps("Hello")
    poe.script = lambda _: Reply([held, *steps], headers=_STREAM)
    body = chat(stream_options={"include_usage": True})
    async with opened(settings, poe, commit_hold_s=0.01) as world:
        client = await ready(world)
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            read = response.aiter_bytes()
            first = await anext(read)
            held.set()
            rest = b"".join([piece async for piece in read])

    assert first.startswith(b": ping\n\n")
    assert (first + rest).replace(b": ping\n\n", b"") == as_client_sees(steps)


async def test_openais_own_client_takes_what_is_passed(settings: Settings) -> None:
    """Before the demo's Poe, which is strict; and it sends back what it got, with fields that Poe does not know."""
    async with running_local_poe(ONE) as url:
        changed = settings.model_copy(update={"poe_base_url": url, "poe_api_keys": parse_poe_keys(ONE)})
        async with serving(changed) as served, http(served) as raw, sdk(served) as client:
            assert (await raw.get("/v1/models")).status_code == 200
            asked: list[Any] = [{"role": "user", "content": "Say hello"}]
            async with client.chat.completions.stream(
                model="GPT-Demo", messages=asked, stream_options={"include_usage": True}
            ) as stream:
                streamed = await stream.get_final_completion()
            turn: Any = streamed.choices[0].message.model_dump()
            whole = await client.chat.completions.create(
                model="GPT-Demo", messages=[*asked, turn, *asked], logprobs=True
            )

    assert streamed.model == whole.model == "GPT-Demo"
    assert streamed.choices[0].message.content
    assert whole.choices[0].message.content
    assert streamed.usage is not None
    assert whole.usage is not None
    assert whole.usage.prompt_tokens > streamed.usage.prompt_tokens > 0
