"""Restarts behind nginx: three instances of two workers, as a deploy replaces them, under streams that never stop.

``ROLLING_STREAM_S=8`` makes the streams longer.
"""

import asyncio
import os
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from cluster.processes import MissingProgramError, find_program
from cluster.running import Cluster, running_cluster
from tests.support.scripted_poe import DONE, META, Asked, Reply, ScriptedPoe, Step, text
from tests.support.streams import Seen, read_stream
from tests.support.waiting import wait_until

TOKEN: Final = "rolling-secret-token"
STREAMS: Final = 100
#: How long each stream takes, and in how many pieces it comes.
STREAM_S: Final = float(os.environ.get("ROLLING_STREAM_S", "2"))
PIECES: Final = 8
SAID: Final = "".join(f"piece {number} " for number in range(PIECES))


def _has_nginx() -> bool:
    try:
        find_program("nginx")
    except MissingProgramError:
        return False
    return True


pytestmark = pytest.mark.skipif(not _has_nginx(), reason="nginx is not installed")


def settings_for(poe: ScriptedPoe, redis_url: str, namespace: str) -> dict[str, str]:
    return {
        "POE_API_KEYS": ",".join(f"poe-secret-{number}" for number in range(5)),
        "ACCESS_TOKENS": f"tester:{TOKEN}",
        "POE_BASE_URL": poe.base_url,
        "REDIS_URL": redis_url,
        "REDIS_NAMESPACE": namespace,
        "RPM_PER_ACCOUNT": "0",
    }


def slowly(_: Asked) -> Reply:
    """A stream whose pieces come one after another, on the bot's own clock."""
    loop = asyncio.get_running_loop()
    steps: list[Step] = [META]
    for number in range(PIECES):
        due = asyncio.Event()
        loop.call_later(STREAM_S * (number + 1) / PIECES, due.set)
        steps += [due, text(f"piece {number} ")]
    return Reply([*steps, DONE])


async def ask(session: aiohttp.ClientSession, cluster: Cluster) -> Seen:
    body = {"model": "Slow", "stream": True, "messages": [{"role": "user", "content": "Go on"}]}
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with session.post(f"{cluster.base_url}/v1/chat/completions", json=body, headers=headers) as response:
        return await read_stream(response)


async def test_a_rolling_restart_cuts_no_stream_and_refuses_no_request(
    poe: ScriptedPoe, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    """And no request reaches Poe twice: what a refused connection carried was never sent."""
    poe.script = slowly
    environment = settings_for(poe, redis_url, namespace) | {"DRAIN_TIMEOUT_S": "20"}
    seen: list[Seen] = []
    rolled = asyncio.Event()

    async def caller(session: aiohttp.ClientSession, cluster: Cluster) -> None:
        while not rolled.is_set():
            seen.append(await ask(session, cluster))

    connector = aiohttp.TCPConnector(limit=0)
    async with (
        running_cluster(tmp_path, instances=3, workers=2, **environment) as cluster,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        async with asyncio.TaskGroup() as callers:
            for _ in range(STREAMS):
                callers.create_task(caller(session, cluster))
            await wait_until(lambda: len(poe.queries) >= STREAMS, "all streams run")
            codes = [await cluster.restart(number) for number in range(len(cluster.instances))]
            rolled.set()
        asked_of = [instance.log.read_text().count('"/v1/chat/completions"') for instance in cluster.instances]

    broken = [one for one in seen if not one.is_whole]
    assert broken == []
    assert {one.text for one in seen} == {SAID}
    assert codes == [0, 0, 0]
    assert len(poe.queries) == len(seen)
    assert min(asked_of) > 0, "each instance had its part"


async def test_streams_that_never_end_all_end_with_an_error_event(
    poe: ScriptedPoe, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    """All instances drain at once; nginx passes each stream's last event on, and its clean end."""
    poe.script = lambda _: Reply([META, text("never"), asyncio.Event()])
    environment = settings_for(poe, redis_url, namespace) | {"DRAIN_TIMEOUT_S": "3"}
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        running_cluster(tmp_path, instances=2, workers=2, **environment) as cluster,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        streams = [asyncio.create_task(ask(session, cluster)) for _ in range(STREAMS)]
        await wait_until(lambda: len(poe.queries) == STREAMS, "all streams run")
        codes = await asyncio.gather(*(cluster.stop(number) for number in range(len(cluster.instances))))
        seen = await asyncio.gather(*streams)

    assert codes == [0, 0]
    assert {(one.status, one.cut, one.text) for one in seen} == {(200, True, "never")}
    assert {one.error["code"] if one.error else None for one in seen} == {"draining"}
