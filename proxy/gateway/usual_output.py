"""How many tokens a model's answers usually have: what is reserved for an answer that has not come yet."""

from collections import OrderedDict
from typing import Final

#: What an answer of a model that has not answered yet is taken for.
_UNKNOWN_TOKENS: Final = 1_000
#: The last answers count for so much of the mean together.
_ANSWERS: Final = 20
_MAX_MODELS: Final = 1_000


class UsualOutput:
    """One worker's means, of the models that answered last."""

    def __init__(self) -> None:
        self._means: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def note(self, bot: str, tokens: int) -> None:
        """An answer has come, with so many tokens."""
        mean, answers = self._means.pop(bot, (0.0, 0))
        answers = min(answers + 1, _ANSWERS)
        self._means[bot] = mean + (tokens - mean) / answers, answers
        if len(self._means) > _MAX_MODELS:
            self._means.popitem(last=False)

    def of(self, bot: str, limit: int | None = None) -> int:
        """The tokens that the next answer is expected to have, ``limit`` at most."""
        mean, _ = self._means.get(bot, (_UNKNOWN_TOKENS, 0))
        return min(round(mean), limit or round(mean))
