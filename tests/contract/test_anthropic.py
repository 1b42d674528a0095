"""Anthropic's own Python library: against bots over the bot protocol, and against Claude over Poe's Messages."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import MessageParam, ToolParam

from proxy.credentials import parse_poe_keys
from proxy.settings import Settings
from tests.contract.conftest import Gateway
from tests.support.local_poe import running_local_poe
from tests.support.serving import TOKEN, http, serving

KEY: Final = "poe-key-one"
HELLO: Final[MessageParam] = {"role": "user", "content": "Hello there"}
WEATHER: Final[ToolParam] = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CLOCK: Final[ToolParam] = {
    "name": "get_time",
    "description": "The time in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
#: Long enough to be cached.
RULES: Final = "Read every rule with care, and keep to it. " * 200


def result_of(call_id: str, content: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content}


@pytest.fixture
def bots(gateway: Gateway) -> Iterator[Anthropic]:
    """Bots over the bot protocol."""
    with Anthropic(base_url=gateway.base_url.removesuffix("/v1"), api_key=gateway.token, max_retries=0) as client:
        yield client


@pytest.fixture
async def claude(settings: Settings) -> AsyncIterator[AsyncAnthropic]:
    """The demo's Claude over Poe's Messages."""
    async with running_local_poe(KEY) as url:
        changed = settings.model_copy(update={"poe_base_url": url, "poe_api_keys": parse_poe_keys(KEY)})
        async with serving(changed) as base_url:
            async with http(base_url) as raw:
                assert (await raw.get("/v1/models")).status_code == 200
            async with AsyncAnthropic(base_url=base_url, auth_token=TOKEN, api_key=None, max_retries=0) as client:
                yield client


def test_a_bot_answers(bots: Anthropic) -> None:
    message = bots.messages.create(model="GPT-5", max_tokens=100, messages=[HELLO])

    assert [block.text for block in message.content if block.type == "text"] == ["You said: Hello there "]
    assert (message.model, message.role, message.stop_reason) == ("GPT-5", "assistant", "end_turn")
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0


def test_a_bot_streams(bots: Anthropic) -> None:
    with bots.messages.stream(model="GPT-5", max_tokens=100, messages=[HELLO]) as stream:
        said = "".join(stream.text_stream)
        message = stream.get_final_message()

    assert said == "You said: Hello there "
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0


def test_errors_are_the_librarys_own(bots: Anthropic) -> None:
    with pytest.raises(anthropic.AuthenticationError) as refused:
        bots.with_options(api_key="wrong").messages.create(model="GPT-5", max_tokens=9, messages=[HELLO])
    with pytest.raises(anthropic.NotFoundError) as unknown:
        bots.messages.create(model="Nobody", max_tokens=9, messages=[HELLO])
    with pytest.raises(anthropic.BadRequestError) as wrong:
        bots.messages.create(model="GPT-5", max_tokens=9, messages=[HELLO], extra_body={"top_k": "few"})

    for caught, kind in (
        (refused, "authentication_error"),
        (unknown, "not_found_error"),
        (wrong, "invalid_request_error"),
    ):
        body: Any = caught.value.body
        assert (body["type"], body["error"]["type"]) == ("error", kind)
        assert caught.value.request_id == body["request_id"]


def test_models_and_tokens(bots: Anthropic) -> None:
    counted = bots.messages.count_tokens(model="GPT-5", messages=[HELLO], tools=[WEATHER])
    listed = list(bots.models.list())

    assert counted.input_tokens > 10
    assert {model.type for model in listed} == {"model"}
    assert bots.models.retrieve(listed[0].id).id == listed[0].id


async def test_claude_answers_and_streams(claude: AsyncAnthropic) -> None:
    message = await claude.messages.create(model="Claude-Demo", max_tokens=100, messages=[HELLO])
    async with claude.messages.stream(model="Claude-Demo", max_tokens=100, messages=[HELLO]) as stream:
        said = "".join([text async for text in stream.text_stream])
        streamed = await stream.get_final_message()

    assert [block.text for block in message.content if block.type == "text"] == [said] == ["Hello there"]
    for answer in (message, streamed):
        assert (answer.model, answer.stop_reason) == ("Claude-Demo", "end_turn")
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (18, 3)


async def test_claude_calls_tools_and_reads_what_they_gave(claude: AsyncAnthropic) -> None:
    asked: MessageParam = {"role": "user", "content": "Please get_weather and get_time"}
    first = await claude.messages.create(model="Claude-Demo", max_tokens=500, messages=[asked], tools=[WEATHER, CLOCK])
    calls = [block for block in first.content if block.type == "tool_use"]
    results: Any = [
        {"type": "tool_result", "tool_use_id": call.id, "content": f"{call.name} gave 18"} for call in calls
    ]
    second = await claude.messages.create(
        model="Claude-Demo",
        max_tokens=500,
        messages=[asked, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}],
        tools=[WEATHER, CLOCK],
    )

    assert first.stop_reason == "tool_use"
    assert [call.name for call in calls] == ["get_weather", "get_time"]
    assert all(call.input == {"city": "city"} or call.input for call in calls)
    [answer] = [block.text for block in second.content if block.type == "text"]
    assert "get_weather gave 18" in answer
    assert "get_time gave 18" in answer


async def test_claude_obeys_the_choice_of_a_tool(claude: AsyncAnthropic) -> None:
    forced = await claude.messages.create(
        model="Claude-Demo",
        max_tokens=500,
        messages=[HELLO],
        tools=[WEATHER, CLOCK],
        tool_choice={"type": "tool", "name": "get_time"},
    )
    alone = await claude.messages.create(
        model="Claude-Demo",
        max_tokens=500,
        messages=[{"role": "user", "content": "get_weather and get_time"}],
        tools=[WEATHER, CLOCK],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
    )

    assert [block.name for block in forced.content if block.type == "tool_use"] == ["get_time"]
    assert len([block for block in alone.content if block.type == "tool_use"]) == 1


async def test_claudes_thoughts_are_signed_and_come_back(claude: AsyncAnthropic) -> None:
    """The demo's Claude refuses a signature that is not its own, so that an answer shows that it came back whole."""
    thinking: Any = {"type": "enabled", "budget_tokens": 1_024}
    asked: MessageParam = {"role": "user", "content": "Please get_weather"}
    async with claude.messages.stream(
        model="Claude-Demo", max_tokens=4_000, messages=[asked], tools=[WEATHER], thinking=thinking
    ) as stream:
        first = await stream.get_final_message()
    [call] = [block for block in first.content if block.type == "tool_use"]
    result: Any = [result_of(call.id, "18 degrees")]
    second = await claude.messages.create(
        model="Claude-Demo",
        max_tokens=4_000,
        messages=[asked, {"role": "assistant", "content": first.content}, {"role": "user", "content": result}],
        tools=[WEATHER],
        thinking=thinking,
    )

    [thought] = [block for block in first.content if block.type == "thinking"]
    assert thought.thinking
    assert thought.signature
    assert "18 degrees" in "".join(block.text for block in second.content if block.type == "text")


async def test_what_a_client_marks_is_cached(claude: AsyncAnthropic) -> None:
    system: Any = [{"type": "text", "text": RULES, "cache_control": {"type": "ephemeral"}}]
    written, read = [
        (await claude.messages.create(model="Claude-Demo", max_tokens=100, system=system, messages=[HELLO])).usage
        for _ in range(2)
    ]

    assert written.cache_creation_input_tokens
    assert read.cache_read_input_tokens == written.cache_creation_input_tokens
    assert read.input_tokens == written.input_tokens
