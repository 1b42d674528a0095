"""Fixtures shared by all tests."""

import asyncio
import contextlib
import functools
import gc
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import redis
from hypothesis import settings as hypothesis_settings
from openai import AsyncOpenAI

from proxy.settings import Settings
from tests.support.leaks import refuse_leaks
from tests.support.loops import TestLoop
from tests.support.redis_servers import BINARIES, BINARY, GIVEN_URL, refuse_to_share_the_given_server, running_redis
from tests.support.scripted_poe import ScriptedPoe, running_poe
from tests.support.serving import http, make_settings, sdk, serving

ROOT: Final = Path(__file__).parents[1]

hypothesis_settings.register_profile("ci", max_examples=100, deadline=None)
hypothesis_settings.register_profile("nightly", max_examples=10_000, deadline=None)
hypothesis_settings.load_profile("ci")

# Collecting makes some hundred thousand objects that stay to the end. The garbage collector looks at them neither while
# they are made nor later, which saves a tenth of the suite's time.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Switches the garbage collector on again, for what the tests make; also in the process that collects nothing."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests run on the event loop that serves."""
    return {"uvloop": TestLoop}


def pytest_configure(config: pytest.Config) -> None:
    """Looks at the server of ``TEST_REDIS_URL`` before anything is written there."""
    if GIVEN_URL:
        refuse_to_share_the_given_server(config)


#: Parts of the suite whose files take longest: they begin first, so that none is left alone at the end.
_LONG_PARTS: Final = ("docs", "cli", "fleet", "contract", "cluster", "server", "admin", "deploy", "keypool", "bench")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of long parts first; within a file the order stays. For several processes that take a file each."""
    rank = {part: number for number, part in enumerate(_LONG_PARTS)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(ROOT / "tests").parts[0], len(rank)))


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis (or Valkey, where Redis is not installed) for the whole run; tests share it by namespace."""
    with running_redis(GIVEN_URL or BINARY, tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session", params=sorted(BINARIES))
def any_redis_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Each kind of server in turn."""
    with running_redis(BINARIES[request.param], tmp_path_factory.mktemp(request.param)) as url:
        yield url


@pytest.fixture
def namespace() -> str:
    """A namespace of the test's own."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def _looker() -> Iterator[Callable[[str], Any]]:
    """A client for each shared server, kept for the whole run: opening one takes longer than a look."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def client_of(url: str) -> Any:
            return stack.enter_context(redis.Redis.from_url(url, decode_responses=True))

        yield client_of


@pytest.fixture(autouse=True)
def _no_key_is_left_for_ever(request: pytest.FixtureRequest, _looker: Callable[[str], Any]) -> Iterator[None]:
    """For every test on a shared server; its own are looked at where they end (``redis_servers.py``).

    A test that writes keys itself, as somebody else might, is marked ``foreign_keys``.
    """
    shared = {"redis_url", "any_redis_url"} & set(request.fixturenames)
    if not shared or "namespace" not in request.fixturenames:
        yield
        return
    client = _looker(request.getfixturevalue(shared.pop()))
    pattern = f"{request.getfixturevalue('namespace')}*"
    yield
    try:
        if request.node.get_closest_marker("foreign_keys") is None:
            refuse_leaks(client, pattern)
    finally:
        if names := client.keys(pattern):
            client.unlink(*names)  # so that the next look is as quick as the first


@pytest.fixture
async def poe() -> AsyncIterator[ScriptedPoe]:
    """A Poe that does what the test tells it."""
    async with running_poe() as scripted:
        yield scripted


@pytest.fixture
def settings(redis_url: str, namespace: str, poe: ScriptedPoe) -> Settings:
    """Settings of a proxy between the test and its Poe."""
    return make_settings(redis_url=redis_url, redis_namespace=namespace, poe_base_url=poe.base_url)


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[str]:
    """A proxy on a real socket; its base URL."""
    async with serving(settings) as base_url:
        yield base_url


@pytest.fixture
async def client(proxy: str) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's client, pointed at the proxy with a good token."""
    async with sdk(proxy) as openai_client:
        yield openai_client


@pytest.fixture
async def raw(proxy: str) -> AsyncIterator[httpx.AsyncClient]:
    """A bare HTTP client with a good token, for what the SDK hides."""
    async with http(proxy) as http_client:
        yield http_client
