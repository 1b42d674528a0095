"""Writes the pictures of the admin page in ``docs/img``: ``python -m tests.admin.screenshots [names]``.

The data is made up, the page and the proxy behind it are real.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis.asyncio
from playwright.async_api import Browser, Page

from proxy.clients.admin import ClientAdmin
from proxy.credentials import fingerprint, parse_access_tokens, parse_poe_keys
from proxy.keypool.admin import KeyAdmin
from proxy.ledger.entry import Entry
from proxy.ledger.points import PointsLedger, QueryCost
from proxy.ledger.recorder import _finished, _Numbered
from proxy.ledger.scripts import RECORD_REQUESTS, RecordRequests
from proxy.settings import Settings
from proxy.store.redis import RedisStore
from tests.support.browser import open_page, running_browser, sign_in
from tests.support.redis_servers import BINARY, running_redis
from tests.support.scripted_poe import DONE, META, Asked, Reply, ScriptedPoe, failure, running_poe, text
from tests.support.serving import http, make_settings, serving
from tests.support.waiting import wait_until

DIRECTORY: Final = Path(__file__).parents[2] / "docs" / "img"
ADMIN: Final = "an-operators-token"
DESKTOP: Final = {"width": 1440, "height": 900}
TALL: Final = {"width": 1440, "height": 1110}
PHONE: Final = {"width": 390, "height": 844}
HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S

KEYS: Final = {
    "team:poe-key-1": 1_284_300,
    "team:poe-key-2": 1_284_300,
    "lab:poe-key-3": 642_180,
    "family:poe-key-4": 93_420,
    "spare:poe-key-5": 0,
    "old:poe-key-6": 0,
}
MODELS: Final = {"Claude-Sonnet-4.5": 5, "GPT-5": 4, "Gemini-2.5-Pro": 3, "GPT-5-mini": 3, "Claude-Haiku-4.5": 2}
CLIENTS: Final[dict[str, dict[str, Any]]] = {
    "anna": {"requests_per_minute": 60, "streams": 4, "tokens_per_day": 500_000},
    "ben": {"requests_per_minute": 30, "streams": 2, "requests_per_day": 400, "models": ["gpt-*", "claude-haiku*"]},
    "classroom": {"requests_per_minute": 120, "streams": 8, "tokens_per_day": 2_000_000, "models": ["*-mini"]},
    "notebook": {"streams": 2},
    "old-bot": {"requests_per_day": 50, "disabled": True},
}
MODEL_OF: Final = {"anna": "GPT-5", "ben": "GPT-5", "classroom": "GPT-5-mini", "notebook": "Claude-Haiku-4.5"}
ERRORS: Final = ("upstream_error", "rate_limit_exceeded", "upstream_timeout", "content_policy_violation")


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture: where, how wide, in which colours and language, and what was clicked."""

    view: str
    viewport: dict[str, int]
    scheme: str = "light"
    locale: str = "en-GB"
    act: str = ""


SCENES: Final = {
    "admin-desktop-light": Scene("overview", TALL),
    "admin-desktop-dark": Scene("overview", TALL, "dark", act="month"),
    "admin-phone-light": Scene("overview", PHONE),
    "admin-phone-dark": Scene("trail", PHONE, "dark", act="unfold"),
    "admin-requests": Scene("trail", DESKTOP, act="unfold"),
    "admin-usage": Scene("usage", DESKTOP, "dark"),
    "admin-clients": Scene("clients", DESKTOP),
    "admin-chinese": Scene("overview", DESKTOP, locale="zh-CN"),
}


def made_up_calls() -> Iterator[tuple[float, Entry]]:
    """(age in seconds, call), oldest first: a month with nights and weekends, and a busy last hour."""
    dice = random.Random(7)
    ages = [dice.uniform(0, HOUR_S) for _ in range(1900)]
    ages += [dice.uniform(HOUR_S, DAY_S) for _ in range(3800)]
    ages += [dice.uniform(DAY_S, 30 * DAY_S) for _ in range(60_000)]
    now = time.time()
    awake = [age for age in ages if age < HOUR_S or dice.random() < _liveliness(now - age)]
    for number, age in enumerate(sorted(awake, reverse=True)):
        yield age, _call(dice, number, age)


def _liveliness(at_s: float) -> float:
    then = time.gmtime(at_s)
    return (0.25 if then.tm_wday >= 5 else 1.0) * (0.15 + 0.85 * (7 <= then.tm_hour <= 21))


