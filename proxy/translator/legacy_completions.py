"""OpenAI's other ways to ask for text and pictures, as chats: at Poe there is nothing else. Pure."""

import math
import re
from typing import Any, Final

from proxy.core.failures import UnsupportedFeature
from proxy.openai_api.completions import CompletionRequest
from proxy.openai_api.images import ImageRequest
from proxy.openai_api.request import ChatCompletionRequest
from proxy.openai_api.validation import parse_fields
from proxy.translator.parameters import Schemas

#: What bots call the shape of a picture.
_SHAPES: Final = ("size", "image_size", "aspect_ratio", "aspect")
#: Longest prompt that is sent back, once for each choice.
_MAX_ECHOED_CHARACTERS: Final = 100_000
_RATIO: Final = re.compile(r"(\d{1,4})\s*[:x/]\s*(\d{1,4})")


def chat_of_completion(request: CompletionRequest) -> ChatCompletionRequest:
    """A legacy completion as a chat with one message.

    Raises:
        UnsupportedFeature: the request needs what a chat cannot do.
    """
    prompt = request.prompt
    if isinstance(prompt, list):
        if len(prompt) != 1 or not isinstance(prompt[0], str):
            raise UnsupportedFeature("One prompt at a time, as text, is supported.", param="prompt")
        prompt = prompt[0]
    if request.echo and len(prompt) > _MAX_ECHOED_CHARACTERS:
        raise UnsupportedFeature(
            f"At most {_MAX_ECHOED_CHARACTERS} characters are echoed: 'prompt' is too long for 'echo'.", param="echo"
        )
    if request.suffix:
        raise UnsupportedFeature("'suffix' is not supported.", param="suffix")
    if request.best_of is not None and request.best_of > (request.n or 1):
        raise UnsupportedFeature("'best_of' is not supported.", param="best_of")
    if request.logprobs:
        raise UnsupportedFeature("Poe gives no log probabilities.", param="logprobs")
    same = ("model", "max_tokens", "n", "stop", "stream", "stream_options", "temperature", "top_p", "logit_bias")
    fields = {name: getattr(request, name) for name in same}
    messages = [{"role": "user", "content": prompt}]
    return parse_fields(ChatCompletionRequest, {**(request.model_extra or {}), **fields, "messages": messages})


def chat_of_image(request: ImageRequest, bot: str, schemas: Schemas) -> ChatCompletionRequest:
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


def _shape(size: str | None, schemas: Schemas) -> dict[str, Any]:
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
