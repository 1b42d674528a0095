"""One instance and who keeps it running: a container of compose's ``proxy``, with ``restart: unless-stopped``."""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cluster.processes import answers, end_session, free_port, start, stop, wait_until_up

_log = logging.getLogger(__name__)

#: As compose's stop_grace_period: longer than DRAIN_TIMEOUT_S and the seconds before and after it.
GRACE_S: Final = 45.0
#: Docker's: the pause before a new start doubles, and is short again after a life of this length.
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 60.0
_LONG_LIFE_S: Final = 10.0


class Instance:
    """``python -m proxy serve`` on a port of its own; the same one each time it is started.

    ``process`` is the one that runs now, or ran last; ``starts`` counts them, and ``exit_codes`` has those of all
    that ended, in order.
    """

    process: asyncio.subprocess.Process

    def __init__(self, name: str, home: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.port = free_port()
        self.metrics_port = free_port()
        self.log = home / f"{name}.log"
        self.starts = 0
        self.exit_codes: list[int] = []
        self._environment = {
            **environment,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "METRICS_PORT": str(self.metrics_port),
            "DATA_DIR": str(home / f"{name}-data"),
        }
        self._keeper: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        """Where it serves, without nginx before it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of its main process: what to send SIGTERM to."""
        return self.process.pid

    async def start(self) -> None:
        """Starts it, and from now on again whenever it ends. Returns once it serves. Raises NotStartedError."""
        await self._start_process()
        ended_before = len(self.exit_codes)
        self._keeper = asyncio.create_task(self._keep_running())
        await wait_until_up(
            self.serves, has_ended=lambda: len(self.exit_codes) > ended_before, what=self.name, log=self.log
        )

    async def stop(self, *, within_s: float = GRACE_S) -> int:
        """SIGTERM, and no new start. Its exit code; -9 when it had to be killed after ``within_s``."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        code = await stop(self.process, signal.SIGTERM, within_s=within_s)
        self._note_end(code)
        return code

    async def serves(self) -> bool:
        """Whether it answers now."""
        return await answers(self.port, "/health")

    async def _keep_running(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            started_at = time.monotonic()
            code = await self.process.wait()
            self._note_end(code)
            end_session(self.pid)
            if time.monotonic() - started_at > _LONG_LIFE_S:
                pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            await self._start_process()
            _log.info("%s ended with %d and is started again, as pid %d", self.name, code, self.pid)

    async def _start_process(self) -> None:
        command = (sys.executable, "-m", "proxy", "serve")
        self.process = await start(command, log=self.log, environment=self._environment)
        self.starts += 1

    def _note_end(self, code: int) -> None:
        """Once for each process, whoever sees its end first."""
        if len(self.exit_codes) < self.starts:
            self.exit_codes.append(code)
