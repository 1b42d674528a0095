"""Whether the page fits the screen when every label, reason and number in it is as long as may be."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, expect
from redis.asyncio import Redis

from proxy.clients.record import LIMIT_NAMES
from proxy.credentials import PoeKey, parse_poe_keys
from proxy.settings import Settings
from proxy.store.keyspace import KeySpace
from tests.admin.conftest import ADMIN
from tests.support.browser import needs_chromium, open_page, settled, sign_in
from tests.support.serving import KEYS, http, serving
from tests.support.waiting import wait_until

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]

CHAT: dict[str, Any] = {"model": "Echo", "messages": [{"role": "user", "content": "hello"}]}

#: What does not fit: the page wider than the screen, a part that scrolls sideways, a button outside, text cut off.
MISFITS = """() => {
  const faults = [];
  const box = document.documentElement;
  if (box.scrollWidth > innerWidth) faults.push(`page: ${box.scrollWidth}`);
  for (const el of document.querySelectorAll("main *")) {
    if (!el.checkVisibility() || el.closest(".plot, .segmented, .sr-only, .tile, thead")) continue;
    const style = getComputedStyle(el), rect = el.getBoundingClientRect();
    if (["auto", "scroll"].includes(style.overflowX) && el.scrollWidth > el.clientWidth + 1)
      faults.push(`scrolls sideways: ${el.className} ${el.scrollWidth} > ${el.clientWidth}`);
    if (el.matches("button, a, td, th") && (rect.left < 0 || rect.right > innerWidth + 0.5))
      faults.push(`outside: ${el.tagName} ${el.textContent.slice(0, 30)} ${Math.round(rect.right)}`);
  }
  return faults;
}"""

FACTS: dict[Any, Any] = {
    "reason": "not_available_for_this_key_or_its_account_at_all",
    "basis": "guessed",
    "answered": 123456,
    "model_not_found": 99999,
    "upstream_error": 77777,
}
#: 980 and 560 are where the layout changes; between, what fits at a width fits at every wider one.
WIDTHS = (1024, 1440, 981, 980, 561, 560, 390, 360)
HEIGHT = 900
LONG = "a-client-of-the-department-of-very-long-names-and-longer-labels"
#: View → what it shows when it has loaded.
SHOWN = {"overview": "0123456789", "clients": LONG, "usage": LONG, "trail": LONG, "events": "0123456789"}


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
async def test_long_labels_and_reasons_wrap(
    browser: Browser, settings: Settings, redis_url: str, namespace: str, locale: str
) -> None:
    """At every width each action is within reach, and nothing has to be scrolled sideways."""
    account = "an-account-with-the-longest-label-that-is-possible-0123456789012"
    keys = parse_poe_keys(f"{account}:{KEYS[0]},{account[:-1]}x:{KEYS[1]}")
    settings = settings.model_copy(update={"poe_api_keys": keys})
    found = {}
    async with serving(settings) as base_url, http(base_url, ADMIN) as admin:
        await fill_with_long_names(admin, redis_url, namespace, keys)
        async with open_page(browser, base_url, locale=locale) as page:
            await sign_in(page, ADMIN)
            for view, shown in SHOWN.items():
                await page.goto(f"/admin#/{view}")
                await expect(page.locator("main")).to_contain_text(shown)
                for width in WIDTHS:
                    await page.set_viewport_size({"width": width, "height": HEIGHT})
                    if faults := await settled(page, MISFITS):
                        found[view, width] = faults
            for width in WIDTHS:
                await page.set_viewport_size({"width": width, "height": HEIGHT})
                found |= await menu_misfits(page, width)

    assert found == {}


async def menu_misfits(page: Page, width: int) -> dict[tuple[str, int], list[str]]:
    """Whether what a row's menu offers is on the screen; clients have the longest."""
    await page.goto("/admin#/clients")
    await page.locator("tr [data-action=more]").last.click()
    revoke = page.locator(".menu:popover-open [data-action=revoke]")
    box = None
    for _ in range(10):  # the browser tells the page a moment after it has opened it, and then it takes its place
        box = await revoke.bounding_box()
        if box and box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= HEIGHT:
            await page.keyboard.press("Escape")
            return {}
        await page.evaluate("new Promise(requestAnimationFrame)")
    return {("menu", width): [str(box)]}


async def fill_with_long_names(
    admin: httpx.AsyncClient, redis_url: str, namespace: str, keys: Sequence[PoeKey]
) -> None:
    """A client and two keys whose every text is as long as may be, and a request of theirs."""
    patterns = ["a-pattern-of-models-with-a-very-long-name-*"] * 3
    limits = dict.fromkeys(LIMIT_NAMES, 999_999_999)
    made = await admin.post("/admin/api/clients", json={"name": LONG, "models": ["echo", *patterns], **limits})
    async with http(str(admin.base_url), made.json()["token"]) as client:
        await client.post("/v1/chat/completions", json=CHAT)
    names = KeySpace(namespace)
    async with Redis.from_url(redis_url) as redis:
        for key, state in zip(keys, ("retired", "parked"), strict=True):
            await admin.post(f"/admin/api/keys/{key.key_id}/cool", json={"seconds": 3000})
            await redis.hset(f"{names.prefix}key:{key.key_id}", mapping=FACTS)
            if state == "retired":
                await redis.hset(names.out, key.key_id, state)

        async def recorded() -> bool:
            return bool(await redis.xlen(names.trail))

        await wait_until(recorded, "the request is in the trail")
