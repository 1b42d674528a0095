"""What Redis said when it answered and would not work: a wrong password, a missing database, full memory.

Such a Redis is not away, and nothing but its own words tells the operator what to do.
"""

import re
from typing import Final

from redis.exceptions import AuthenticationError, AuthorizationError, BusyLoadingError, RedisError, ResponseError

from proxy.core.failures import StoreUnavailable


class StoreRefused(StoreUnavailable):
    """Redis refused this one call, and would again; ``reason`` has its words."""


#: Most letters of what Redis said.
_MAX_LETTERS: Final = 200
#: Where in a script it happened.
_PLACE: Final = re.compile(r"\s*script: [0-9a-f]+, on @user_script:\d+\.?$")
#: What redis-py raises as a lost connection although Redis answered.
_FULL: Final = "max number of clients reached"


def refusal_of(error: BaseException) -> str:
    """What Redis answered, in its own words, or "" when it did not answer. Redis repeats no secret."""
    is_answer = isinstance(error, ResponseError | AuthenticationError | AuthorizationError | BusyLoadingError)
    words = " ".join(str(error).split())
    if not isinstance(error, RedisError) or not (is_answer or _FULL in words):
        return ""
    code = f"{error.status_code} " if error.status_code else ""
    return f"{code}{_PLACE.sub('', words)}"[:_MAX_LETTERS]


def is_absence(error: BaseException | None) -> bool:
    """Whether a call failed because Redis was not there, or not fit to work, so that it is worth another try."""
    return isinstance(error, StoreUnavailable) and not isinstance(error, StoreRefused)
