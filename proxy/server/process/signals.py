"""What a process is told about its end, and the signals that say so."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable
from enum import Enum


class StopSignal(Enum):
    """Later ones say more; none is ever taken back."""

    #: To one worker alone: others go on serving the port.
    LEAVE = b"leave"
    #: To a whole instance.
    DRAIN = b"drain"
    #: The same without the notice, see ``worker.py``.
    DRAIN_AT_ONCE = b"drain at once"
    #: What is under way ends now.
    END = b"end"


def on_stop_signals(obey: Callable[[StopSignal], None]) -> None:
    """Has SIGTERM mean DRAIN and SIGINT DRAIN_AT_ONCE, and either one END when it comes again.

    For the running event loop's process, from its main thread.
    """
    came: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        first = StopSignal.DRAIN_AT_ONCE if number is signal.SIGINT else StopSignal.DRAIN
        obey(StopSignal.END if came else first)
        came.append(number)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)


def on_hangup(renew: Callable[[], None], obey: Callable[[StopSignal], None]) -> None:
    """Has SIGHUP call ``renew``, or end a process that belongs to a terminal, which sends it when it is closed."""
    loop = asyncio.get_running_loop()
    if sys.stdin is not None and sys.stdin.isatty():
        loop.add_signal_handler(signal.SIGHUP, obey, StopSignal.DRAIN_AT_ONCE)
    else:
        loop.add_signal_handler(signal.SIGHUP, renew)


def end_on_signals() -> None:
    """Has SIGTERM and SIGINT end a process that does not serve yet, with 0 and after what it began is put away."""

    def leave(*_: object) -> None:
        sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)


def ignore_signals() -> None:
    """For a process that has served and only puts things away."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


async def happens(event: asyncio.Event, *, within_s: float) -> bool:
    """Waits for the event, so long at most; whether it came."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    return event.is_set()
