"""nginx before the instances, with the configuration of ``docker-compose.yml``, but for where it and they listen."""

import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from cluster.processes import ROOT, find_program, is_free, start, stop, wait_until_up

CONFIGURATION: Final = ROOT / "deploy" / "nginx.conf"

#: In compose Docker's DNS knows the instances, which needs a newer nginx than many machines have.
_UPSTREAM: Final = re.compile(r"^ *resolver .*?^ *upstream instances \{.*?^    \}\n", re.DOTALL | re.MULTILINE)
_LISTEN: Final = re.compile(r"listen 10000\b")
_STOP_TIMEOUT_S: Final = 10.0


def build_configuration(port: int, instance_ports: Sequence[int]) -> str:
    """Compose's nginx.conf for 127.0.0.1: listening on ``port``, with these instances behind it."""
    servers = "".join(f"        server 127.0.0.1:{each} max_fails=0;\n" for each in instance_ports)
    upstream = f"    upstream instances {{\n        zone instances 256k;\n{servers}    }}\n"
    text, upstreams = _UPSTREAM.subn(upstream, CONFIGURATION.read_text(encoding="utf-8"))
    text, listens = _LISTEN.subn(f"listen 127.0.0.1:{port}", text)
    if (upstreams, listens) != (1, 1):
        raise ValueError(f"{CONFIGURATION} has another form than this module knows")
    return text


def nginx_command(home: Path) -> list[str]:
    """How nginx is started on the configuration in ``home``, as in compose. Raises MissingProgramError."""
    # As root it would make its workers another user, who may not write in our directory.
    user = "user root; " if os.geteuid() == 0 else ""
    options = ["-p", str(home), "-c", str(home / "nginx.conf"), "-e", "stderr", "-g", f"{user}daemon off;"]
    return [find_program("nginx"), *options]


@contextlib.asynccontextmanager
async def running_front(home: Path, *, port: int, instance_ports: Sequence[int]) -> AsyncIterator[int]:
    """Runs nginx in ``home`` and yields its pid once it listens. It ends when its last answer is through, or in 10 s.

    Raises:
        MissingProgramError: nginx is not installed.
        NotStartedError: it ended at once; the message ends with what it said.
    """
    command, log = nginx_command(home), home / "nginx.log"
    (home / "nginx.conf").write_text(build_configuration(port, instance_ports), encoding="utf-8")
    process = await start(command, log=log)

    async def listens() -> bool:
        return process.returncode is None and not is_free(port)

    try:
        await wait_until_up(listens, has_ended=lambda: process.returncode is not None, what="nginx", log=log)
        yield process.pid
    finally:
        await stop(process, signal.SIGQUIT, within_s=_STOP_TIMEOUT_S)
