"""Brings deltas into the order of items: each item is whole before the next one begins. Pure.

Models write calls one after the other, but not every backend sends them so. What comes while a call is not whole waits
for its end.
"""

from collections.abc import Callable, Iterator
from typing import Final

from proxy.core.deltas import Delta, ToolCallDelta
from proxy.core.failures import PoeFailed

#: A run of deltas that belong together: a call by its position, other things by a number below 0.
_Run = int
_FIRST_RUN: Final = -1


class ItemOrder:
    """The order of one answer. Use each delta before you ask for the next.

    Args:
        is_whole: whether the call that is open has all of its arguments.
    """

    __slots__ = ("_call", "_is_whole", "_next_run", "_waiting")

    def __init__(self, is_whole: Callable[[], bool]) -> None:
        self._is_whole = is_whole
        #: The position of the call that is open.
        self._call: int | None = None
        self._waiting: dict[_Run, list[Delta]] = {}
        self._next_run = _FIRST_RUN

    def feed(self, delta: Delta) -> Iterator[Delta]:
        """What may go out now. Raises PoeFailed: a call goes on that seemed whole."""
        position = delta.position if isinstance(delta, ToolCallDelta) else None
        if isinstance(delta, ToolCallDelta) and self._is_late(delta):
            if delta.arguments.strip():
                raise PoeFailed("The model called a tool with arguments that are not JSON (server error).")
            return
        if self._call is None or position == self._call or not (self._waiting or not self._is_whole()):
            self._call = position
            yield delta
        else:
            self._wait(delta, position)
        while self._waiting and (self._call is None or self._is_whole()):
            yield from self._next()

    def rest(self) -> Iterator[Delta]:
        """What still waits at the end of the answer."""
        while self._waiting:
            yield from self._next()

    def _is_late(self, delta: ToolCallDelta) -> bool:
        return not delta.id and delta.position != self._call and delta.position not in self._waiting

    def _wait(self, delta: Delta, position: int | None) -> None:
        run = next(reversed(self._waiting), 0) if position is None else position
        if position is None and run >= 0:
            run, self._next_run = self._next_run, self._next_run - 1
        self._waiting.setdefault(run, []).append(delta)

    def _next(self) -> list[Delta]:
        run = next(iter(self._waiting))
        self._call = run if run >= 0 else None
        return self._waiting.pop(run)
