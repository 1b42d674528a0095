"""``/admin/api``: who gets in, what they see and do. Each answer is also checked against docs/admin-openapi.yaml."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sanic import Sanic

from proxy.credentials import fingerprint, parse_access_tokens
from proxy.ledger.recorder import Recorder
from proxy.server.admin.context import MAX_VIEWERS
from proxy.server.app import create_app
from proxy.settings import Settings
from proxy.store.redis import RedisStore
from tests.ledger.entries import new_entry
from tests.support.openapi import PAGE, check, check_response, example, operations
from tests.support.rest_answers import CACHED, listed, rest_answer
from tests.support.scripted_poe import ScriptedPoe, echo, failure
from tests.support.serving import KEYS, TOKEN, http, make_settings, sdk, serving
from tests.support.waiting import wait_until

ADMIN = "operators-secret"
CHAT: dict[str, Any] = {"model": "Echo", "messages": [{"role": "user", "content": "hello there"}]}
ALL = sorted(operations())
KEY_ID = fingerprint(KEYS[0])


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With an operator's token."""
    return settings.model_copy(update={"admin_tokens": parse_access_tokens(f"op:{ADMIN}")})


def operator(base_url: str, token: str | None = ADMIN) -> httpx.AsyncClient:
    """Who may look, unless told otherwise; every answer is checked."""
    return http(base_url, token, event_hooks={"response": [check_response]})


@pytest.fixture
async def admin(proxy: str) -> AsyncIterator[httpx.AsyncClient]:
    async with operator(proxy) as client:
        yield client


async def keys_of(admin: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    """The keys by id, once both are announced."""
    found: dict[str, dict[str, Any]] = {}

    async def announced() -> bool:
        found.update({key["key_id"]: key for key in (await admin.get("/admin/api/keys")).json()["keys"]})
        return len(found) == len(KEYS)

    await wait_until(announced, "the keys are announced")
    return found


async def trail_of(admin: httpx.AsyncClient, count: int, query: str = "") -> list[dict[str, Any]]:
    """The trail, once it has so many requests."""
    found: list[dict[str, Any]] = []

    async def told() -> bool:
        found[:] = (await admin.get(f"/admin/api/trail{query}")).json()["requests"]
        return len(found) == count

    await wait_until(told, f"{count} requests are in the trail")
    return found


@pytest.mark.parametrize(("method", "path"), [*ALL, ("GET", "/admin"), ("GET", "/admin/static/app.js")])
async def test_without_admin_tokens_there_is_nothing(redis_url: str, namespace: str, method: str, path: str) -> None:
    settings = make_settings(redis_url=redis_url, redis_namespace=namespace)
    async with serving(settings) as base_url, http(base_url, ADMIN) as raw:
        response = await raw.request(method, example(path))

    assert response.status_code == 404
    assert response.json()["error"]["code"] == "unknown_url"


@pytest.mark.parametrize("token", [None, "a-guess", TOKEN])
async def test_every_route_is_for_operators_alone(proxy: str, token: str | None) -> None:
    async with operator(proxy, token) as nobody:
        for method, path in ALL:
            forget_wrong_tokens()
            response = await nobody.request(method, example(path))

            assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key"), path


def forget_wrong_tokens() -> None:
    """So that one test may send many."""
    Sanic.get_app("poe-proxy").ctx.admin_context = None  # a minute would pass otherwise


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {ADMIN}"}, {"x-admin-token": ADMIN}])
async def test_the_token_may_come_in_either_header(proxy: str, headers: dict[str, str]) -> None:
    async with operator(proxy, None) as client:
        response = await client.get("/admin/api/overview", headers=headers)

    assert response.json()["status"] == "ok"


async def test_who_guesses_is_slowed_down_and_the_operator_still_gets_in(proxy: str) -> None:
    async with operator(proxy, "a-guess") as guesser, operator(proxy) as op:
        statuses = [(await guesser.get("/admin/api/overview")).status_code for _ in range(6)]
        slowed = await guesser.get("/admin/api/overview")
        let_in = await op.get("/admin/api/overview")

    assert statuses == [401] * 5 + [429]
    assert 0 < int(slowed.headers["retry-after"]) <= 60
    assert let_in.status_code == 200


async def test_forty_guessers_keep_no_operator_out(proxy: str) -> None:
    """Each operator comes over a new connection, from the guessers' own address, while they guess."""
    async with operator(proxy, "a-guess") as guesser:
        guesses = [asyncio.create_task(guesser.get("/admin/api/overview")) for _ in range(40)]
        statuses = []
        for _ in range(11):
            async with operator(proxy) as op:
                statuses.append((await op.get("/admin/api/overview")).status_code)
        refused = {one.status_code for one in await asyncio.gather(*guesses)}

    assert statuses == [200] * 11
    assert refused == {401, 429}


@pytest.mark.parametrize("path", ["/admin", "/admin/static/app.js", "/admin/api/keys", "/admin/nothing"])
async def test_no_other_page_may_read_frame_or_feed_it(proxy: str, path: str) -> None:
    async with http(proxy, None) as raw:
        response = await raw.get(path, headers={"origin": "https://evil.example"})

    assert not [name for name in response.headers if name.startswith("access-control-")]
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "unsafe" not in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in response.headers


async def test_nothing_of_the_api_is_kept_by_a_cache(admin: httpx.AsyncClient) -> None:
    assert (await admin.get("/admin/api/overview")).headers["cache-control"] == "no-store"


async def test_a_preflight_for_the_admin_api_is_refused_and_others_are_not(proxy: str) -> None:
    asks = {"origin": "https://evil.example", "access-control-request-method": "GET"}
    async with http(proxy, None) as raw:
        refused = await raw.request("OPTIONS", "/admin/api/keys", headers=asks)
        allowed = await raw.request("OPTIONS", "/v1/models", headers=asks)

    assert refused.status_code == 405
    assert "access-control-allow-origin" not in refused.headers
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, "*")


