"""Which models there are and which bot a model's name means.

Poe's list is fetched at most once per ``catalogue_ttl_s`` by a worker, shared through Redis, and its last good
copy is kept: a failing Poe never empties it. A chat waits for the list only while a worker fetches its first, and
not for long.
"""

import asyncio
import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from proxy.errors import ModelNotFound, PoeError, StoreUnavailable
from proxy.openai_api.response import ModelCard
from proxy.poe_api.client import PoeClient, encode_bot_name
from proxy.store.redis import RedisStore

_log = logging.getLogger(__name__)

#: How long the shared copy outlives its freshness, in seconds.
_KEEP_S: Final = 7 * 24 * 3600
#: How long a chat waits for a worker's first list, in seconds.
_FIRST_LIST_S: Final = 2.0
#: How soon a failed fetch is tried again, in seconds.
_RETRY_S: Final = 30.0


class Catalogue:
    """The models that clients see and may use.

    Args:
        aliases: lower-case name → bot.
        allowed: lower-case glob patterns; a bot must match one.
    """

    def __init__(
        self,
        poe: PoeClient,
        store: RedisStore,
        *,
        aliases: Mapping[str, str],
        allowed: Sequence[str],
        default_model: str,
        ttl_s: float,
    ) -> None:
        self._poe = poe
        self._store = store
        self._aliases = aliases
        self._allowed = allowed
        self._default_model = default_model
        self._ttl_s = ttl_s
        self._cards: dict[str, ModelCard] = {}
        self._due_at = 0.0
        self._refreshing: asyncio.Task[None] | None = None

    async def resolve(self, model: str | None) -> str:
        """The bot that ``model`` names, whatever its case, or the default when None.

        A name that is not on Poe's list is passed on as it is: user-made bots are not listed.

        Raises:
            ModelNotFound: the bot is not allowed here, or its name is none.
        """
        self._refresh_if_due()
        if not self._cards and self._refreshing is not None and not self._refreshing.done():
            await asyncio.wait({self._refreshing}, timeout=_FIRST_LIST_S)
        name = model or self._default_model
        bot = self._aliases.get(name.lower(), name)
        card = self._cards.get(bot.lower())
        bot = card.id if card else bot
        encode_bot_name(bot)
        if not self._is_allowed(bot):
            raise ModelNotFound(f"The model '{name}' does not exist or you do not have access to it.", param="model")
        return bot

    def vouches_for(self, bot: str) -> bool:
        """Whether Poe lists this bot, so that what it says of a key is Poe's word; yes while there is no list."""
        return not self._cards or bot.lower() in self._cards

    def open(self) -> None:
        """Starts fetching the list, behind the scenes."""
        self._refresh_if_due()

    async def cards(self) -> list[ModelCard]:
        """Every model a client may name: Poe's, then the aliases. Waits for Poe's list only when there is no copy."""
        self._refresh_if_due()
        if not self._cards and self._refreshing is not None:
            await asyncio.shield(self._refreshing)
        listed = [card for card in self._cards.values() if self._is_allowed(card.id)]
        known = {card.id.lower() for card in listed}
        extra = [*self._aliases.items(), (self._default_model, self._default_model)]
        for name, bot in extra:
            if name.lower() not in known and self._is_allowed(bot):
                known.add(name.lower())
                target = self._cards.get(bot.lower())
                listed.append(ModelCard(id=name, created=target.created if target else 0, owned_by="poe"))
        return listed

    async def card(self, model: str) -> ModelCard:
        """One model by its name. Raises ModelNotFound."""
        for card in await self.cards():
            if card.id.lower() == model.lower():
                return card
        raise ModelNotFound(f"The model '{model}' does not exist or you do not have access to it.", param="model")

    async def close(self) -> None:
        """Gives up a refresh that is under way."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    def _is_allowed(self, bot: str) -> bool:
        return any(fnmatchcase(bot.lower(), pattern) for pattern in self._allowed)

    def _refresh_if_due(self) -> None:
        """Starts a refresh behind the scenes, one at a time."""
        if time.monotonic() < self._due_at or (self._refreshing is not None and not self._refreshing.done()):
            return
        self._due_at = time.monotonic() + self._ttl_s
        self._refreshing = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        try:
            cards, fresh_for_s = await self._shared_copy()
            if fresh_for_s <= 0:
                cards = _cards_of(await self._poe.fetch_models()) or cards
                fresh_for_s = self._ttl_s
                await self._share(cards)
            self._due_at = time.monotonic() + fresh_for_s
        except PoeError as error:
            self._due_at = time.monotonic() + _RETRY_S
            _log.warning("the list of models could not be fetched", extra={"reason": error.said or error.code})
        if cards:
            self._cards = {card.id.lower(): card for card in cards}

    async def _shared_copy(self) -> tuple[list[ModelCard], float]:
        """The list in Redis, and for how many more seconds it is fresh."""
        try:
            text = await self._store.get(self._store.keys.catalogue)
        except StoreUnavailable:
            return [], 0.0
        return self._read_copy(text) if text else ([], 0.0)

    def _read_copy(self, text: str) -> tuple[list[ModelCard], float]:
        """A copy that another release wrote, or someone edited, may not be readable; then there is none."""
        try:
            copy = json.loads(text)
            cards = [ModelCard(str(name), int(created), str(owner)) for name, created, owner in copy["cards"]]
            age_s = time.time() - float(copy["fetched_at_s"])
        except (ValueError, TypeError, KeyError):
            return [], 0.0
        return cards, self._ttl_s - max(age_s, 0.0)

    async def _share(self, cards: Iterable[ModelCard]) -> None:
        copy = {"fetched_at_s": int(time.time()), "cards": [[card.id, card.created, card.owned_by] for card in cards]}
        try:
            await self._store.put(self._store.keys.catalogue, json.dumps(copy), _KEEP_S)
        except StoreUnavailable:
            _log.debug("the list of models could not be shared")


def _cards_of(models: Iterable[Mapping[str, Any]]) -> list[ModelCard]:
    """Poe's list as ours. The display name is what ``/bot/`` takes; Poe's id is the same in lower case."""
    cards = []
    for model in models:
        metadata = model.get("metadata")
        name = metadata.get("display_name") if isinstance(metadata, dict) else None
        name = name or model.get("id")
        if isinstance(name, str) and name:
            created, owner = model.get("created"), model.get("owned_by")
            cards.append(
                ModelCard(
                    id=name,
                    created=int(created / 1000) if isinstance(created, int | float) else 0,
                    owned_by=owner if isinstance(owner, str) else "poe",
                )
            )
    return cards
