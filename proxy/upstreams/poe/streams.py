"""Poe's host, as everything sees it that streams answers from there: one pool of connections for all of its APIs."""

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from yarl import URL

from proxy import USER_AGENT
from proxy.core.failures import KeyRefused
from proxy.outbound import DIRECT, Outbound
from proxy.upstreams.poe.asking import EVENT_STREAM, Asking, FaultReader, Timeouts
from proxy.upstreams.poe.reach import Reach
from proxy.upstreams.poe.responses import fault_of
from proxy.upstreams.transport.connections import ConnectionPool

#: What a header can carry; a caller's own key comes from one, which may have had a line break in it.
_KEY: Final = re.compile(r"[!-~]{1,4096}")


class PoeStreams:
    """Open it inside a running event loop and close it after the last answer.

    Attributes:
        reach: whether connections to Poe can be made.
    """

    def __init__(self, base_url: str, timeouts: Timeouts, outbound: Outbound = DIRECT) -> None:
        self._timeouts = timeouts
        self._whole_timeouts = replace(timeouts, first_event_s=timeouts.total_s, idle_s=timeouts.total_s)
        self._pool = ConnectionPool(
            base_url, connect_s=timeouts.connect_s, patience_s=timeouts.patience_s, outbound=outbound
        )
        self.reach = Reach(self._pool.dialer)
        self.dialer = self._pool.dialer
        url, route = URL(base_url), self._pool.route
        self._target = route.origin + url.raw_path.rstrip("/")
        headers = "".join(f"{name}: {value}\r\n" for name, value in _headers(url).items())
        self._head = headers + route.header_lines

    async def close(self) -> None:
        """Closes every connection."""
        await self._pool.close()

    def post(
        self,
        path: str,
        body: bytes,
        key: str,
        *,
        header_lines: str = "",
        types: Collection[str] = EVENT_STREAM,
        fault_of: FaultReader = fault_of,
        is_whole: bool = False,
    ) -> Asking:
        """Sends one request when it is entered; the context is its answer. Leaving closes the connection at once.

        Args:
            path: with a slash before it, quoted.
            body: JSON.
            key: the Poe key that pays.
            header_lines: more of them, each with its line end.
            types: an answer may have.
            fault_of: reads an answer of another type, or with another status than 200.
            is_whole: the answer does not stream: nothing of it comes before all of it has been made.

        Raises:
            PoeError: whatever Poe or the network did, named by its meaning. An answer that ends without its end
                having been said is a ``StreamCut``, never a short success.
        """
        if not _KEY.fullmatch(key):
            raise KeyRefused(said="a key that no header can carry")
        head = (
            f"POST {self._target}{path} HTTP/1.1\r\n{self._head}{header_lines}"
            f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode("ascii")
        timeouts = self._whole_timeouts if is_whole else self._timeouts
        return Asking(self._pool, (head, body), key, timeouts, types=types, fault_of=fault_of)


def _headers(url: URL) -> dict[str, str]:
    return {
        "Host": url.host_port_subcomponent or "",
        "User-Agent": USER_AGENT,
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
    }
