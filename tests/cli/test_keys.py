"""``python -m proxy keys``: the real command, beside the pool of a running server."""

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from proxy.cli.tables import whole_column
from proxy.core.failures import KeyRefused, RateLimited, StoreUnavailable
from proxy.credentials import PoeKey
from proxy.keypool.admin import KeyAdmin
from proxy.keypool.lease import KeyCount, Lease, LeaseRequest, NoneReady, PoolLimits
from proxy.keypool.pool import KeyPool
from proxy.keypool.verdict import ANSWERED, Cooldown, judge
from proxy.store import reports as reports_module
from proxy.store.keyspace import KeySpace
from proxy.store.redis import RedisStore
from tests.support.commands import Finished, run_command
from tests.support.tcp_pipe import tcp_pipe
from tests.support.waiting import wait_until

KEYS = [PoeKey("poe-secret-1", "home"), PoeKey("poe-secret-2", "work")]
POOL = {"POE_API_KEYS": "home:poe-secret-1,work:poe-secret-2", "ACCESS_TOKENS": "token"}


@pytest.fixture
async def pool(redis_url: str, namespace: str) -> AsyncIterator[KeyPool]:
    """The pool of a server that runs: its keys are known, one was used."""
    store = RedisStore(redis_url, namespace)
    made = KeyPool(KEYS, store, limits=PoolLimits(requests_per_minute=500), cooldown=Cooldown(5, 300))
    await made.settle(await leased(made), ANSWERED)
    yield made
    await store.close()


async def leased(pool: KeyPool) -> Lease:
    lease = await pool.lease(LeaseRequest("Echo"))
    assert isinstance(lease, Lease)
    return lease


@pytest.fixture
def environment(redis_url: str, namespace: str) -> dict[str, str]:
    """The operator's settings: those of the server."""
    return {**POOL, "REDIS_URL": redis_url, "REDIS_NAMESPACE": namespace}


async def keys(environment: dict[str, str], *arguments: str) -> Finished:
    return await run_command("keys", *arguments, **environment)


async def listed(environment: dict[str, str]) -> dict[str, Any]:
    """key id → what ``list --json`` says."""
    states = json.loads((await keys(environment, "list", "--json")).out)
    return {state["key_id"]: state for state in states}


async def test_list_tells_state_reason_time_left_and_results(pool: KeyPool, environment: dict[str, str]) -> None:
    limited = await leased(pool)
    await pool.settle(limited, judge(RateLimited(retry_after_s=100)))
    await pool.record_probe(limited.key, "points", 1234, next_s=600)
    busy = await leased(pool)

    states = await listed(environment)

    cooling, ready = states[limited.key.key_id], states[busy.key.key_id]
    assert (cooling["state"], cooling["reason"], cooling["basis"]) == ("cooling", "rate_limit_exceeded", "stated")
    assert 90 < cooling["left_s"] <= 100
    assert (cooling["points"], cooling["failed"], cooling["account"]) == (1234, 1, limited.key.account)
    assert (ready["state"], ready["in_flight"], ready["answered"], ready["requests"]) == ("ready", 1, 1, 2)


async def test_list_tells_that_an_accounts_minute_is_full(
    redis_url: str, namespace: str, environment: dict[str, str]
) -> None:
    """Whatever cooldown it had before."""
    store = RedisStore(redis_url, namespace)
    full = KeyPool(KEYS[:1], store, limits=PoolLimits(requests_per_minute=1), cooldown=Cooldown(5, 300))
    lease = await leased(full)
    await full.settle(lease, judge(RateLimited(retry_after_s=0.001)))

    async def cools_down_for_the_minute() -> bool:
        reply = await full.lease(LeaseRequest("Echo"))
        return isinstance(reply, NoneReady) and (reply.any_ready_in_s or 0) > 1

    await wait_until(cools_down_for_the_minute, "the cooldown is over, and the minute is full")
    await store.close()

    [state] = (await listed(environment)).values()

    assert (state["state"], state["reason"], state["basis"]) == ("cooling", "requests_per_minute", "counted")


async def test_list_cuts_nothing_where_there_is_no_terminal(pool: KeyPool, environment: dict[str, str]) -> None:
    """Shells set COLUMNS for what they run, though its output goes elsewhere."""
    limited = await leased(pool)
    await pool.settle(limited, judge(RateLimited(retry_after_s=100)))
    finished = await keys({**environment, "COLUMNS": "60"}, "list")

    assert [key.key_id in finished.out for key in KEYS] == [True, True]
    assert "rate_limit_exceeded (stated)" in finished.out


