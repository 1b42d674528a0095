"""The whole cluster: Redis, Poe, nginx and the instances, begun in this order and ended in the other."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.backing import running_local_poe, running_redis
from cluster.front import nginx_command, running_front
from cluster.instance import GRACE_S, Instance
from cluster.processes import NotStartedError, answers, free_port, is_free, make_home, wait_until_up

#: Whoever sets one of these has a Poe in mind.
_OF_A_POE: Final = {"POE_API_KEYS", "POE_API_KEYS_FILE", "POE_API_KEY", "POE_BASE_URL", "BASE"}


@dataclass(frozen=True)
class Cluster:
    """Instances that serve, behind one port.

    ``environment`` is what all of them were started with, secrets included.
    """

    base_url: str
    home: Path
    front_pid: int
    instances: Sequence[Instance]
    environment: Mapping[str, str]

    async def stop(self, number: int, *, within_s: float = GRACE_S) -> int:
        """SIGTERM to one instance, which stays away until ``start``. Its exit code."""
        return await self.instances[number].stop(within_s=within_s)

    async def start(self, number: int) -> None:
        """Starts a stopped instance on the port that it had. Returns once it serves. Raises NotStartedError."""
        await self.instances[number].start()

    async def restart(self, number: int, *, within_s: float = GRACE_S) -> int:
        """``stop`` and ``start``: one step of a rolling restart. The exit code of the process that ended."""
        code = await self.stop(number, within_s=within_s)
        await self.start(number)
        return code


@contextlib.asynccontextmanager
async def running_cluster(
    home: Path, *, instances: int = 3, workers: int = 2, **environment: str
) -> AsyncIterator[Cluster]:
    """Runs a cluster with its files in ``home``; yields once it serves.

    The instances get ``environment`` and nothing of our own. Without ``REDIS_URL`` in it they get a Redis, and without
    ``POE_API_KEYS`` and ``POE_BASE_URL`` a local Poe with keys and tokens for it. ``PORT`` in it is nginx's; without
    that it is any free one. At the end the instances drain, each up to 45 s.

    Raises:
        MissingProgramError: nginx is not installed.
        NotStartedError, EmbeddedError: a part did not start.
    """
    home = make_home(home)
    nginx_command(home)  # whether it is there, before anything is started
    port = int(environment.get("PORT") or free_port())
    if not is_free(port):
        raise NotStartedError(f"port {port} is taken")
    async with contextlib.AsyncExitStack() as stack:
        complete = await _with_backing(stack, home, environment, workers)
        members = [Instance(f"instance-{number + 1}", home, complete) for number in range(instances)]
        front_pid = await stack.enter_async_context(
            running_front(home, port=port, instance_ports=[member.port for member in members])
        )
        stack.push_async_callback(_stop_all, members)
        await asyncio.gather(*(member.start() for member in members))
        await wait_until_up(
            lambda: answers(port, "/health"), has_ended=lambda: False, what="nginx", log=home / "nginx.log"
        )
        yield Cluster(f"http://127.0.0.1:{port}", home, front_pid, members, complete)


async def _with_backing(
    stack: contextlib.AsyncExitStack, home: Path, environment: Mapping[str, str], workers: int
) -> dict[str, str]:
    """The environment with all that an instance needs; what was missing in it is started."""
    complete = {"LOG_FORMAT": "json", **environment, "WORKERS": str(workers)}
    if "REDIS_URL" not in environment:
        complete["REDIS_URL"] = await stack.enter_async_context(running_redis(home / "redis"))
    if not _OF_A_POE & environment.keys():
        complete = {**await stack.enter_async_context(running_local_poe(home)), **complete}
    return complete


async def _stop_all(members: Sequence[Instance]) -> None:
    await asyncio.gather(*(member.stop() for member in members if member.starts))