async def test_the_keys_are_told_without_any_secret(admin: httpx.AsyncClient) -> None:
    keys = await keys_of(admin)

    assert set(keys) == {fingerprint(key) for key in KEYS}
    assert {key["state"] for key in keys.values()} == {"ready"}
    assert not [secret for secret in (*KEYS, TOKEN, ADMIN) if secret in json.dumps(keys)]


async def test_an_operator_cools_restores_retires_and_probes_a_key(admin: httpx.AsyncClient) -> None:
    await keys_of(admin)

    cooled = (await admin.post(f"/admin/api/keys/{KEY_ID}/cool", json={"seconds": 90})).json()
    restored = (await admin.post(f"/admin/api/keys/{KEY_ID}/restore")).json()
    retired = (await admin.post(f"/admin/api/keys/{KEY_ID}/retire")).json()
    probed = (await admin.post(f"/admin/api/keys/{KEY_ID}/probe")).json()

    assert (cooled["state"], cooled["reason"], cooled["basis"]) == ("cooling", "operator", "stated")
    assert 85 < cooled["left_s"] <= 90
    assert (restored["state"], retired["state"], probed["state"]) == ("ready", "retired", "retired")


async def test_a_key_that_is_cooled_is_not_used(admin: httpx.AsyncClient, proxy: str, poe: ScriptedPoe) -> None:
    await keys_of(admin)
    await admin.post(f"/admin/api/keys/{KEY_ID}/cool")

    async with http(proxy) as raw:
        for _ in range(4):
            assert (await raw.post("/v1/chat/completions", json=CHAT)).status_code == 200

    assert set(poe.keys_used()) == {KEYS[1]}


@pytest.mark.parametrize("action", ["cool", "retire", "restore", "probe"])
async def test_a_key_that_nobody_has_is_not_found(admin: httpx.AsyncClient, action: str) -> None:
    response = await admin.post(f"/admin/api/keys/{'0' * 12}/{action}")

    assert response.status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"seconds": 0}', "seconds"),
        (b'{"seconds": "60"}', "seconds"),
        (b'{"seconds": true}', "seconds"),
        (b'{"seconds": 1e99}', "seconds"),
        (b'{"second": 60}', "second"),
        (b"[]", None),
        (b"{", None),
    ],
)
async def test_what_is_wrong_in_a_body_is_named(admin: httpx.AsyncClient, body: bytes, param: str | None) -> None:
    response = await admin.post(f"/admin/api/keys/{KEY_ID}/cool", content=body)

    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_a_large_body_is_refused(admin: httpx.AsyncClient) -> None:
    response = await admin.post("/admin/api/clients", content=b" " * 100_000)

    assert response.status_code == 413


