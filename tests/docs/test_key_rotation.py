"""The picture in docs/key-rotation.md shows what the pool does, lease by lease."""

import re
from contextlib import AsyncExitStack
from typing import Final

from proxy.core.failures import RateLimited
from proxy.credentials import PoeKey
from proxy.keypool.admin import KeyAdmin
from proxy.keypool.lease import Lease, LeaseRequest, PoolLimits
from proxy.keypool.pool import KeyPool
from proxy.keypool.verdict import ANSWERED, Cooldown, judge
from proxy.store.redis import RedisStore
from tests.docs.blocks import ROOT

PICTURE: Final = (ROOT / "docs" / "img" / "key-rotation.svg").read_text(encoding="utf-8")

#: The columns and rows of the picture: x → turn, y → key.
TURNS: Final = {int(x): int(turn) for x, turn in re.findall(r'<text x="(\d+)" y="384">(\d+)</text>', PICTURE)}
KEYS: Final = {int(y) - 5: name for y, name in re.findall(r'<text x="70" y="(\d+)">(k\d)</text>', PICTURE)}
#: (turn, worker, key, whether it failed) of each circle.
LEASES: Final = sorted(
    (TURNS[int(x)], worker.upper(), KEYS[int(y)], bool(failed))
    for worker, failed, x, y in re.findall(r'<circle class="([ab])( failed)?" cx="(\d+)" cy="(\d+)" r="15"/>', PICTURE)
)


async def test_two_workers_lease_as_the_picture_shows(redis_url: str, namespace: str) -> None:
    keys = {name: PoeKey(secret=name) for name in sorted(KEYS.values())}
    async with AsyncExitStack() as stack:
        stores = [RedisStore(redis_url, namespace) for _ in "AB"]
        for store in stores:
            stack.push_async_callback(store.close)
        pools = {
            worker: KeyPool(list(keys.values()), store, limits=PoolLimits(), cooldown=Cooldown(5, 300))
            for worker, store in zip("AB", stores, strict=True)
        }
        await in_order(pools["A"], [key.key_id for key in keys.values()])
        cooled = [turn for turn, _, name, _ in LEASES if name == "k2"][1]

        for turn, worker, name, failed in LEASES:
            if turn == cooled:
                await KeyAdmin(stores[0]).move(keys["k2"].key_id, "restore")
            lease = await pools[worker].lease(LeaseRequest("Echo"))
            assert isinstance(lease, Lease)
            assert (turn, lease.key.secret) == (turn, name)
            await pools[worker].settle(lease, judge(RateLimited()) if failed else ANSWERED)


async def in_order(pool: KeyPool, key_ids: list[str]) -> None:
    """Leases each key once, so that turns 1 to 4 are theirs in this order."""
    for key_id in key_ids:
        lease = await pool.lease(LeaseRequest("Echo", [other for other in key_ids if other != key_id]))
        assert isinstance(lease, Lease)
        await pool.settle(lease, ANSWERED)


def test_the_picture_has_every_turn_once() -> None:
    assert [turn for turn, *_ in LEASES] == list(range(5, 16))
    assert [turn for turn, *_, failed in LEASES if failed] == [6]
