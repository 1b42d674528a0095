"""Lua scripts, calls of them, and what their replies mean."""

import asyncio
import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from redis.exceptions import NoScriptError, ResponseError

from proxy.store.fragments import read_with_fragments
from proxy.store.signature import Signature

#: Redis's words for "not now" or "not you" that redis-py has no class for, or that come wrapped in the words for a
#: script's fault: Redis 6 wraps all, and every Redis words what the user's ACL forbids to a script in its own way.
_REFUSES = re.compile(
    r"\b(OOM|READONLY|MISCONF|NOREPLICAS|BUSY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOPERM|NOAUTH"
    r"|can't run this command|can't access at least one|no permissions|unknown command)\b"
)

#: What Redis says of a key that holds another type than a command is for.
_WRONG_TYPE: Final = "WRONGTYPE"


class Command:
    """A command of Redis that is sent as it is.

    Attributes:
        words: how many words stand before its keys.
    """

    words = 1
    source = ""

    def __init__(self, name: str) -> None:
        self.name = name

    def beginning(self, keys: Sequence[str]) -> tuple[str | int, ...]:
        """What is sent before the arguments."""
        return (self.name, *keys)


#: What a script is called with: a NamedTuple, see ``signature.py``.
Arguments = TypeVar("Arguments", bound=tuple[Any, ...])


class Script(Command, Generic[Arguments]):
    """A Lua script of the package that owns it; file name = script name. Sent by digest, loaded when missing.

    Attributes:
        arguments: what it is called with.
        parts_of: brings the arguments of a call into the order of KEYS and ARGV.
    """

    words = 3

    def __init__(self, package: str, name: str, arguments: type[Arguments]) -> None:
        super().__init__(name)
        self.arguments = arguments
        signature = Signature(arguments)
        self.source = signature.head() + read_with_fragments(package, name)
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        self.parts_of = signature.divider()

    def beginning(self, keys: Sequence[str]) -> tuple[str | int, ...]:
        return ("EVALSHA", self.sha, len(keys), *keys)


GET: Final = Command("GET")
MGET: Final = Command("MGET")
HGETALL: Final = Command("HGETALL")
SET: Final = Command("SET")

#: What needs no loading.
COMMANDS: Final = frozenset({GET, MGET, HGETALL, SET})


_set_result: Final = asyncio.Future.set_result  # quicker than ``super()``


class Reply(asyncio.Future[Any]):
    """What a call comes to.

    Attributes:
        waiting: comes to the same, in the same turn of the event loop: a callback would be called by the next, and wake
            who waits for the one after that. In a worker with much to do a turn is a millisecond (``first text`` in
            bench).
    """

    waiting: asyncio.Future[Any] | None = None

    def set_result(self, result: Any, /) -> None:
        """The call was carried out."""
        _set_result(self, result)
        waiting = self.waiting
        if waiting is not None and not waiting.done():
            waiting.set_result(result)

    def set_exception(self, exception: type[BaseException] | BaseException, /) -> None:
        """It was not, or its script failed."""
        super().set_exception(exception)
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(self.exception() or exception)

    def cancel(self, msg: Any = None) -> bool:
        """Nobody wants to know any more."""
        is_cancelled = super().cancel(msg)
        if is_cancelled and self.waiting is not None:
            self.waiting.cancel(msg)
        return is_cancelled


class Call(NamedTuple):
    """A call that waits for its reply."""

    command: Command
    keys: Sequence[str]
    arguments: Sequence[str | int]
    reply: Reply


def reply_of(call: Reply) -> asyncio.Future[Any]:
    """The reply, to be awaited at once, as ``asyncio.shield`` would have it: who gives up waiting cancels no call.

    For one who waits, no more.
    """
    if call.done():
        return call
    call.waiting = call.get_loop().create_future()
    return call.waiting


def deliver(
    calls: Sequence[Call],
    replies: Sequence[Any],
    *,
    loaded: Collection[Command] = (),
    wrong_type: Callable[[Exception], Exception] | None = None,
) -> list[Call]:
    """Hands out the replies; returns the calls whose script Redis does not have yet.

    Args:
        calls: the calls.
        replies: to each, in order.
        loaded: scripts that Redis was sent just before.
        wrong_type: what a script fails with that met a key of another type; None for what Redis said.

    Raises:
        RedisError: Redis refuses to work (full, read-only, loading, no permission, or it forgets scripts at once).
    """
    missing = []
    for call, reply in zip(calls, replies, strict=True):
        if not isinstance(reply, Exception):
            waiting = call.reply
            if not waiting.done():
                waiting.set_result(reply)
        elif isinstance(reply, NoScriptError) and call.command not in loaded:
            missing.append(call)
        elif not is_of_the_call(reply):
            raise reply
        elif not call.reply.done():
            met_wrong_type = call.command.source and _WRONG_TYPE in str(reply)
            call.reply.set_exception(wrong_type(reply) if wrong_type and met_wrong_type else reply)
    return missing


def raise_first(replies: Iterable[Any]) -> None:
    """Raises the first error among them."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply


def is_of_the_call(error: Exception) -> bool:
    """Whether an error speaks of one call, not of a Redis that refuses to work.

    A script that fails is our bug; a key that holds another type is somebody's mistake.
    """
    if type(error) is not ResponseError or _REFUSES.search(str(error)):
        return False
    return "script" in str(error) or _WRONG_TYPE in str(error)


def pairs(flat: Any) -> list[tuple[str, str]]:
    """A flat list (RESP2) or a map (RESP3) as pairs."""
    if isinstance(flat, dict):
        return list(flat.items())
    return list(zip(flat[::2], flat[1::2], strict=True))
