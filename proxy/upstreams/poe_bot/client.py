"""Talks to Poe over HTTP: one request an attempt, never a second one on its own.

Answers of bots stream through connections of our own (``connections.py``); everything else goes through
``sessions.py``.

Knows keys only as the string it is handed. What is sent is written in ``query.py``;
fastapi-poe's client is not used, and ADR 1 says why.
"""

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, Self
from urllib.parse import quote

from yarl import URL

from proxy import USER_AGENT
from proxy.core.failures import KeyRefused, ModelNotFound, PoeError, PoeFailed
from proxy.outbound import DIRECT, Outbound
from proxy.request_trace import TRACE, trace
from proxy.upstreams.poe_account.points import SpentPage, parse_spent_page
from proxy.upstreams.poe_bot.answer_stream import Answer
from proxy.upstreams.poe_bot.reach import Reach, in_poes_terms, poe_failure_of
from proxy.upstreams.poe_bot.responses import MAX_ERROR_BYTES, fault_of, read_fault, read_object
from proxy.upstreams.transport.connections import ConnectionPool
from proxy.upstreams.transport.failures import ConnectionDropped, TransportError, Unreachable
from proxy.upstreams.transport.http1 import Connection
from proxy.upstreams.transport.sessions import Session, patiently

_log: Final = logging.getLogger(__name__)

_MAX_CATALOGUE_BYTES: Final = 32 * 1024 * 1024
_MAX_HISTORY_BYTES: Final = 1024 * 1024
#: What may stand behind the host of a URL.
_PATH: Final = r"([/?#][!-\[\]-~]*)?"
#: Files at Poe. A bot's author writes the URL, so one that two programs could read differently is none: no user's name,
#: no backslash, nothing beyond ASCII.
_POES_FILE: Final = re.compile(
    rf"https://((?!xn--)[a-z0-9]([a-z0-9-]{{0,61}}[a-z0-9])?\.){{0,8}}poecdn\.net(:443)?{_PATH}",
    re.ASCII | re.IGNORECASE,
)
_MAX_URL_CHARACTERS: Final = 8_192
#: How long fetching a file may take, and how long a request for JSON, in seconds.
_FILE_S: Final = 60.0
_JSON_S: Final = 20.0

