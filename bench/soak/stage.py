"""Redis, the upstream and one worker of ours on loopback, fresh for each phase, and ended with it."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.meter import OWN, Meter, process_tree
from bench.processes import ROOT, free_port, python, running
from proxy.store.embedded import embedded_valkey

TOKEN: Final = "soak-token"
_KEYS: Final = ",".join(f"account-{number}:soak-key-{number}" for number in range(1, 5))
#: Limits that are checked at each request and never reached.
_LIMITS: Final = ("--requests-per-minute", "1000000", "--streams", "100000", "--tokens-per-day", "1000000000")


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs, and where. ``managed_token`` is a managed client's, whose limits Redis keeps."""

    port: int
    pid: int
    metrics_port: int
    upstream_port: int
    upstream_pid: int
    redis_url: str
    managed_token: str

    def meter(self) -> Meter:
        """Reads the CPU clocks of the proxy, of the upstream and of this process, from now on."""
        return Meter({"proxy": process_tree(self.pid)["proxy"], "upstream": [self.upstream_pid], **OWN})


@contextmanager
def open_stage() -> Iterator[Stage]:
    """Everything started and listening; ended, and its files removed, however the phase ends.

    Raises:
        NotStartedError: one of them did not start.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        redis_url = stack.enter_context(open_redis(directory))
        upstream_port, port, metrics_port = free_port(), free_port(), free_port()
        upstream = python("-m", "bench.upstream", str(upstream_port))
        upstream_pid = stack.enter_context(running(upstream, listens_on=upstream_port, log=directory / "upstream.log"))
        environment = {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "METRICS_PORT": str(metrics_port),
            "WORKERS": "1",
            "POE_BASE_URL": f"http://127.0.0.1:{upstream_port}",
            "POE_API_KEYS": _KEYS,
            "ACCESS_TOKENS": f"soak:{TOKEN}",
            "REDIS_URL": redis_url,
            "DATA_DIR": str(directory / "data"),
            # Never reached; Redis keeps so many times of each account, which grow until there are so many.
            "RPM_PER_ACCOUNT": "20000",
            "DRAIN_NOTICE_S": "0",
        }
        serve = running(python("-m", "proxy", "serve"), listens_on=port, log=directory / "proxy.log", env=environment)
        pid = stack.enter_context(serve)
        managed_token = _create_client(environment)
        yield Stage(port, pid, metrics_port, upstream_port, upstream_pid, redis_url, managed_token)


@contextmanager
def open_redis(directory: Path) -> Iterator[str]:
    """A Redis of its own that saves nothing; the Valkey that the proxy carries where none is installed."""
    if shutil.which("redis-server") is None:
        with embedded_valkey(directory / "valkey") as url:
            yield url
        return
    socket = directory / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(directory)]
    with running(command, listens_on=socket, log=directory / "redis.log"):
        yield f"unix://{socket}"


def _create_client(environment: dict[str, str]) -> str:
    """The token of a managed client, made as an operator makes one."""
    done = subprocess.run(
        python("-m", "proxy", "clients", "create", "soak-managed", *_LIMITS),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()
