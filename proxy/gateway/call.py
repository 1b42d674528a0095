"""One call of a client, and the record it leaves. No decisions."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from proxy.clients.limits import RateLimitStatus
from proxy.clients.tokens import Client
from proxy.core.chat_request import ChatRequest
from proxy.core.usage import Usage
from proxy.keypool.lease import SessionOutcome
from proxy.upstreams.poe.answer_stream import Stage
from proxy.upstreams.poe_rest.passage import Passage

#: Is called when something of an answer was written to its sink for the first time, with how far the answer is by then.
OnCommit = Callable[[Stage], Awaitable[None]]


@dataclass(slots=True)
class AttemptRecord:
    """One upstream call: the key's public name, which keys stood before it and why, how it ended, how long it took.

    Attributes:
        choice: the one it was made for, of the call's ``n``.
        upstream: which of Poe's APIs was asked; see ``Way``.
        passed: whether request and answer were passed through.
        session: what the lease meant to the call's session.
    """

    key_id: str
    skipped: Sequence[tuple[str, str]] = ()
    outcome: str = "running"
    duration_ms: int = 0
    choice: int = 0
    upstream: str = "bot"
    passed: bool = False
    session: SessionOutcome = ""


@dataclass(slots=True)
class RelayRecord:
    """What happened to one client call; filled in as it happens, read by the log and the why-trail.

    Attributes:
        usage: what Poe got and gave, as it counts; of several choices each has the prompt.
        permit: what the call holds among its client's requests, "" when nothing.
        uncounted: requests of a managed client that were let in while Redis was away.
    """

    bot: str = ""
    attempts: list[AttemptRecord] = field(default_factory=list)
    skipped: Sequence[tuple[str, str]] = ()
    waited_ms: int = 0
    without_tools: bool = False
    first_text_ms: int | None = None
    usage: Usage | None = None
    rate_limits: RateLimitStatus | None = None
    permit: str = ""
    uncounted: int = 0


def _ignore() -> None:
    """Nobody keeps count of what prompts take."""


@dataclass(slots=True)
class ChatCall:
    """One client call, and the record it leaves.

    Attributes:
        dialect: that the client speaks: ``chat``, ``messages``, ``responses`` or ``images``.
        is_large: whether work with the request is for another thread than the event loop's.
        is_repeated: its stream ends with all of the answer once more, so that it is kept like a whole answer.
        held_bytes: how much of its answer is kept so far; None when it is not kept until it is whole.
        on_prompt_gone: called when a long prompt is not held any more, though the answer goes on.
        passage: what the client sent, where it may be passed through; None once the call is planned.
        passes: whether it is being passed through.
        is_answering: whether Poe has begun to answer, and has not failed since.
        session: the pool's name of the conversation that it belongs to; "" = none.
    """

    client: Client
    request: ChatRequest
    record: RelayRecord = field(default_factory=RelayRecord)
    dialect: str = "chat"
    is_large: bool = False
    is_repeated: bool = False
    held_bytes: Callable[[], int] | None = field(default=None, repr=False, compare=False)
    on_prompt_gone: Callable[[], None] = _ignore
    passage: Passage | None = field(default=None, repr=False, compare=False)
    passes: bool = False
    is_answering: bool = False
    session: str = ""

    def forget_messages(self) -> None:
        """What was asked is planned, or answered; the call goes on, or is known for a while to log and timers."""
        self.request = replace(self.request, messages=(), tools=())
