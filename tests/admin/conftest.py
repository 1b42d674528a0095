"""One browser for all tests of the page, in one event loop with their proxies: starting one takes a second or two."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from proxy.credentials import parse_access_tokens
from proxy.settings import Settings
from tests.support.browser import running_browser
from tests.support.scripted_poe import ScriptedPoe, running_poe
from tests.support.serving import make_settings, serving

ADMIN = "operators-secret"


@pytest_asyncio.fixture(loop_scope="module")
async def poe() -> AsyncIterator[ScriptedPoe]:
    """A Poe that does what the test tells it."""
    async with running_poe() as scripted:
        yield scripted


@pytest.fixture
def settings(redis_url: str, namespace: str, poe: ScriptedPoe) -> Settings:
    """With an operator's token."""
    settings = make_settings(redis_url=redis_url, redis_namespace=namespace, poe_base_url=poe.base_url)
    return settings.model_copy(update={"admin_tokens": parse_access_tokens(f"op:{ADMIN}")})


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(settings: Settings) -> AsyncIterator[str]:
    """A proxy of the test's own; its base URL."""
    async with serving(settings) as base_url:
        yield base_url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_browser() as running:
        yield running
