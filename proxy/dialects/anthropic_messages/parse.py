"""Requests for messages in core's terms. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from proxy.core.chat_request import ChatRequest, JsonAnswer, Message, Options, Part, Text, ToolCall, ToolResult
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.core.reminders import as_reminder
from proxy.dialects.anthropic_messages import request as wire
from proxy.dialects.anthropic_messages.blocks import TextBlock
from proxy.dialects.anthropic_messages.caching import cache_time
from proxy.dialects.anthropic_messages.content import ContentReader
from proxy.dialects.anthropic_messages.estimate import estimated_tokens
from proxy.dialects.anthropic_messages.thoughts import SIGNATURE, Thoughts
from proxy.dialects.anthropic_messages.tools import read_choice, read_tools, replaced_tool_names

#: A block of Claude Code's that tells Anthropic which version asks.
_BILLING: Final = "x-anthropic-billing-header:"
_SESSION_IN_USER: Final = re.compile(r"_session_([0-9a-f-]{36})$")
_MAX_USER_CHARACTERS: Final = 4_096
#: Most tokens of thoughts → the effort that comes to about as many.
_EFFORTS: Final = ((4_096, "low"), (16_384, "medium"))


class ParsedMessages(NamedTuple):
    """What a client asks for.

    Attributes:
        thoughts: whether the client sees what the model thought.
        input_tokens: an estimate.
        names: the names of tools that the model gets in place of longer ones → those.
        passes: whether Anthropic would take the body as it is, as far as can be seen here.
    """

    request: ChatRequest
    thoughts: Thoughts
    input_tokens: int
    names: Mapping[str, str]
    passes: bool


def parse_messages_request(body: bytes, *, large: bool | None = None) -> ParsedMessages:
    """The request in ``body``, read as ``BodyReader.read`` does.

    Raises:
        InvalidRequest: the body is none, or what it says makes no sense.
        UnsupportedFeature: it needs what only Anthropic has.
    """
    fields = wire.MESSAGES_BODY.read(body, large=large)
    reader = ContentReader()
    request = _request(fields, wire.MESSAGES_BODY.unknown(fields), reader)
    request.options.max_tokens = fields["max_tokens"]
    names = replaced_tool_names(fields.get("tools") or (), reader.changes)
    is_ours = SIGNATURE.encode() in body  # of thoughts of another model
    passes = not (names or is_ours or any(message["role"] == "system" for message in fields["messages"]))
    return ParsedMessages(request, _thoughts(fields.get("thinking")), estimated_tokens(request), names, passes)


def parse_count_request(body: bytes, *, large: bool | None = None) -> ChatRequest:
    """The request in ``body`` whose tokens are to be counted, read likewise. Raises InvalidRequest."""
    fields = wire.COUNT_BODY.read(body, large=large)
    return _request(fields, wire.COUNT_BODY.unknown(fields), ContentReader())


def _request(fields: wire.Fields, more: Mapping[str, Any], reader: ContentReader) -> ChatRequest:
    if fields.get("mcp_servers"):
        raise UnsupportedFeature("mcp_servers: Servers for Anthropic to ask are not supported.", param="mcp_servers")
    messages = [*_system(fields.get("system")), *_messages(fields["messages"], reader)]
    tools = read_tools(fields.get("tools") or (), reader.changes)
    choice = fields.get("tool_choice")
    return ChatRequest(
        messages,
        fields["model"],
        bool(fields.get("stream")),
        tools,
        read_choice(choice, tools),
        not (choice and choice.get("disable_parallel_tool_use")),
        Options(
            temperature=fields.get("temperature"),
            top_p=fields.get("top_p"),
            reasoning_effort=_effort(fields),
            thinking_tokens=_thinking_tokens(fields.get("thinking")),
            top_k=fields.get("top_k"),
            json_answer=_json_answer(fields),
            stops=fields.get("stop_sequences") or (),
            more=more,
        ),
        _session(fields.get("metadata")),
    )


def _system(system: "str | Sequence[TextBlock] | None") -> Iterator[Message]:
    if isinstance(system, str):
        system = [{"type": "text", "text": system}]
    texts = [Text(block["text"], cache_time(block)) for block in system or () if not block["text"].startswith(_BILLING)]
    if texts:
        yield Message("system", texts)


def _messages(messages: Sequence[wire.Message], reader: ContentReader) -> Iterator[Message]:
    for at, message in enumerate(messages):
        path = f"messages.{at}.content"
        parts = reader.parts(message["content"], path)
        if message["role"] == "assistant":
            _refuse(parts, ToolResult, f"{path}: `tool_result` blocks can only be in `user` messages", path)
            yield Message("assistant", parts)
            continue
        _refuse(parts, ToolCall, f"{path}: `tool_use` blocks can only be in `assistant` messages", path)
        if message["role"] == "system":
            yield from _instructions(parts, is_first=at == 0)
            continue
        results = [part for part in parts if isinstance(part, ToolResult)]
        if results:
            yield Message("tool", results)
        if len(parts) > len(results) or not results:
            yield Message("user", [part for part in parts if not isinstance(part, ToolResult)])


def _instructions(parts: Sequence[Part], *, is_first: bool) -> Iterator[Message]:
    """A message of the system; in the middle a reminder by the user: bots read instructions at the start alone."""
    if not parts:
        return
    yield Message("system", parts) if is_first else Message("user", as_reminder(parts))


def _refuse(parts: Sequence[Part], kind: type[Part], words: str, param: str) -> None:
    if any(isinstance(part, kind) for part in parts):
        raise InvalidRequest(words, param=param)


def _thoughts(thinking: wire.Thinking | None) -> Thoughts:
    """Programs that do not ask for thoughts look for text in the first block."""
    if thinking is None or thinking["type"] == "disabled":
        return "left_out"
    return "omitted" if thinking.get("display") == "omitted" else "shown"


def _effort(fields: wire.Fields) -> str | None:
    """The effort that is stated, or else as much as the thinking budget comes to."""
    config, thinking = fields.get("output_config"), fields.get("thinking")
    if config and (effort := config.get("effort")):
        return effort
    if thinking is None:
        return None
    if thinking["type"] == "disabled":
        return "none"
    budget = thinking.get("budget_tokens")
    if budget is None:
        return None
    return next((effort for most, effort in _EFFORTS if budget <= most), "high")


def _thinking_tokens(thinking: wire.Thinking | None) -> int | None:
    if thinking is None:
        return None
    return 0 if thinking["type"] == "disabled" else thinking.get("budget_tokens")


def _json_answer(fields: wire.Fields) -> JsonAnswer | None:
    config, name = fields.get("output_config"), "output_config.format"
    wanted = config.get("format") if config else None
    if wanted is None:
        wanted, name = fields.get("output_format"), "output_format"
    return JsonAnswer(f"{name}.schema", wanted["schema"]) if wanted else None


def _session(metadata: wire.Metadata | None) -> str:
    """The session in ``metadata.user_id``: Claude Code's is JSON, or was a name with the session at its end."""
    user = (metadata and metadata.get("user_id")) or ""
    if len(user) > _MAX_USER_CHARACTERS:
        return ""
    if found := _SESSION_IN_USER.search(user):
        return found[1]
    try:
        session = orjson.loads(user)["session_id"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return ""
    return session if isinstance(session, str) else ""
