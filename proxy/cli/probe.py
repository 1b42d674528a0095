"""``python -m proxy check --probe``: asks Poe, with the operator's own keys, what nobody could establish about it.

Each question is a few small requests to a model that Poe lists, the cheapest of its vendor; one that fails is told as
it is, and the others go on.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from proxy.core.failures import PoeError, PoeFailed
from proxy.core.sink import Sink
from proxy.credentials import PoeKey
from proxy.upstreams.poe.answer_stream import Stage
from proxy.upstreams.poe.outcome import Outcome
from proxy.upstreams.poe.rate_limits import RateLimits
from proxy.upstreams.poe_account.models import Bot, parse_bot
from proxy.upstreams.poe_bot.client import PoeClient
from proxy.upstreams.poe_rest.endpoints import ENDPOINTS

#: What is asked twice to see whether it is cached: some 5,000 tokens, since some models cache nothing shorter.
_RULES: Final = "Read every rule with care, and keep to each of them. " * 450
_MAX_TOKENS: Final = 32
_MAX_ANSWER_BYTES: Final = 1_000_000
#: How many requests are made at most, and how long the prompts of most of them are, for what is said before.
REQUESTS, PROMPT_TOKENS = 16, 5_000
_VENDORS: Final = ("anthropic", "openai", "google")


class Finding(NamedTuple):
    """One question with its answer, and what follows for the settings."""

    question: str
    answer: str
    advice: str = ""


@dataclass
class _Answered:
    """What Poe answered to one request."""

    body: dict[str, Any]
    rate_limits: RateLimits | None


class _Body(Outcome):
    """Keeps the body of an answer as it is."""

    __slots__ = ("data",)

    is_behind = has_heard_end = False

    def __init__(self) -> None:
        super().__init__(Sink())
        self.data = bytearray()

    def receive(self, read: bytes = b"") -> None:
        """More of it."""
        self.data += read
        if len(self.data) > _MAX_ANSWER_BYTES:
            self.fail(PoeFailed(said="an answer that is too large"))

    def end(self) -> None:
        """That was all."""
        self.conclude(Stage.ENDED)


@dataclass
class Prober:
    """One run.

    Attributes:
        poe: where to ask.
        keys: the operator's; the first asks, others are looked at for whether a cache is shared.
    """

    poe: PoeClient
    keys: Sequence[PoeKey]
    findings: list[Finding] = field(default_factory=list)
    _limits: dict[str, RateLimits | None] = field(default_factory=dict)

    async def run(self) -> list[Finding]:
        """Every question, in order. Raises PoeError: the list of models could not be had."""
        models = _cheapest(await self.poe.fetch_models())
        before = await self._balance()
        if "anthropic" in models:
            await self._caching(models["anthropic"], "messages", _message, _read_from_cache)
            await self._caching(models["anthropic"], "chat", _chat, _cached_in_chat)
        if "openai" in models:
            await self._caching(models["openai"], "chat", _chat, _cached_in_chat)
            await self._caching(models["openai"], "responses", _response, _cached_in_response)
            await self._told("Do `instructions` work on responses?", self._instructions(models["openai"]))
        if "google" in models:
            await self._told(
                "Does chat take a system message in the middle?", self._system_in_the_middle(models["google"])
            )
        self._say_limits()
        if not models:
            self._say("Which models are served over REST?", "Poe lists none", "POE_UPSTREAM=bot changes nothing")
        after = await self._balance()
        if before is not None and after is not None:
            self._say("What did this cost?", f"{before - after:,} points")
        return self.findings

    async def _caching(
        self,
        model: Bot,
        endpoint: str,
        body_of: Callable[[Bot, str], dict[str, Any]],
        cached_in: Callable[[Mapping[str, Any]], int],
    ) -> None:
        """Whether the second of two identical calls is read from a cache, and by whom else."""

        async def answer() -> str:
            body = body_of(model, f"Run {secrets.token_hex(8)}. {_RULES}")
            first, second = [await self._ask(endpoint, body, self.keys[0]) for _ in range(2)]
            self._limits[endpoint] = second.rate_limits
            read = cached_in(second.body)
            if not read:
                again = f"; the first call read {cached_in(first.body):,}" if cached_in(first.body) else ""
                return f"no: nothing was read by the second call{again}"
            return f"yes: {read:,} tokens read by the second call{await self._shared(endpoint, body, cached_in)}"

        await self._told(f"Does {model.name} cache over {endpoint}?", answer(), model=model.name, endpoint=endpoint)

    async def _shared(self, endpoint: str, body: dict[str, Any], cached_in: Callable[[Mapping[str, Any]], int]) -> str:
        """Who else reads what the first key's call has written."""
        first, said = self.keys[0], ""
        of_the_account = next((key for key in self.keys[1:] if key.account_id == first.account_id), None)
        of_another = next((key for key in self.keys[1:] if key.account_id != first.account_id), None)
        for key, whose in ((of_the_account, "another key of the account"), (of_another, "another account")):
            if key is not None:
                read = cached_in((await self._ask(endpoint, body, key)).body)
                said += f"; {whose} {f'read {read:,}' if read else 'read nothing'}"
        return said

    async def _instructions(self, model: Bot) -> str:
        asked = {
            **_response(model, "Who are you?"),
            "instructions": "Whatever you are asked, answer with the single word BANANA.",
        }
        answered = json.dumps((await self._ask("responses", asked, self.keys[0])).body.get("output"))
        return "yes" if "BANANA" in answered.upper() else "no, they are ignored; the proxy sends them as a message"

    async def _system_in_the_middle(self, model: Bot) -> str:
        messages = [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "system", "content": "From now on answer in one word."},
            {"role": "user", "content": "How are you?"},
        ]
        await self._ask("chat", {**_chat(model, ""), "messages": messages}, self.keys[0])
        return "yes"

    def _say_limits(self) -> None:
        for endpoint, limits in self._limits.items():
            question = f"Are rate limit headers there on {endpoint}?"
            if limits is None or limits.limit is None:
                self._say(question, "no")
            else:
                advice = f"RPM_PER_ACCOUNT={limits.limit}, if these are requests a minute"
                self._say(question, f"yes: limit {limits.limit}, {limits.remaining} left", advice)

    async def _ask(self, endpoint: str, body: Mapping[str, Any], key: PoeKey) -> _Answered:
        """One whole answer. Raises PoeError."""
        received = _Body()
        asking = ENDPOINTS[endpoint].ask(self.poe.streams, json.dumps(body).encode(), key.secret, is_whole=True)
        async with asking as answer:
            answer.deliver_to(received)
            await answer.until(Stage.ENDED)
            received.raise_failure()
            rate_limits = answer.rate_limits
        try:
            value = json.loads(received.data)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise PoeFailed(said="an answer that is no JSON object")
        return _Answered(value, rate_limits)

    async def _told(self, question: str, answering: Awaitable[str], *, model: str = "", endpoint: str = "") -> None:
        try:
            answer, advice = await answering, ""
        except PoeError as error:
            answer = f"it could not be asked: {error.message}"
            advice = f"MODEL_UPSTREAMS={model}=bot, if this lasts" if model and endpoint else ""
        self._say(question, answer, advice)

    async def _balance(self) -> int | None:
        try:
            return await self.poe.fetch_balance(self.keys[0].secret)
        except PoeError:
            return None

    def _say(self, question: str, answer: str, advice: str = "") -> None:
        self.findings.append(Finding(question, answer, advice))


