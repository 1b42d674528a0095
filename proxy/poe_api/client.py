"""Talks to Poe over HTTP: one session a worker, one request an attempt, never a second one on its own.

Knows keys only as the string it is handed. fastapi-poe's types describe what is sent
(``query.py``); its client is not used, and ADR 1 says why.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from proxy.errors import ModelNotFound, PoeFailed, PoeTimeout, StreamCut
from proxy.poe_api.events import Done, Event, EventDecoder, Failure
from proxy.poe_api.faults import RateLimits, fault_of_event, parse_rate_limits
from proxy.poe_api.network import (
    MAX_ERROR_BYTES,
    in_our_terms,
    network_fault,
    open_session,
    read_capped,
    read_fault,
    read_object,
)
from proxy.poe_api.points import SpentPage, parse_spent_page

_MAX_CATALOGUE_BYTES: Final = 32 * 1024 * 1024
_MAX_HISTORY_BYTES: Final = 1024 * 1024
_POES_FILES: Final = "poecdn.net"
#: How long fetching a file may take, in seconds.
_FILE_S: Final = 60.0
_BOT_NAME: Final = re.compile(r"[^\x00-\x1f\x7f/\\?#%\ud800-\udfff]{1,100}")
#: How long, and for how much, an HTTP body that goes on after ``done`` is waited for.
_ENDING_S: Final = 1.0
_MAX_ENDING_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds allowed to connect, until the first event, between two reads, and for a whole answer."""

    connect_s: float
    first_event_s: float
    idle_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is arriving. Iterate ``reads`` once; each item holds the events of one network read."""

    reads: AsyncIterator[list[Event]]
    rate_limits: RateLimits | None


class PoeClient:
    """Poe's API. Open it inside a running event loop and close it after the last answer."""

    def __init__(self, base_url: str, timeouts: Timeouts) -> None:
        self._base_url = base_url
        self._timeouts = timeouts
        self._session = open_session()
        self._ending: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every connection to Poe."""
        for ending in list(self._ending):
            ending.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._session.close()

    @asynccontextmanager
    async def ask(self, *, bot: str, body: bytes, key: str) -> AsyncIterator[Answer]:
        """Sends one query and yields its answer; leaving early closes the connection to Poe at once.

        Args:
            bot: a bot's name, as Poe spells it.
            body: from ``query.build_query_body``.
            key: the Poe key that pays.

        Raises:
            PoeError: whatever Poe or the network did, named by its meaning. An answer that ends without
                Poe saying ``done`` is a ``StreamCut``, never a short success.
        """
        url = URL(f"{self._base_url}/bot/{encode_bot_name(bot)}", encoded=True)
        headers = {
            "Authorization": f"Bearer {key}",
            "Accept": "text/event-stream, application/json",
            "Content-Type": "application/json",
        }
        late = asyncio.timeout(self._timeouts.first_event_s)
        decoder = EventDecoder()
        response = None
        try:
            async with late:
                response = await self._session.post(
                    url, data=body, headers=headers, allow_redirects=False, timeout=self._aiohttp_timeout()
                )
                if response.status != 200 or response.content_type != "text/event-stream":
                    raise await read_fault(response, key)
                reads = _reads(response, decoder, late, key)
                yield Answer(reads=reads, rate_limits=parse_rate_limits(response.headers))
        except TimeoutError:
            raise PoeTimeout(said="no event in time") from None
        except aiohttp.ClientError as error:
            raise network_fault(error) from error
        finally:
            if response is not None:
                self._let_go(response, whole=decoder.ended)

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
        target = _absolute(url)
        if target is None or not (_is_poes(target) or target.origin() == URL(self._base_url).origin()):
            raise PoeFailed(
                "The file is not at Poe, so it cannot be fetched; ask for its URL.", said="a file elsewhere"
            )
        timeout = aiohttp.ClientTimeout(total=_FILE_S, sock_connect=self._timeouts.connect_s)
        with in_our_terms():
            async with self._session.get(target, allow_redirects=False, timeout=timeout) as response:
                if response.status != 200:
                    raise PoeFailed(said=f"{response.status} for a file")
                return await read_capped(response, max_bytes)

    async def _get_json(self, path: str, *, max_bytes: int, key: str = "") -> dict[str, Any]:
        url = URL(self._base_url + path, encoded=True)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = aiohttp.ClientTimeout(total=20, sock_connect=self._timeouts.connect_s)
        with in_our_terms():
            async with self._session.get(url, headers=headers, allow_redirects=False, timeout=timeout) as response:
                if response.status != 200:
                    raise await read_fault(response, key)
                return await read_object(response, max_bytes)

    def _let_go(self, response: aiohttp.ClientResponse, *, whole: bool) -> None:
        """Closes the connection at once, or keeps it for the next request when the answer was whole.

        The end of the HTTP body may come a moment after ``done``; it is waited for behind the client's back.
        """
        if not whole or response.content.at_eof():
            response.close()
            return
        ending = asyncio.get_running_loop().create_task(_read_to_the_end(response))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        ending.add_done_callback(lambda _: response.close())  # also when it was cancelled before it began

    def _aiohttp_timeout(self) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=self._timeouts.total_s, sock_connect=self._timeouts.connect_s, sock_read=self._timeouts.idle_s
        )


def _absolute(url: str) -> URL | None:
    """A URL with a host; None for what is none."""
    try:
        parsed = URL(url, encoded=True)
        _ = parsed.port  # raises when it is no number
    except ValueError:
        return None
    return parsed if parsed.host else None


def _is_poes(url: URL) -> bool:
    host = url.host or ""
    return url.scheme == "https" and (host == _POES_FILES or host.endswith(f".{_POES_FILES}")) and url.port == 443


def encode_bot_name(bot: str) -> str:
    """A bot's name as one path segment.

    Raises:
        ModelNotFound: no bot can have this name. So ``../usage/current_balance`` reaches no other route of Poe's.
    """
    if not _BOT_NAME.fullmatch(bot) or not bot.strip(". "):
        raise ModelNotFound(param="model")
    return quote(bot, safe="")


async def _reads(
    response: aiohttp.ClientResponse, decoder: EventDecoder, late: asyncio.Timeout, key: str
) -> AsyncIterator[list[Event]]:
    """The events of each read, up to and with ``Done``. The hot path of every stream: ``burst``, ``drip`` in bench."""
    read = response.content.readany
    while data := await read():
        events = decoder.feed(data)
        if not events:
            continue
        late.reschedule(None)
        last = events[-1]
        if isinstance(last, Failure):
            if len(events) > 1:
                yield events[:-1]
            raise fault_of_event(last, key=key)
        yield events
        if isinstance(last, Done):
            return
    raise StreamCut(said="the connection closed without a done event")


async def _read_to_the_end(response: aiohttp.ClientResponse) -> None:
    """Reads what follows ``done``, normally nothing but the end of the body; then aiohttp keeps the connection."""
    left = _MAX_ENDING_BYTES
    try:
        async with asyncio.timeout(_ENDING_S):
            while left > 0 and (data := await response.content.read(left)):
                left -= len(data)
    except (TimeoutError, aiohttp.ClientError):
        pass  # the connection is of no more use, and will be closed
