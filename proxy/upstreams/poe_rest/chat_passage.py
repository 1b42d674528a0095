"""Which chats are passed through to Poe, and the bodies that are sent then. Pure.

In its strict mode Poe refuses fields that neither its documents name nor the model's entry in its list declares: they
are left out. A request that needs more than that is built anew (``chat_body.py``), as is one whose conversation no
model takes as it is.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from proxy.core.chat_request import ChatRequest, FunctionTool, Image, Message, Part, Text, ToolCall, ToolResult
from proxy.core.tool_names import fitting_name
from proxy.upstreams.poe.functions import check_choice
from proxy.upstreams.poe.json_text import written_json
from proxy.upstreams.poe.parameters import THINKING
from proxy.upstreams.poe.sse import Event
from proxy.upstreams.poe_account.models import Bot, Schemas
from proxy.upstreams.poe_rest.passage import Passage, json_name, renamed_body

#: Fields that Poe's documents name, those that they say are ignored among them. ``response_format`` is no such field
#: here: Poe's chat does not keep to it.
_TAKEN: Final = frozenset(
    (
        *(
            "model",
            "messages",
            "max_tokens",
            "max_completion_tokens",
            "stream",
            "stream_options",
            "temperature",
            "top_p",
        ),
        *("n", "stop", "tools", "tool_choice", "parallel_tool_calls", "logprobs", "top_logprobs", "reasoning_effort"),
        *("store", "metadata", "prediction", "presence_penalty", "frequency_penalty", "seed", "service_tier", "audio"),
        *("logit_bias", "user", "modalities"),
    )
)
_OF_TOOLS: Final = frozenset(("tool_choice", "parallel_tool_calls"))
_STREAM_OPTIONS: Final = "stream_options"
_USAGE: Final = b',"stream_options":{"include_usage":true}}'
#: OpenAI takes no more.
_MOST_STOPS: Final = 4
_DONE: Final = b"[DONE]"
#: A picture that stands in the body as Poe takes it.
_PICTURE: Final = ".image_url.url"


def passes_as_chat(request: ChatRequest, passage: Passage, bot: Bot) -> bool:
    """Whether the client's own body asks for what the client wants, and the answer is right for it as it comes.

    Raises:
        InvalidRequest: a tool must be called that there is not.
    """
    options = request.options
    check_choice(request.tool_choice, [tool.name for tool in request.tools if isinstance(tool, FunctionTool)])
    return (
        options.choices == 1
        and options.json_answer is None
        and (options.max_tokens is None or options.max_visible_tokens is None)
        and len(options.stops) <= _MOST_STOPS
        and all(stop.strip() for stop in options.stops)
        and _takes_effort(options.reasoning_effort, bot.parameters)
        and (bool(request.tools) or _OF_TOOLS.isdisjoint(passage.given))
        and all(_is_whole(tool) for tool in request.tools)
        and _is_plain(request.messages)
    )


def build_passed_chat(passage: Passage, bot: Bot, *, stream: bool) -> bytes:
    """The client's body for ``bot``. In a thread when it is large."""
    taken = _TAKEN | bot.parameters.keys()
    adds_usage = stream and not passage.includes_usage
    if passage.given <= taken and not passage.nulls and not (adds_usage and _STREAM_OPTIONS in passage.given):
        body = renamed_body(passage.body, json_name(bot.name))
        return body.rstrip()[:-1] + _USAGE if adds_usage else body
    fields: dict[str, Any] = orjson.loads(passage.body)
    kept = {name: value for name, value in fields.items() if name in taken and value is not None}
    kept["model"] = bot.name
    if adds_usage:
        kept[_STREAM_OPTIONS] = {**kept.get(_STREAM_OPTIONS, {}), "include_usage": True}
    return written_json(kept)


def _takes_effort(effort: str | None, parameters: Schemas) -> bool:
    """Whether the model takes this effort by OpenAI's name for it, if it declares how it is told to think."""
    if effort is None or not any(name in parameters for name in THINKING):
        return True
    levels = parameters.get("reasoning_effort", {}).get("enum")
    return isinstance(levels, list) and effort in levels


def _is_whole(tool: object) -> bool:
    """Whether a tool is a function that every model takes as it is defined."""
    if not isinstance(tool, FunctionTool) or fitting_name(tool.name) != tool.name:
        return False
    schema = tool.parameters or {}
    return schema.get("type") is not None and schema.get("properties") is not None


def _is_plain(messages: Sequence[Message]) -> bool:
    """Whether Poe's chat takes these messages as they are: its roles, texts, pictures, calls with ids of their own."""
    calls = [part.id for message in messages for part in message.parts if isinstance(part, ToolCall)]
    made = set(calls)
    return len(made) == len(calls) and all(_is_plain_message(message, made) for message in messages)


def _is_plain_message(message: Message, calls: set[str]) -> bool:
    parts = message.parts
    if message.role == "developer" or (message.name and fitting_name(message.name) != message.name):
        return False
    if not parts and message.role == "assistant":
        return False
    return all(_is_plain_part(part, calls, is_only=len(parts) == 1) for part in parts)


def _is_plain_part(part: Part, calls: set[str], *, is_only: bool) -> bool:
    match part:
        case Text(text):
            return is_only or bool(text)
        case Image(_, path):
            return path.endswith(_PICTURE)
        case ToolCall(_, name, arguments):
            return fitting_name(name) == name and bool(arguments.strip())
        case ToolResult(call_id, content):
            return call_id in calls and all(isinstance(one, Text) for one in content)
    return False


class ChatStream:
    """What is different in the streams that Poe sends: it is always asked for the token counts."""

    def __init__(self, *, includes_usage: bool) -> None:
        self._includes_usage = includes_usage

    def names_model(self, event: Event) -> bool:  # noqa: ARG002
        """Each chunk does."""
        return True

    def begins(self, event: Event) -> bool:  # noqa: ARG002
        """An answer begins with a delta."""
        return False

    def is_wanted(self, event: Event) -> bool:
        """All but the chunk that has nothing but the counts, for a client that did not ask for it."""
        if self._includes_usage or event.data.strip() == _DONE:
            return True
        chunk = orjson.loads(event.data)
        return bool(chunk.get("choices")) or not chunk.get("usage")

    def missing_in(self, end: bytes) -> bytes:
        """Some streams end with a finish reason alone."""
        return b"" if end.endswith(_DONE + b"\n\n") else b"data: %b\n\n" % _DONE
