"""The answer to a request for images."""

from typing import Any

from openai.types import ImagesResponse

from proxy.core.usage import Usage
from proxy.dialects.openai_images.response import images_body

USAGE = Usage(prompt_tokens=7, completion_tokens=11, reasoning_tokens=3)


def answer(**content: Any) -> ImagesResponse:
    body = images_body(created=1_700_000_000, usage=USAGE, **content)
    return ImagesResponse.model_validate_json(body, strict=True)


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
