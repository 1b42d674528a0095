"""What one call used, in tokens. Pure."""

from typing import NamedTuple


class Usage(NamedTuple):
    """Token counts of one call, the end of every answer.

    Attributes:
        prompt_tokens: all of the prompt, whatever part of it was cached.
        completion_tokens: of all choices, reasoning included.
        cached_tokens: of the prompt, read from the provider's cache.
        cache_write_tokens: of the prompt, written to it.
        is_exact: as the provider reported it; else an estimate of ours, since bots report none.
    """

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    is_exact: bool = False
