"""A real browser for the admin page: Debian's Chromium, driven by playwright; whatever it complains about is kept."""

import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed (apt-get install chromium)")


@dataclass
class Complaints:
    """What a page reported: console errors, uncaught exceptions, violations of its security policy."""

    texts: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Keeps what ``page`` reports from now on."""
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.texts.append(f"exception: {error}"))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.texts.append(f"{message.type}: {message.text}")


@contextlib.asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """A browser without any profile."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*_FLAGS])
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def open_visitor(browser: Browser, **options: Any) -> AsyncIterator[BrowserContext]:
    """A visitor of its own, who speaks English unless ``options`` say otherwise."""
    context = await browser.new_context(**{"locale": "en-GB", **options})
    context.set_default_timeout(10_000)
    try:
        yield context
    finally:
        await context.close()


@contextlib.asynccontextmanager
async def open_page(browser: Browser, base_url: str, **options: Any) -> AsyncIterator[Page]:
    """A page of such a visitor."""
    async with open_visitor(browser, base_url=base_url, **options) as context:
        yield await context.new_page()


async def sign_in(page: Page, token: str, *, base_url: str = "") -> None:
    """Signs in as an operator does, whatever the language."""
    await page.goto(f"{base_url}/admin")
    await page.locator("#token").fill(token)
    await page.locator("form button[type=submit]").click()
    await page.locator("nav").wait_for()


async def settled(page: Page, faults: str) -> list[str]:
    """What the script finds once the charts have followed the width of the window, a frame or two later."""
    for _ in range(10):
        if not (found := await page.evaluate(faults)):
            break
        await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return list(found)
