"""Two instances of two workers each, real processes on one real Redis: what only a fleet can show.

Most tests share one fleet: each finds all keys ready, and its Poe as if nobody had asked it yet.
"""

import asyncio
import contextlib
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio
import redis.asyncio

from proxy.credentials import fingerprint
from proxy.keypool.admin import KeyAdmin
from proxy.store.redis import RedisStore
from tests.support.fleet import Instance, running_instance
from tests.support.leaks import refuse_leaks
from tests.support.scripted_poe import DONE, META, Asked, Reply, ScriptedPoe, echo, failure, running_poe, text
from tests.support.serving import sdk
from tests.support.waiting import wait_until

KEYS = [f"poe-secret-{number}" for number in range(7)]
TOKEN = "fleet-secret-token"
HELLO: list[Any] = [{"role": "user", "content": "Hello 🙂 你好"}]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="shared_poe")
async def _shared_poe() -> AsyncIterator[ScriptedPoe]:
    async with running_poe() as scripted:
        yield scripted


@pytest.fixture
def poe(shared_poe: ScriptedPoe) -> ScriptedPoe:
    """The Poe of all tests here, which has forgotten those before."""
    shared_poe.queries.clear()
    shared_poe.script, shared_poe.balances = echo, {}
    return shared_poe


@pytest.fixture(scope="module", name="fleet_namespace")
def _fleet_namespace() -> str:
    return f"fleet-{uuid.uuid4().hex[:12]}"


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="shared_fleet")
async def _shared_fleet(
    shared_poe: ScriptedPoe, redis_url: str, fleet_namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[Instance]]:
    """Two instances of two workers."""
    home, environment = tmp_path_factory.mktemp("fleet"), settings_for(shared_poe, redis_url, fleet_namespace)
    async with running_instance(home, **environment) as one, running_instance(home, **environment) as other:
        yield [one, other]
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        refuse_leaks(client, f"{fleet_namespace}*")


@pytest_asyncio.fixture(loop_scope="module")
async def instances(
    shared_fleet: list[Instance], redis_url: str, fleet_namespace: str
) -> AsyncIterator[list[Instance]]:
    """They, and afterwards all keys are ready again."""
    yield shared_fleet
    store = RedisStore(redis_url, fleet_namespace)
    for key in KEYS:
        await KeyAdmin(store).move(fingerprint(key), "restore")
    await store.close()


def settings_for(poe: ScriptedPoe, redis_url: str, namespace: str) -> dict[str, str]:
    return {
        "POE_API_KEYS": ",".join(KEYS),
        "ACCESS_TOKENS": f"fleet:{TOKEN}",
        "POE_BASE_URL": poe.base_url,
        "REDIS_URL": redis_url,
        "REDIS_NAMESPACE": namespace,
        "RPM_PER_ACCOUNT": "0",
        "WORKERS": "2",
    }


async def post(session: aiohttp.ClientSession, instance: Instance) -> int:
    """One chat over a connection of its own, so that the kernel spreads them over the workers."""
    body = {"model": "Echo", "messages": [{"role": "user", "content": "hi"}]}
    url = f"{instance.base_url}/v1/chat/completions"
    async with session.post(url, json=body, headers={"authorization": f"Bearer {TOKEN}"}) as response:
        await response.read()
        return response.status


