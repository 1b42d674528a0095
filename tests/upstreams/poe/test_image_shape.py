"""The size of a picture in a bot's terms."""

import math
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstreams.poe.image_shape import build_shape
from proxy.upstreams.poe_account.models import Schemas

ASPECT: Final = {"enum": ["1:1", "16:9", "9:16", "4:3"]}
SIZES: Final = {"enum": ["1024x1024", "1536x1024"]}


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
        (None, {"size": SIZES}, {}),
        ("1024x1024", {}, {}),
    ],
    ids=str,
)
def test_a_size_is_put_in_the_bots_terms(size: str | None, schemas: Schemas, parameters: dict[str, Any]) -> None:
    """The same size, the nearest of its shapes, width and height, or nothing."""
    assert build_shape(size, schemas) == parameters


@given(
    width=st.integers(10, 99_999),
    height=st.integers(10, 99_999),
    ratios=st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), min_size=1, max_size=9, unique=True),
)
def test_no_other_shape_of_the_bots_is_nearer(width: int, height: int, ratios: list[tuple[int, int]]) -> None:
    names = {f"{across}:{down}": across / down for across, down in ratios}
    chosen = build_shape(f"{width}x{height}", {"aspect": {"enum": list(names)}})["aspect"]

    def distance(name: str) -> float:
        return abs(math.log(names[name] / (width / height)))

    assert distance(chosen) == min(map(distance, names))
