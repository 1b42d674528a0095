"""What OpenAI's Python library has beyond the matrix: both ways to call, raw answers, helpers, lists, older routes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest
from openai import AsyncOpenAI, AuthenticationError, LengthFinishReasonError, NotFoundError, OpenAI
from openai.types.chat import ChatCompletionUserMessageParam
from pydantic import BaseModel

from tests.contract.bots import BOTS, PICTURE_PATH
from tests.contract.conftest import Gateway

HELLO: Final = ChatCompletionUserMessageParam(role="user", content="Hello there")
SAID: Final = "You said: Hello there "


class Person(BaseModel):
    name: str
    age: int


PERSON: Final = ChatCompletionUserMessageParam(role="user", content="Who wrote the first program, and at what age?")


@pytest.fixture(name="openai")
def _openai(gateway: Gateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url, api_key=gateway.token, max_retries=0) as client:
        yield client


@pytest.fixture(name="async_openai")
async def _async_openai(gateway: Gateway) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=gateway.base_url, api_key=gateway.token, max_retries=0) as client:
        yield client


async def test_the_asynchronous_client_streams_many_answers_at_once(async_openai: AsyncOpenAI) -> None:
    async def answer(number: int) -> str:
        question = ChatCompletionUserMessageParam(role="user", content=f"Hello {number}")
        stream = await async_openai.chat.completions.create(model="GPT-5", messages=[question], stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    answers = await asyncio.gather(*map(answer, range(10)))

    assert answers == [f"You said: Hello {number} " for number in range(10)]


async def test_the_asynchronous_client_raises_the_same_errors(async_openai: AsyncOpenAI) -> None:
    with pytest.raises(AuthenticationError):
        await async_openai.with_options(api_key="wrong").models.list()
    with pytest.raises(NotFoundError) as caught:
        await async_openai.chat.completions.create(model="Nobody", messages=[HELLO])

    assert caught.value.code == "model_not_found"
    assert caught.value.request_id


def test_a_raw_answer_has_its_headers_and_still_parses(openai: OpenAI) -> None:
    raw = openai.chat.completions.with_raw_response.create(model="GPT-5", messages=[HELLO])

    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["x-request-id"] == raw.request_id
    assert raw.parse().choices[0].message.content == SAID


def test_a_streamed_raw_answer_ends_as_openais_do(openai: OpenAI) -> None:
    with openai.chat.completions.with_streaming_response.create(model="GPT-5", messages=[HELLO], stream=True) as raw:
        lines = [line for line in raw.iter_lines() if line]

    assert raw.headers["content-type"].startswith("text/event-stream")
    assert all(line.startswith("data: ") for line in lines if not line.startswith(": "))
    assert lines[-1] == "data: [DONE]"


def test_silence_is_filled(openai: OpenAI) -> None:
    """What the matrix says of silence stands on this."""
    with openai.chat.completions.with_streaming_response.create(model="Slow", messages=[HELLO], stream=True) as raw:
        lines = [line for line in raw.iter_lines() if line]

    assert lines.count(": ping") >= 2
    assert ": ping" in lines[next(at for at, line in enumerate(lines) if "Patience" in line) :]


def test_the_stream_helper_tells_events_and_the_whole_answer(openai: OpenAI) -> None:
    with openai.chat.completions.stream(
        model="GPT-5", messages=[HELLO], stream_options={"include_usage": True}
    ) as events:
        deltas = [event.delta for event in events if event.type == "content.delta"]
        whole = events.get_final_completion()

    assert "".join(deltas) == whole.choices[0].message.content == SAID
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.completion_tokens > 0


def test_the_stream_helper_parses_structured_output(openai: OpenAI) -> None:
    with openai.chat.completions.stream(model="GPT-5", messages=[PERSON], response_format=Person) as events:
        message = events.get_final_completion().choices[0].message

    assert message.parsed == Person(name="Ada", age=36)


def test_json_without_a_schema(openai: OpenAI) -> None:
    answer = openai.chat.completions.create(
        model="GPT-5", messages=[PERSON], response_format={"type": "json_object"}
    ).choices[0]

    assert Person.model_validate_json(answer.message.content or "") == Person(name="Ada", age=36)


def test_several_choices(openai: OpenAI) -> None:
    choices = openai.chat.completions.create(model="GPT-5", messages=[HELLO], n=3).choices

    assert [(choice.index, choice.message.content) for choice in choices] == [(at, SAID) for at in range(3)]


def test_several_choices_in_a_stream(openai: OpenAI) -> None:
    """The helper wants choices to begin in their order, whichever bot is the first to say something."""
    with openai.chat.completions.stream(model="Backwards", messages=[HELLO], n=3) as events:
        choices = events.get_final_completion().choices

    assert [(choice.index, choice.message.content) for choice in choices] == [(at, SAID) for at in range(3)]


def test_models_are_listed(openai: OpenAI) -> None:
    listed = {model.id: model for model in openai.models.list()}

    assert set(BOTS) <= set(listed)
    assert {listed[name].created for name in BOTS} == {1_763_600_000}


def test_one_model_is_found_by_its_name(openai: OpenAI) -> None:
    assert openai.models.retrieve("Claude-Sonnet-4.5").id == "Claude-Sonnet-4.5"
    with pytest.raises(NotFoundError):
        openai.models.retrieve("Nobody")


def test_a_legacy_completion(openai: OpenAI) -> None:
    answer = openai.completions.create(model="GPT-5", prompt="Hello there")

    assert answer.object == "text_completion"
    assert [choice.text for choice in answer.choices] == [SAID]


def test_a_streamed_legacy_completion(openai: OpenAI) -> None:
    pieces = [
        choice.text
        for chunk in openai.completions.create(model="GPT-5", prompt="Hello there", stream=True)
        for choice in chunk.choices
    ]

    assert "".join(pieces) == SAID
    assert len([piece for piece in pieces if piece]) > 1


def test_a_generated_picture(openai: OpenAI, gateway: Gateway) -> None:
    pictures = openai.images.generate(model="GPT-Image-1", prompt="A red pixel", n=2).data or []

    assert [picture.url for picture in pictures] == [gateway.poe_url + PICTURE_PATH] * 2


def test_a_picture_in_a_chat_is_a_link_in_its_text(openai: OpenAI, gateway: Gateway) -> None:
    answer = openai.chat.completions.create(model="GPT-Image-1", messages=[HELLO]).choices[0].message.content

    assert answer == f"![red.png]({gateway.poe_url}{PICTURE_PATH})"


def test_a_picture_elsewhere_is_left_to_poe_to_fetch(openai: OpenAI) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/red.png"}}
    message: Any = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]}
    answer = openai.chat.completions.create(model="GPT-5", messages=[message]).choices[0].message.content

    assert answer == "I see a file of type image/png at https://example.com/red.png."


def test_a_file_reaches_the_bot(openai: OpenAI) -> None:
    file = {"type": "file", "file": {"filename": "notes.txt", "file_data": "data:text/plain;base64,aGVsbG8="}}
    message: Any = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, file]}
    answer = openai.chat.completions.create(model="GPT-5", messages=[message]).choices[0].message.content

    assert answer == "I see a file of type text/plain, 5 bytes."


def test_an_answer_that_is_cut_says_so(openai: OpenAI) -> None:
    answer = openai.chat.completions.create(model="GPT-5", messages=[HELLO], max_tokens=2).choices[0]

    assert answer.finish_reason == "length"
    assert SAID.startswith(answer.message.content or "nothing")
    with pytest.raises(LengthFinishReasonError):
        openai.chat.completions.parse(model="GPT-5", messages=[PERSON], response_format=Person, max_tokens=2)
