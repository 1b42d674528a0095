"""What an open stream keeps in memory: an answer may take minutes, and a prompt may be a megabyte."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from tests.support.fleet import running_cold_instance
from tests.support.rest_answers import STEPS, listed
from tests.support.scripted_poe import DONE, Reply, ScriptedPoe, failure, text
from tests.support.serving import http
from tests.support.waiting import wait_until

TOKEN: Final = "memory-token"
PROMPT_BYTES: Final = 1_000_000
#: That an open stream keeps: a short one takes half of it.
MOST_BYTES: Final = 64_000
STREAMS: Final = 100

TOOLS: Final = [
    {"type": "function", "function": {"name": f"tool-{number}", "description": "abc " * 500}} for number in range(100)
]
#: A long text, or a short one with a coding agent's tools.
PROMPTS: Final[dict[str, dict[str, Any]]] = {
    "text": {"messages": [{"role": "user", "content": "abc " * (PROMPT_BYTES // 4)}]},
    "tools": {"messages": [{"role": "user", "content": "hello"}], "tools": TOOLS},
}


@pytest.mark.parametrize(("what", "attempts"), [("text", 1), ("text", 2), ("tools", 1)])
async def test_an_open_stream_lets_go_of_its_prompt(
    poe: ScriptedPoe, redis_url: str, tmp_path: Path, what: str, attempts: int
) -> None:
    """Once it has begun nothing is asked again, and once its tokens are counted nobody needs it.

    Nor does an attempt that failed before keep it.
    """
    end = asyncio.Event()
    poe.script = lambda _: (
        failure(429, retry_after="0") if len(poe.queries) % attempts else Reply([text("first"), end, DONE])
    )
    environment = {
        "POE_API_KEYS": "memory-key,another-key",
        "ACCESS_TOKENS": TOKEN,
        "POE_BASE_URL": poe.base_url,
        "REDIS_URL": redis_url,
        "RPM_PER_ACCOUNT": "0",
        "WORKERS": "1",
    }
    async with running_cold_instance(tmp_path, **environment) as instance:
        process = psutil.Process(instance.process.pid)
        port = int(instance.base_url.rpartition(":")[2])
        warm = [await opened(port, PROMPTS[what]) for _ in range(2)]
        before = process.memory_full_info().uss
        streams = [await opened(port, PROMPTS[what]) for _ in range(STREAMS)]

        def kept_each() -> float:
            return (process.memory_full_info().uss - before) / STREAMS

        await wait_until(lambda: kept_each() < MOST_BYTES, "prompts are counted, and let go of")
        end.set()
        for reader, writer in (*warm, *streams):
            assert b"[DONE]" in await reader.read(-1)
            writer.close()


@pytest.mark.parametrize(("model", "path"), [("Claude-X", "/v1/messages"), ("GPT-X", "/v1/chat/completions")])
async def test_an_open_stream_over_rest_lets_go_of_its_prompt(
    poe: ScriptedPoe, redis_url: str, namespace: str, tmp_path: Path, model: str, path: str
) -> None:
    """What Poe counts is not counted here, so nothing of it is needed once the answer has begun."""
    end = asyncio.Event()
    steps = STEPS[path]("first", "last")
    poe.models = [listed(model, "Anthropic" if path == "/v1/messages" else "OpenAI", path.removeprefix("/v1/"))]
    poe.script = lambda _: Reply([*steps[:3], end, *steps[3:]])
    environment = {
        "POE_API_KEYS": "memory-key,another-key",
        "ACCESS_TOKENS": TOKEN,
        "POE_BASE_URL": poe.base_url,
        "REDIS_URL": redis_url,
        "REDIS_NAMESPACE": namespace,  # the list of models is shared
        "RPM_PER_ACCOUNT": "0",
        "WORKERS": "1",
    }
    async with running_cold_instance(tmp_path, **environment) as instance:
        process = psutil.Process(instance.process.pid)
        port = int(instance.base_url.rpartition(":")[2])
        async with http(instance.base_url, TOKEN) as client:  # its endpoints are known then
            assert model in (await client.get("/v1/models")).text
        warm = [await opened(port, PROMPTS["tools"], model) for _ in range(2)]
        before = process.memory_full_info().uss
        streams = [await opened(port, PROMPTS["tools"], model) for _ in range(STREAMS)]
        assert {asked.path for asked in poe.queries} == {path}

        def kept_each() -> float:
            return (process.memory_full_info().uss - before) / STREAMS

        await wait_until(lambda: kept_each() < MOST_BYTES, "prompts are let go of")
        end.set()
        for reader, writer in (*warm, *streams):
            assert b"[DONE]" in await reader.read(-1)
            writer.close()


async def opened(
    port: int, prompt: dict[str, Any], model: str = "Echo"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A stream that has said its first text."""
    body = json.dumps({"model": model, "stream": True, **prompt}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n"
    writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    await reader.readuntil(b"first")
    return reader, writer
