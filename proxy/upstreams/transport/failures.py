"""Every way in which asking a server can fail, as one tree. The names are httpx's where it has one.

======================= =========================================== ==================
class                   what happened                               was anything sent?
======================= =========================================== ==================
TransportError
├─ Unreachable          no connection could be made                 no
├─ ConnectionCut        the connection ended within an answer       yes
│  └─ ConnectionDropped it ended before the first byte of one       yes, or it was late
├─ ReadTimeout          no answer, or no more of it, in time        yes
└─ RemoteProtocolError  it sent no HTTP/1.1, or more than a bound   yes
======================= =========================================== ==================

Says what happened, never what it means: that is for the package above. Nothing in them is from a server's own words.
"""

import socket
import ssl
from typing import Final, Self

#: Why a connection could not be made, in words that can be counted. ``proxy``: an outbound proxy did not let us pass.
REASONS: Final = ("refused", "dns", "tls", "timeout", "proxy", "other")


class TransportError(Exception):
    """A server could not be asked, or did not answer to the end.

    Attributes:
        detail: what happened, in words for a log.
    """

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail

    def copy(self) -> Self:
        """The same failure without a traceback. One that was raised keeps the frames that it went through."""
        return type(self)(self.detail)


class Unreachable(TransportError):
    """No connection could be made, so nothing was sent.

    Attributes:
        reason: a word of ``REASONS``, to be counted under.
    """

    def __init__(self, detail: str = "", *, reason: str = "other") -> None:
        super().__init__(detail)
        self.reason = reason

    def copy(self) -> Self:
        """The same failure without a traceback."""
        return type(self)(self.detail, reason=self.reason)


class ConnectionCut(TransportError):
    """The connection ended before the answer did."""


class ConnectionDropped(ConnectionCut):
    """The connection ended before the first byte of an answer."""


class ReadTimeout(TransportError):
    """The server did not answer in time, or stopped within its answer."""


class RemoteProtocolError(TransportError):
    """The server sent something else than HTTP/1.1, or more than is allowed."""


def reason_of(error: BaseException) -> str:
    """Why a connection could not be made: one of ``REASONS``."""
    match error:
        case TimeoutError():
            return "timeout"
        case ssl.SSLError():
            return "tls"
        case socket.gaierror() | UnicodeError():
            return "dns"
        case ConnectionRefusedError():
            return "refused"
    return "other"
