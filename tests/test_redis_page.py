"""``docs/redis.md`` is held to what is really in Redis after traffic of every kind."""

import asyncio
import os
import re
import shlex
import shutil
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import redis.asyncio

from proxy.clients.admin import ClientAdmin
from proxy.credentials import fingerprint, parse_poe_keys
from proxy.gateway.uploads import Uploads
from proxy.settings import Settings
from proxy.store.redis import RedisStore
from proxy.upstreams.poe.files import RemoteFile
from proxy.upstreams.poe_bot.upload import UploadClient
from tests.support.leaks import ROWS
from tests.support.rest_answers import STEPS, listed, rest_answer
from tests.support.scripted_poe import Asked, Reply, ScriptedPoe, echo, error_event, failure
from tests.support.serving import TOKEN, http, serving
from tests.support.waiting import wait_until

PAGE: Final = (Path(__file__).parents[1] / "docs" / "redis.md").read_text(encoding="utf-8")
TYPES: Final = {"sorted set": "zset", **{kind: kind for kind in ("string", "set", "hash", "list", "stream")}}

#: Does what redis-cli does, where that is not installed.
REDIS_CLI: Final = """
import os, sys, redis
def flat(reply):
    if isinstance(reply, dict):
        reply = [part for pair in reply.items() for part in pair]
    return [one for part in reply for one in flat(part)] if isinstance(reply, (list, tuple)) else [reply]
with redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True) as client:
    print(*(part for part in flat(client.execute_command(*sys.argv[1:])) if part is not None), sep="\\n")
"""

COMMANDS: Final = re.findall(r"^redis-cli (.+)$", PAGE, re.MULTILINE)


def row_of(name: str) -> tuple[str, str] | None:
    """(type, how long it is kept) that the page states for a key."""
    for pattern, kind, kept in ROWS:
        if re.fullmatch(re.sub(r"<[^>]+>", ".+", pattern), name):
            return TYPES[kind], kept
    return None


def one_of_each(asked: Asked) -> Reply:
    """Bots that fail in every way that leaves something in Redis."""
    if asked.path in STEPS:
        return rest_answer(asked.path, "Hello")
    bot = asked.path.removeprefix("/bot/")
    replies = {
        "Limited": failure(429, retry_after="60"),
        "Opus": error_event("no", error_type="subscription_required"),
        "Broken": failure(500),
        "Costly": error_event("no", error_type="insufficient_fund"),
    }
    if bot == "Plain" and asked.query["tools"]:
        return failure(400, {"message": "This bot does not support tools."})
    return replies.get(bot) or echo(asked)


async def upload_a_file(settings: Settings) -> None:
    """Leaves what a chat with a picture leaves in Redis beside the rest."""
    store = RedisStore(settings.redis_url, settings.redis_namespace)
    async with UploadClient(settings.poe_upload_url, connect_s=5) as client:
        uploads = Uploads(store, client, max_bytes=settings.max_attachment_bytes)
        await uploads.attach(
            [RemoteFile("https://example.org/cat.png", "cat.png", "messages")], settings.poe_api_keys[0]
        )
    await store.close()


@pytest.fixture
async def found(settings: Settings, poe: ScriptedPoe) -> dict[str, tuple[str, bool]]:
    """name without prefix → (type, whether it is kept for ever), after traffic."""
    poe.script = one_of_each
    poe.models = [listed("GPT-X", "OpenAI", "chat/completions")]
    cost = {"creation_time": round(time.time() * 1e6), "bot_name": "Echo", "query_id": "q1", "cost_points": 5}
    poe.spent = [{**cost, "usage_type": "API"}]
    keys = parse_poe_keys(",".join(f"me:key-{number}" if number < 2 else f"key-{number}" for number in range(30)))
    poe.balances = {**dict.fromkeys((key.secret for key in keys), 1_000), "key-29": 0}
    many = settings.model_copy(update={"poe_api_keys": keys, "key_wait_s": 0})
    async with AsyncExitStack() as stack:
        store = RedisStore(settings.redis_url, settings.redis_namespace)
        stack.push_async_callback(store.close)
        client: Any = redis.asyncio.Redis.from_url(settings.redis_url, decode_responses=True)
        await stack.enter_async_context(client)
        prefix = store.keys.prefix
        base_url = await stack.enter_async_context(serving(many))
        asked = [prefix + name for name in ("account:me", "points_seen:me", "out")]
        await wait_until(lambda: exist(client, *asked), "Poe has been asked")
        limits = {"requests_per_minute": 9, "streams": 9, "requests_per_day": 9, "tokens_per_day": 999_999}
        _, managed = await ClientAdmin(store).create("class 7b", limits)
        for bot in ("Echo", "Opus", "Broken", "Echo", "Limited", "Costly"):
            for token in (TOKEN, managed.text):
                async with http(base_url, token) as raw:
                    chat = {"model": bot, "messages": [{"role": "user", "content": "hi"}]}
                    await raw.post("/v1/chat/completions", json=chat)
        tool = {"type": "function", "function": {"name": "look"}}
        async with http(base_url) as raw:
            plain = {"model": "Plain", "messages": [{"role": "user", "content": "hi"}], "tools": [tool]}
            assert (await raw.post("/v1/chat/completions", json=plain)).status_code == 200
            await wait_until(lambda: exist(client, prefix + "catalogue"), "the models are known")
            session = {"model": "GPT-X", "messages": [{"role": "user", "content": "hi"}], "prompt_cache_key": "walk"}
            assert (await raw.post("/v1/chat/completions", json=session)).status_code == 200
        await upload_a_file(many)

        async def is_settled() -> bool:
            has_all = await exist(client, *(prefix + name for name in ("catalogue", "workers", "trail")))
            return has_all and await client.xlen(prefix + "trail") == 2 * 6 + 2

        await wait_until(is_settled, "all has been written")
        names = await client.keys(f"{settings.redis_namespace}:*")
        kinds = {name: (await client.type(name), await client.pttl(name) == -1) for name in names}
    # Some are kept for a second or two, and may have gone between the two looks.
    return {name.removeprefix(prefix): kind for name, kind in kinds.items() if kind[0] != "none"}


