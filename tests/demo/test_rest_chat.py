"""Chat of the local Poe, as OpenAI's SDK and bare HTTP see it."""

from typing import Any, Final

import pytest
from openai import AuthenticationError, BadRequestError, NotFoundError
from openai.types.chat import ChatCompletionChunk

from tests.support.serving import http, sdk

KEY: Final = "key-a1"
LOOK: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"place": {"type": "string"}, "days": {"type": "integer", "minimum": 3}},
    "required": ["place", "days"],
}
TOOLS: Final[list[Any]] = [
    {"type": "function", "function": {"name": "look", "parameters": LOOK}},
    {"type": "function", "function": {"name": "wait", "parameters": {"type": "object", "properties": {}}}},
]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("model", ["Claude-Demo", "GPT-Demo", "Gemini-Demo"])
async def test_an_answer_is_the_same_whole_and_streamed(poe_url: str, model: str) -> None:
    messages: list[Any] = [user("Say  this\nto me.")]
    async with sdk(poe_url, KEY) as client:
        whole = await client.chat.completions.create(model=model, messages=messages)
        stream = await client.chat.completions.create(
            model=model, messages=messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert whole.choices[0].message.content == text == "Say  this\nto me."
    assert whole.usage == chunks[-1].usage
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (12, 4)
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "stop"


async def test_a_strict_body_names_the_backend_and_has_null_fields(poe_url: str) -> None:
    async with http(poe_url, KEY) as client:
        answer = await client.post("/v1/chat/completions", json={"model": "gpt-demo", "messages": [user("Hi")]})

    body = answer.json()
    assert body["model"] == "gpt-demo-2026-01-01"
    assert body["system_fingerprint"] is None
    assert body["choices"][0]["message"]["function_call"] is None
    assert answer.headers["x-request-id"].startswith("req_poe_")
    assert answer.headers["x-ratelimit-remaining-requests"] == "499"


async def test_tools_that_the_text_names_are_called_and_their_results_told(poe_url: str) -> None:
    messages: list[Any] = [user("First wait, then look.")]
    async with sdk(poe_url, KEY) as client:
        called = await client.chat.completions.create(model="GPT-Demo", messages=messages, tools=TOOLS)
        message = called.choices[0].message
        calls: list[Any] = message.tool_calls or []
        messages += [message.model_dump(exclude_none=True)]
        messages += [{"role": "tool", "tool_call_id": call.id, "content": f"{call.function.name}ed"} for call in calls]
        told = await client.chat.completions.create(model="GPT-Demo", messages=messages, tools=TOOLS)

    assert called.choices[0].finish_reason == "tool_calls"
    assert [(call.function.name, call.function.arguments) for call in calls] == [
        ("wait", "{}"),
        ("look", '{"place": "place", "days": 3}'),
    ]
    assert told.choices[0].message.content == "I asked: wait says waited; look says looked."


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"tool_choice": "none"}, []),
        ({"tool_choice": "required"}, ["look"]),
        ({"tool_choice": {"type": "function", "function": {"name": "wait"}}}, ["wait"]),
        ({}, []),
    ],
    ids=str,
)
async def test_what_the_caller_wants_of_tools_is_done(poe_url: str, wanted: dict[str, Any], names: list[str]) -> None:
    """Also when the text names none."""
    async with sdk(poe_url, KEY) as client:
        answer = await client.chat.completions.create(
            model="GPT-Demo", messages=[{"role": "user", "content": "Hello"}], tools=TOOLS, **wanted
        )

    calls: list[Any] = answer.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == names


async def test_calls_come_one_by_one_when_they_may_not_be_parallel(poe_url: str) -> None:
    async with sdk(poe_url, KEY) as client:
        answer = await client.chat.completions.create(
            model="GPT-Demo",
            messages=[{"role": "user", "content": "look and wait"}],
            tools=TOOLS,
            parallel_tool_calls=False,
        )

    assert len(answer.choices[0].message.tool_calls or []) == 1


