"""The size of a picture in a bot's terms. Pure."""

import math
import re
from typing import Any, Final

from proxy.upstreams.poe_account.models import Schemas

#: What bots call the shape of a picture.
_SHAPES: Final = ("size", "image_size", "aspect_ratio", "aspect")
_RATIO: Final = re.compile(r"(\d{1,4})\s*[:x/]\s*(\d{1,4})")


def build_shape(size: str | None, schemas: Schemas) -> dict[str, Any]:
    """Parameters for a size, name → value: width and height, the same size, or the nearest of the bot's ratios."""
    if size is None:
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
