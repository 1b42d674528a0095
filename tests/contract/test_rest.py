"""OpenAI's own library with models that Poe serves over REST: chat and responses in front, three endpoints behind.

The demo's Poe is the other side; it checks what it is sent as the providers do.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from openai import AsyncOpenAI

from proxy.credentials import parse_poe_keys
from proxy.settings import Settings
from tests.support.local_poe import running_local_poe
from tests.support.serving import http, sdk, serving

KEY: Final = "poe-key-one"
MODELS: Final = ("Claude-Demo", "GPT-Demo", "Gemini-Demo")
CITY: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: Final[Any] = [
    {"type": "function", "function": {"name": name, "description": "Of a city.", "parameters": CITY}}
    for name in ("get_weather", "get_time")
]
FLAT_TOOLS: Final[Any] = [{"type": "function", **tool["function"]} for tool in TOOLS]
BOTH: Final[Any] = [{"role": "user", "content": "Please get_weather and get_time"}]


@pytest.fixture
async def openai(settings: Settings) -> AsyncIterator[AsyncOpenAI]:
    async with running_local_poe(KEY) as url:
        changed = settings.model_copy(update={"poe_base_url": url, "poe_api_keys": parse_poe_keys(KEY)})
        async with serving(changed) as base_url:
            async with http(base_url) as raw:
                assert (await raw.get("/v1/models")).status_code == 200
            async with sdk(base_url) as client:
                yield client


@pytest.mark.parametrize("model", MODELS)
async def test_parallel_calls_in_a_stream_are_whole(openai: AsyncOpenAI, model: str) -> None:
    async with openai.chat.completions.stream(model=model, messages=BOTH, tools=TOOLS) as stream:
        async for _ in stream:
            pass
        answer = await stream.get_final_completion()
    choice = answer.choices[0]
    calls = choice.message.tool_calls or []

    assert choice.finish_reason == "tool_calls"
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert len({call.id for call in calls}) == 2
    assert all('"city"' in call.function.arguments for call in calls)


@pytest.mark.parametrize("model", MODELS)
async def test_the_choice_of_a_tool_is_obeyed(openai: AsyncOpenAI, model: str) -> None:
    hello: Any = [{"role": "user", "content": "hello"}]
    named: Any = {"type": "function", "function": {"name": "get_time"}}

    async def called(**options: Any) -> list[str]:
        answer = await openai.chat.completions.create(model=model, tools=TOOLS, **{"messages": hello, **options})
        return [call.function.name for call in answer.choices[0].message.tool_calls or ()]

    assert await called() == []
    assert await called(tool_choice=named) == ["get_time"]
    assert len(await called(tool_choice="required")) >= 1
    assert await called(messages=BOTH, tool_choice="none") == []
    assert len(await called(messages=BOTH, parallel_tool_calls=False)) == 1


@pytest.mark.parametrize("model", MODELS)
async def test_responses_over_each_endpoint(openai: AsyncOpenAI, model: str) -> None:
    """A call and its result, streamed, with the items of the answer given back as they came."""
    said: list[Any] = [{"role": "user", "content": "Please get_weather"}]
    async with openai.responses.stream(model=model, input=said, tools=FLAT_TOOLS) as stream:
        async for _ in stream:
            pass
        first = await stream.get_final_response()
    said += [item.model_dump(exclude_none=True) for item in first.output]
    [call] = [item for item in first.output if item.type == "function_call"]
    said.append({"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"})
    second = await openai.responses.create(model=model, input=said, tools=FLAT_TOOLS)

    assert call.name == "get_weather"
    assert "18 degrees" in second.output_text
    assert second.usage is not None
    assert second.usage.input_tokens > 0


@pytest.mark.parametrize("model", MODELS)
async def test_limits_and_stops_hold(openai: AsyncOpenAI, model: str) -> None:
    words: Any = [{"role": "user", "content": "one two three four five six seven eight nine ten eleven twelve"}]
    stopped = await openai.chat.completions.create(model=model, messages=words, stop=["five"])
    cut = await openai.chat.completions.create(model=model, messages=words, max_tokens=5)
    stopped_there = await openai.responses.create(
        model=model, input=words[0]["content"], extra_body={"max_output_tokens": 16}
    )

    assert (stopped.choices[0].message.content or "").rstrip() == "one two three four"
    assert stopped.choices[0].finish_reason == "stop"
    assert cut.choices[0].finish_reason == "length"
    assert stopped_there.status in ("completed", "incomplete")


@pytest.mark.parametrize("model", MODELS)
async def test_a_picture_reaches_the_model(openai: AsyncOpenAI, model: str) -> None:
    pixel = (
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJg"
        "gg=="
    )
    content: Any = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": pixel}},
    ]
    without = await openai.chat.completions.create(model=model, messages=[{"role": "user", "content": "what is it?"}])
    with_it = await openai.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])

    assert with_it.usage is not None
    assert without.usage is not None
    assert with_it.usage.prompt_tokens > without.usage.prompt_tokens
    assert with_it.choices[0].message.content
