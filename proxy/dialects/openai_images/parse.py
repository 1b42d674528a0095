"""Image generations in core's terms: a chat that asks for pictures. Pure."""

from typing import NamedTuple

from proxy.core.chat_request import ChatRequest, Message, Options, Text
from proxy.core.failures import UnsupportedFeature
from proxy.dialects.openai_images.request import IMAGE_BODY, ImageBody


class ParsedImages(NamedTuple):
    """A request, and whether the client wants the pictures in base64 instead of their URLs."""

    request: ChatRequest
    as_base64: bool


def parse_image_request(body: bytes, *, large: bool | None = None) -> ParsedImages:
    """Parses a body; ``large`` as in ``BodyReader.read``.

    Raises:
        InvalidRequest: a field is wrong or missing.
        UnsupportedFeature: the images are to be streamed.
    """
    fields = IMAGE_BODY.read(body, large=large)
    if fields.get("stream"):
        raise UnsupportedFeature("Images cannot be streamed.", param="stream")
    size = fields.get("size")
    options = Options(
        choices=fields.get("n") or 1,
        image_size=None if size == "auto" else size,
        more=IMAGE_BODY.unknown(fields),
    )
    request = ChatRequest([Message("user", [Text(fields["prompt"])])], fields.get("model"), options=options)
    return ParsedImages(request, _wants_base64(fields))


def _wants_base64(fields: ImageBody) -> bool:
    """OpenAI's ``gpt-image-*`` return no URLs, so a client that names such a model expects base64."""
    wanted = fields.get("response_format")
    if wanted is None:
        return (fields.get("model") or "").startswith("gpt-image-")
    return wanted == "b64_json"