_BOT_NAME: Final = re.compile(r"[^\x00-\x1f\x7f/\\?#%\ud800-\udfff]{1,100}")
#: What a header can carry; a caller's own key comes from one, which may have had a line break in it.
_KEY: Final = re.compile(r"[!-~]{1,4096}")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds allowed until the first event, between two reads, for a whole answer, and to connect.

    ``patience_s`` is how long a query waits for a connection when none can be made.
    """

    connect_s: float
    first_event_s: float
    idle_s: float
    total_s: float
    patience_s: float = 5.0


class Asking:
    """A query and its answer, as a context manager.

    Poe may close a connection that was kept at the very moment it is used again. A query that met a closed connection
    was read by no one, and goes out once more over a new one. See ADR 17.
    """

    def __init__(self, pool: ConnectionPool, request: Sequence[bytes], key: str, timeouts: Timeouts) -> None:
        self._pool = pool
        self._request = request
        self._key = key
        self._timeouts = timeouts
        self._connection: Connection | None = None
        self._answer: Answer | None = None

    async def __aenter__(self) -> Answer:
        try:
            idle = self._pool.take_idle()
            if idle is not None:
                try:
                    return await self._ask(idle)
                except ConnectionDropped:
                    if not idle.was_stale:
                        raise
            return await self._ask(await self._pool.open())
        except TransportError as error:
            raise poe_failure_of(error) from error.__cause__
        finally:
            self._request = ()  # an answer may take long, and what was asked may be large

    async def _ask(self, connection: Connection) -> Answer:
        self._connection = connection
        timeouts = self._timeouts
        try:
            connection.send(
                self._request, first_s=timeouts.first_event_s, idle_s=timeouts.idle_s, total_s=timeouts.total_s
            )
            await connection.head()
            if TRACE.is_on:
                trace(_log, "head of the answer", status=connection.status, query_bytes=sum(map(len, self._request)))
            if connection.status != 200 or _content_type(connection) != "text/event-stream":
                # Without a name here: an error that is raised knows this frame, and would know itself by it.
                raise await _read_stream_fault(connection, self._key)  # noqa: TRY301 - a call more, for every answer
            self._answer = Answer(connection)
        except BaseException:
            self._let_go(connection)
            raise
        return self._answer

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            self._let_go(self._connection)

    def _let_go(self, connection: Connection) -> None:
        may_be_kept = connection.whole
        if self._answer is not None:
            may_be_kept = may_be_kept or self._answer.has_heard_end
            self._answer.stop()
        if may_be_kept:
            connection.free()
        else:
            connection.close()


class PoeClient:
    """Poe's API. Open it inside a running event loop and close it after the last answer.

    Attributes:
        reach: whether connections to Poe can be made.
    """

    def __init__(self, base_url: str, timeouts: Timeouts, outbound: Outbound = DIRECT) -> None:
        self._base_url = base_url
        self._timeouts = timeouts
        self._session = Session(connect_s=timeouts.connect_s, outbound=outbound)
        self._streams = ConnectionPool(
            base_url, connect_s=timeouts.connect_s, patience_s=timeouts.patience_s, outbound=outbound
        )
        self.reach = Reach(self._streams.dialer)
        url = URL(base_url)
        self._own_file = re.compile(re.escape(str(url.origin())) + _PATH, re.ASCII | re.IGNORECASE)
        route = self._streams.route
        self._target = route.origin + url.raw_path.rstrip("/")
        headers = "".join(f"{name}: {value}\r\n" for name, value in _stream_headers(url).items())
        self._head = headers + route.header_lines

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every connection to Poe."""
        await self._streams.close()
        await self._session.close()

    def ask(self, *, bot: str, body: bytes, key: str) -> "Asking":
        """Sends one query when it is entered; the context is its answer. Leaving closes the connection to Poe at once.

        Args:
            bot: a bot's name, as Poe spells it.
            body: from ``query.build_query_body``.
            key: the Poe key that pays.

        Raises:
            PoeError: whatever Poe or the network did, named by its meaning. An answer that ends without
                Poe saying ``done`` is a ``StreamCut``, never a short success.
        """
        return Asking(self._streams, (self._query_head(bot, key, len(body)), body), key, self._timeouts)

    def _query_head(self, bot: str, key: str, body_bytes: int) -> bytes:
        if not _KEY.fullmatch(key):
            raise KeyRefused(said="a key that no header can carry")
        return (
            f"POST {self._target}/bot/{encode_bot_name(bot)} HTTP/1.1\r\n"
            f"{self._head}Authorization: Bearer {key}\r\nContent-Length: {body_bytes}\r\n\r\n"
        ).encode("ascii")

    async def fetch_balance(self, key: str) -> int:
        """The points left on the key's account; costs none.

        Raises:
            KeyRefused: Poe does not know the key.
            PoeError: it could not be found out.
        """
        payload = await self._get_json("/usage/current_balance", max_bytes=MAX_ERROR_BYTES, key=key)
        balance = payload.get("current_point_balance")
        if isinstance(balance, bool) or not isinstance(balance, int | float):
            raise PoeFailed(said="a balance without current_point_balance")
        return int(balance)

    async def fetch_points_history(self, key: str, *, starting_after: str = "") -> SpentPage:
        """What the key's account spent, newest first, a hundred queries at a time; costs nothing.

        Args:
            key: any key of the account.
            starting_after: the id of the last query of the page before.

        Raises:
            KeyRefused: Poe does not know the key.
            PoeError: it could not be found out.
        """
        after = f"&starting_after={quote(starting_after, safe='')}" if starting_after else ""
        path = f"/usage/points_history?limit=100{after}"
        return parse_spent_page(await self._get_json(path, max_bytes=_MAX_HISTORY_BYTES, key=key))

    async def fetch_models(self) -> list[dict[str, Any]]:
        """Poe's public list of bots, as Poe sends it. Asks without a key: none is needed."""
        payload = await self._get_json("/v1/models", max_bytes=_MAX_CATALOGUE_BYTES)
        models = payload.get("data")
        if not isinstance(models, list):
            raise PoeFailed(said="a list of models without data")
        return [model for model in models if isinstance(model, dict)]

    async def fetch_file(self, url: str, *, max_bytes: int) -> bytes:
        """A file that a bot made. Asks without a key, and no host but Poe's: a bot's author chose the URL.

        Raises:
            PoeFailed: it is elsewhere, larger than ``max_bytes``, or could not be had.
        """
        if not (_POES_FILE.fullmatch(url) or self._own_file.fullmatch(url)) or len(url) > _MAX_URL_CHARACTERS:
            raise PoeFailed(
                "The file is not at Poe, so it cannot be fetched; ask for its URL.", said="a file elsewhere"
            )
        with in_poes_terms():
            return await patiently(partial(self._fetch_file, url, max_bytes), patience_s=self._timeouts.patience_s)

    async def _fetch_file(self, url: str, max_bytes: int) -> bytes:
        async with self._session.get(URL(url, encoded=True), headers={}, total_s=_FILE_S) as response:
            if response.status != 200:
                raise PoeFailed(said=f"{response.status} for a file")
            return await response.read(max_bytes)

    async def _get_json(self, path: str, *, max_bytes: int, key: str = "") -> dict[str, Any]:
        url = URL(self._base_url + path, encoded=True)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        began_at = asyncio.get_running_loop().time()
        try:
            async with self._session.get(url, headers=headers, total_s=_JSON_S) as response:
                if response.status != 200:
                    raise await read_fault(response, key)
                return await read_object(response, max_bytes)
        except TransportError as error:
            if isinstance(error, Unreachable):
                self._streams.dialer.note_failure(error, began_at=began_at)
            raise poe_failure_of(error) from error.__cause__


@lru_cache(maxsize=1024)
def encode_bot_name(bot: str) -> str:
    """A bot's name as one path segment.

    Raises:
        ModelNotFound: no bot can have this name. So ``../usage/current_balance`` reaches no other route of Poe's.
    """
    if not _BOT_NAME.fullmatch(bot) or not bot.strip(". "):
        raise ModelNotFound(param="model")
    return quote(bot, safe="")


def _stream_headers(url: URL) -> dict[str, str]:
    return {
        "Host": url.host_port_subcomponent or "",
        "User-Agent": USER_AGENT,
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
    }


def _content_type(connection: Connection) -> str:
    return connection.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read_stream_fault(connection: Connection, key: str) -> PoeError:
    """The fault that an answer stands for which is no event stream. ``key`` is kept out of it."""
    body = b""
    try:
        while len(body) < MAX_ERROR_BYTES and (data := await connection.read()):
            body += data
    except TransportError:  # the status was said
        body = b""
    return fault_of(connection.status, _content_type(connection), connection.headers, body[:MAX_ERROR_BYTES], key)
