"""At ``LOG_LEVEL=debug`` the log tells the steps of one request, in order, and nothing that is secret or private."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.credentials import fingerprint
from tests.support.fleet import running_instance
from tests.support.scripted_poe import ScriptedPoe, answer, failure
from tests.support.serving import KEYS, TOKEN, http
from tests.support.waiting import wait_until

PRIVATE: Final = ("a private thought", "words of an answer", TOKEN, *KEYS)
STEPS: Final = (
    *("key leased", "connection made", "head of the answer", "attempt ended"),
    *("lease settled", "cool account for 60.0 s"),
    *("key leased", "connection", "head of the answer", "attempt ended", "lease settled"),
    "/v1/chat/completions",
)


async def ask(home: Path, poe: ScriptedPoe, redis_url: str, namespace: str, *, level: str, stream: bool) -> list[Any]:
    """Lets one request fail over to a second key; the lines of the log that have its id, and all of the log."""
    poe.script = lambda _: failure(429, retry_after="60") if len(poe.queries) == 1 else answer("words of ", "an answer")
    environment = {
        "POE_API_KEYS": f"one:{KEYS[0]},other:{KEYS[1]}",
        "ACCESS_TOKENS": f"tester:{TOKEN}",
        "POE_BASE_URL": poe.base_url,
        "REDIS_URL": redis_url,
        "REDIS_NAMESPACE": namespace,
        "LOG_LEVEL": level,
    }
    body = {"model": "Echo", "stream": stream, "messages": [{"role": "user", "content": "a private thought"}]}
    async with running_instance(home, **environment) as instance, http(instance.base_url) as raw:
        answered = await raw.post("/v1/chat/completions", json=body, headers={"x-request-id": "mine"})
        assert answered.status_code == 200
        await wait_until(lambda: '"proxy.request"' in instance.log.read_text(), "the call is logged")
    return instance.log.read_text().splitlines()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_one_request_can_be_followed(
    tmp_path: Path, poe: ScriptedPoe, redis_url: str, namespace: str, stream: bool
) -> None:
    """From the lease of the key that is limited to the settlement of the one that answers."""
    log = await ask(tmp_path, poe, redis_url, namespace, level="debug", stream=stream)
    lines = [line for line in map(json.loads, log) if line.get("request_id") == "mine"]
    first, second = (fingerprint(key) for key in poe.keys_used())
    leases = [line for line in lines if line["message"] == "key leased"]
    ends = [line for line in lines if line["message"] == "attempt ended"]
    settled = [line for line in lines if line["message"] == "lease settled"]

    assert [line["message"].startswith(step) for line, step in zip(lines, STEPS, strict=True)] == [True] * len(STEPS)
    assert [(line["key_id"], line["attempt"], line["bot"]) for line in leases] == [
        (first, 1, "Echo"),
        (second, 2, "Echo"),
    ]
    assert [(line["key_id"], line["outcome"]) for line in ends] == [
        (first, "rate_limit_exceeded"),
        (second, "answered"),
    ]
    assert ends[1]["events"] == {"text": 2, "done": 1}
    assert 0 <= ends[1]["first_event_ms"] <= ends[1]["took_ms"]
    assert ends[1]["finish_reason"] == "stop"
    assert [(line["key_id"], line["effect"]) for line in settled] == [(first, "cool account"), (second, "clear")]
    assert [word for word in PRIVATE if any(word in line for line in log)] == []


async def test_at_info_no_step_is_told(tmp_path: Path, poe: ScriptedPoe, redis_url: str, namespace: str) -> None:
    log = await ask(tmp_path, poe, redis_url, namespace, level="info", stream=True)
    lines = [json.loads(line) for line in log]

    assert [line["message"] for line in lines if line.get("request_id")] == ["/v1/chat/completions"]
    assert [line for line in lines if line["level"] == "debug"] == []
