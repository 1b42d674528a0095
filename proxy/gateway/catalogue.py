"""Which models there are and which bot a model's name means.

Poe's list is fetched at most once per ``catalogue_ttl_s`` by a worker, shared through Redis, and its last good
copy is kept: a failing Poe never empties it. A chat waits for the list only while a worker fetches its first, and
not for long.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from proxy.core.failures import ModelNotFound, PoeError, StoreUnavailable
from proxy.core.models import ModelCard
from proxy.gateway.claude_names import bot_of_anthropics_name, possible_names
from proxy.gateway.similar_names import similar_names
from proxy.store.redis import RedisStore
from proxy.upstreams.poe.unreached import PoeUnreachable
from proxy.upstreams.poe_account.models import Bot, parse_bot
from proxy.upstreams.poe_bot.client import PoeClient, encode_bot_name

_log = logging.getLogger(__name__)

#: What some clients write: ``openai/gpt-5``, ``poe/openai/gpt-5``.
_VENDOR_MODEL: Final = re.compile(r"(?:[A-Za-z0-9][\w.@-]*/)+[^/]+")
#: How long the shared copy outlives its freshness, in seconds.
_KEEP_S: Final = 7 * 24 * 3600
#: How long a chat waits for a worker's first list, in seconds.
_FIRST_LIST_S: Final = 2.0
#: How soon a failed fetch is tried again, in seconds.
_RETRY_S: Final = 30.0
#: The same where no connection could be made.
_UNREACHED_S: Final = 5.0
#: Names whose bots are remembered, so many: callers may invent more.
_MAX_RESOLVED: Final = 1_000
#: So many names are suggested in place of one that is none.
_MOST_SIMILAR: Final = 3

#: Patterns that let every bot through.
ANY: Final = ("*",)


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
        self._bots: dict[str, Bot] = {}
        #: Names that were looked up with this list, each with its bot, which is allowed here.
        self._resolved: dict[str, str] = {}
        self._due_at = 0.0
        self._refreshing: asyncio.Task[None] | None = None

    async def resolve(self, model: str | None, models: Sequence[str] = ANY) -> str:
        """The bot that ``model`` names, whatever its case, or the default when None.

        Args:
            model: as the client wrote it.
            models: lower-case glob patterns of those that the client may use.

        A name that is not on Poe's list is passed on as it is, since user-made bots are not listed, but for what
        stands before a slash: some clients write ``vendor/model``.

        Raises:
            ModelNotFound: the bot is not allowed here, or its name is none.
        """
        self._refresh_if_due()
        if not self._bots and self._refreshing is not None and not self._refreshing.done():
            await asyncio.wait({self._refreshing}, timeout=_FIRST_LIST_S)
        name = model or self._default_model
        bot = self._resolved.get(name) or self._resolve(name, models)
        if models is not ANY and not _matches(bot, models):
            raise self.not_found(name, models)
        return bot

    def not_found(self, model: str, models: Sequence[str] = ANY, *, said: str = "") -> ModelNotFound:
        """The error for a name that is no bot's, with those that may have been meant; ``said`` are Poe's words."""
        names = [*self._aliases, *(bot.name for bot in self._bots.values())]
        may_use = (name for name in names if self._is_shown(self._bot_named(name), models))
        near = [f"'{name}'" for name in similar_names(model, may_use, most=_MOST_SIMILAR)]
        hint = f" Did you mean {' or '.join(filter(None, (', '.join(near[:-1]), near[-1])))}?" if near else ""
        return ModelNotFound(
            f"The model '{model}' does not exist or you do not have access to it.{hint}", param="model", said=said
        )

    def named_by_claude(self, model: str, *, aliases: bool) -> str:
        """The name that a program means which knows models of Anthropic's alone; ``claude_names.py``."""
        names = possible_names(model, aliases=aliases)
        known = next((name for name in names if name in self._bots or name in self._aliases), None)
        return known or bot_of_anthropics_name(names[0], self._bots) or model

    def lists(self, bot: str) -> bool:
        """Whether the bot is on Poe's list, so that its name is no invention of a caller's.

        None is until the list is there. What a bot that is not listed says of a key is not believed.
        """
        return bot.lower() in self._bots

    def parameters(self, bot: str) -> Mapping[str, Mapping[str, Any]]:
        """The parameters that Poe lists for a bot, name → JSON Schema; none for a bot that is not listed."""
        listed = self.listed(bot)
        return listed.parameters if listed else {}

    def listed(self, bot: str) -> Bot | None:
        """What Poe's list says of a bot; None for one that it does not have."""
        return self._bots.get(bot.lower())

    def open(self) -> None:
        """Starts fetching the list, behind the scenes."""
        self._refresh_if_due()

    async def cards(self, models: Sequence[str] = ANY) -> list[ModelCard]:
        """Every model a client may name: Poe's, then the aliases. Waits for Poe's list only when there is no copy.

        Args:
            models: lower-case glob patterns of those that the client may use.
        """
        self._refresh_if_due()
        if not self._bots and self._refreshing is not None:
            await asyncio.shield(self._refreshing)
        bots = [bot for bot in self._bots.values() if self._is_allowed(bot.name) and _matches(bot.name, models)]
        listed = [_card(bot.name, bot) for bot in bots]
        known = {card.id.lower() for card in listed}
        extra = [*self._aliases.items(), (self._default_model, self._default_model)]
        for name, bot in extra:
            if name.lower() not in known and self._is_shown(bot, models):
                known.add(name.lower())
                listed.append(_card(name, self._bots.get(bot.lower())))
        return listed

    async def card(self, model: str, models: Sequence[str] = ANY) -> ModelCard:
        """One model by its name. Raises ModelNotFound."""
        cards = {card.id.lower(): card for card in await self.cards(models)}
        card = cards.get(model.lower()) or cards.get(self._bot_named(model).lower())
        if card is None:
            raise self.not_found(model, models)
        return card

    async def close(self) -> None:
        """Gives up a refresh that is under way."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    def _resolve(self, name: str, models: Sequence[str]) -> str:
        bot = self._bot_named(name)
        encode_bot_name(bot)
        if not self._is_allowed(bot):
            raise self.not_found(name, models)
        if len(self._resolved) < _MAX_RESOLVED:
            self._resolved[name] = bot
        return bot

    def _bot_named(self, name: str) -> str:
        """The bot that goes by this name or alias, with or without a vendor before it."""
        short = name.rpartition("/")[2] if _VENDOR_MODEL.fullmatch(name) else name
        for candidate in (name, short):
            bot = self._aliases.get(candidate.lower(), candidate)
            if listed := self._bots.get(bot.lower()):
                return listed.name
            if candidate.lower() in self._aliases:
                return bot
        return short

    def _is_shown(self, bot: str, models: Sequence[str]) -> bool:
        """Whether a client with these patterns sees the bot. Others that Poe does not list may be used all the same."""
        is_listed = not self._bots or bot.lower() in self._bots or bot == self._default_model
        return is_listed and self._is_allowed(bot) and _matches(bot, models)

    def _is_allowed(self, bot: str) -> bool:
        return _matches(bot, self._allowed)

    def _refresh_if_due(self) -> None:
        """Starts a refresh behind the scenes, one at a time."""
        if time.monotonic() < self._due_at or (self._refreshing is not None and not self._refreshing.done()):
            return
        self._due_at = time.monotonic() + self._ttl_s
        self._refreshing = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        try:
            bots, fresh_for_s = await self._shared_copy()
            if fresh_for_s <= 0:
                bots = [bot for entry in await self._poe.fetch_models() if (bot := parse_bot(entry))] or bots
                fresh_for_s = self._ttl_s
                await self._share(bots)
            self._due_at = time.monotonic() + fresh_for_s
        except PoeError as error:
            self._due_at = time.monotonic() + (_UNREACHED_S if isinstance(error, PoeUnreachable) else _RETRY_S)
            _log.warning("the list of models could not be fetched", extra={"reason": error.said or error.kind})
        if bots:
            self._bots = {bot.name.lower(): bot for bot in bots}
            self._resolved = {}

    async def _shared_copy(self) -> tuple[list[Bot], float]:
        """The list in Redis, and for how many more seconds it is fresh."""
        try:
            text = await self._store.get(self._store.keys.catalogue)
        except StoreUnavailable:
            return [], 0.0
        return self._read_copy(text) if text else ([], 0.0)

    def _read_copy(self, text: str) -> tuple[list[Bot], float]:
        """A copy that another release wrote, or someone edited, may not be readable; then there is none."""
        try:
            copy = json.loads(text)
            bots = [Bot.from_json(one) for one in copy["bots"]]
            age_s = time.time() - int(copy["fetched_at_s"])
        except (ValueError, TypeError, KeyError, OverflowError):
            return [], 0.0
        return bots, self._ttl_s - max(age_s, 0.0)

    async def _share(self, bots: Iterable[Bot]) -> None:
        copy = {"fetched_at_s": int(time.time()), "bots": [bot.as_json() for bot in bots]}
        try:
            await self._store.put(self._store.keys.catalogue, json.dumps(copy), _KEEP_S)
        except StoreUnavailable:
            _log.debug("the list of models could not be shared")


def _matches(bot: str, patterns: Sequence[str]) -> bool:
    name = bot.lower()
    return "*" in patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _card(name: str, bot: Bot | None) -> ModelCard:
    if bot is None:
        return ModelCard(name, 0, "poe")
    return ModelCard(
        id=name,
        created=bot.created,
        owned_by=bot.owned_by if bot.name == name else "poe",
        takes_tools=bot.takes_tools,
        context_tokens=bot.context_tokens,
        output_tokens=bot.output_tokens,
    )
