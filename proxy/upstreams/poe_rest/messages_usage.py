"""The token counts of an answer of Anthropic's, whose events each have some of them. Pure."""

from typing import Final

from proxy.core.usage import Usage

_INPUT: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_OUTPUT: Final = "output_tokens"
_DETAILS: Final = "output_tokens_details"
_THINKING: Final = "thinking_tokens"


class MessagesUsage:
    """The counts so far: a later one stands for an earlier one, and one that is left out changes nothing."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def note(self, usage: object) -> Usage | None:
        """All counts with those of a ``usage`` object, or None when there were none yet.

        What is no count in it is passed over: no answer should fail for it.
        """
        if isinstance(usage, dict):
            details = usage.get(_DETAILS)
            said = {**details, **usage} if isinstance(details, dict) else usage
            counts = {name: said.get(name) for name in (*_INPUT, _OUTPUT, _THINKING)}
            self._counts |= {name: count for name, count in counts.items() if isinstance(count, int) and count >= 0}
        return self._sum() if self._counts else None

    def _sum(self) -> Usage:
        """Anthropic's ``input_tokens`` leave out what was read from the cache or written to it."""
        uncached, read, written = (self._counts.get(name, 0) for name in _INPUT)
        return Usage(
            prompt_tokens=uncached + read + written,
            completion_tokens=self._counts.get(_OUTPUT, 0),
            reasoning_tokens=self._counts.get(_THINKING, 0),
            cached_tokens=read,
            cache_write_tokens=written,
            is_exact=True,
        )
