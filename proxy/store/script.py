"""Lua scripts, calls of them, and what their replies mean."""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError, ResponseError

#: Redis's words for "not now" that redis-py has no class for, or that Redis 6 wraps in the words for a script's fault.
_REFUSES = re.compile(r"\b(OOM|READONLY|MISCONF|NOREPLICAS|BUSY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN)\b")


class Script:
    """A Lua script of the package that owns it; file name = script name. Sent by digest, loaded when missing."""

    def __init__(self, package: str, name: str) -> None:
        self.name = name
        self.source = (files(package) / "lua" / f"{name}.lua").read_text(encoding="utf-8")
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


class Call(NamedTuple):
    """A script call that waits for its reply."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[str | int]
    reply: "asyncio.Future[Any]"


async def reply_of(call: "asyncio.Future[Any]") -> Any:
    """The reply, as ``asyncio.shield`` would wait for it: who gives up waiting does not cancel the call.

    Raises what the call does. Shield makes two futures, two callbacks and a task's checks of it, which every request
    would pay for twice.
    """
    if not call.done():
        come: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        call.add_done_callback(lambda _: None if come.done() else come.set_result(None))
        await come
    return call.result()


def deliver(calls: Sequence[Call], replies: Sequence[Any], *, final: bool = False) -> list[Call]:
    """Hands out the replies; returns the calls whose script Redis does not have yet.

    Raises:
        RedisError: Redis refuses to work (full, read-only, loading): a server that is away, to us.
    """
    missing = []
    for call, reply in zip(calls, replies, strict=True):
        if not isinstance(reply, Exception):
            if not call.reply.done():
                call.reply.set_result(reply)
        elif isinstance(reply, NoScriptError) and not final:
            missing.append(call)
        elif not is_of_the_script(reply):
            raise reply
        elif not call.reply.done():
            call.reply.set_exception(reply)
    return missing


def is_of_the_script(error: Exception) -> bool:
    """A script that fails is our bug, and is not taken for a Redis that is away."""
    return type(error) is ResponseError and "script" in str(error) and not _REFUSES.search(str(error))
