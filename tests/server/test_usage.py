"""``GET /v1/usage``: callers see what they themselves have used, and nothing of others."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from proxy.credentials import parse_access_tokens
from proxy.settings import Settings
from tests.support.scripted_poe import ScriptedPoe, failure
from tests.support.serving import TOKEN, http, serving
from tests.support.waiting import wait_until


def chat(bot: str) -> dict[str, Any]:
    return {"model": bot, "messages": [{"role": "user", "content": "hello"}]}


async def usage(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.get("/v1/usage")
    assert response.status_code == 200
    body: dict[str, Any] = response.json()
    return body


async def test_a_caller_sees_its_own_today_this_month_and_by_model(settings: Settings, poe: ScriptedPoe) -> None:
    poe.models = [{"id": "Echo"}, {"id": "Broken"}]
    tokens = parse_access_tokens(f"tester:{TOKEN},other:other-token")
    poe_script = poe.script
    poe.script = lambda asked: failure(413) if asked.path == "/bot/Broken" else poe_script(asked)
    async with (
        serving(settings.model_copy(update={"access_tokens": tokens})) as base_url,
        http(base_url) as client,
        http(base_url, "other-token") as other,
    ):
        used = [(await client.post("/v1/chat/completions", json=chat("Echo"))).json()["usage"] for _ in range(2)]
        await client.post("/v1/chat/completions", json=chat("Broken"))
        await other.post("/v1/chat/completions", json=chat("Echo"))

        async def is_counted() -> bool:
            counted = [(await usage(one))["today"]["requests"] for one in (client, other)]
            return counted == [3, 1]

        await wait_until(is_counted, "all is counted")
        mine, theirs = await usage(client), await usage(other)

    today = {"date": f"{datetime.now(UTC):%Y-%m-%d}", **counts(3, 1, used)}
    assert mine == {
        "object": "usage",
        "client": "tester",
        "limits": None,
        "today": today,
        "month": {"since": f"{datetime.now(UTC):%Y-%m-01}", **counts(3, 1, used), "days": [today]},
        "models": [{"model": "Echo", **counts(2, 0, used)}, {"model": "Broken", **counts(1, 1, [])}],
    }
    assert theirs["month"]["requests"] == 1
    assert theirs["client"] == "other"


#: What no bot reports.
ONLY_EXACT = ("reasoning_tokens", "cached_tokens", "cache_write_tokens", "exact")


def counts(requests: int, errors: int, used: list[dict[str, int]]) -> dict[str, int]:
    sums = {name: sum(one[name] for one in used) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return {"requests": requests, "errors": errors, **dict.fromkeys(ONLY_EXACT, 0), **sums}


async def test_who_has_used_nothing_sees_zeros(raw: httpx.AsyncClient) -> None:
    body = await usage(raw)

    assert body["today"]["requests"] == body["month"]["total_tokens"] == 0
    assert body["month"]["days"] == body["models"] == []


@pytest.mark.parametrize("path", ["/v1/usage", "/usage"])
async def test_nobody_sees_it_without_a_token(proxy: str, path: str) -> None:
    async with http(proxy, None) as stranger:
        assert (await stranger.get(path)).status_code == 401


async def test_without_redis_it_says_that_it_cannot_tell_and_when_to_ask_again(settings: Settings) -> None:
    """As whoever may be a managed client is told before anything else."""
    nowhere = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"})
    async with serving(nowhere) as base_url, http(base_url) as client:
        managed = {"authorization": f"Bearer pp-{'a' * 8}-{'b' * 32}"}
        answers = [await client.get("/v1/usage"), await client.get("/v1/models", headers=managed)]

    assert [(one.status_code, one.json()["error"]["code"]) for one in answers] == [(503, "store_unavailable")] * 2
    assert [one.headers.get("retry-after") for one in answers] == ["1", "1"]
