"""Talks to Poe over HTTP: one request an attempt, never a second one on its own.

Answers of bots stream through connections of our own (``poe/streams.py``); everything else goes through
``sessions.py``.

Knows keys only as the string it is handed. What is sent is written in ``query.py``;
fastapi-poe's client is not used, and ADR 1 says why.
"""

import asyncio
import logging
import re
from functools import lru_cache, partial
from typing import Any, Final, Self
from urllib.parse import quote

from yarl import URL

from proxy.core.failures import ModelNotFound, PoeFailed
from proxy.outbound import DIRECT, Outbound
from proxy.upstreams.poe.asking import Asking, Timeouts
from proxy.upstreams.poe.reach import in_poes_terms, poe_failure_of
from proxy.upstreams.poe.responses import MAX_ERROR_BYTES, read_fault, read_object
from proxy.upstreams.poe.streams import PoeStreams
from proxy.upstreams.poe_account.points import SpentPage, parse_spent_page
from proxy.upstreams.transport.failures import TransportError, Unreachable
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


class PoeClient:
    """Poe's API. Open it inside a running event loop and close it after the last answer.

    Attributes:
        streams: the connections that answers come over.
        reach: whether connections to Poe can be made.
    """

    def __init__(self, base_url: str, timeouts: Timeouts, outbound: Outbound = DIRECT) -> None:
        self._base_url = base_url
        self._timeouts = timeouts
        self._session = Session(connect_s=timeouts.connect_s, outbound=outbound)
        self.streams = PoeStreams(base_url, timeouts, outbound)
        self.reach = self.streams.reach
        self._own_file = re.compile(re.escape(str(URL(base_url).origin())) + _PATH, re.ASCII | re.IGNORECASE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every connection to Poe."""
        await self.streams.close()
        await self._session.close()

    def ask(self, *, bot: str, body: bytes, key: str) -> Asking:
        """Sends one query when it is entered; the context is its answer. Leaving closes the connection to Poe at once.

        Args:
            bot: a bot's name, as Poe spells it.
            body: from ``query.build_query_body``.
            key: the Poe key that pays.

        Raises:
            PoeError: whatever Poe or the network did, named by its meaning. An answer that ends without
                Poe saying ``done`` is a ``StreamCut``, never a short success.
        """
        return self.streams.post(f"/bot/{encode_bot_name(bot)}", body, key)

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
                self.streams.dialer.note_failure(error, began_at=began_at)
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
