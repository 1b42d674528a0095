"""Everything around the chats: health, errors, headers, and who may call."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest

from proxy.settings import Settings
from tests.support.scripted_poe import ScriptedPoe, error_event, failure
from tests.support.serving import TOKEN, http, serving

HELLO: Final[list[Any]] = [{"role": "user", "content": "Hello"}]
CHAT: Final = {"model": "Echo", "messages": HELLO}

NOWHERE: Final = "unix:///nowhere/redis.sock"
#: The discard port: nothing listens there.
NOBODY: Final = "http://127.0.0.1:9"

#: Every route of the API, with a body that it answers with 200.
API: Final[list[tuple[str, str, Any]]] = [
    ("POST", "/chat/completions", CHAT),
    ("GET", "/models", None),
    ("GET", "/models/Echo", None),
]


@pytest.fixture(autouse=True)
def _poe_has_a_model(poe: ScriptedPoe) -> None:
    poe.models = [{"id": "echo", "metadata": {"display_name": "Echo"}}]


@contextlib.asynccontextmanager
async def mute_server() -> AsyncIterator[int]:
    """A port that takes connections and never says a word."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in held:
            writer.close()


async def test_health_says_ok_to_anyone(proxy: str) -> None:
    async with http(proxy, token=None) as anyone:
        response = await anyone.get("/health")

    assert (response.status_code, response.text) == (200, "OK")


async def test_ready_tells_the_state_to_anyone(proxy: str) -> None:
    async with http(proxy, token=None) as anyone:
        response = await anyone.get("/ready")

    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "poe": "ok",
        "redis": "ok",
        "keys": {"ready": 2, "cooling": 0, "parked": 0, "retired": 0},
        "waiting": 0,
        "workers": 1,
        "version": response.json()["version"],
    }


