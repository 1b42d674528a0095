"""How a stream of OpenAI's ends: with ``[DONE]``, or with an error and without it, so that clients raise. Pure."""

from typing import Final

from proxy.core.failures import ProxyError
from proxy.dialects.openai.errors import error_body
from proxy.dialects.streams.lines import with_whole_lines

DONE: Final = b"data: [DONE]\n\n"


def error_event(error: ProxyError) -> bytes:
    """The event that ends a failed stream."""
    return b"data: " + with_whole_lines(error_body(error)) + b"\n\n"
