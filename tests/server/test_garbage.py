"""What a request leaves behind: nothing that waits for the garbage collector, which seldom looks."""

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import Iterator

import aiohttp
import pytest
from sanic import Sanic

from proxy.server.app import APP_NAME
from proxy.server.observability.metrics import Metrics
from tests.support.scripted_poe import DONE, META, Asked, Reply, ScriptedPoe, event, failure, text
from tests.support.serving import TOKEN
from tests.support.waiting import wait_until

OURS = ("proxy.", "sanic.http", "sanic.request", "httptools.")


@pytest.fixture(name="no_collections")
def _no_collections() -> Iterator[None]:
    gc.collect()
    gc.freeze()  # what other tests left in this process would make each look take half a second
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def left_behind() -> Counter[str]:
    """What only the collector could free, as far as it is a request's."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return Counter(
            name for one in gc.garbage if (name := f"{type(one).__module__}.{type(one).__qualname__}").startswith(OURS)
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def endless(_: Asked) -> Reply:
    return Reply([META, text("never "), text("ending"), asyncio.Event()])


async def ask(session: aiohttp.ClientSession, proxy: str, *, stream: bool, leave: bool = False) -> None:
    body = {"model": "Echo", "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}
    asked = session.post(f"{proxy}/v1/chat/completions", json=body)
    if leave and not stream:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1), asked:
                pass
        return
    async with asked as response:
        with contextlib.suppress(aiohttp.ClientPayloadError):  # a stream that fails breaks off
            await (response.content.readany() if leave else response.read())


@pytest.mark.usefixtures("no_collections")
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("ending", ["answered", "failed", "refused", "failed over", "left"])
async def test_nothing_waits_for_the_garbage_collector(
    proxy: str, poe: ScriptedPoe, ending: str, *, stream: bool
) -> None:
    scripts = {
        "answered": lambda _: Reply([META, text("whole"), DONE]),
        "failed": lambda _: Reply([META, text("half"), event("error", {"text": "it broke"})]),
        "refused": lambda _: failure(404),
        "failed over": lambda _: (
            failure(429, retry_after="0") if len(poe.queries) % 2 else Reply([META, text("whole"), DONE])
        ),
        "left": endless,
    }
    poe.script = scripts[ending]
    headers = {"authorization": f"Bearer {TOKEN}"}
    metrics: Metrics = Sanic.get_app(APP_NAME).ctx.worker.metrics
    connector = aiohttp.TCPConnector(force_close=True)

    async def ask_often() -> Counter[str]:
        for _ in range(10):
            await ask(session, proxy, stream=stream, leave=ending == "left")
        await wait_until(lambda: metrics.in_flight == 0, "every call has ended")
        return left_behind()

    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await ask_often()  # the first time, things are made that stay

        assert await ask_often() == Counter()
