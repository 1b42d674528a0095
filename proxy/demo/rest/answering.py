"""What the models answer: always the same for the same prompt, and telling. It knows no endpoint.

- With tools, they call those that the user's text names, with examples of arguments.
- Behind results of tools, they say what those gave.
- Else they say what the user said last.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from proxy.demo.rest.examples import example_of
from proxy.demo.rest.tokens import count, first_tokens

Reason = Literal["stop", "length", "calls", "stop_sequence"]
#: What a caller may want of tools, unless it is one of them that has to be called.
Choice = Literal["auto", "none", "any"]

_NO_LIMIT: Final = 10**9
_PIECES: Final = re.compile(r"\s*\S+\s*?(?=\s|$)|\s+")


class Prompt(NamedTuple):
    """What the models look at in a request.

    Attributes:
        said: the user's last text.
        results: what tools gave, (name, text), when that is the last of the conversation.
        tools: the tools' names → JSON Schemas of their arguments.
        forced: the tool that has to be called.
        in_parallel: whether there may be several calls.
        announces: whether the model says what it calls.
        schema: the form that a text must have.
        thinks: whether it thinks first.
    """

    said: str
    results: Sequence[tuple[str, str]] = ()
    tools: Mapping[str, Mapping[str, Any]] = {}
    choice: Choice = "auto"
    forced: str | None = None
    in_parallel: bool = True
    announces: bool = False
    schema: Mapping[str, Any] | None = None
    thinks: bool = False
    max_tokens: int = _NO_LIMIT
    stops: Sequence[str] = ()


class Call(NamedTuple):
    """A call of a tool."""

    name: str
    arguments: dict[str, Any]

    @property
    def arguments_json(self) -> str:
        """The arguments as models write them."""
        return json.dumps(self.arguments, ensure_ascii=False)


class Answer(NamedTuple):
    """What a model says. ``stop`` is the sequence that ended the text."""

    thoughts: str
    text: str
    calls: tuple[Call, ...]
    reason: Reason
    stop: str | None = None

    @property
    def thought_tokens(self) -> int:
        """The tokens of its thoughts; they are among ``tokens``."""
        return count(self.thoughts)

    @property
    def tokens(self) -> int:
        """All that it wrote."""
        return self.thought_tokens + count(self.text) + sum(map(_size, self.calls))


def answer(prompt: Prompt) -> Answer:
    """The answer, no longer than it may be."""
    calls = _calls(prompt)
    text = _text(prompt, calls)
    thoughts = f"I was told {len(prompt.said.split())} words, and have {len(prompt.tools)} tools." * prompt.thinks
    return _limited(_stopped(Answer(thoughts, text, calls, "calls" if calls else "stop"), prompt), prompt)


def pieces(text: str) -> list[str]:
    """The text as a stream has it: word by word."""
    return _PIECES.findall(text)


def halves(text: str) -> tuple[str, str]:
    """A call's arguments as a stream has them."""
    return text[: len(text) // 2], text[len(text) // 2 :]


def _calls(prompt: Prompt) -> tuple[Call, ...]:
    if prompt.results or prompt.choice == "none":
        return ()
    if prompt.forced is not None:
        names = [prompt.forced]
    else:
        names = _named(prompt.said, prompt.tools)
        if prompt.choice == "any":
            names = names or list(prompt.tools)[:1]
    names = names if prompt.in_parallel else names[:1]
    return tuple(Call(name, example_of(prompt.tools[name])) for name in names)


def _named(said: str, tools: Mapping[str, Any]) -> list[str]:
    """The tools that a text names, in its order."""
    places = {name: re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", said) for name in tools}
    return sorted((name for name in tools if places[name]), key=lambda name: _start(places[name]))


def _start(match: re.Match[str] | None) -> int:
    return match.start() if match else 0


def _text(prompt: Prompt, calls: Sequence[Call]) -> str:
    if calls:
        return f"I call {', '.join(call.name for call in calls)}." if prompt.announces else ""
    if prompt.schema is not None:
        return json.dumps(example_of(prompt.schema), ensure_ascii=False)
    if prompt.results:
        return f"I asked: {'; '.join(f'{name} says {text}' for name, text in prompt.results)}."
    return prompt.said or "You said nothing."


def _stopped(said: Answer, prompt: Prompt) -> Answer:
    found = [(place, stop) for stop in prompt.stops if stop and (place := said.text.find(stop)) >= 0]
    if not found:
        return said
    place, stop = min(found)
    return said._replace(text=said.text[:place], calls=(), reason="stop_sequence", stop=stop)


def _limited(said: Answer, prompt: Prompt) -> Answer:
    """Thoughts, text and calls share the limit. A call that does not fit is left out whole."""
    if said.tokens <= prompt.max_tokens:
        return said
    thoughts = first_tokens(said.thoughts, prompt.max_tokens)
    left = prompt.max_tokens - count(thoughts)
    text = first_tokens(said.text, left)
    left -= count(text)
    calls: list[Call] = []
    for call in said.calls:
        left -= _size(call)
        if left < 0:
            break
        calls.append(call)
    return Answer(thoughts, text, tuple(calls), "length")


def _size(call: Call) -> int:
    return count(call.name) + count(call.arguments_json)
