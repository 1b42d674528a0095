"""Durations as people read them. Pure."""

import math
from typing import Final

_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400


def in_words(seconds: float) -> str:
    """``50 s``, ``2 min 5 s``, ``10 h 18 min`` or ``3 d 4 h``: in whole units of the smaller kind, never too short."""
    whole_s = max(1, math.ceil(seconds))
    if whole_s < _MINUTE_S:
        return f"{whole_s} s"
    if whole_s < _HOUR_S:
        return _pair(whole_s, _MINUTE_S, "min", "s")
    minutes = math.ceil(whole_s / _MINUTE_S)
    if minutes < _DAY_S // _MINUTE_S:
        return _pair(minutes, _HOUR_S // _MINUTE_S, "h", "min")
    return _pair(math.ceil(whole_s / _HOUR_S), _DAY_S // _HOUR_S, "d", "h")


def _pair(amount: int, in_large: int, large: str, small: str) -> str:
    units, rest = divmod(amount, in_large)
    return f"{units} {large} {rest} {small}" if rest else f"{units} {large}"