async def test_a_client_is_made_changed_rotated_and_revoked(admin: httpx.AsyncClient, proxy: str) -> None:
    made = (await admin.post("/admin/api/clients", json={"name": "anna", "requests_per_minute": 5})).json()
    path = f"/admin/api/clients/{made['client']['id']}"
    changed = (await admin.patch(path, json={"models": ["Echo"], "disabled": True})).json()
    await admin.patch(path, json={"disabled": False})
    rotated = (await admin.post(f"{path}/rotate", json={"grace_s": 0})).json()
    listed = (await admin.get("/admin/api/clients")).json()

    async def works(token: str) -> bool:
        async with http(proxy, token) as raw:
            return (await raw.post("/v1/chat/completions", json=CHAT)).status_code == 200

    await wait_until(lambda: works(rotated["token"]), "the new token works")
    await wait_until(lambda: refused(works(made["token"])), "the old token does not")
    assert (await admin.delete(path)).status_code == 204
    await wait_until(lambda: refused(works(rotated["token"])), "no token works")

    assert (changed["models"], changed["state"], changed["requests_per_minute"]) == (["echo"], "disabled", 5)
    assert ([one["name"] for one in listed["clients"]], listed["configured"]) == (["anna"], ["tester"])
    assert made["token"].split("-", 2)[2] not in json.dumps(listed)
    assert (await admin.patch(path, json={})).status_code == 404
    assert (await admin.delete(path)).status_code == 404


async def refused(working: Any) -> bool:
    return not await working


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x", "models": []}, "models"),
        ({"name": "x", "streams": -1}, "streams"),
        ({"name": "x", "stream": 1}, "stream"),
        ({"name": "x", "digest": "0" * 64}, "digest"),
    ],
)
async def test_a_wrong_field_of_a_client_is_named(admin: httpx.AsyncClient, fields: dict[str, Any], param: str) -> None:
    response = await admin.post("/admin/api/clients", json=fields)

    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_a_client_whose_name_is_another_ones_id_is_not_taken_for_it(admin: httpx.AsyncClient) -> None:
    first = (await admin.post("/admin/api/clients", json={"name": "zoe"})).json()["client"]
    await admin.post("/admin/api/clients", json={"name": first["id"]})

    response = await admin.delete(f"/admin/api/clients/{first['id']}")

    left = {one["name"] for one in (await admin.get("/admin/api/clients")).json()["clients"]}
    assert (response.status_code, left) in [(404, {"zoe", first["id"]}), (204, {first["id"]})]


async def test_the_trail_tells_which_api_was_asked_and_what_was_cached(
    admin: httpx.AsyncClient, proxy: str, poe: ScriptedPoe
) -> None:
    poe.models = [listed("Claude-X", "Anthropic", "messages")]
    poe.script = lambda asked: rest_answer(asked.path, "Hello")
    async with http(proxy) as raw:
        assert "Claude-X" in (await raw.get("/v1/models")).text
        body = {"model": "Claude-X", "messages": [{"role": "user", "content": "hi"}], "session_id": "mine"}
        assert (await raw.post("/v1/chat/completions", json=body, headers={"x-session-id": "s"})).status_code == 200
    [entry] = await trail_of(admin, 1)
    [row] = (await admin.get("/admin/api/usage?by=client&since=1h")).json()["rows"]

    assert (entry["cached_tokens"], entry["exact"]) == (CACHED, True)
    [attempt] = entry["why"]["attempts"]
    assert (attempt["upstream"], attempt["session"]) == ("messages", "new")
    assert (row["cached_tokens"], row["exact"]) == (CACHED, 1)


