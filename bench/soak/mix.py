"""What the load is made of: kinds of requests, how often each comes, and what each must come to."""

import random
from dataclasses import dataclass
from typing import Final, Literal

from bench.shapes import MARK
from bench.soak.asking import Answer, chat, request
from bench.soak.stage import TOKEN

_DONE: Final = b"data: [DONE]"
_TOOL: Final = {"type": "function", "function": {"name": "take_note", "parameters": {"type": "object"}}}

Ending = Literal["stream", "whole", "left", "refused"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request.

    Attributes:
        of_a_hundred: how many of a hundred requests are of this kind.
        marks: how often the upstream's text is in a whole stream.
        ending: how the answer ends: streamed to its end, in one piece, left by the client, refused.
    """

    name: str
    of_a_hundred: int
    wire: bytes
    ending: Ending
    status: int = 200
    marks: int = 0

    def problem_with(self, answer: Answer) -> str:
        """What is wrong with the answer; empty when nothing is."""
        found = f"status {answer.status}, {answer.body.count(MARK)} pieces; it ends in {answer.body[-200:]!r}"
        if answer.status != self.status:
            return found
        if self.ending == "stream" and (answer.body.count(MARK), answer.body.count(_DONE)) != (self.marks, 1):
            return found
        if self.ending == "whole" and b'"finish_reason":"stop"' not in answer.body:
            return found
        return found if self.ending == "refused" and b'"error"' not in answer.body else ""


def build_kinds(managed_token: str) -> list[Kind]:
    """All kinds; together they are a hundred."""
    return [
        Kind("short", 30, chat(TOKEN, "one"), "stream", marks=1),
        Kind("short of a managed client", 14, chat(managed_token, "one"), "stream", marks=1),
        Kind("short, 20 KB asked", 8, chat(TOKEN, "one", prompt_kb=20), "stream", marks=1),
        Kind("short, 200 KB asked", 2, chat(TOKEN, "one", prompt_kb=200), "stream", marks=1),
        Kind("burst of 200", 12, chat(TOKEN, "burst-200"), "stream", marks=200),
        Kind("volley of 50", 4, chat(TOKEN, "volley-50"), "stream", marks=50),
        Kind("call of a tool", 4, chat(TOKEN, "tools-burst-50", tools=[_TOOL]), "stream", marks=50),
        Kind("whole", 10, chat(TOKEN, "burst-50", stream=False), "whole"),
        Kind("left", 8, chat(TOKEN, "drip-20"), "left"),
        Kind("unknown model", 3, request(TOKEN, "GET", "/v1/models/No-Such-Model"), "refused", status=404),
        Kind("bad body", 3, request(TOKEN, "POST", "/v1/chat/completions", b'{"messages": 1}'), "refused", status=400),
        Kind("bad token", 2, chat("no-such-token", "one"), "refused", status=401),
    ]


def build_deck(kinds: list[Kind], seed: int) -> list[Kind]:
    """A hundred requests in an order of their own, the same at each run: every stretch of the load is alike."""
    deck = [kind for kind in kinds for _ in range(kind.of_a_hundred)]
    random.Random(seed).shuffle(deck)
    return deck
