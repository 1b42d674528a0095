"""How many instructions this Python makes of a program that never changes, beside what Python 3.11 makes of it.

Each version compiles the same code to other instructions, as a rule to a few less. So a budget that was measured on one
holds on another when both are counted in the same program.
"""

from typing import Any, Final

from tests.speed.counting import Counter

#: What the hot path is made of: calls, attributes, loops, dictionaries, comparisons, texts. It stands here as a text so
#: that it is counted as a file that is no test's.
_PROGRAM: Final = """
class Part:
    __slots__ = ("name", "size", "next")

    def __init__(self, name, size):
        self.name, self.size, self.next = name, size, None

    @property
    def is_large(self):
        return self.size > 20 and self.name != ""

    def feed(self, texts):
        said = []
        for text in texts:
            if text and not text.startswith("x"):
                said.append(self.name + text)
            elif isinstance(text, str):
                said += [text[:1]]
        return said


def run(turns):
    seen = {}
    for turn in range(turns):
        part = Part(f"part {turn % 7}", turn)
        try:
            seen[part.name] = seen[part.name] + len(part.feed(["a", "xb", "", "c"]))
        except KeyError:
            seen[part.name] = 1
        if part.is_large and (size := part.size) % 2 == 0:
            part.next = [other for other in (part, None) if other is not None and size]
    return sum(seen.values())
"""
#: Counted on Python 3.11.
_INSTRUCTIONS_3_11: Final = 16_403


def instructions() -> int:
    """What this Python executes for the program."""
    names: dict[str, Any] = {}
    exec(compile(_PROGRAM, "<reference>", "exec"), names)
    counter = Counter()
    with counter.counting():
        names["run"](100)
    return int(counter.read().total)


def scale() -> float:
    """Times as many as on Python 3.11."""
    return instructions() / _INSTRUCTIONS_3_11