async def test_ready_counts_a_key_that_cools(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = lambda asked: (
        failure(429, retry_after="60") if len(poe.queries) == 1 else error_event("no", x=asked.key)
    )
    await raw.post("/v1/chat/completions", json=CHAT)

    assert (await raw.get("/ready")).json()["keys"] == {"ready": 1, "cooling": 1, "parked": 0, "retired": 0}


async def test_without_redis_the_proxy_is_degraded_and_still_in_rotation(settings: Settings) -> None:
    """A shared outage must not take every machine away at once."""
    async with serving(settings.model_copy(update={"redis_url": NOWHERE})) as base_url, http(base_url) as raw:
        response = await raw.get("/ready")

    state = response.json()
    assert response.status_code == 200
    assert (state["status"], state["redis"], state["keys"]["ready"]) == ("degraded", "away", 2)


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_probes_may_use_head(raw: httpx.AsyncClient, path: str) -> None:
    response = await raw.head(path)

    assert (response.status_code, response.content) == (200, b"")


async def test_a_start_does_not_wait_for_a_poe_or_redis_that_is_gone(settings: Settings) -> None:
    lonely = settings.model_copy(update={"redis_url": NOWHERE, "poe_base_url": NOBODY})

    async with asyncio.timeout(2), serving(lonely) as base_url, http(base_url) as raw:
        assert (await raw.get("/health")).status_code == 200


async def test_a_start_does_not_wait_for_a_poe_or_redis_that_hangs(settings: Settings) -> None:
    async with mute_server() as port:
        hanging = {"redis_url": f"redis://127.0.0.1:{port}", "poe_base_url": f"http://127.0.0.1:{port}"}

        async with asyncio.timeout(3), serving(settings.model_copy(update=hanging)) as base_url, http(base_url) as raw:
            assert (await raw.get("/health")).status_code == 200
            assert (await raw.get("/ready")).json()["status"] == "degraded"


@pytest.mark.parametrize("path", ["/", "/v2/models", "/v1/v1/models", "/nope/%0a%7B", "/admin", "/static/../etc"])
async def test_an_unknown_url_is_a_404_in_openais_shape(raw: httpx.AsyncClient, path: str) -> None:
    response = await raw.get(path)

    error = response.json()["error"]
    assert response.status_code == 404
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, "unknown_url")
    assert error["message"].startswith("Unknown request URL: GET /")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", {"POST"}),
        ("DELETE", "/v1/models/Echo", {"GET", "HEAD"}),
        ("POST", "/models", {"GET", "HEAD"}),
        ("PUT", "/health", {"GET", "HEAD"}),
    ],
)
async def test_a_wrong_method_is_a_405_that_names_the_right_ones(
    raw: httpx.AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    response = await raw.request(method, path)

    error = response.json()["error"]
    assert response.status_code == 405
    assert (error["type"], error["code"]) == ("invalid_request_error", "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_a_413(settings: Settings, poe: ScriptedPoe, *, chunked: bool) -> None:
    """Whether its length was announced or not."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * 1000

    async with serving(settings.model_copy(update={"max_body_bytes": 4096})) as base_url, http(base_url) as raw:
        response = await raw.post("/v1/chat/completions", content=pieces() if chunked else b" " * 5000)

    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"
    assert poe.queries == []


async def test_a_length_with_a_blank_behind_it_gets_no_body_past_the_limit(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"max_body_bytes": 1024})) as base_url:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(base_url).port)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n"
        writer.write(f"{head}content-length: 2000 \r\n\r\n".encode() + b" " * 2000)
        status = await reader.readline()
        writer.close()

    assert status.startswith(b"HTTP/1.1 413 ")


async def test_a_body_of_just_the_limit_is_taken(settings: Settings) -> None:
    body = json.dumps(CHAT).encode()
    async with serving(settings.model_copy(update={"max_body_bytes": 4096})) as base_url, http(base_url) as raw:
        response = await raw.post("/v1/chat/completions", content=body.ljust(4096))

    assert response.status_code == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /health HTTP/3.7\r\nhost: x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_400_in_openais_shape(proxy: str, request_bytes: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(proxy).port)
    writer.write(request_bytes)
    reply = await reader.read()
    writer.close()

    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/health"), ("GET", "/v1/models"), ("GET", "/nope"), ("PUT", "/ready")]
)
async def test_any_origin_may_read_any_answer(raw: httpx.AsyncClient, method: str, path: str) -> None:
    """Without credentials: a browser never adds cookies of its own, so there is nothing to steal."""
    response = await raw.request(method, path, headers={"origin": "https://chat.example"})

    assert response.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in response.headers
    assert "retry-after" in response.headers["access-control-expose-headers"]


async def test_any_origin_may_read_a_stream(raw: httpx.AsyncClient) -> None:
    response = await raw.post("/v1/chat/completions", json={**CHAT, "stream": True})

    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/models", "/nowhere"])
async def test_a_preflight_grants_the_headers_it_asks_for(proxy: str, path: str) -> None:
    """Browsers send it without a token."""
    asked = "authorization, content-type, x-stainless-os"
    async with http(proxy, token=None) as browser:
        response = await browser.options(
            path,
            headers={
                "origin": "https://chat.example",
                "access-control-request-method": "POST",
                "access-control-request-headers": asked,
            },
        )

    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-allow-headers"] == asked
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/nope"])
async def test_an_answer_without_a_request_id_gets_one(raw: httpx.AsyncClient, path: str) -> None:
    ids = [(await raw.get(path)).headers["x-request-id"] for _ in range(2)]

    assert all(re.fullmatch(r"req_[0-9a-f]{24}", request_id) for request_id in ids)
    assert ids[0] != ids[1]


@pytest.mark.parametrize("token", [TOKEN, "wrong"])
@pytest.mark.parametrize(("method", "path", "body"), [*API, ("GET", "/nope", None), ("PUT", "/health", None)])
async def test_a_harmless_request_id_is_kept(proxy: str, token: str, method: str, path: str, body: Any) -> None:
    """On answers and on errors: it is how a caller finds his request in the log."""
    given = "trace-1:2.A_b"
    async with http(proxy, token) as raw:
        response = await raw.request(method, path, json=body, headers={"x-request-id": given})

    assert response.headers["x-request-id"] == given


async def test_a_stream_carries_the_request_id(raw: httpx.AsyncClient) -> None:
    response = await raw.post("/v1/chat/completions", json={**CHAT, "stream": True}, headers={"x-request-id": "mine"})

    assert response.headers["x-request-id"] == "mine"


async def test_a_413_carries_the_request_id(settings: Settings) -> None:
    """The body is read before any handler runs."""
    async with serving(settings.model_copy(update={"max_body_bytes": 1024})) as base_url, http(base_url) as raw:
        response = await raw.post("/v1/models", content=b" " * 5000, headers={"x-request-id": "mine"})

    assert response.headers["x-request-id"] == "mine"


@pytest.mark.parametrize("given", ["a b", '{"level":"error"}', "x" * 129, "\\n", "é".encode(), b"\xff", ""])
@pytest.mark.parametrize("path", ["/health", "/nope"])
async def test_a_request_id_that_could_harm_a_log_is_replaced(
    raw: httpx.AsyncClient, path: str, given: str | bytes
) -> None:
    response = await raw.get(path, headers=[(b"x-request-id", given if isinstance(given, bytes) else given.encode())])

    assert re.fullmatch(r"req_[0-9a-f]{24}", response.headers["x-request-id"])


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer   {TOKEN}"},
        {"x-api-key": TOKEN},
        {"api-key": TOKEN},
        {"authorization": "Basic dXNlcjpwYXNz", "x-api-key": TOKEN},
        {"authorization": "Bearer", "api-key": TOKEN},
    ],
    ids=str,
)
async def test_a_token_is_taken_from_any_of_three_headers(proxy: str, headers: dict[str, str]) -> None:
    async with http(proxy, token=None) as raw:
        response = await raw.get("/v1/models", headers=headers)

    assert response.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer wrong", "x-api-key": TOKEN},
        {"x-api-key": "wrong"},
        {"api-key": TOKEN.upper()},
        {"authorization": b"Bearer \xff\xfe"},
        {"authorization": "Bearer é".encode()},
        {"authorization": f"Bearer tester:{TOKEN}"},
    ],
    ids=str,
)
@pytest.mark.parametrize("prefix", ["/v1", ""])
@pytest.mark.parametrize(("method", "path", "body"), API)
async def test_without_a_good_token_every_api_route_is_a_401(
    proxy: str, poe: ScriptedPoe, headers: dict[str, Any], prefix: str, method: str, path: str, body: Any
) -> None:
    async with http(proxy, token=None) as raw:
        response = await raw.request(method, prefix + path, json=body, headers=headers)

    error = response.json()["error"]
    assert response.status_code == 401
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"
    assert poe.queries == []


@pytest.mark.parametrize("prefix", ["/v1", ""])
@pytest.mark.parametrize(("method", "path", "body"), API)
async def test_every_api_route_also_answers_without_v1(
    raw: httpx.AsyncClient, prefix: str, method: str, path: str, body: Any
) -> None:
    response = await raw.request(method, prefix + path, json=body)

    assert response.status_code == 200


def head_of_a_chat(token: str, *, content_length: int) -> bytes:
    """The head of a request whose body is still to come."""
    lines = ("POST /v1/chat/completions HTTP/1.1", "host: x", f"authorization: Bearer {token}")
    return "\r\n".join([*lines, f"content-length: {content_length}", "", ""]).encode()


async def test_a_body_is_not_read_before_it_is_known_who_sends_it(proxy: str) -> None:
    """Or else anyone could have the proxy hold megabytes for them."""
    host, port = proxy.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head_of_a_chat("wrong", content_length=30_000_000) + b"{" * 1000)

    status = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    assert status.startswith(b"HTTP/1.1 401")


async def test_a_body_that_is_announced_too_large_is_refused_unread(settings: Settings) -> None:
    small = settings.model_copy(update={"max_body_bytes": 2000})
    async with serving(small) as base_url:
        host, port = base_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head_of_a_chat(TOKEN, content_length=2001))
        status = await asyncio.wait_for(reader.readline(), 5)
        writer.close()

    assert status.startswith(b"HTTP/1.1 413")


async def test_a_body_in_chunks_is_read_whole_and_held_to_the_same_size(settings: Settings) -> None:
    async def chunks(count: int) -> AsyncIterator[bytes]:
        yield b'{"model": "Echo", "messages": [{"role": "user", "content": "'
        for _ in range(count):
            yield b"x" * 1000
        yield b'"}]}'

    small = settings.model_copy(update={"max_body_bytes": 5000})
    async with serving(small) as base_url, http(base_url) as raw:
        fits = await raw.post("/v1/chat/completions", content=chunks(3))
        over = await raw.post("/v1/chat/completions", content=chunks(6))

    assert fits.json()["choices"][0]["message"]["content"] == "x" * 3000
    assert (over.status_code, over.json()["error"]["code"]) == (413, "request_too_large")