def _cheapest(entries: Sequence[Mapping[str, Any]]) -> dict[str, Bot]:
    """The cheapest model of each vendor that Poe serves over REST and that calls tools."""
    found: dict[str, tuple[float, Bot]] = {}
    for entry in entries:
        bot, price = parse_bot(entry), _price(entry.get("pricing"))
        if bot is None or price is None or not (bot.endpoints and bot.is_of_text and bot.takes_tools):
            continue
        vendor = bot.owned_by.lower()
        if vendor in _VENDORS and (vendor not in found or price < found[vendor][0]):
            found[vendor] = price, bot
    return {vendor: bot for vendor, (_, bot) in found.items()}


def _price(pricing: object) -> float | None:
    """In USD for a token of a prompt; None where there is none, and for free models, which may not cache."""
    value = pricing.get("prompt") if isinstance(pricing, dict) else None
    try:
        return float(value) or None if isinstance(value, str | int | float) else None
    except ValueError:
        return None


def _message(model: Bot, rules: str) -> dict[str, Any]:
    system = [{"type": "text", "text": rules, "cache_control": {"type": "ephemeral"}}]
    said = [{"role": "user", "content": "Say OK."}]
    return {"model": model.name, "max_tokens": _MAX_TOKENS, "system": system, "messages": said}


def _chat(model: Bot, rules: str) -> dict[str, Any]:
    messages = [{"role": "system", "content": rules}, {"role": "user", "content": "Say OK."}]
    return {"model": model.name, "max_tokens": _MAX_TOKENS, "messages": messages}


def _response(model: Bot, rules: str) -> dict[str, Any]:
    return {"model": model.name, "max_output_tokens": _MAX_TOKENS, "store": False, "input": f"{rules}\n\nSay OK."}


def _read_from_cache(body: Mapping[str, Any]) -> int:
    return _count(body, "usage", "cache_read_input_tokens")


def _cached_in_chat(body: Mapping[str, Any]) -> int:
    return _count(body, "usage", "prompt_tokens_details", "cached_tokens")


def _cached_in_response(body: Mapping[str, Any]) -> int:
    return _count(body, "usage", "input_tokens_details", "cached_tokens")


def _count(value: Any, *path: str) -> int:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, int) else 0
