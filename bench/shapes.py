"""Bot names that say what the upstream answers; load generator and upstream read the same name.

- ``one``            one text event
- ``burst-500``      500 text events at once, in one write
- ``volley-500``     500 text events without pause, each in a write of its own
- ``one-apart``      as ``one``, and the end of the HTTP body comes 1 ms after the ``done`` event
- ``one-late``       as ``one``, and the ``done`` event comes 100 ms after the text, as a longer answer's would
- ``drip-20``        a text event every 20 ms until the upstream is told to let its streams end
- ``held-drip-20``   the same, but for the first event only once the upstream is told to let its streams drip
- ``silent``         one text event, then nothing until it is told to let its streams end

The first three may begin with ``tools-`` or ``thinking-``: then the events are pieces of a tool call's arguments, or of
thoughts, every tenth of which is the end of a line.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

#: What every text event says. Poe's bots send a few tokens an event.
TEXT: Final = " lorem ipsum"
#: Begins every chunk's text, whatever JSON surrounds it. A relay that joined two chunks would show one mark too few.
MARK: Final = b'"' + TEXT.encode()
#: Every so many pieces of thoughts are the end of a line, which carries no mark.
THOUGHTS_A_LINE: Final = 10

#: Events of a burst and of a volley, where the cost of a chunk is the slope from a single one.
BURST: Final = 500
#: All text shapes that are asked for, to be announced to a relay that must know its models.
ASKED: Final = (
    "one",
    "one-apart",
    "one-late",
    f"burst-{BURST}",
    f"volley-{BURST}",
    "held-drip-20",
    "held-drip-200",
    "held-drip-800",
    "silent",
)

Content = Literal["text", "tools", "thinking"]

_NAME: Final = re.compile(
    r"(?:(?P<content>tools|thinking)-)?(?:one|(?:burst|(?P<volley>volley))-(?P<count>\d+))(?P<end>-apart|-late)?"
    r"|(?P<held>held-)?drip-(?P<every_ms>[1-9]\d*)|(?P<silent>silent)"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """How an answer arrives.

    Attributes:
        events: how many, of those that say something; 0 when that is settled only while the stream is open.
        content: what they are made of.
        every_ms: pause between two events; 0 when there is none.
        one_by_one: each event is written on its own, though there is no pause.
        end_apart: the HTTP body ends 1 ms after the last event.
        end_late: nothing more comes for 100 ms after the events that say something.
        held: after its first event it waits for the others that are being opened.
    """

    events: int = 1
    content: Content = "text"
    every_ms: int = 0
    one_by_one: bool = False
    end_apart: bool = False
    end_late: bool = False
    held: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it lasts until the upstream lets it end."""
        return self.events == 0

    @property
    def marks(self) -> int:
        """How often MARK is in a whole answer; 0 where nobody can know beforehand."""
        return self.events - (self.events // THOUGHTS_A_LINE if self.content == "thinking" else 0)


def parse_shape(bot: str) -> Shape:
    """The shape that a bot's name stands for. Raises ValueError."""
    match = _NAME.fullmatch(bot)
    if match is None:
        raise ValueError(f"no shape: {bot}")
    if match["silent"] or match["every_ms"]:
        return Shape(events=0, every_ms=int(match["every_ms"] or 0), held=bool(match["held"]))
    contents: dict[str | None, Content] = {None: "text", "tools": "tools", "thinking": "thinking"}
    return Shape(
        events=int(match["count"] or 1),
        content=contents[match["content"]],
        one_by_one=bool(match["volley"]),
        end_apart=match["end"] == "-apart",
        end_late=match["end"] == "-late",
    )
