"""What is counted of the traffic, within one process: each number is what the clients saw, each label is bounded."""

import asyncio
import base64
import time
from pathlib import Path
from typing import Any, Final

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from prometheus_client import generate_latest
from sanic import Sanic

from proxy.core.usage import Usage
from proxy.gateway.call import AttemptRecord, RelayRecord
from proxy.keypool.lease import SessionOutcome
from proxy.server.app import APP_NAME
from proxy.server.observability.metrics import Metrics
from proxy.settings import Settings
from tests.support.metrics import Page
from tests.support.redis_servers import breakable_redis
from tests.support.scripted_poe import CUT, DONE, Reply, ScriptedPoe, echo, event, failure, text
from tests.support.serving import http, make_settings, sdk, serving
from tests.support.waiting import wait_until

HELLO: Final[list[Any]] = [{"role": "user", "content": "Hello"}]
CHAT: Final[dict[str, Any]] = {"model": "Echo", "messages": HELLO}
PIXEL: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()


@pytest.fixture(name="settings")
def _settings(settings: Settings, poe: ScriptedPoe) -> Settings:
    """Poe lists one bot."""
    poe.models = [{"id": "Echo", "object": "model", "created": 1, "owned_by": "us"}]
    return settings


def page() -> Page:
    """The metrics of the proxy that runs in this process."""
    metrics: Metrics = Sanic.get_app(APP_NAME).ctx.worker.metrics
    metrics.write()
    return Page(generate_latest(metrics.registry).decode())


async def counted(name: str, count: float, **labels: str) -> None:
    """Waits until a metric has a value: what is counted at the end of a call may come just after its last byte."""
    await wait_until(lambda: page().value(name, **labels) == count, f"{name}{labels} is {count}", within_s=5)


async def test_a_call_counts_by_route_model_and_status(raw: httpx.AsyncClient) -> None:
    for path in ("/v1/chat/completions", "/chat/completions"):
        await raw.post(path, json=CHAT)

    await counted("requests_total", 2, route="/chat/completions", model="Echo", status="200")
    await counted("requests_total", 2)


async def test_whatever_is_no_call_counts_without_a_model(raw: httpx.AsyncClient, proxy: str) -> None:
    """Refusals too; invented URLs share one label."""
    await raw.get("/v1/models/Echo")
    await raw.get("/invented/1")
    await raw.get("/invented/2")
    await raw.post("/v1/chat/completions", content=b"{")
    async with http(proxy, token=None) as nobody:
        await nobody.post("/v1/chat/completions", json=CHAT)

    seen = {
        (one.labels["route"], one.labels["status"]): one.value for one in page().families["poe_proxy_requests"].samples
    }
    assert seen == {
        ("/models/{model}", "200"): 1,
        ("none", "404"): 2,
        ("/chat/completions", "400"): 1,
        ("/chat/completions", "401"): 1,
    }
    assert page().labels("requests_total", "model") == {""}


async def test_models_that_poe_does_not_list_share_one_label(raw: httpx.AsyncClient) -> None:
    """Or else callers could fill Prometheus with names of their choice."""
    for model in ("Invented-1", "Invented-2", "Echo"):
        await raw.post("/v1/chat/completions", json={**CHAT, "model": model})

    await counted("requests_total", 2, model="other")
    for family in page().families.values():
        assert {one.labels.get("model", "") for one in family.samples} <= {"", "other", "Echo"}


async def test_no_model_is_vouched_for_while_there_is_no_list(settings: Settings, poe: ScriptedPoe) -> None:
    """As before Poe was ever reached."""
    poe.models = None
    async with serving(settings) as base_url, http(base_url) as raw:
        await raw.post("/v1/chat/completions", json=CHAT)

        await counted("requests_total", 1, model="other")


