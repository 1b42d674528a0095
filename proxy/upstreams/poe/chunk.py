"""The OpenAI chunks that a bot's backend wrote into Poe's ``json`` events, read strictly. Pure.

A field that is missing, null or empty says nothing. A text, choice or call of a type that makes no sense is a failure
of Poe's: what stood in it must not be lost without a word.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from proxy.core.deltas import FinishReason
from proxy.core.failures import PoeFailed

#: What backends call an end that was not the model's own, in lower case.
_REASONS: Final[Mapping[str, FinishReason]] = {
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
_SAYING: Final = ("content", "reasoning_content", "reasoning", "refusal")
_NOTHING: Final = (None, "")
#: More parts or calls in one event take long to read, and are no answer.
_MAX_ENTRIES: Final = 10_000


class PoeChunk(NamedTuple):
    """What a chunk says of its first choice."""

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
    parts = _parts(content) if isinstance(content, list) else [("text", _text(content, "content"))]
    return PoeChunk(
        content="".join([text for field, text in parts if field == "text"]),
        reasoning=thoughts if isinstance(thoughts, str) else "",
        refusal="".join([text for field, text in parts if field == "refusal"]) + _text(delta.get("refusal"), "refusal"),
        tool_calls=[_object(call, "tool_calls[]") for call in _list(delta.get("tool_calls"), "tool_calls")],
        finish_reason=_REASONS.get(str(choice.get("finish_reason")).lower()),
    )


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
    return PoeFailed(said=f"a json event whose {name} makes no sense")
