"""Tool calls as OpenAI's chunks carry them, made fit for strict clients. Pure.

The chunks are written by models' own backends, and each backend errs in its own way: ids that repeat in every turn
(``call_0``), several calls with one index, no index, arguments that are no string or missing. A client needs ids that
are unique in the conversation, indexes that count from 0, and arguments that are JSON.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from proxy.answer.bad_answers import AnswerTooLarge
from proxy.answer.kept import KeptText
from proxy.core.deltas import ToolCallDelta
from proxy.core.failures import PoeFailed

#: Ids that are unlikely to come twice are kept: a bot's backend may know its calls by them.
_LONG_ID: Final = re.compile(r"[A-Za-z0-9_-]{20,64}")
#: Where LiteLLM puts what OpenAI's API has no field for.
_MORE: Final = "provider_specific_fields"
#: An answer has at most so many calls.
_MAX_CALLS: Final = 1_000
#: So much of a streamed call's arguments is kept, in characters.
_KEPT_CHARACTERS: Final = 64_000
#: Whether a call's arguments are whole is looked at so often, and while they are so short. Beyond, a name that comes
#: again was said twice: of a bot that repeats it with each piece, all pieces so far would be parsed with each.
_MAX_LOOKS: Final = 8
_MAX_LOOKED_AT: Final = 16_384
#: Longer ids of a bot's are compared by their digest.
_MAX_ID: Final = 64


class ToolCallReader:
    """The calls of one answer.

    Args:
        ids: those of the conversation's earlier calls.
        one_only: the client asked for no parallel calls, so those after the first are left out.
        keep_all: whether ``whole`` will be asked for.
    """

    def __init__(self, ids: Collection[str] = (), *, one_only: bool = False, keep_all: bool = True) -> None:
        self._ids = set(ids)
        self._one_only = one_only
        self._limit = None if keep_all else _KEPT_CHARACTERS
        self._at: dict[object, int] = {}
        self._said_id: dict[object, object] = {}
        self._arguments: list[KeptText] = []
        #: The last piece of each call's arguments that is not blank.
        self._lasts: list[str] = []
        self._looks: list[int] = []
        self.names: list[str] = []
        self._signatures: list[str] = []
        self._call_ids: list[str] = []

    @property
    def text(self) -> str:
        """What was written in calls, to be counted as tokens."""
        return "\n".join([*self.names, *map(str, self._arguments)])

    def __bool__(self) -> bool:
        """Whether anything was called."""
        return bool(self.names)

    @property
    def are_whole(self) -> bool:
        """Whether every call's arguments are whole, as far as they were kept."""
        return all(
            _is_json(str(arguments) or "{}") if arguments.is_whole else last.rstrip().endswith("}")
            for arguments, last in zip(self._arguments, self._lasts, strict=True)
        )

    def feed(self, calls: Sequence[dict[str, Any]]) -> list[ToolCallDelta]:
        """The deltas of one event's ``tool_calls``."""
        deltas = [self.feed_one(entry, place) for place, entry in enumerate(calls)]
        return [delta for delta in deltas if delta is not None]

    def feed_one(self, entry: dict[str, Any], place: int = 0) -> ToolCallDelta | None:
        """The delta of one of them, if it says anything. ``place`` is its index where it has none."""
        function = entry.get("function")
        function = function if isinstance(function, dict) else {}
        slot = entry.get("index")
        slot = slot if isinstance(slot, int) else place
        name, arguments = function.get("name"), function.get("arguments")
        if type(arguments) is not str:
            arguments = _text(arguments)
        signature = _signature(entry) if "extra_content" in entry or _MORE in entry else ""
        if slot not in self._at or (name and self._is_another(slot, name, _short(entry.get("id")))):
            if not isinstance(name, str) or not name:
                return None
            return self._begin(slot, name, _short(entry.get("id")), arguments, signature)
        index = self._at[slot]
        if index < 0 or not (arguments or signature):
            return None
        if arguments:
            self._add(index, arguments)
        if signature:
            self._signatures[index] = signature
        return ToolCallDelta(index, "", "", arguments, signature)

    def finish(self) -> list[ToolCallDelta]:
        """Calls without arguments get ``{}``: clients parse them."""
        empty = [index for index, arguments in enumerate(self._arguments) if not str(arguments).strip()]
        for index in empty:
            self._arguments[index].set("{}")
        return [ToolCallDelta(index, "", "", "{}") for index in empty]

    def whole(self) -> list[ToolCallDelta]:
        """Every call, whole; all of it was kept."""
        return [
            ToolCallDelta(index, call_id, self.names[index], str(self._arguments[index]), self._signatures[index])
            for index, call_id in enumerate(self._call_ids)
        ]

    def _is_another(self, slot: object, name: object, said_id: object) -> bool:
        """Whether a name that comes again is the next call, under the same index or none, and not said twice.

        Without an id it is the next one when the name is another, or when the arguments so far are whole.
        """
        if said_id:
            return said_id != self._said_id.get(slot)
        index = self._at[slot]
        return index < 0 or name != self.names[index] or self._is_json(index)

    def _is_json(self, index: int) -> bool:
        """Whether the arguments of a call are whole: an object. They are parsed only where they could be."""
        arguments = self._arguments[index]
        if not (self._lasts[index].rstrip().endswith("}") and arguments.is_whole and self._looks[index] < _MAX_LOOKS):
            return False
        self._looks[index] += 1
        text = str(arguments)
        return len(text) <= _MAX_LOOKED_AT and _is_json(text)

    def _add(self, index: int, arguments: str) -> None:
        self._arguments[index].append(arguments)
        if not arguments.isspace():
            self._lasts[index] = arguments

    def _begin(self, slot: object, name: str, said_id: object, arguments: str, signature: str) -> ToolCallDelta | None:
        if len(self._at) >= _MAX_CALLS or len(self.names) >= _MAX_CALLS:
            raise AnswerTooLarge(f"The answer has more than {_MAX_CALLS} tool calls.")
        self._said_id[slot] = said_id
        if self._one_only and self.names:
            self._at[slot] = -1
            return None
        index = self._at[slot] = len(self.names)
        self.names.append(name)
        self._call_ids.append(self._unique(said_id))
        self._arguments.append(KeptText(self._limit))
        self._signatures.append(signature)
        self._lasts.append("")
        self._looks.append(0)
        if arguments:
            self._add(index, arguments)
        return ToolCallDelta(index, self._call_ids[index], name, arguments, signature)

    def _unique(self, said: object) -> str:
        kept = isinstance(said, str) and _LONG_ID.fullmatch(said) and said not in self._ids
        call_id = str(said) if kept else f"call_{secrets.token_hex(12)}"
        self._ids.add(call_id)
        return call_id


def _short(said_id: object) -> object:
    """An id as it is kept: one that is too long, or no text, by its digest."""
    if not said_id or (isinstance(said_id, str) and len(said_id) <= _MAX_ID):
        return said_id
    return f"#{hashlib.sha256(str(said_id)[:_MAX_LOOKED_AT].encode(errors='replace')).hexdigest()}"


def _signature(entry: Mapping[str, Any]) -> str:
    """That of Gemini's thoughts, as Google's own API has it beside a call, or LiteLLM."""
    extra = entry.get("extra_content")
    for place in (extra.get("google") if isinstance(extra, dict) else None, entry.get(_MORE)):
        if isinstance(place, dict) and isinstance(signature := place.get("thought_signature"), str) and signature:
            return signature
    return ""


def _text(arguments: object) -> str:
    """Arguments as the JSON text they should be. Raises PoeFailed: they are nested too deeply."""
    if arguments is None:
        return ""
    try:
        return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    except RecursionError:
        raise PoeFailed(said="arguments of a call that are nested too deeply") from None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
