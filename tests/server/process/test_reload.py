"""A worker whose settings are read anew: what the old resources still hold goes to the new ones."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from proxy.clients.tokens import Client
from proxy.core.chat_request import ChatRequest, Message, Text
from proxy.gateway.call import ChatCall
from proxy.ledger.streams import StreamReader
from proxy.server.context import App
from proxy.server.observability.call_log import Ended, Outcome
from proxy.server.process.lifecycle import Lifecycle
from proxy.settings import Settings
from tests.support.waiting import wait_until


def ended(request_id: str) -> Ended:
    request = ChatRequest([Message("user", [Text("hi")])], "Echo")
    return Ended(
        request_id,
        "/v1/chat/completions",
        "/chat/completions",
        ChatCall(Client("tester"), request),
        Outcome(),
        0.1,
        time.time(),
    )


@pytest.mark.parametrize("renewals", [1, 3])
async def test_a_call_that_ends_after_its_resources_have_closed_is_in_the_ledger(
    settings: Settings, renewals: int
) -> None:
    """With one worker a hangup closes them within the process that goes on: nothing may be left behind either."""
    before = asyncio.all_tasks()
    app = cast("App", SimpleNamespace(ctx=SimpleNamespace()))
    lifecycle = Lifecycle(settings, own_process=False, files=None)
    await lifecycle.open(app)
    old = app.ctx.worker
    for _ in range(renewals):
        await lifecycle.renew(app, settings)
    old.calls.note(ended("late"))
    newest = StreamReader(app.ctx.worker.store.reports)

    async def is_told() -> bool:
        return [entry.facts["request_id"] for entry in await newest.requests(5)] == ["late"]

    await wait_until(is_told, "the ledger has it")
    await lifecycle.close(app)

    left: set[asyncio.Task[Any]] = asyncio.all_tasks() - before
    assert not left
