"""What goes over the wire for a batch of calls. What becomes of it is in ``test_redis.py``, with a real server."""

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.keypool.scripts import LEASE_KEY
from proxy.store.batches import _packed
from proxy.store.script import Call, Reply, reply_of

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=4)
ARGUMENTS = st.lists(st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=8)


@given(calls=st.lists(st.tuples(NAMES, ARGUMENTS), min_size=1, max_size=4))
def test_a_call_is_packed_as_hiredis_packs_all_of_it(calls: list[tuple[list[str], list[int | str]]]) -> None:
    """Though what it begins with is remembered."""
    loop = asyncio.new_event_loop()
    packed = _packed([Call(LEASE_KEY, keys, arguments, Reply(loop=loop)) for keys, arguments in calls])
    loop.close()

    whole: list[Any] = [("EVALSHA", LEASE_KEY.sha, len(keys), *keys, *arguments) for keys, arguments in calls]

    assert packed == b"".join(map(hiredis.pack_command, whole))


@pytest.mark.parametrize(
    ("come", "outcome"),
    [
        (lambda reply: reply.set_result(7), 7),
        (lambda reply: reply.set_exception(ZeroDivisionError()), ZeroDivisionError),
        (lambda reply: reply.cancel(), asyncio.CancelledError),
    ],
)
async def test_who_waits_for_a_reply_is_told_however_it_ends(come: Callable[[Reply], object], outcome: Any) -> None:
    reply = Reply()
    waiting = asyncio.ensure_future(reply_of(reply))
    await asyncio.sleep(0)
    come(reply)
    await asyncio.wait({waiting}, timeout=5)
    ended = asyncio.CancelledError() if waiting.cancelled() else waiting.exception() or waiting.result()

    assert outcome in (ended, type(ended))


async def test_who_gives_up_waiting_does_not_cancel_the_call() -> None:
    reply = Reply()
    waiting = asyncio.ensure_future(reply_of(reply))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    reply.set_result(7)

    assert reply.result() == 7
