"""What one call used, in tokens. Pure."""

from typing import NamedTuple


class Usage(NamedTuple):
    """Token counts of one call, the end of every answer; estimates, since Poe reports none.

    Attributes:
        completion_tokens: of all choices, reasoning included.
    """

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0