def _call(dice: random.Random, number: int, age: float) -> Entry:
    model = dice.choices(list(MODELS), list(MODELS.values()))[0]
    client = dice.choices([*CLIENTS, "laptop"], [6, 4, 7, 2, 0.4, 3])[0]
    keys = [fingerprint(name.partition(":")[2]) for name in KEYS]
    first, second = dice.sample(keys[:4], 2)
    is_trouble = 900 < age % HOUR_S < 1200
    failed = dice.random() < (0.09 if is_trouble else 0.012)
    retried = dice.random() < (0.2 if is_trouble else 0.05)
    outcome = dice.choice(ERRORS) if failed else "client_left" if dice.random() < 0.02 else "answered"
    text_ms = round(dice.lognormvariate(6.6 if "mini" in model else 7.1, 0.45) * (1.8 if is_trouble else 1))
    tokens = round(dice.lognormvariate(5.6, 0.8))
    attempts: list[dict[str, Any]] = [
        {"key": first, "skipped": {keys[4]: "parked"}, "outcome": "rate_limit_exceeded", "ms": 210 + number % 90}
    ]
    last: dict[str, Any] = {"key": second, "skipped": {}, "outcome": outcome, "ms": text_ms + tokens * 11}
    chain = [*(attempts if retried else []), last]
    return Entry(
        request_id=f"req_{dice.randbytes(12).hex()}",
        client=client,
        client_id="",
        permit="",
        model=model,
        is_listed=True,
        stream=dice.random() < 0.8,
        key_ids=[one["key"] for one in chain],
        status={"answered": 200, "client_left": 499, "rate_limit_exceeded": 429}.get(outcome, 502),
        outcome=outcome,
        first_text_ms=None if failed else text_ms,
        duration_ms=text_ms + tokens * 11,
        prompt_tokens=round(dice.lognormvariate(6.4, 0.9)),
        completion_tokens=0 if failed else tokens,
        reasoning_tokens=0,
        why={"bot": model, "waited_ms": 1240 if dice.random() < 0.02 else 0, "attempts": chain, "skipped": {}},
        failed_over=[first] if retried else [],
    )