async def exist(client: Any, *names: str) -> bool:
    return bool(await client.exists(*names) == len(names))


async def printed(command: str, settings: Settings, home: Path) -> str:
    """What a line of the page prints, run by a shell as it stands there but for the namespace and the sample key."""
    shim, installed = home / "redis-cli", shutil.which("redis-cli")
    url = settings.redis_url
    server = f"-s {shlex.quote(urlsplit(url).path)}" if url.startswith("unix:") else f"-u {shlex.quote(url)}"
    real = f'#!/bin/sh\nexec {installed} {server} "$@"\n'
    shim.write_text(real if installed else f"#!{sys.executable}\n{REDIS_CLI}")
    shim.chmod(0o755)
    key_id = fingerprint("key-0")
    line = command.replace("poe:1:", f"{settings.redis_namespace}:1:").replace("0a1b2c3d4e5f", key_id)
    environment = {**os.environ, "PATH": f"{home}:{os.environ['PATH']}", "REDIS_URL": settings.redis_url}
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", f"redis-cli {line}", env=environment, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().strip()


async def test_every_key_is_on_the_page_with_its_type(found: dict[str, tuple[str, bool]]) -> None:
    assert {name: (row_of(name) or ("missing",))[0] for name in found} == {
        name: kind for name, (kind, _) in found.items()
    }


async def test_only_what_the_page_says_is_kept_for_ever(found: dict[str, tuple[str, bool]]) -> None:
    """Streams have no time either, but a cap."""
    forever = {name for name, (_, kept_forever) in found.items() if kept_forever}
    stated = {name for name in found if (row_of(name) or ("", ""))[1].startswith(("for ever", "the newest"))}

    assert forever == stated


async def test_every_row_of_the_page_exists(found: dict[str, tuple[str, bool]]) -> None:
    patterns = {pattern: re.compile(re.sub(r"<[^>]+>", ".+", pattern)) for pattern, _, _ in ROWS}
    matched = {pattern for pattern, name in patterns.items() if any(map(name.fullmatch, found))}

    # An empty set does not exist in Redis, and nothing is under way.
    assert {pattern for pattern, _, _ in ROWS} - matched <= {
        "leases:<key id>",
        "client_slots:<public id>",
        "client_waiting:<public id>",
        "endpoint_refusals",
    }


@pytest.mark.usefixtures("found")
async def test_every_line_of_the_page_answers(settings: Settings, tmp_path: Path) -> None:
    """And so, with what operators ask: usage by client today, the keys that cool and why, the last failures."""
    answers = {command: await printed(command, settings, tmp_path) for command in COMMANDS}
    [by_client] = [answer for command, answer in answers.items() if command.endswith(':client"')]
    [cooling] = [answer for command, answer in answers.items() if command.startswith("EVAL")]
    [failures] = [answer for command, answer in answers.items() if "failures" in command]

    assert {command for command, answer in answers.items() if not answer} == set()
    assert {"tester|requests", "class 7b|requests"} <= set(by_client.splitlines())
    assert "rate_limit_exceeded" in cooling
    assert {"insufficient_quota", "upstream_error"} <= set(failures.splitlines())
