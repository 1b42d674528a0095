"""Counts the Python that a thread executes: bytecode instructions and calls, the proxy's own and all there is.

Unlike time, these come out the same on any machine, however busy. What they do not see is work done in C: a longer
answer of orjson's, a system call, a copied byte.
"""

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, Self

_TESTS: Final = Path(__file__).resolve().parents[1]
_PROXY: Final = _TESTS.parent / "proxy"

_Trace = Callable[[FrameType, str, Any], Any]


class Count(NamedTuple):
    """How much was executed. A coroutine or generator that goes on counts as a call, too.

    Attributes:
        own: instructions of the files in ``proxy/``.
        total: those of every file but the tests' own: Sanic's, redis-py's, the standard library's.
    """

    own: float
    own_calls: float
    total: float
    total_calls: float

    def __sub__(self, other: Self) -> "Count":
        return Count(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))

    def each_of(self, parts: int) -> "Count":
        """A part of it."""
        return Count(*(value / parts for value in self))


@dataclass(slots=True)
class _Tally:
    instructions: int = 0
    calls: int = 0


class Counter:
    """Counts what one thread executes while it is ``counting``. Any thread may read."""

    def __init__(self) -> None:
        self._own, self._foreign = _Tally(), _Tally()
        self._tracers = {True: _tracer(self._own), False: _tracer(self._foreign)}
        self._tally_of: dict[CodeType, _Tally | None] = {}

    def read(self) -> Count:
        """Everything so far."""
        own, foreign = self._own, self._foreign
        return Count(own.instructions, own.calls, own.instructions + foreign.instructions, own.calls + foreign.calls)

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Counts in this thread, beginning with functions that are called or go on within.

        The garbage collector is off meanwhile: what it frees may have Python to run, and it is of any test before.
        """
        collects = gc.isenabled()
        gc.disable()
        before = sys.gettrace()  # that of a debugger or of a measurement of coverage, which sees nothing meanwhile
        sys.settrace(self._on_call)
        try:
            yield
        finally:
            sys.settrace(before)
            if collects:
                gc.enable()

    def _on_call(self, frame: FrameType, _event: str, _: Any) -> _Trace | None:
        code = frame.f_code
        try:
            tally = self._tally_of[code]
        except KeyError:
            tally = self._tally_of[code] = self._choose_tally(Path(code.co_filename))
        if tally is None:
            return None
        tally.calls += 1
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._tracers[tally is self._own]

    def _choose_tally(self, file: Path) -> _Tally | None:
        if _TESTS in file.parents:
            return None
        return self._own if _PROXY in file.parents else self._foreign


def _tracer(tally: _Tally) -> _Trace:
    """Counts what happens within one call."""

    def trace(_frame: FrameType, event: str, _: Any) -> _Trace:
        if event == "opcode":
            tally.instructions += 1
        return trace

    return trace
