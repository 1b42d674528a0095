"""OpenAI's chunks and whole messages as models' backends write them, read strictly. Pure.

Poe's bot protocol has them in ``json`` events, its chat is made of them.

A field that is missing, null or empty says nothing. A text, choice or call of a type that makes no sense is a failure
of Poe's: what stood in it must not be lost without a word.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from proxy.core.deltas import FinishReason
from proxy.core.failures import PoeFailed

#: What backends call the end of an answer, in lower case; any other word is one for ``stop``.
_REASONS: Final[Mapping[str, FinishReason]] = {
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "prohibited_content": "content_filter",
    "blocklist": "content_filter",
    "recitation": "content_filter",
}
#: Which field of a part of ``content`` has its text.
_FIELD_OF_PART: Final = {"text": "text", "output_text": "text", "refusal": "refusal"}
#: What a delta says beside calls.
_SAYING: Final = ("content", "reasoning_content", "reasoning", "refusal", "images")
_NOTHING: Final = (None, "")
#: More parts or calls in one event take long to read, and are no answer.
_MAX_ENTRIES: Final = 10_000


class PoeChunk(NamedTuple):
    """What a chunk says of its first choice; ``finish_reason`` is None as long as there is none."""

    content: str
    reasoning: str
    refusal: str
    tool_calls: list[dict[str, Any]]
    finish_reason: FinishReason | None


def lone_call(chunk: Mapping[str, Any]) -> dict[str, Any] | None:
    """The call of a chunk that has one and says nothing beside it, as nearly every chunk with calls; else None.

    Quick: a call's arguments come in as many chunks as a text (``tools`` in bench).
    """
    try:
        (choice,) = chunk["choices"]
        delta = choice["delta"]
        (call,) = delta["tool_calls"]
    except (KeyError, TypeError, ValueError):
        return None
    if type(call) is not dict or choice.get("finish_reason") is not None:
        return None
    return call if len(delta) == 1 or all(delta.get(field) in _NOTHING for field in _SAYING) else None


def read_chunk(chunk: Mapping[str, Any]) -> PoeChunk:
    """Reads one chunk. Raises PoeFailed: a field has a type that makes no sense."""
    choices = _list(chunk.get("choices"), "choices")
    choice = _object(choices[0], "choices[0]") if choices else {}
    delta = _object(choice.get("delta") or choice.get("message") or {}, "delta")
    thoughts = delta.get("reasoning_content") or delta.get("reasoning")
    content = delta.get("content")
    more = delta.get("provider_specific_fields")  # LiteLLM's
    refusal = delta.get("refusal") or (more.get("refusal") if isinstance(more, dict) else None)
    parts = _parts(content) if isinstance(content, list) else [("text", _text(content, "content"))]
    return PoeChunk(
        content="".join([text for field, text in parts if field == "text"]),
        reasoning=thoughts if isinstance(thoughts, str) else "",
        refusal="".join([text for field, text in parts if field == "refusal"]) + _text(refusal, "refusal"),
        tool_calls=[_object(call, "tool_calls[]") for call in _list(delta.get("tool_calls"), "tool_calls")],
        finish_reason=_reason(choice.get("finish_reason")),
    )


def _reason(stated: object) -> FinishReason | None:
    return None if stated in _NOTHING else _REASONS.get(str(stated).lower(), "stop")


def _parts(content: list[Any]) -> list[tuple[str, str]]:
    """The texts of a list of parts, each with what it is; parts of other types, such as thoughts, are left out."""
    parts = []
    for entry in _list(content, "content"):
        part = {"type": "text", "text": entry} if isinstance(entry, str) else _object(entry, "content[]")
        field = _FIELD_OF_PART.get(str(part.get("type", "text")))
        if field is not None:
            parts.append((field, _text(part.get(field), f"content[].{field}")))
    return parts


def _text(value: object, name: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise _malformed(name)


def _list(value: object, name: str) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, list) and len(value) <= _MAX_ENTRIES:
        return value
    raise _malformed(name)


def _object(value: object, name: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise _malformed(name)


def _malformed(name: str) -> PoeFailed:
    return PoeFailed(said=f"a chunk whose {name} makes no sense")
