"""Requests for images as clients send them."""

import json
from typing import Any

import pytest

from proxy.core.failures import InvalidRequest
from proxy.dialects.openai_images.parse import parse_image_request
from proxy.dialects.openai_images.request import IMAGE_BODY, ImageBody


def read(**fields: Any) -> ImageBody:
    return IMAGE_BODY.read(json.dumps({"prompt": "A cat", **fields}).encode())


def test_a_prompt_is_all_that_is_needed() -> None:
    assert read() == {"prompt": "A cat"}


@pytest.mark.parametrize("field", ["model", "n", "size", "response_format", "stream"])
def test_null_is_the_same_as_leaving_a_field_out(field: str) -> None:
    without, with_null = ({"prompt": "A cat", **more} for more in ({}, {field: None}))

    assert parse_image_request(json.dumps(with_null).encode()) == parse_image_request(json.dumps(without).encode())


def test_unknown_fields_are_kept() -> None:
    """A bot may have a parameter of that name."""
    assert IMAGE_BODY.unknown(read(quality="hd", style="vivid")) == {"quality": "hd", "style": "vivid"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", "auto"),
        ("size", "1024x1024"),
        ("size", "10x99999"),
        ("n", 1),
        ("n", 10),
        ("response_format", "url"),
        ("response_format", "b64_json"),
        ("prompt", "x" * 100_000),
    ],
)
def test_the_ends_of_each_range_are_within_it(field: str, value: object) -> None:
    assert dict(read(**{field: value}))[field] == value


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": ["A cat"]}, "prompt"),
        ({"prompt": "x" * 100_001}, "prompt"),
        ({"model": ""}, "model"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"n": "1"}, "n"),
        ({"size": "large"}, "size"),
        ({"size": "0x1024"}, "size"),
        ({"size": "1024x0"}, "size"),
        ({"size": "9x9"}, "size"),
        ({"size": "1024 x 1024"}, "size"),
        ({"size": "1024x1024\n"}, "size"),
        ({"size": "-10x10"}, "size"),
        ({"size": "100000x10"}, "size"),
        ({"size": "١٠x١٠"}, "size"),
        ({"size": 1024}, "size"),
        ({"response_format": "png"}, "response_format"),
        ({"response_format": {"type": "url"}}, "response_format"),
        ({"stream": "yes"}, "stream"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_field_is_named(change: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**change)

    assert caught.value.param == param


def test_a_missing_prompt_is_called_missing() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_image_request(b"{}")

    assert caught.value.message == "Missing required parameter: 'prompt'."
