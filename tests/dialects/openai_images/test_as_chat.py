"""Requests for images, as chats."""

import json
import math
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.openai_chat.request import ChatCompletionRequest
from proxy.dialects.openai_images.as_chat import chat_of_image
from proxy.dialects.openai_images.request import parse_image_request
from proxy.upstreams.poe_bot.parameters import Schemas
from proxy.upstreams.poe_bot.plan import build_plan

ASPECT: Final = {"enum": ["1:1", "16:9", "9:16", "4:3"]}
SIZES: Final = {"enum": ["1024x1024", "1536x1024"]}


def image(schemas: Schemas, **fields: Any) -> ChatCompletionRequest:
    return chat_of_image(parse_image_request(json.dumps({"prompt": "A cat", **fields}).encode()), "Painter", schemas)


def drawn_with(schemas: Schemas, **fields: Any) -> dict[str, Any]:
    """The parameters that the bot is asked with."""
    (message,) = build_plan(image(schemas, **fields), schemas).query.messages
    return dict(message.parameters)


def test_a_prompt_is_what_a_user_says_to_the_bot() -> None:
    chat = image({}, model="dall-e-3", n=2)

    assert (chat.model, chat.n) == ("Painter", 2)
    assert [(message.role, message.content) for message in chat.messages] == [("user", "A cat")]


@pytest.mark.parametrize(
    ("size", "schemas", "parameters"),
    [
        ("1024x1024", {"size": SIZES}, {"size": "1024x1024"}),
        ("1792x1024", {"size": SIZES}, {"size": "1536x1024"}),
        ("1024x1024", {"aspect_ratio": ASPECT}, {"aspect_ratio": "1:1"}),
        ("1792x1024", {"aspect": ASPECT}, {"aspect": "16:9"}),
        ("1024x1792", {"aspect": ASPECT}, {"aspect": "9:16"}),
        ("1000x800", {"aspect": ASPECT}, {"aspect": "4:3"}),
        ("99999x10", {"aspect": ASPECT}, {"aspect": "16:9"}),
        ("640x480", {"width": {"type": "integer"}, "height": {}}, {"width": 640, "height": 480}),
        ("640x480", {"width": {"type": "integer"}, "aspect": ASPECT}, {"aspect": "4:3"}),
        ("1024x1024", {"image_size": {"enum": ["1K", "2K"]}, "aspect": ASPECT}, {"aspect": "1:1"}),
        ("1024x1024", {"image_size": {"enum": ["1K", "2K"]}}, {}),
        ("1024x1024", {"size": {"type": "string"}}, {}),
        ("1024x1024", {"aspect": {"enum": ["auto", None, 7, [1], "0:1", "1:0", "16 / 9"]}}, {"aspect": "16 / 9"}),
        ("auto", {"size": SIZES, "aspect": ASPECT, "width": {}, "height": {}}, {}),
        (None, {"size": SIZES}, {}),
        ("1024x1024", {}, {}),
    ],
    ids=str,
)
def test_a_size_is_put_in_the_bots_terms(size: str | None, schemas: Schemas, parameters: dict[str, Any]) -> None:
    """The same size, the nearest of its shapes, width and height, or nothing."""
    assert drawn_with(schemas, size=size) == parameters


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
    assert image({}, tools=[7], stop=7, temperature="hot", messages=7).model_extra == {}


def test_images_are_not_streamed() -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        image({}, stream=True)

    assert caught.value.param == "stream"
    assert image({}, stream=False).stream is None


@given(
    width=st.integers(10, 99_999),
    height=st.integers(10, 99_999),
    ratios=st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), min_size=1, max_size=9, unique=True),
)
def test_no_other_shape_of_the_bots_is_nearer(width: int, height: int, ratios: list[tuple[int, int]]) -> None:
    names = {f"{across}:{down}": across / down for across, down in ratios}
    chosen = drawn_with({"aspect": {"enum": list(names)}}, size=f"{width}x{height}")["aspect"]

    def distance(name: str) -> float:
        return abs(math.log(names[name] / (width / height)))

    assert distance(chosen) == min(map(distance, names))
