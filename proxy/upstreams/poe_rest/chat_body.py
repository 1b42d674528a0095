"""Bodies for Poe's ``POST /v1/chat/completions``. Pure.

In its strict mode Poe refuses fields that neither its documents name nor the model's entry in its list declares. It
takes no notice of ``response_format``, and gives one choice: neither is sent. What the model declares is built as for
bots (``poe/parameters.py``).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from proxy.core.chat_request import ChatRequest, Options
from proxy.upstreams.poe.efforts import effort_of
from proxy.upstreams.poe.hosted_tools import without_search
from proxy.upstreams.poe.json_text import written_json
from proxy.upstreams.poe.parameters import THINKING, build_parameters
from proxy.upstreams.poe_account.models import Schemas
from proxy.upstreams.poe_rest.chat_messages import build_messages
from proxy.upstreams.poe_rest.chat_tools import build_tools

#: OpenAI takes no more; the reader of the answer knows them all.
_MOST_STOPS: Final = 4
#: What no parameter of a model can stand for.
_ASKED: Final = frozenset(
    ("model", "messages", "tools", "tool_choice", "parallel_tool_calls", "stream", "stream_options", "n")
)
_STREAM: Final[Mapping[str, Any]] = {"stream": True, "stream_options": {"include_usage": True}}


def build_chat_body(request: ChatRequest, *, model: str, stream: bool, parameters: Schemas) -> bytes:
    """The body that asks ``model``, which declares these parameters, for an answer to this request.

    In a thread when it is large.

    Raises:
        UnsupportedFeature: the request needs what a chat does not have.
        InvalidRequest: a file, a result or a parameter makes no sense.
    """
    request = without_search(request, parameters)
    options = _with_effort(request.options, parameters)
    return written_json(
        {
            **build_parameters(options, {name: parameters[name] for name in parameters.keys() - _ASKED}),
            "model": model,
            "messages": build_messages(request),
            **build_tools(request),
            **_stated(options, parameters),
            **(_STREAM if stream else {}),
        }
    )


def _with_effort(options: Options, parameters: Schemas) -> Options:
    """A limit on the tokens of thoughts as an effort. To think of nothing is asked only of a model that has levels."""
    budget = options.thinking_tokens
    if options.reasoning_effort is not None or budget is None or (budget == 0 and not _declares_thinking(parameters)):
        return options
    return replace(options, reasoning_effort=effort_of(budget))


def _stated(options: Options, parameters: Schemas) -> dict[str, Any]:
    """Fields that every model has."""
    stops = [stop for stop in options.stops if stop.strip()][:_MOST_STOPS]
    fields = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "max_completion_tokens": options.max_tokens,
        # One of the two limits may be sent, and the other is kept to here.
        "max_tokens": options.max_visible_tokens if options.max_tokens is None else None,
        "stop": stops or None,
        "logprobs": options.logprobs or None,
        "top_logprobs": options.top_logprobs or None,
        # It is no documented field, and yet each backend gets it.
        "reasoning_effort": None if _declares_thinking(parameters) else options.reasoning_effort,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _declares_thinking(parameters: Schemas) -> bool:
    """Whether the model declares how it is told to think."""
    return any(name in parameters for name in THINKING)
