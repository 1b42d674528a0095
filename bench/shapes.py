"""Bot names that say what the upstream answers; load generator and upstream read the same name.

- ``one``            one text event
- ``burst-500``      500 text events at once, in one write
- ``volley-500``     500 text events without pause, each in a write of its own
- ``drip-100x20``    100 text events, one every 20 ms
- ``one-apart``      as ``one``, and the end of the HTTP body comes 1 ms after the ``done`` event
"""

import re
from dataclasses import dataclass
from typing import Final

#: What every text event says. Poe's bots send a few tokens an event.
TEXT: Final = " lorem ipsum"
#: Begins every chunk's text, whatever JSON surrounds it. A relay that joined two chunks would show one mark too few.
MARK: Final = b'"' + TEXT.encode()

_NAME: Final = re.compile(
    r"(?:one|(?:burst|(?P<volley>volley))-(?P<count>\d+)|drip-(?P<drip>\d+)x(?P<every_ms>\d+))(?P<apart>-apart)?"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """How an answer arrives.

    Attributes:
        every_ms: pause between two events; 0 when there is none.
        one_by_one: each event is written on its own, though there is no pause.
        end_apart: the HTTP body ends 1 ms after the last event.
    """

    events: int
    every_ms: int
    one_by_one: bool
    end_apart: bool


def parse_shape(bot: str) -> Shape:
    """The shape that a bot's name stands for. Raises ValueError."""
    match = _NAME.fullmatch(bot)
    if match is None:
        raise ValueError(f"no shape: {bot}")
    return Shape(
        events=int(match["count"] or match["drip"] or 1),
        every_ms=int(match["every_ms"] or 0),
        one_by_one=bool(match["volley"]),
        end_apart=bool(match["apart"]),
    )
