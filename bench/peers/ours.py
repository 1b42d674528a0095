"""This proxy, everything on: tokens, key pool, Redis, usage, log."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bench.peers import USUAL, Endpoint, Peer, RunningPeer, Site
from bench.processes import ROOT, free_port, python, running

_TOKEN: Final = "bench-token"
_KEYS: Final = ",".join(f"account-{number}:bench-key-{number}" for number in range(1, 5))


@contextmanager
def _start(site: Site, *, name: str, workers: int, checkout: Path = ROOT) -> Iterator[RunningPeer]:
    port = free_port()
    with ExitStack() as stack:
        pids: list[int] = []
        env = {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "WORKERS": str(workers),
            "POE_BASE_URL": site.upstream_url,
            "POE_API_KEYS": _KEYS,
            "ACCESS_TOKENS": f"bench:{_TOKEN}",
            "REDIS_URL": "embedded",
            "DATA_DIR": str(site.directory / "data"),
            "LOG_LEVEL": "info",
            "RPM_PER_ACCOUNT": "100000",  # the limit is on, and never reached
        }
        if shutil.which("redis-server"):
            socket = site.directory / "redis.sock"
            pids.append(stack.enter_context(_redis(site, str(socket))))
            env["REDIS_URL"] = f"unix://{socket}"
        log = site.directory / "ours.log"
        serve = running(python("-m", "proxy", "serve"), listens_on=port, log=log, env=env, checkout=checkout)
        pids.append(stack.enter_context(serve))
        redis_url = env["REDIS_URL"].replace("embedded", "")
        yield RunningPeer(name, Endpoint(port, headers={"authorization": f"Bearer {_TOKEN}"}), tuple(pids), redis_url)


@contextmanager
def _redis(site: Site, socket: str) -> Iterator[int]:
    command = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", str(site.directory)]
    with running(command, listens_on=site.directory / "redis.sock", log=site.directory / "redis.log") as pid:
        yield pid


OURS: Final = Peer(
    "ours",
    "this proxy, everything on, WORKERS=1",
    lambda: "",
    partial(_start, name="ours", workers=1),
    themes=USUAL | {"content"},
)
OURS_2: Final = Peer(
    "ours-2",
    "the same, WORKERS=2",
    lambda: "",
    partial(_start, name="ours-2", workers=2),
    themes=frozenset({"costs", "throughput", "memory"}),
)


def before(checkout: Path) -> Peer:
    """Another checkout of this proxy, such as a worktree of the commit that a change began at."""
    return Peer(
        "before",
        "this proxy as it is in the other checkout, WORKERS=1",
        lambda: "" if (checkout / "proxy").is_dir() else "no checkout there",
        partial(_start, name="before", workers=1, checkout=checkout.resolve()),
        themes=USUAL | {"content"},
    )