async def test_tokens_are_those_the_client_was_told(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([text("*Thinking...*\n\n> Let me think.\n\nTwo words"), DONE])
    answers = [await client.chat.completions.create(model="Echo", messages=HELLO) for _ in range(3)]

    usages = [answer.usage for answer in answers if answer.usage and answer.usage.completion_tokens_details]
    await counted("tokens_total", sum(one.prompt_tokens for one in usages), kind="prompt", model="Echo")
    await counted("tokens_total", sum(one.completion_tokens for one in usages), kind="completion", model="Echo")
    reasoning = sum(
        one.completion_tokens_details.reasoning_tokens or 0 for one in usages if one.completion_tokens_details
    )
    await counted("tokens_total", reasoning, kind="reasoning", model="Echo")
    assert len(usages) == 3
    assert reasoning > 0


async def test_a_stream_counts_its_pieces_and_times(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    """The first token's time runs to the first text; the duration to the end."""
    go_on = asyncio.Event()
    poe.script = lambda _: Reply([text("one"), go_on, text("two"), DONE])
    stream = await client.chat.completions.create(model="Echo", messages=HELLO, stream=True)
    await anext(stream)
    await asyncio.sleep(0.3)
    go_on.set()
    async for _ in stream:
        pass

    await counted("request_duration_seconds_count", 1, model="Echo", stream="true")
    assert page().value("request_duration_seconds_sum") >= 0.3
    assert page().value("time_to_first_token_seconds_count", model="Echo") == 1
    assert page().value("time_to_first_token_seconds_sum") < 0.3
    assert page().value("stream_chunks_total", model="Echo") == 4  # two texts, the reason to finish, the usage


async def test_a_stream_that_breaks_counts_as_the_failure_it_was(client: AsyncOpenAI, poe: ScriptedPoe) -> None:
    """The 200 was sent before; the client saw an error all the same."""
    poe.script = lambda _: Reply([text("half"), CUT])
    stream = await client.chat.completions.create(model="Echo", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass

    await counted("requests_total", 1, status="502", model="Echo")
    await counted("upstream_errors_total", 1, code="upstream_error", model="Echo")


async def test_a_client_that_leaves_counts_as_499(proxy: str, poe: ScriptedPoe) -> None:
    poe.script = lambda _: Reply([text("half"), asyncio.Event()])
    async with sdk(proxy) as client:
        stream = await client.chat.completions.create(model="Echo", messages=HELLO, stream=True)
        await anext(stream)
        await wait_until(lambda: page().value("requests_in_flight") == 1, "the call is seen under way", within_s=5)
        await stream.close()

        await counted("requests_total", 1, status="499")
        await counted("requests_in_flight", 0)
        await counted("attempts_total", 1, outcome="abandoned")
        assert page().value("upstream_errors_total") == 0


async def test_a_failover_counts_by_its_reason(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = lambda asked: failure(429, retry_after="60") if len(poe.queries) == 1 else echo(asked)
    await raw.post("/v1/chat/completions", json=CHAT)

    await counted("failovers_total", 1, reason="rate_limit_exceeded")
    await counted("failovers_total", 1)
    await counted("upstream_errors_total", 1, code="rate_limit_exceeded", model="Echo")
    assert page().value("attempts_total", outcome="answered") == 1
    assert page().value("attempts_total") == 2


async def test_a_last_failure_is_no_failover(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: failure(404)
    await raw.post("/v1/chat/completions", json=CHAT)

    await counted("requests_total", 1, status="404", model="Echo")
    assert page().value("failovers_total") == 0


async def test_choices_that_fail_side_by_side_are_no_failover(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = lambda _: failure(404)
    await raw.post("/v1/chat/completions", json={**CHAT, "n": 2})

    await counted("attempts_total", 2)
    assert page().value("failovers_total") == 0


def test_what_is_recorded_is_counted_once_however_often_it_is_written() -> None:
    record = RelayRecord(
        attempts=[AttemptRecord("k", outcome="answered")], first_text_ms=250, usage=Usage(7, 5, reasoning_tokens=2)
    )
    metrics = Metrics()
    for _ in range(2):
        metrics.record_call(record, route="/x", status=200, model="Echo", stream=True, duration_s=1.5, chunks=3)
        metrics.record_exchange(0.001)
        metrics.write()
        metrics.write()
    seen = Page(generate_latest(metrics.registry).decode())

    assert seen.value("requests_total", route="/x", model="Echo", status="200") == 2
    assert seen.value("request_duration_seconds_sum", model="Echo", stream="true") == 3
    assert seen.value("time_to_first_token_seconds_sum", model="Echo") == 0.5
    assert seen.value("stream_chunks_total", model="Echo") == 6
    assert [seen.value("tokens_total", kind=kind) for kind in ("prompt", "completion", "reasoning")] == [14, 10, 4]
    assert seen.value("attempts_total", outcome="answered") == 2
    assert seen.value("redis_exchange_seconds_count") == 2


def test_each_attempt_for_a_session_is_counted_by_what_became_of_it() -> None:
    metrics = Metrics()
    calls: list[list[SessionOutcome]] = [["new"], ["hit", "moved"], ["hit"], [""]]
    for sessions in calls:
        attempts = [AttemptRecord("k", outcome="answered", session=session) for session in sessions]
        metrics.record_call(
            RelayRecord(attempts=attempts), route="/x", status=200, model="Echo", stream=True, duration_s=1, chunks=1
        )
    metrics.write()
    seen = Page(generate_latest(metrics.registry).decode())

    assert {name: seen.value("sessions_total", outcome=name) for name in ("new", "hit", "moved", "")} == {
        "new": 1,
        "hit": 2,
        "moved": 1,
        "": 0,
    }


def test_what_never_happened_has_no_series() -> None:
    """Percentiles of nothing would stand beside those of models that answer."""
    metrics = Metrics()
    metrics.record_call(RelayRecord(), route="/x", status=404, model="Echo", stream=True, duration_s=0.1, chunks=0)
    metrics.write()
    seen = generate_latest(metrics.registry).decode()

    assert 'request_duration_seconds_count{model="Echo"' in seen
    assert "time_to_first_token_seconds_count" not in seen
    assert "tokens_total{" not in seen


def test_failovers_of_several_choices_are_told_apart() -> None:
    """Choices run side by side: the attempt after a failed one may be another choice's."""
    attempts = [
        ("upstream_error: why", 0),
        ("answered", 1),
        ("rate_limit_exceeded", 2),
        ("answered", 0),
        ("answered", 2),
    ]
    record = RelayRecord(attempts=[AttemptRecord("k", outcome=outcome, choice=choice) for outcome, choice in attempts])
    only_failed = RelayRecord(
        attempts=[AttemptRecord("k", outcome="upstream_error"), AttemptRecord("k", outcome="answered", choice=1)]
    )
    metrics = Metrics()
    for each in (record, only_failed):
        metrics.record_call(each, route="/x", status=200, model="other", stream=False, duration_s=1, chunks=0)
    metrics.write()
    seen = Page(generate_latest(metrics.registry).decode())

    assert seen.value("failovers_total", reason="upstream_error") == 1
    assert seen.value("failovers_total", reason="rate_limit_exceeded") == 1


async def test_keys_are_counted_by_state(
    raw: httpx.AsyncClient, poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.server.observability.sampling._KEYS_EVERY", 1)
    poe.script = lambda asked: failure(429, retry_after="60") if len(poe.queries) == 1 else echo(asked)
    await raw.post("/v1/chat/completions", json=CHAT)

    await counted("keys", 1, state="cooling")
    await counted("keys", 1, state="ready")
    assert page().labels("keys", "state") == {"ready", "cooling", "parked", "retired"}


async def test_calls_that_wait_for_a_key_are_counted(settings: Settings, poe: ScriptedPoe) -> None:
    release = asyncio.Event()
    poe.script = lambda _: Reply([release, text("x"), DONE])
    settings = settings.model_copy(update={"max_in_flight_per_key": 1})
    async with serving(settings) as base_url, http(base_url) as raw:
        calls = [asyncio.create_task(raw.post("/v1/chat/completions", json=CHAT)) for _ in range(5)]
        try:
            await counted("requests_waiting", 3)
            assert page().value("requests_in_flight") == 5
        finally:
            release.set()
            await asyncio.gather(*calls)
        await counted("requests_waiting", 0)


async def test_uploads_count_by_how_they_ended(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    """A picture that is sent again is not uploaded again."""
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    body = {**CHAT, "messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]}
    for _ in range(4):  # each of the two keys has an account of its own
        assert (await raw.post("/v1/chat/completions", json=body)).status_code == 200

    await counted("uploads_total", 2, outcome="sent")
    looks = page().value("event_loop_lag_seconds_count")
    await wait_until(lambda: page().value("event_loop_lag_seconds_count") >= looks + 2, "it was looked at again")
    assert len(poe.uploads) == 2
    assert page().value("uploads_total") == 2


async def test_redis_is_seen_to_go_and_come(tmp_path: Path, poe: ScriptedPoe) -> None:
    with breakable_redis(tmp_path) as server:
        settings = make_settings(redis_url=server.url, poe_base_url=poe.base_url)
        async with serving(settings) as base_url, http(base_url) as raw:
            await raw.post("/v1/chat/completions", json=CHAT)
            await counted("redis_up", 1)
            exchanges = page().value("redis_exchange_seconds_count")
            server.kill()
            await raw.post("/v1/chat/completions", json=CHAT)
            await counted("redis_up", 0)
            await counted("redis_losses_total", 1)
            server.start()
            await counted("redis_up", 1)

            assert exchanges >= 2
            assert page().value("redis_losses_total") == 1


async def test_a_blocked_event_loop_is_seen(proxy: str) -> None:
    """``proxy`` runs in this very loop."""
    await wait_until(lambda: page().value("event_loop_lag_seconds_count") > 0, "the lag was looked at", within_s=5)
    time.sleep(0.9)  # noqa: ASYNC251 - the point of it

    await wait_until(
        lambda: (
            page().value("event_loop_lag_seconds_count") - page().value("event_loop_lag_seconds_bucket", le="0.25") == 1
        ),
        "the lag was noticed",
        within_s=5,
    )
    assert proxy


async def test_an_image_counts_under_its_route(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    file = {
        "url": "https://pfst.cf2.poecdn.net/base/image/abc",
        "content_type": "image/png",
        "name": "a.png",
        "inline_ref": None,
    }
    poe.script = lambda _: Reply([event("file", file), DONE])
    answer = await raw.post("/v1/images/generations", json={"model": "Echo", "prompt": "a cat"})

    assert answer.status_code == 200, answer.text
    await counted("requests_total", 1, route="/images/generations", model="Echo", status="200")
