"""The relays that are compared, each on a loopback port, behind one small interface."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

#: What is measured together, and what a peer may not take part in.
Theme = Literal["costs", "content", "throughput", "first text", "streams", "memory"]

OPENAI_END: Final = b"data: [DONE]"
POE_END: Final = b"event: done"


@dataclass(frozen=True, slots=True)
class Site:
    """Where a peer is to run: the upstream it asks, and a directory for its files."""

    upstream_url: str
    directory: Path


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to ask it. ``{bot}`` in the path becomes the bot's name; ``end`` is what ends a whole answer."""

    port: int
    path: str = "/v1/chat/completions"
    headers: Mapping[str, str] = field(default_factory=dict)
    end: bytes = OPENAI_END


@dataclass(frozen=True, slots=True)
class RunningPeer:
    """A peer that listens.

    Attributes:
        pids: the roots of its process trees, its Redis among them.
        redis_url: of its Redis; empty when it has none, or one that cannot be asked.
    """

    name: str
    endpoint: Endpoint
    pids: tuple[int, ...]
    redis_url: str = ""


#: What any relay can be asked; tool calls and thoughts (``content``) are for those that know them.
USUAL: Final[frozenset[Theme]] = frozenset({"costs", "throughput", "first text", "streams", "memory"})


@dataclass(frozen=True, slots=True)
class Peer:
    """Something to compare.

    Attributes:
        about: one line for the table's legend.
        missing: why it cannot run here; empty when it can.
        start: runs it while the context is open.
        themes: what it is measured in.
        slow_to_measure: left out of a quick run unless it is asked for by name.
    """

    name: str
    about: str
    missing: Callable[[], str]
    start: Callable[[Site], AbstractContextManager[RunningPeer]]
    themes: frozenset[Theme] = USUAL
    slow_to_measure: bool = False
