"""The states of a connection, and which of them follows on which. h11 names both sides; a client needs one view.

::

    IDLE ──> WAITING_HEAD ──> BODY ──┬─────────────────┬──> ENDED ──> IDLE
                                     └──> DISCARDING ──┘
    each ──> CLOSED

A request is handed to the transport as a whole, so there is no state for a part of one.
"""

from enum import Enum, IntEnum
from typing import Final


class State(IntEnum):
    """Of a connection. IntEnum, since its members are hashed and compared without a call into Python."""

    #: No request is under way; the next may be sent.
    IDLE = 0
    #: A request was sent, and the head of the answer is not complete.
    WAITING_HEAD = 1
    #: The body is arriving.
    BODY = 2
    #: The body has come to its end. Some of it may still have to be read.
    ENDED = 3
    #: The reader left before the end of the body, which is awaited for a moment and thrown away.
    DISCARDING = 4
    #: Closed, by either side.
    CLOSED = 5


_NEXT: Final = {
    State.IDLE: frozenset({State.WAITING_HEAD, State.CLOSED}),
    State.WAITING_HEAD: frozenset({State.BODY, State.CLOSED}),
    State.BODY: frozenset({State.ENDED, State.DISCARDING, State.CLOSED}),
    State.ENDED: frozenset({State.IDLE, State.CLOSED}),
    State.DISCARDING: frozenset({State.ENDED, State.CLOSED}),
    State.CLOSED: frozenset[State](),
}


class Via(Enum):
    """How a connection leads to the server."""

    DIRECT = "direct"
    #: An outbound proxy passes bytes on. That it resets a connection says nothing of what the server has read.
    TUNNEL = "tunnel"
    #: An outbound proxy reads the requests, and may answer them itself.
    FORWARDED = "forwarded"


class LocalProtocolError(RuntimeError):
    """A connection was used in a way that its state does not allow: a mistake in this program."""


def check_transition(before: State, after: State) -> None:
    """Raises LocalProtocolError unless ``after`` may follow on ``before``."""
    if after not in _NEXT[before]:
        raise LocalProtocolError(f"{before.name} is not followed by {after.name}")