async def test_geminis_stream_of_calls_has_no_finish_reason(poe_url: str) -> None:
    async with sdk(poe_url, KEY) as client:
        stream = await client.chat.completions.create(
            model="Gemini-Demo", messages=[{"role": "user", "content": "look"}], tools=TOOLS, stream=True
        )
        chunks: list[ChatCompletionChunk] = [chunk async for chunk in stream]

    (call,) = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert (call.id or "").startswith("tool_look_")
    assert {chunk.choices[0].finish_reason for chunk in chunks} == {None}


@pytest.mark.parametrize("change", ["none", "signature", "gone"])
async def test_geminis_thought_signature_must_come_back(poe_url: str, change: str) -> None:
    messages: list[Any] = [user("look")]
    async with http(poe_url, KEY) as client:
        body = {"model": "Gemini-Demo", "messages": messages, "tools": TOOLS}
        message = (await client.post("/v1/chat/completions", json=body)).json()["choices"][0]["message"]
        (call,) = message["tool_calls"]
        if change == "signature":
            call["extra_content"]["google"]["thought_signature"] += "A"
        if change == "gone":
            del call["extra_content"]
        messages += [message, {"role": "tool", "tool_call_id": call["id"], "content": "42"}]
        answer = await client.post("/v1/chat/completions", json=body)

    assert answer.status_code == (200 if change == "none" else 400)


async def test_limits_and_stops_are_obeyed(poe_url: str) -> None:
    async with sdk(poe_url, KEY) as client:
        ask = client.chat.completions.create
        cut = await ask(model="GPT-Demo", messages=[{"role": "user", "content": "abcdefghij"}], max_tokens=2)
        stopped = await ask(model="GPT-Demo", messages=[{"role": "user", "content": "one two three"}], stop=["tw"])

    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("abcdefgh", "length")
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("one ", "stop")


async def test_a_declared_parameter_is_taken_and_another_refused(poe_url: str) -> None:
    """Strict."""
    async with sdk(poe_url, KEY) as client:
        thought = await client.chat.completions.create(
            model="Claude-Demo",
            messages=[{"role": "user", "content": "Hi"}],
            extra_body={"thinking_budget": 1024},
        )
        with pytest.raises(BadRequestError, match="Unknown parameter: 'thinking_budget'"):
            await client.chat.completions.create(
                model="GPT-Demo", messages=[{"role": "user", "content": "Hi"}], extra_body={"thinking_budget": 1024}
            )

    assert thought.usage is not None
    assert thought.usage.completion_tokens_details is not None
    assert thought.usage.completion_tokens_details.reasoning_tokens == 10


async def test_errors_have_openais_form(poe_url: str) -> None:
    async with sdk(poe_url, KEY) as client, sdk(poe_url, "nobody's") as stranger:
        with pytest.raises(NotFoundError, match="`nobody` does not exist"):
            await client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "Hi"}])
        with pytest.raises(AuthenticationError):
            await stranger.chat.completions.create(model="GPT-Demo", messages=[{"role": "user", "content": "Hi"}])
        with pytest.raises(BadRequestError, match="must be a response to a preceeding message"):
            await client.chat.completions.create(
                model="GPT-Demo", messages=[{"role": "tool", "content": "42", "tool_call_id": "x"}]
            )


async def test_the_catalogue_lists_models_beside_bots(poe_url: str) -> None:
    async with http(poe_url, None) as client:
        cards = {card["id"]: card for card in (await client.get("/v1/models")).json()["data"]}

    assert "echo" in cards
    assert cards["claude-demo"]["supported_endpoints"] == ["/v1/messages", "/v1/responses", "/v1/chat/completions"]
    assert cards["gpt-demo"]["pricing"]["input_cache_read"] == "0.00000020"
    assert cards["gemini-demo"]["supported_endpoints"] == ["/v1/chat/completions"]
