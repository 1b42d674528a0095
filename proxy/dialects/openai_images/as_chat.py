"""Requests for images as chats: at Poe there is nothing else. Pure."""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from proxy.core.failures import UnsupportedFeature
from proxy.dialects.bodies.validation import parse_fields
from proxy.dialects.openai_chat.request import ChatCompletionRequest
from proxy.dialects.openai_images.request import ImageRequest

#: What bots call the shape of a picture.
_SHAPES: Final = ("size", "image_size", "aspect_ratio", "aspect")
_RATIO: Final = re.compile(r"(\d{1,4})\s*[:x/]\s*(\d{1,4})")

#: The parameters of a bot: name → JSON Schema.
_Schemas = Mapping[str, Mapping[str, Any]]


def chat_of_image(request: ImageRequest, bot: str, schemas: _Schemas) -> ChatCompletionRequest:
    """An image request as a chat with a bot that has these parameters (name → JSON Schema).

    Raises:
        UnsupportedFeature: the images are to be streamed.
    """
    if request.stream:
        raise UnsupportedFeature("Images cannot be streamed.", param="stream")
    fields = {**(request.model_extra or {}), **_shape(request.size, schemas)}
    known = {"model": bot, "n": request.n, "messages": [{"role": "user", "content": request.prompt}]}
    listed = {name: value for name, value in fields.items() if name in schemas}
    return parse_fields(ChatCompletionRequest, {**listed, **known})


def _shape(size: str | None, schemas: _Schemas) -> dict[str, Any]:
    """The size in the bot's terms: the same size, the nearest of its aspect ratios, or width and height."""
    if size is None or size == "auto":
        return {}
    width, height = (int(side) for side in size.split("x"))
    if "width" in schemas and "height" in schemas:
        return {"width": width, "height": height}
    for name in _SHAPES:
        if name in schemas and (value := _shape_as(size, width / height, schemas[name].get("enum"))) is not None:
            return {name: value}
    return {}


def _shape_as(size: str, ratio: float, choices: object) -> object:
    """None when the bot's choices say nothing of a shape."""
    if not isinstance(choices, list):
        return None
    if size in choices:
        return size
    ratios = {choice: found for choice in choices if isinstance(choice, str) and (found := _ratio_of(choice))}
    return min(ratios, key=lambda choice: abs(math.log(ratios[choice] / ratio)), default=None)


def _ratio_of(choice: str) -> float | None:
    found = _RATIO.fullmatch(choice)
    if found is None or not int(found[1]) or not int(found[2]):
        return None
    return int(found[1]) / int(found[2])
