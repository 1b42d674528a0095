"""A whole answer as Anthropic's ``message`` object, and what the events of a stream have of it. Pure.

Shapes: https://docs.anthropic.com/en/api/messages.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from proxy.core import gathered
from proxy.core.deltas import Finish, FinishReason
from proxy.core.gathered import Choice, Gathered
from proxy.core.usage import Usage
from proxy.dialects.anthropic_messages.call_input import broken_call, is_input
from proxy.dialects.anthropic_messages.thoughts import SIGNATURE, Thoughts
from proxy.dialects.streams.lines import with_whole_lines

#: Beside ``stop_sequence``.
_REASONS: Final[dict[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


class Head(NamedTuple):
    """What is known of a message before its first word.

    Attributes:
        model: the name that the client asked for.
        input_tokens: an estimate; the end of a stream has the count.
        names: the names that the model got in place of longer ones → those.
    """

    message_id: str
    request_id: str
    model: str
    input_tokens: int = 0
    names: Mapping[str, str] = {}


def message_start(head: Head) -> bytes:
    """The data of the event that begins a stream."""
    message = _message(head, [], {"stop_reason": None, "stop_sequence": None}, Usage(head.input_tokens, 0))
    return with_whole_lines(orjson.dumps({"type": "message_start", "message": message}))


def message_body(head: Head, answer: Gathered, *, thoughts: Thoughts) -> bytes:
    """A whole message.

    Raises:
        ValueError: the answer is not whole.
        PoeFailed: the arguments of a call are no JSON.
    """
    [(_, choice)] = answer.in_order()
    content = list(_content(choice, thoughts, head.names))
    return orjson.dumps(_message(head, content, stop_json(_finish_of(choice)), answer.usage))


def stop_json(finish: Finish) -> dict[str, str | None]:
    """Why a message ended."""
    if finish.stop_sequence:
        return {"stop_reason": "stop_sequence", "stop_sequence": finish.stop_sequence}
    return {"stop_reason": _REASONS[finish.reason], "stop_sequence": None}


def usage_json(usage: Usage) -> dict[str, Any]:
    """Anthropic's ``usage`` object, whose ``input_tokens`` leave out what the cache read or wrote."""
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    return {
        "input_tokens": max(0, usage.prompt_tokens - cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }


def _message(head: Head, content: list[dict[str, Any]], stop: dict[str, Any], usage: Usage) -> dict[str, Any]:
    return {
        "id": head.message_id,
        "type": "message",
        "role": "assistant",
        "model": head.model,
        "content": content,
        **stop,
        "usage": usage_json(usage),
    }


def _content(choice: Choice, thoughts: Thoughts, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Thoughts stand before the text, and calls behind it."""
    if thoughts != "left_out":
        yield from (_thinking(one, thoughts) for one in choice.thoughts)
    if text := "".join([*choice.text, *choice.refusal]):
        yield {"type": "text", "text": text}
    for _, call in sorted(choice.calls.items()):
        if choice.reason != "length" and not is_input(call.arguments):
            raise broken_call(call.name)
        name = names.get(call.name, call.name)
        yield {"type": "tool_use", "id": call.id, "name": name, "input": _input(call.arguments)}


def _thinking(block: gathered.Thoughts, thoughts: Thoughts) -> dict[str, Any]:
    if block.redacted:
        return {"type": "redacted_thinking", "data": block.signature}
    thinking = block.text if thoughts == "shown" else ""
    return {"type": "thinking", "thinking": thinking, "signature": block.signature or SIGNATURE}


def _input(arguments: str) -> orjson.Fragment:
    """Arguments as the model wrote them: read and written anew, a long number would be another.

    Those that a token limit cut are left out; the message says why it ended.
    """
    return orjson.Fragment(arguments if arguments.strip() and is_input(arguments) else "{}")


def _finish_of(choice: Choice) -> Finish:
    if choice.reason is None:
        raise ValueError("a choice without a Finish is not whole")
    return Finish("content_filter") if choice.refusal else Finish(choice.reason, choice.stop_sequence)
