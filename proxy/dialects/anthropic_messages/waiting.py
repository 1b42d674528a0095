"""What waits in a stream of blocks until the call before it is whole. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from proxy.core.deltas import ContentDelta, ContentDeltas, Delta, ReasoningDelta, ThinkingSignature, ToolCallDelta
from proxy.dialects.anthropic_messages.call_input import is_input

#: Whether arguments are whole is looked at so often; after that, the call is taken for whole at the end.
_MAX_LOOKS: Final = 8


class CallArguments:
    """The arguments of the call that is open.

    Attributes:
        position: of the call in the answer.
        name: of the tool, as the model knows it.
    """

    __slots__ = ("_looks", "_pieces", "name", "position")

    def __init__(self, position: int, name: str) -> None:
        self.position = position
        self.name = name
        self._pieces: list[str] = []
        self._looks = 0

    def add(self, arguments: str) -> None:
        """Takes in more of them."""
        self._pieces.append(arguments)

    @property
    def text(self) -> str:
        """All of them so far."""
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def is_whole(self) -> bool:
        """Whether they are a JSON object, so that nothing but blanks can follow."""
        last = next((piece for piece in reversed(self._pieces) if not piece.isspace()), "")
        if not last.rstrip().endswith("}") or self._looks >= _MAX_LOOKS:
            return False
        self._looks += 1
        return is_input(self.text)


def in_order(deltas: Sequence[Delta]) -> list[Delta]:
    """The same deltas, joined: thoughts, then text, then each call."""
    text = "".join([delta.text for delta in deltas if isinstance(delta, ContentDelta | ContentDeltas)])
    calls: dict[int, ToolCallDelta] = {}
    arguments: dict[int, list[str]] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            calls.setdefault(delta.position, delta)
            arguments.setdefault(delta.position, []).append(delta.arguments)
    joined: list[Delta] = [*_thoughts(deltas)]
    joined += [ContentDelta(text)] if text else []
    return [*joined, *(call._replace(arguments="".join(arguments[at])) for at, call in calls.items())]


def _thoughts(deltas: Sequence[Delta]) -> Iterator[Delta]:
    """The thoughts, joined up to each signature."""
    texts: list[str] = []
    for delta in deltas:
        if isinstance(delta, ReasoningDelta):
            texts.append(delta.text)
        elif isinstance(delta, ThinkingSignature):
            if texts:
                yield ReasoningDelta("".join(texts))
            texts = []
            yield delta
    if texts:
        yield ReasoningDelta("".join(texts))
