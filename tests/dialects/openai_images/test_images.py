"""Requests for images as clients send them, and the answer as OpenAI's own client reads it."""

import json
from typing import Any

import pytest
from openai.types import ImagesResponse

from proxy.core.failures import InvalidRequest
from proxy.core.usage import Usage
from proxy.dialects.openai_images.request import ImageRequest, parse_image_request
from proxy.dialects.openai_images.response import images_body

USAGE = Usage(prompt_tokens=7, completion_tokens=11, reasoning_tokens=3)


def parsed(**fields: Any) -> ImageRequest:
    return parse_image_request(json.dumps({"prompt": "A cat", **fields}).encode())


def answer(**content: Any) -> ImagesResponse:
    body = images_body(created=1_700_000_000, usage=USAGE, **content)
    return ImagesResponse.model_validate_json(body, strict=True)


def test_a_prompt_is_all_that_is_needed() -> None:
    assert parsed().model_dump(exclude_none=True) == {"prompt": "A cat"}


@pytest.mark.parametrize("field", ["model", "n", "size", "response_format", "stream"])
def test_null_is_the_same_as_leaving_a_field_out(field: str) -> None:
    assert parsed(**{field: None}) == parsed()


def test_unknown_fields_are_kept() -> None:
    """A bot may have a parameter of that name."""
    assert parsed(quality="hd", style="vivid").model_extra == {"quality": "hd", "style": "vivid"}


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
    assert getattr(parsed(**{field: value}), field) == value


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
        parsed(**change)

    assert caught.value.param == param


def test_a_missing_prompt_is_called_missing() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_image_request(b"{}")

    assert caught.value.message == "Missing required parameter: 'prompt'."


def test_urls_are_read_by_openais_client() -> None:
    images = answer(urls=["https://pfst.cf2.poecdn.net/1", "https://example.com/ü?a=1&b=2"])

    assert images.created == 1_700_000_000
    assert images.data is not None
    assert [(image.url, image.b64_json) for image in images.data] == [
        ("https://pfst.cf2.poecdn.net/1", None),
        ("https://example.com/ü?a=1&b=2", None),
    ]


def test_content_is_read_by_openais_client() -> None:
    images = answer(base64=["iVBORw0KGgo="])

    assert images.data is not None
    assert [(image.url, image.b64_json) for image in images.data] == [(None, "iVBORw0KGgo=")]


def test_usage_is_counted_as_for_images() -> None:
    usage = answer(urls=["https://example.com/1"]).usage

    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (7, 11, 18)
    assert usage.input_tokens_details.text_tokens == 7
