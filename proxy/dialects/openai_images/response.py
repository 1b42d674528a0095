"""The answer to a request for images, as bytes. Shapes: …/docs/api-reference/images/create."""

from collections.abc import Sequence

import orjson

from proxy.core.usage import Usage


def images_body(*, created: int, urls: Sequence[str] = (), base64: Sequence[str] = (), usage: Usage) -> bytes:
    """The answer with the images as URLs or in base64."""
    images = [{"url": url} for url in urls] + [{"b64_json": content} for content in base64]
    counts = {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "input_tokens_details": {"text_tokens": usage.prompt_tokens, "image_tokens": 0},
    }
    return orjson.dumps({"created": created, "data": images, "usage": counts})