async def test_usage_and_the_trail_tell_of_each_request(admin: httpx.AsyncClient, proxy: str, poe: ScriptedPoe) -> None:
    poe.script = lambda asked: failure(404) if len(poe.queries) == 3 else echo(asked)
    async with sdk(proxy) as client, http(proxy) as raw:
        for _ in range(2):
            await client.chat.completions.create(**CHAT)
        await raw.post("/v1/chat/completions", json=CHAT)
    trail = await trail_of(admin, 3)
    rows = (await admin.get("/admin/api/usage?by=client&per=hour&since=1h")).json()["rows"]
    minutes = (await admin.get("/admin/api/minutes")).json()["minutes"]

    assert [one["outcome"] for one in trail] == ["model_not_found", "answered", "answered"]
    assert trail[2]["why"]["attempts"][0]["key"] == fingerprint(poe.queries[0].key)
    assert (rows[-1]["name"], sum(row["requests"] for row in rows), sum(row["errors"] for row in rows)) == (
        "tester",
        3,
        1,
    )
    assert len(minutes) == 60
    assert (sum(one["requests"] for one in minutes), sum(one["errors"] for one in minutes)) == (3, 1)
    assert sum(one["prompt_tokens"] + one["completion_tokens"] for one in minutes) == rows[-1]["tokens"] > 0


async def test_the_trail_is_read_page_by_page_and_failures_alone(
    admin: httpx.AsyncClient, proxy: str, poe: ScriptedPoe
) -> None:
    poe.script = lambda asked: failure(404) if len(poe.queries) % 2 else echo(asked)
    async with http(proxy) as raw:
        for _ in range(4):
            await raw.post("/v1/chat/completions", json=CHAT)
    whole = await trail_of(admin, 4)
    first = await trail_of(admin, 3, "?count=3")
    rest = await trail_of(admin, 1, f"?count=3&before={first[-1]['id']}")
    failures = await trail_of(admin, 2, "?failed=true")

    assert first + rest == whole
    assert {one["outcome"] for one in failures} == {"model_not_found"}


async def test_what_an_operator_did_is_an_event(admin: httpx.AsyncClient) -> None:
    await keys_of(admin)
    await admin.post(f"/admin/api/keys/{KEY_ID}/cool", json={"seconds": 60})

    newest = (await admin.get("/admin/api/events?count=1")).json()["events"][0]

    assert (newest["kind"], newest["key"], newest["by"]) == ("key_cooled", KEY_ID, "operator")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("usage?by=token", "by"),
        ("usage?per=minute", "per"),
        ("usage?since=soon", "since"),
        ("usage?since=2999-01-01", "since"),
        ("usage?by=client&per=hour&since=30d", "since"),
        ("usage?until=1h", "until"),
        ("trail?count=0", "count"),
        ("trail?count=501", "count"),
        ("trail?count=x", "count"),
        ("trail?before=first", "before"),
        ("trail?failed=yes", "failed"),
        ("events?failed=true", "failed"),
        ("minutes?count=1", "count"),
    ],
)
async def test_a_wrong_question_is_named(admin: httpx.AsyncClient, query: str, param: str) -> None:
    response = await admin.get(f"/admin/api/{query}")

    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("since", ["1h", "9999d", "2026-01-01", "2026-01-01T10:00Z", "2026-01-01T10:00%2B08:00"])
async def test_since_takes_spans_dates_and_times(admin: httpx.AsyncClient, since: str) -> None:
    assert (await admin.get(f"/admin/api/usage?per=day&since={since}")).status_code == 200


