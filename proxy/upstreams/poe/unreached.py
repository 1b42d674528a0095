"""What happened before Poe said anything: no connection, or one that ended without a byte. It is evidence of nothing.

See ADR 17.
"""

from typing import Final

from proxy.core.failures import Blame, PoeFailed, StreamCut

#: Nobody knows when a way out is back; each worker looks every two seconds.
_RETRY_AFTER_S: Final = 5.0


class Dropped(StreamCut):
    """The connection was closed before a single byte of an answer, which tells nothing of the bot or the key."""

    default_message = "Connection lost: Poe closed the connection before it answered (server error)."


class PoeUnreachable(PoeFailed):
    """No connection to Poe could be made: nothing was sent, and neither bot nor key had a part in it.

    Attributes:
        reason: ``refused``, ``dns``, ``tls``, ``timeout`` or ``other``; what it is counted under.
    """

    kind = "upstream_unreachable"
    blame = Blame.NOBODY
    default_message = "Connection error: Poe cannot be reached from this server now (server error)."

    def __init__(self, *, said: str = "", reason: str = "other") -> None:
        super().__init__(said=said, retry_after_s=_RETRY_AFTER_S)
        self.reason = reason
