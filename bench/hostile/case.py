"""One hostile request or answer: the bytes that are sent, and how the one who sends them behaves."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

TOKEN: Final = "hostile-token"
#: The bot that answers a short chat at once.
QUICK: Final = "quick"

#: Builds what is sent, a piece a write; called when the case's turn comes, so that only one is in memory.
Pieces = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        name: says what is hostile about it.
        pieces: what is sent.
        pause_s: how long the sender waits after each piece.
        at_once: how many connections do the same at the same time.
        reads: whether the sender reads what it is answered.
        answers: how many answers it reads.
        leaves_after_s: when the sender gives up at the latest.
        may_fail: whether a 5xx is right; it is where Poe, or what a bot said, is at fault.
        answer: what Poe sends for it, where that is hostile.
        decoded_bytes: what a body becomes at most before it is refused, where it is sent compressed.
    """

    name: str
    pieces: Pieces
    pause_s: float = 0.0
    at_once: int = 1
    reads: bool = True
    answers: int = 1
    leaves_after_s: float = 30.0
    may_fail: bool = False
    answer: Pieces | None = None
    decoded_bytes: int = 0


def post(
    body: bytes, *, path: str = "/v1/chat/completions", token: str = TOKEN, headers: str = "", chunk_bytes: int = 65536
) -> Iterator[bytes]:
    """A well-framed POST of any body."""
    yield (
        f"POST {path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"{headers}Content-Length: {len(body)}\r\n\r\n"
    ).encode("latin-1")
    for at in range(0, len(body), chunk_bytes):
        yield body[at : at + chunk_bytes]


def chat(bot: str = QUICK, **changes: Any) -> bytes:
    """The body of a chat, with fields added or replaced."""
    return json.dumps({"model": bot, "messages": [{"role": "user", "content": "hi"}], **changes}).encode()


def chat_with(fields: str) -> bytes:
    """The same with fields as JSON text, which may be what ``json.dumps`` would not write or take long to."""
    return b'{"model":"%b","messages":[{"role":"user","content":"hi"}],%b}' % (QUICK.encode(), fields.encode())


def json_case(
    name: str, build: Callable[[], bytes], *, path: str = "/v1/chat/completions", may_fail: bool = False
) -> Case:
    """A case that is one POST of a body, which is built late."""
    return Case(name, lambda: post(build(), path=path), may_fail=may_fail)
