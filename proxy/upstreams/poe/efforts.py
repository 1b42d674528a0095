"""How much effort a caller asks for, as a level that a model has, or as a number of tokens to think with. Pure."""

from collections.abc import Sequence
from typing import Final

from proxy.core.failures import InvalidRequest

#: ``reasoning_effort`` → its part of the largest thinking budget, in order.
_EFFORTS: Final = {"none": 0.0, "minimal": 0.05, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95, "max": 1.0}
_LEVELS: Final = tuple(_EFFORTS)
#: The largest thinking budget where none is stated, in tokens.
_BUDGET_TOKENS: Final = 32_768


def check_effort(effort: str, own: object = None) -> None:
    """Raises InvalidRequest: it is neither a level of effort nor one of the model's ``own``, if that is a list."""
    if effort not in _EFFORTS and not (isinstance(own, list) and effort in own):
        levels = ", ".join(_LEVELS)
        raise InvalidRequest(
            f"Invalid value for 'reasoning_effort': must be one of {levels}.", param="reasoning_effort"
        )


def budget_of(effort: str, most: float | None = None) -> int:
    """The tokens that an effort comes to; ``most`` are those of the largest."""
    return round(_EFFORTS.get(effort, 0.5) * (most or _BUDGET_TOKENS))


def effort_of(budget_tokens: int) -> str:
    """The least effort that comes to so many tokens."""
    return next((effort for effort in _LEVELS if budget_of(effort) >= budget_tokens), _LEVELS[-1])


def nearest_level(effort: str, levels: Sequence[object]) -> object:
    """Of a model's levels the one nearest to what was asked for, rather more than less; None when none is known."""
    if effort in levels:
        return effort
    known = [_LEVELS.index(level) for level in levels if isinstance(level, str) and level in _LEVELS]
    if not known or effort not in _LEVELS:
        return None
    wanted = _LEVELS.index(effort)
    return _LEVELS[min(known, key=lambda level: (abs(level - wanted), -level))]
