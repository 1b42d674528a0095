"""Requests for images in core's terms: chats that ask for pictures."""

import json
from typing import Any

import pytest

from proxy.core.chat_request import ChatRequest, Message, Text
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.openai_images.parse import parse_image_request
from proxy.upstreams.poe_account.models import Schemas
from proxy.upstreams.poe_bot.plan import build_plan


def image(**fields: Any) -> ChatRequest:
    return parse_image_request(json.dumps({"prompt": "A cat", **fields}).encode()).request


def drawn_with(schemas: Schemas, **fields: Any) -> dict[str, Any]:
    """The parameters that the bot is asked with."""
    (message,) = build_plan(image(**fields), schemas).query.messages
    return dict(message.parameters)


def test_a_prompt_is_what_a_user_says_to_the_bot() -> None:
    chat = image(model="dall-e-3", n=2)

    assert (chat.model, chat.options.choices) == ("dall-e-3", 2)
    assert chat.messages == [Message("user", [Text("A cat")])]


@pytest.mark.parametrize(("size", "wanted"), [("1024x768", "1024x768"), ("auto", None), (None, None)])
def test_a_size_is_wanted_unless_it_is_left_to_the_bot(size: str | None, wanted: str | None) -> None:
    assert image(size=size).options.image_size == wanted


@pytest.mark.parametrize(
    ("fields", "as_base64"),
    [
        ({}, False),
        ({"model": "gpt-image-1"}, True),
        ({"model": "gpt-image-1", "response_format": "url"}, False),
        ({"model": "GPT-Image-1"}, False),
        ({"response_format": "b64_json"}, True),
    ],
    ids=str,
)
def test_pictures_are_sent_themselves_where_that_is_wanted(fields: dict[str, Any], *, as_base64: bool) -> None:
    """OpenAI's own models send no URLs, so who spells one so expects none."""
    assert parse_image_request(json.dumps({"prompt": "A cat", **fields}).encode()).as_base64 is as_base64


def test_fields_of_the_bots_own_are_carried_over_and_others_left_out() -> None:
    schemas: Schemas = {"quality": {"enum": ["low", "high"]}, "style": {}}

    assert drawn_with(schemas, quality="high", style="vivid", background="transparent", user="me") == {
        "quality": "high",
        "style": "vivid",
    }


def test_a_value_that_the_bot_does_not_take_is_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        drawn_with({"quality": {"enum": ["low", "high"]}}, quality="hd")

    assert caught.value.param == "quality"


@pytest.mark.parametrize("name", ["messages", "model", "n", "prompt", "stream", "tools", "response_format"])
def test_a_parameter_with_an_unlucky_name_changes_nothing(name: str) -> None:
    assert drawn_with({name: {}}, n=1, response_format="url") == {}


def test_a_field_that_is_no_parameter_of_the_bots_is_not_looked_at() -> None:
    """A field of chats would mean something else there."""
    chat = image(tools=[7], stop=7, temperature="hot", messages=7)

    assert build_plan(chat) == build_plan(image())


def test_images_are_not_streamed() -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        image(stream=True)

    assert caught.value.param == "stream"
    assert image(stream=False).stream is False