async def post_many(instances: list[Instance], count: int) -> Counter[int]:
    """``count`` chats at once, half to each instance; how many got which status."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        return Counter(await asyncio.gather(*(post(session, instances[number % 2]) for number in range(count))))


async def test_a_thousand_requests_at_once_use_each_key_equally(poe: ScriptedPoe, instances: list[Instance]) -> None:
    statuses = await post_many(instances, 1000)

    used = Counter(poe.keys_used())
    assert statuses == {200: 1000}
    assert sorted(used.values()) == [142] + [143] * 6
    assert set(used) == set(KEYS)


async def test_while_two_keys_cool_the_other_five_are_used_equally(poe: ScriptedPoe, instances: list[Instance]) -> None:
    cooling = set(KEYS[:2])
    poe.script = lambda asked: failure(429, retry_after="600") if asked.key in cooling else echo(asked)
    await post_many(instances, len(KEYS))
    await wait_until(lambda: cooling <= set(poe.keys_used()), "both keys have earned their 429")
    # A failed-over request takes a turn out of order; a full round evens the ring again.
    before = Counter(poe.keys_used())
    statuses = await post_many(instances, 500)

    used = Counter(poe.keys_used()) - before
    assert statuses == {200: 500}
    assert used == dict.fromkeys(KEYS[2:], 100)


async def test_a_429_with_retry_after_keeps_every_worker_off_the_key_for_that_long(
    poe: ScriptedPoe, instances: list[Instance]
) -> None:
    limited = KEYS[0]
    asked_at: list[float] = []
    asked_others = 0

    def script(asked: Asked) -> Reply:
        nonlocal asked_others
        if asked.key == limited:
            asked_at.append(time.monotonic())
            return failure(429, retry_after="3") if len(asked_at) == 1 else echo(asked)
        if asked_at and time.monotonic() > asked_at[0] + 3:
            asked_others += 1
        return echo(asked)

    poe.script = script
    statuses: Counter[int] = Counter()
    while not asked_at:
        statuses += await post_many(instances, 1)
    while len(asked_at) < 2:
        statuses += await post_many(instances, 20)

    assert set(statuses) == {200}
    assert asked_at[1] - asked_at[0] >= 3
    assert asked_others < 100, "it is used again after"


async def test_the_sdk_works_against_every_worker(poe: ScriptedPoe, instances: list[Instance]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(sdk(instance.base_url, TOKEN)) for instance in instances]
        stranger = await stack.enter_async_context(sdk(instances[0].base_url, "wrong-token"))

        async def stream(number: int) -> tuple[str, Any]:
            chunks = await clients[number % 2].chat.completions.create(
                model="Echo", messages=HELLO, stream=True, stream_options={"include_usage": True}
            )
            content, usage = "", None
            async for chunk in chunks:
                content += "".join(choice.delta.content or "" for choice in chunk.choices)
                usage = chunk.usage or usage
            return content, usage

        whole = await clients[0].chat.completions.create(model="Echo", messages=HELLO)
        streams = await asyncio.gather(*(stream(number) for number in range(50)))
        with pytest.raises(openai.AuthenticationError):
            await stranger.chat.completions.create(model="Echo", messages=HELLO)
        with pytest.raises(openai.BadRequestError) as bad:
            await clients[1].chat.completions.create(model="Echo", messages=HELLO, temperature=3)

        poe.script = lambda _: Reply([META, text("begin"), asyncio.Event(), DONE])
        abandoned = await clients[1].chat.completions.create(model="Echo", messages=HELLO, stream=True)
        await anext(aiter(abandoned))
        await abandoned.close()
        await wait_until(poe.queries[-1].left.is_set, "Poe sees the connection closed")

    assert whole.choices[0].message.content == "Hello 🙂 你好"
    assert {content for content, _ in streams} == {"Hello 🙂 你好"}
    assert {usage.total_tokens for _, usage in streams} == {whole.usage.total_tokens if whole.usage else 0}
    assert bad.value.param == "temperature"


async def test_when_every_key_cools_the_client_is_told_for_how_long(
    poe: ScriptedPoe, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    seconds = {KEYS[0]: "40", KEYS[1]: "20"}
    poe.script = lambda asked: failure(429, retry_after=seconds[asked.key])
    environment = settings_for(poe, redis_url, namespace) | {"POE_API_KEYS": ",".join(KEYS[:2]), "WORKERS": "1"}
    async with running_instance(tmp_path, **environment) as one, running_instance(tmp_path, **environment) as other:
        told = []
        for instance in (one, other):
            async with sdk(instance.base_url, TOKEN) as client:
                with pytest.raises(openai.RateLimitError) as caught:
                    await client.chat.completions.create(model="Echo", messages=HELLO)
                told.append(int(caught.value.response.headers["retry-after"]))

    assert all(18 <= wait <= 20 for wait in told)
    assert len(poe.queries) == 2, "the second instance asked nobody"


def _logs(instances: Sequence[Instance]) -> str:
    return "".join(instance.log.read_text() for instance in instances)


async def test_no_secret_is_in_a_log_or_in_redis(
    poe: ScriptedPoe, instances: list[Instance], redis_url: str, fleet_namespace: str
) -> None:
    poe.script = lambda asked: (
        failure(401, {"message": f"no such key {asked.key}"}) if asked.key == KEYS[0] else echo(asked)
    )
    await post_many(instances, 40)
    async with sdk(instances[0].base_url, "wrong-secret-token") as stranger:
        with pytest.raises(openai.AuthenticationError) as refused:
            await stranger.models.list()
    await wait_until(lambda: fingerprint(KEYS[1]) in _logs(instances), "calls are logged, keys by their id")
    logs = _logs(instances)
    store: Any = redis.asyncio.Redis.from_url(redis_url)
    async with store:
        names = [name async for name in store.scan_iter(match=f"{fleet_namespace}:*", count=1000)]
        dumps = b"".join([await store.dump(name) or b"" for name in names])  # some have ended meanwhile

    for secret in (*KEYS, TOKEN, "wrong-secret-token"):
        assert secret not in logs
        assert secret.encode() not in dumps
        assert secret not in refused.value.message


async def test_an_instance_ends_with_zero_after_its_streams_are_done(
    poe: ScriptedPoe, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    """As soon as they are: it does not wait for the client to close a connection that it keeps for later."""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([text("begin"), go_on, text(" and end"), DONE])
    async with (
        running_instance(tmp_path, **settings_for(poe, redis_url, namespace)) as instance,
        sdk(instance.base_url, TOKEN) as client,
    ):
        stream = await client.chat.completions.create(model="Echo", messages=HELLO, stream=True)
        first = [await anext(aiter(stream)), await anext(aiter(stream))]
        stopping = asyncio.create_task(instance.stop(within_s=15))  # of the 25 it may take
        await asyncio.sleep(0)
        go_on.set()
        rest = [chunk async for chunk in stream]
        code = await stopping

    assert "".join(chunk.choices[0].delta.content or "" for chunk in [*first, *rest]) == "begin and end"
    assert code == 0
