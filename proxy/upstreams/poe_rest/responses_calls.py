"""Calls of functions in a response, as deltas. Pure."""

import secrets
from collections.abc import Mapping
from typing import Final

from proxy.core.deltas import Delta, ToolCallDelta
from proxy.upstreams.poe.json_text import written_json
from proxy.upstreams.poe_rest.responses_fields import Said, ids_in, text_in
from proxy.upstreams.poe_rest.responses_items import Item

KIND: Final = "function_call"
_ARGUMENTS: Final = "arguments"


class ResponseCalls:
    """The calls of one answer. A call begins once its name and its id are known; what comes before waits for them.

    Args:
        names: the names of tools that the model got in place of longer ones → those.

    Attributes:
        begun: how many have begun.
    """

    __slots__ = ("_names", "begun")

    def __init__(self, names: Mapping[str, str]) -> None:
        self.begun = 0
        self._names = names

    def begin(self, item: Item, said: Said) -> list[Delta]:
        """A call of which this is said."""
        names, ids = ids_in(said.get("name")), ids_in(said.get("call_id"))
        if item.position is not None or not names or not ids:
            return []
        item.position, item.call_id = self.begun, ids[0]
        self.begun += 1
        held = "".join(item.held)
        item.held.clear()
        return [ToolCallDelta(item.position, item.call_id, self._names.get(names[0], names[0]), held)]

    def more(self, item: Item, piece: str) -> list[Delta]:
        """A piece of the arguments."""
        item.text(_ARGUMENTS).characters += len(piece)
        return self._given(item, piece)

    def end_arguments(self, item: Item, said: Said) -> list[Delta]:
        """What of the whole arguments was not given."""
        return self._given(item, item.text(_ARGUMENTS).rest_of(_arguments_in(said)))

    def end(self, item: Item, said: Said) -> list[Delta]:
        """What of the whole call was not given. Arguments that are none are an empty object, unless they were cut."""
        call_id, *_ = ids_in(said.get("call_id"), said.get("id"), f"call_{secrets.token_hex(12)}")
        deltas = [*self.begin(item, {**said, "call_id": call_id}), *self.end_arguments(item, said)]
        if not item.text(_ARGUMENTS).characters and said.get("status") != "incomplete":
            deltas += self.more(item, "{}")
        return deltas

    def _given(self, item: Item, piece: str) -> list[Delta]:
        if not piece:
            return []
        if item.position is None:
            item.held.append(piece)
            return []
        return [ToolCallDelta(item.position, "", "", piece)]


def _arguments_in(said: Said) -> str:
    arguments = said.get(_ARGUMENTS)
    return written_json(arguments).decode() if isinstance(arguments, dict) else text_in(arguments)
