"""What the instances stand on: one Redis for all of them, and a Poe for those who brought no keys."""

import contextlib
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from cluster.processes import answers, answers_ping, free_port, make_home, start, stop, wait_until_up
from proxy.store.embedded import embedded_valkey

#: Keys that the local Poe accepts, and tokens for a cluster that has no others; they open nothing else.
DEMO_KEYS: Final = ("demo-key-1", "demo-key-2")
DEMO_TOKEN: Final = "demo-token"
DEMO_ADMIN_TOKEN: Final = "demo-admin"

_STOP_TIMEOUT_S: Final = 10.0
#: What docker-compose.yml starts its Redis with.
_REDIS_OPTIONS: Final = ("--appendonly", "yes", "--maxmemory", "256mb", "--maxmemory-policy", "noeviction")


@contextlib.asynccontextmanager
async def running_redis(home: Path) -> AsyncIterator[str]:
    """A Redis on a unix socket in ``home``, or the embedded Valkey where none is installed; yields its URL.

    Raises:
        NotStartedError, EmbeddedError: it did not start.
    """
    home = make_home(home)
    program = shutil.which("redis-server")
    if program is None:
        with embedded_valkey(home) as url:
            yield url
        return
    socket_path, log = home / "redis.sock", home / "redis.log"
    where = ("--port", "0", "--unixsocket", socket_path, "--unixsocketperm", "700", "--dir", home)
    process = await start((program, *where, *_REDIS_OPTIONS), log=log)
    try:
        await wait_until_up(
            lambda: answers_ping(socket_path),
            has_ended=lambda: process.returncode is not None,
            what="Redis",
            log=log,
        )
        yield f"unix://{socket_path}"
    finally:
        await stop(process, signal.SIGTERM, within_s=_STOP_TIMEOUT_S)


@contextlib.asynccontextmanager
async def running_local_poe(home: Path) -> AsyncIterator[dict[str, str]]:
    """The Poe of ``make demo``; yields the settings of an instance that uses it. Raises NotStartedError."""
    port, log = free_port(), home / "poe.log"
    keys = [part for key in DEMO_KEYS for part in ("--key", key)]
    process = await start((sys.executable, "-m", "proxy.demo.local_poe", "--port", str(port), *keys), log=log)
    try:
        await wait_until_up(
            lambda: answers(port, "/v1/models"),
            has_ended=lambda: process.returncode is not None,
            what="the local Poe",
            log=log,
        )
        url = f"http://127.0.0.1:{port}"
        yield {
            "POE_API_KEYS": ",".join(DEMO_KEYS),
            "ACCESS_TOKENS": f"demo:{DEMO_TOKEN}",
            "ADMIN_TOKENS": f"demo:{DEMO_ADMIN_TOKEN}",
            "POE_BASE_URL": url,
            "POE_UPLOAD_URL": f"{url}/poe_api/",
            "DEFAULT_MODEL": "Echo",
        }
    finally:
        await stop(process, signal.SIGTERM, within_s=_STOP_TIMEOUT_S)
