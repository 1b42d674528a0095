"""Whether Poe can be reached, and what failures of the transport mean here.

========================= ==================
failure of the transport  here
========================= ==================
``Unreachable``           ``PoeUnreachable``
``ConnectionDropped``     ``Dropped``
``ConnectionCut``         ``StreamCut``
``ReadTimeout``           ``PoeTimeout``
any other                 ``PoeFailed``
========================= ==================
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from proxy.core.failures import PoeFailed, PoeTimeout, StreamCut
from proxy.upstreams.poe.unreached import Dropped, PoeUnreachable
from proxy.upstreams.transport.dialing import Dialer
from proxy.upstreams.transport.failures import (
    ConnectionCut,
    ConnectionDropped,
    ReadTimeout,
    TransportError,
    Unreachable,
)


class Reach:
    """Whether connections to Poe can be made: the dialer's view, with failures named as Poe's."""

    def __init__(self, dialer: Dialer[Any]) -> None:
        self._dialer = dialer

    @property
    def is_up(self) -> bool:
        """Whether the last connection could be made, or none was tried."""
        return self._dialer.is_up

    @property
    def may_be_asked(self) -> bool:
        """Whether a request would not have to wait for a connection, as far as is known."""
        return self._dialer.may_be_asked

    @property
    def is_cut_off(self) -> bool:
        """Whether no connection could be made for so long, and so often, that this cannot be chance."""
        return self._dialer.is_cut_off

    @property
    def outages(self) -> int:
        """How often Poe went out of reach."""
        return self._dialer.outages

    @property
    def failures(self) -> Counter[str]:
        """Failed dials, by reason."""
        return self._dialer.failures

    def look(self) -> None:
        """Makes a connection in the background when none was made lately."""
        self._dialer.look()

    async def until_up(self) -> None:
        """Returns once connections can be made. Raises PoeUnreachable when that takes too long."""
        with in_poes_terms():
            await self._dialer.until_up()


@contextlib.contextmanager
def in_poes_terms() -> Iterator[None]:
    """Turns failures of the transport within into failures of Poe."""
    try:
        yield
    except TransportError as error:
        raise poe_failure_of(error) from error.__cause__


def poe_failure_of(error: TransportError) -> PoeFailed:
    """What a failure of the transport means here."""
    match error:
        case Unreachable():
            return PoeUnreachable(said=error.detail, reason=error.reason)
        case ConnectionDropped():
            return Dropped(said=error.detail)
        case ConnectionCut():
            return StreamCut(said=error.detail)
        case ReadTimeout():
            return PoeTimeout(said=error.detail)
    return PoeFailed(said=error.detail)
