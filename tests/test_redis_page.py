"""``docs/redis.md`` is held to what is really in Redis after traffic of every kind."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import redis.asyncio

from proxy.gateway.uploads import Uploads
from proxy.poe_api.attachments import RemoteFile
from proxy.poe_api.upload import UploadClient
from proxy.settings import Settings, parse_poe_keys
from proxy.store.redis import RedisStore
from tests.support.scripted_poe import Asked, Reply, ScriptedPoe, echo, error_event, failure
from tests.support.serving import http, serving
from tests.support.waiting import wait_until

PAGE: Final = (Path(__file__).parents[1] / "docs" / "redis.md").read_text(encoding="utf-8")
TYPES: Final = {"sorted set": "zset", **{kind: kind for kind in ("string", "set", "hash", "list", "stream")}}

#: (pattern of the name, type, how long it is kept) of each row.
ROWS: Final = re.findall(r"^\| `([^`]+)` \| ([a-z ]+) \| .* \| ([^|]+) \|$", PAGE, re.MULTILINE)
COMMANDS: Final = re.findall(r"^redis-cli (.+)$", PAGE, re.MULTILINE)


def row_of(name: str) -> tuple[str, str] | None:
    """(type, how long it is kept) that the page states for a key."""
    for pattern, kind, kept in ROWS:
        if re.fullmatch(re.sub(r"<[^>]+>", ".+", pattern), name):
            return TYPES[kind], kept
    return None


def one_of_each(asked: Asked) -> Reply:
    """Bots that fail in every way that leaves something in Redis."""
    bot = asked.path.removeprefix("/bot/")
    replies = {
        "Limited": failure(429, retry_after="60"),
        "Opus": error_event("no", error_type="subscription_required"),
        "Broken": failure(500),
        "Costly": error_event("no", error_type="insufficient_fund"),
    }
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
    keys = parse_poe_keys(",".join(f"key-{number}" for number in range(12)))
    many = settings.model_copy(update={"poe_api_keys": keys, "key_wait_s": 0})
    async with serving(many) as base_url, http(base_url) as raw:
        for bot in ("Echo", "Opus", "Broken", "Echo", "Costly", "Limited"):
            chat = {"model": bot, "messages": [{"role": "user", "content": "hi"}]}
            await raw.post("/v1/chat/completions", json=chat)
        await upload_a_file(many)
        store: Any = redis.asyncio.Redis.from_url(settings.redis_url, decode_responses=True)
        async with store:
            prefix = f"{settings.redis_namespace}:1:{{pool}}:"

            async def is_settled() -> bool:
                return bool(await store.exists(prefix + "catalogue", prefix + "workers", prefix + "trail") == 3)

            await wait_until(is_settled, "all has been written")
            names = await store.keys(f"{settings.redis_namespace}:*")
            return {name.removeprefix(prefix): (await store.type(name), await store.pttl(name) == -1) for name in names}


async def test_every_key_is_on_the_page_with_its_type(found: dict[str, tuple[str, bool]]) -> None:
    assert {name: (row_of(name) or ("missing",))[0] for name in found} == {
        name: kind for name, (kind, _) in found.items()
    }


async def test_only_what_the_page_says_is_kept_for_ever(found: dict[str, tuple[str, bool]]) -> None:
    """The trail has no time either, but a cap."""
    forever = {name for name, (_, kept_forever) in found.items() if kept_forever}
    stated = {name for name in found if (row_of(name) or ("", ""))[1].startswith(("for ever", "the newest"))}

    assert forever == stated


async def test_every_row_of_the_page_exists(found: dict[str, tuple[str, bool]]) -> None:
    patterns = {pattern: re.compile(re.sub(r"<[^>]+>", ".+", pattern)) for pattern, _, _ in ROWS}
    matched = {pattern for pattern, name in patterns.items() if any(map(name.fullmatch, found))}

    # An empty set does not exist in Redis, and nothing is under way.
    assert {pattern for pattern, _, _ in ROWS} - matched <= {"leases:<key id>"}


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_of_the_page_runs(redis_url: str, command: str) -> None:
    store: Any = redis.asyncio.Redis.from_url(redis_url)
    async with store:
        await store.execute_command(*command.replace("'", "").split())