async def states(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The states of a live stream, each as the page describes it."""
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            state = json.loads(line.removeprefix("data: "))
            check(PAGE["components"]["schemas"]["State"], state)
            yield state


async def test_the_live_stream_shows_a_key_cool_and_come_back(admin: httpx.AsyncClient) -> None:
    await keys_of(admin)
    async with admin.stream("GET", "/admin/api/live") as response:
        live = states(response)
        before = await anext(live)
        await admin.post(f"/admin/api/keys/{KEY_ID}/cool", json={"seconds": 60})
        cooling = await next_with(live, "cooling")
        await admin.post(f"/admin/api/keys/{KEY_ID}/restore")
        ready = await next_with(live, "ready")

    assert {key["state"] for key in before["keys"]} == {"ready"}
    assert cooling["overview"]["keys"] == {"ready": 1, "cooling": 1, "parked": 0, "retired": 0}
    assert [minute["requests"] for minute in ready["minutes"]] == [0, 0]


async def next_with(live: AsyncIterator[dict[str, Any]], wanted: str) -> dict[str, Any]:
    """The next state in which the key is as wanted, and so is the count of keys."""
    async for state in live:
        by_id = {key["key_id"]: key["state"] for key in state["keys"]}
        if by_id[KEY_ID] == wanted and state["overview"]["keys"]["cooling"] == (wanted == "cooling"):
            return state
    raise AssertionError("the stream ended")


async def test_a_worker_feeds_so_many_viewers_and_no_more(proxy: str) -> None:
    async with operator(proxy) as client:
        async with contextlib.AsyncExitStack() as stack:
            watching = [
                states(await stack.enter_async_context(client.stream("GET", "/admin/api/live")))
                for _ in range(MAX_VIEWERS)
            ]
            for live in watching:
                await anext(live)
            refused_one = await client.get("/admin/api/live")

        async def lets_in() -> bool:
            async with client.stream("GET", "/admin/api/live") as again:
                return again.status_code == 200

        await wait_until(lets_in, "a place is free again")

    assert (refused_one.status_code, refused_one.headers["retry-after"]) == (429, "10")


async def test_a_draining_worker_ends_its_live_streams_and_their_connections(settings: Settings) -> None:
    """An idle connection that stayed open would have the worker wait for it until its drain time is over."""
    async with serving(settings) as base_url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(base_url.rpartition(":")[2]))
        writer.write(f"GET /admin/api/live HTTP/1.1\r\nhost: test\r\nx-admin-token: {ADMIN}\r\n\r\n".encode())
        await reader.readuntil(b"event: state")
        Sanic.get_app("poe-proxy").ctx.worker.drain.begun = True
        async with asyncio.timeout(10):
            rest = await reader.read()
        writer.close()

    assert rest.endswith(b"\r\n0\r\n\r\n")


async def test_without_redis_the_page_still_learns_how_things_are(tmp_path: Path) -> None:
    settings = make_settings(redis_url=f"unix://{tmp_path}/none").model_copy(
        update={"admin_tokens": parse_access_tokens(ADMIN)}
    )
    async with serving(settings) as base_url, operator(base_url) as client:
        keys = await client.get("/admin/api/keys")
        async with client.stream("GET", "/admin/api/live") as response:
            state = await anext(states(response))

    assert (keys.status_code, keys.json()["error"]["code"]) == (503, "store_unavailable")
    assert (state["overview"]["redis"], state["keys"], state["minutes"]) == ("away", None, None)


async def test_the_minutes_count_what_does_not_fit_one_page(settings: Settings) -> None:
    store = RedisStore(settings.redis_url, settings.redis_namespace)
    recorder = Recorder(store)
    async with serving(settings) as base_url, operator(base_url) as client:

        async def counted() -> int:
            return sum(one["requests"] for one in (await client.get("/admin/api/minutes")).json()["minutes"])

        for _ in range(600):
            recorder.record(new_entry())
        await wait_until(lambda: is_now(counted(), 600), "all are counted")
        for _ in range(3):
            recorder.record(new_entry())
        await wait_until(lambda: is_now(counted(), 603), "the rest is counted once")
        await recorder.close()
    await store.close()


async def is_now(counting: Any, wanted: int) -> bool:
    return bool(await counting == wanted)


def test_the_page_describes_every_route_and_no_other(settings: Settings) -> None:
    Sanic._app_registry.clear()  # noqa: SLF001 - as tests.support.serving does
    routes = {
        (method, "/" + re.sub(r"<(\w+)[^>]*>", r"{\1}", route.path))
        for route in create_app(settings=settings).router.routes
        for method in route.methods
        if route.path.startswith("admin/api")
    }

    assert routes == set(ALL)
