"""Which vendor's forms a caller expects for what is no answer of a model: errors, limits, the list of models."""

from collections.abc import Callable
from typing import Final, NamedTuple

from sanic import Request

from proxy.core.failures import ProxyError
from proxy.dialects.anthropic_messages import errors as anthropic
from proxy.dialects.openai import errors as openai

#: With or without ``/v1``, and whatever stands before it.
_MESSAGES: Final = ("/messages", "/messages/", "/messages/count_tokens", "/messages/count_tokens/")
_CLAUDE_CODE: Final = ("claude-cli/", "claude-code/")


class ErrorForms(NamedTuple):
    """How a vendor tells failures.

    Attributes:
        body: of the failure, and the request's id.
    """

    status_of: Callable[[ProxyError], int]
    body: Callable[[ProxyError, str], bytes]


_OPENAIS: Final = ErrorForms(openai.status_of, lambda error, _: openai.error_body(error))
_ANTHROPICS: Final = ErrorForms(anthropic.status_of, anthropic.error_body)


def expects_anthropics(request: Request) -> bool:
    """Whether the caller speaks Anthropic's API: by the path, or by a header that its clients always send."""
    return "anthropic-version" in request.headers or request.path.endswith(_MESSAGES)


def error_forms(request: Request) -> ErrorForms:
    """How the caller expects to be told of failures."""
    return _ANTHROPICS if expects_anthropics(request) else _OPENAIS


def is_claude_code(request: Request) -> bool:
    """Whether it is Claude Code that asks."""
    return request.headers.get("user-agent", "").startswith(_CLAUDE_CODE)