async def fill_ledger(store: RedisStore) -> None:
    """Tells the ledger of the made-up calls, as a worker would that had to wait long for Redis."""
    calls = list(made_up_calls())
    for begin in range(0, len(calls), 32):
        batch = [(begin + at + 1, entry, age) for at, (age, entry) in enumerate(calls[begin : begin + 32])]
        await _tell(store, "made-up", batch)
    ledger = PointsLedger(store)
    costs = [
        QueryCost(f"q{number}", entry.model, 40 + entry.completion_tokens // 4, round((time.time() - age) * 1000))
        for number, (age, entry) in enumerate(calls)
    ]
    await ledger.record("team", [fingerprint("poe-key-1"), fingerprint("poe-key-2")], costs, since_ms=0)


async def _tell(store: RedisStore, worker: str, batch: list[tuple[int, Entry, float]]) -> None:
    now = time.monotonic()
    finished = [_finished(_Numbered(number, entry, now - age), now) for number, entry, age in batch]
    names = store.keys
    await store.run(
        RECORD_REQUESTS,
        RecordRequests(names.trail, names.failures, names.prefix, worker, newest=batch[-1][0], requests=finished),
    )


async def make_clients(store: RedisStore) -> dict[str, str]:
    """The managed clients' tokens, by name."""
    admin, tokens = ClientAdmin(store), {}
    for name, fields in CLIENTS.items():
        expires = {"expires_at_ms": round((time.time() + 60 * DAY_S) * 1000)} if name == "classroom" else {}
        _, token = await admin.create(name, {**fields, **expires})
        tokens[name] = token.text
    return tokens


async def use_keys(store: RedisStore, base_url: str, poe: ScriptedPoe, tokens: dict[str, str]) -> None:
    """Real requests, until one key cools down and one is parked; then an operator cools one and takes one out."""
    admin = KeyAdmin(store)

    async def announced() -> bool:
        return len(await admin.describe()) == len(KEYS)

    await wait_until(announced, "the keys are announced")
    poe.script = lambda asked: _in_trouble(asked, len(poe.queries))
    shares = {"anna": 46, "ben": 27, "classroom": 88, "notebook": 9}
    for name, many in shares.items():
        for _ in range(many):
            await _chat(base_url, tokens[name], MODEL_OF[name])
    await admin.move(fingerprint("poe-key-6"), "retire")
    await admin.move(fingerprint("poe-key-4"), "cool", cooldown_s=287)


def _in_trouble(asked: Asked, number: int) -> Reply:
    if asked.key == "poe-key-3" and number > 140:
        return failure(429, retry_after="53")
    return failure(500) if number % 47 == 0 else Reply([META, text("Hello! How can I help? " * 40), DONE])


async def _chat(base_url: str, token: str, model: str) -> None:
    chat = {"model": model, "messages": [{"role": "user", "content": "Explain this to me, please. " * 120}]}
    async with http(base_url, token) as raw:
        await raw.post("/v1/chat/completions", json=chat)


async def forget_use(store: RedisStore, redis_url: str) -> None:
    """Forgets the ledger's part of the real requests, which all ended in one moment."""
    connection: Any = redis.asyncio.Redis.from_url(redis_url)
    async with connection:
        for name in ("trail", "failures", "recorded:*", "usage:*"):
            names = await connection.keys(store.keys.prefix.replace("{", "\\{") + name)
            if names:
                await connection.delete(*names)


async def trickle(store: RedisStore) -> None:
    """About three more requests each second, until cancelled."""
    dice, number = random.Random(8), 1_000_000
    while True:
        number += 1
        await _tell(store, "trickle", [(number, _call(dice, number, 0.0), 0.0)])
        await asyncio.sleep(dice.uniform(0.1, 0.6))


@asynccontextmanager
async def lively_proxy(home: Path) -> AsyncIterator[str]:
    """A proxy with a past; its base URL."""
    with running_redis(BINARY, home) as redis_url:
        async with running_poe() as poe:
            poe.balances = {name.partition(":")[2]: points for name, points in KEYS.items()}
            poe.models = [{"id": name, "object": "model", "created": 0, "owned_by": "Poe"} for name in MODELS]
            settings: Settings = make_settings(redis_url=redis_url, poe_base_url=poe.base_url).model_copy(
                update={
                    "poe_api_keys": parse_poe_keys(",".join(KEYS)),
                    "access_tokens": parse_access_tokens("laptop:laptop-token,home-assistant:home-token"),
                    "admin_tokens": parse_access_tokens(ADMIN),
                    "log_level": "error",
                }
            )
            store = RedisStore(settings.redis_url, settings.redis_namespace)
            async with serving(settings) as base_url:
                tokens = await make_clients(store)
                await use_keys(store, base_url, poe, tokens)
                await forget_use(store, redis_url)
                await fill_ledger(store)
                hold = asyncio.Event()
                poe.script = lambda _: Reply([META, text("so far"), hold, DONE])
                busy = ("anna", "anna", "classroom", "classroom", "classroom", "notebook", "ben")
                held = [asyncio.create_task(_chat(base_url, tokens[name], MODEL_OF[name])) for name in busy]
                more = asyncio.create_task(trickle(store))
                try:
                    yield base_url
                finally:
                    more.cancel()
                    hold.set()
                    await asyncio.gather(*held, more, return_exceptions=True)
            await store.close()


async def take(browser: Browser, base_url: str, name: str, scene: Scene, directory: Path) -> None:
    """One picture."""
    options: dict[str, Any] = {"viewport": scene.viewport, "color_scheme": scene.scheme, "locale": scene.locale}
    options["reduced_motion"] = "reduce"
    async with open_page(browser, base_url, **options) as page:
        await sign_in(page, ADMIN)
        await page.goto(f"/admin#/{scene.view}")
        await _settle(page, scene)
        await page.screenshot(path=directory / f"{name}.png")


async def _settle(page: Page, scene: Scene) -> None:
    await page.locator(".status[data-status=ok]").wait_for()
    waits_for = {
        "overview": ".keys tbody tr",
        "trail": ".trail li",
        "usage": ".usage tbody tr",
        "clients": ".clients tbody tr",
    }
    await page.locator(waits_for[scene.view]).first.wait_for()
    if scene.view == "overview":
        await page.locator(".plot canvas").first.wait_for()
        await page.locator(".tile-rate .value:not(:text-is('–'))").wait_for()
    if scene.act == "month":
        await page.locator("[data-value=month]").click()
        await page.locator("[data-chart=requests] .plot[aria-label*=Month]").wait_for()
    if scene.act == "unfold":
        row = page.locator(".trail li", has=page.locator(".tries")).first
        await row.locator("summary").click()
    await page.evaluate("document.activeElement?.blur()")


async def main(names: list[str], directory: Path = DIRECTORY) -> None:
    """Takes all pictures, or those that are named."""
    with tempfile.TemporaryDirectory() as home:
        async with lively_proxy(Path(home)) as base_url, running_browser() as browser:
            for name, scene in SCENES.items():
                if not names or name in names:
                    await take(browser, base_url, name, scene, directory)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