def test_a_narrow_terminal_shows_whole_columns_whole() -> None:
    """Others make room for what somebody will copy."""
    table = Table(whole_column("key"), "why", "more", "and more")
    table.add_row("0123456789ab", "for a reason", "of many", "words that are long")
    narrow = Console(width=40, file=io.StringIO())
    narrow.print(table)

    assert "0123456789ab" in narrow.file.getvalue()  # type: ignore[attr-defined]  # it is the buffer above


async def test_list_is_a_table_without_secrets(pool: KeyPool, environment: dict[str, str]) -> None:
    del pool
    finished = await keys({**environment, "COLUMNS": "200"}, "list")

    assert finished.code == 0
    for key in KEYS:
        assert key.key_id in finished.out
        assert key.account in finished.out
        assert key.secret not in finished.out + finished.err


async def test_show_tells_everything_of_one_key(pool: KeyPool, environment: dict[str, str]) -> None:
    del pool
    finished = await keys(environment, "show", KEYS[0].key_id)

    assert finished.code == 0
    assert KEYS[0].key_id in finished.out
    assert "outcomes" in finished.out


async def test_cool_begins_a_cooldown_and_restore_ends_it(pool: KeyPool, environment: dict[str, str]) -> None:
    cooled = await keys(environment, "cool", KEYS[0].key_id, "--seconds", "500")
    meanwhile = await pool.count()
    states = await listed(environment)
    restored = await keys(environment, "restore", KEYS[0].key_id)

    assert (cooled.code, restored.code) == (0, 0)
    assert (meanwhile.ready, meanwhile.cooling) == (1, 1)
    assert (states[KEYS[0].key_id]["reason"], states[KEYS[0].key_id]["state"]) == ("operator", "cooling")
    assert (await pool.count()).ready == 2


async def test_a_key_retired_by_hand_stays_so_whatever_a_probe_says(pool: KeyPool, environment: dict[str, str]) -> None:
    await keys(environment, "retire", KEYS[0].key_id)
    await pool.record_probe(KEYS[0], "points", 100, next_s=600)
    retired = await pool.count()
    await keys(environment, "restore", KEYS[0].key_id)

    assert retired == KeyCount(ready=1, retired=1, ready_in_s=0)
    assert (await pool.count()).retired == 0


async def test_restore_brings_back_a_key_that_poe_refused(pool: KeyPool, environment: dict[str, str]) -> None:
    lease = await leased(pool)
    await pool.settle(lease, judge(KeyRefused()))
    await pool.record_probe(lease.key, "refused", 0, next_s=600)
    retired = (await pool.count()).retired
    await keys(environment, "restore", lease.key.key_id)

    assert retired == 1
    assert (await pool.count()).ready == 2


async def test_probe_has_a_server_look_at_the_balance(pool: KeyPool, environment: dict[str, str]) -> None:
    while key := await pool.claim_probe(claim_s=600):
        await pool.record_probe(key, "points", 1, next_s=600)
    await keys(environment, "probe", KEYS[1].key_id)

    assert await pool.claim_probe(claim_s=600) == KEYS[1]
    assert await pool.claim_probe(claim_s=600) is None


@pytest.mark.parametrize("action", ["show", "cool", "retire", "restore", "probe"])
async def test_a_key_that_nobody_has_is_told_with_exit_1(
    pool: KeyPool, environment: dict[str, str], action: str
) -> None:
    del pool
    finished = await keys(environment, action, "0123456789ab")

    assert finished.code == 1
    assert "0123456789ab" in finished.err
    assert "Traceback" not in finished.err


async def test_a_redis_that_is_away_is_told_with_exit_1(environment: dict[str, str], tmp_path: Path) -> None:
    finished = await keys({**environment, "REDIS_URL": f"unix://{tmp_path}/none.sock"}, "list")

    assert finished.code == 1
    assert "Redis does not answer" in finished.err
    assert "Traceback" not in finished.err


async def test_commands_are_patient_with_a_slow_redis(
    pool: KeyPool, environment: dict[str, str], redis_url: str
) -> None:
    """A busy machine or a far Redis: a quarter of a second, as a request has, is not enough for either."""
    await pool.claim_probe(claim_s=1)
    with tcp_pipe(redis_url, round_trip_ms=600) as pipe:
        finished = await keys({**environment, "REDIS_URL": pipe.url("redis")}, "list", "--json")

    assert finished.code == 0, finished.err
    assert len(json.loads(finished.out)) == len(KEYS)


async def test_a_silent_redis_is_told_with_what_was_waited_for(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports_module, "PATIENCE_S", 0.2)
    with tcp_pipe(redis_url) as pipe:
        reports = reports_module.Reports(pipe.url("redis"), KeySpace(namespace))
        await KeyAdmin(reports).describe()
        pipe.stall()
        with pytest.raises(StoreUnavailable) as raised:
            await KeyAdmin(reports).describe()
        await reports.close()

    assert raised.value.reason == "no answer within 0.2 s (waited for: list_keys)"
