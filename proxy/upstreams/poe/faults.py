"""What Poe's statuses, error types and words mean: the one place where message text is read.

A fault is looked up by its machine-readable type first, then by Poe's words, then by HTTP status. Out of
points stands before rate limit everywhere, because "no points" also arrives as 429. Sources of the
words: recorded answers and issue threads of other proxies; Poe documents only the statuses.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from proxy.core.failures import (
    FeatureRefused,
    KeyRefused,
    ModelNotFound,
    OutOfPoints,
    PoeError,
    PoeFailed,
    PoeTimeout,
    PromptTooLong,
    RateLimited,
    RefusedByBot,
    RefusedByPolicy,
    SubscriptionRequired,
)
from proxy.upstreams.poe.doubtful import ProviderLimited, RefusedHere, RefusedWithoutReason
from proxy.upstreams.poe.rate_limits import MAX_RETRY_AFTER_S, parse_rate_limits, parse_retry_after
from proxy.upstreams.poe.sse import EventSplitter
from proxy.upstreams.poe.wording import message_of

_MAX_SAID = 300
#: Whose words a caller reads. What comes as an event may be the bot's author's.
_POE: Final = "Poe"
_THE_BOT: Final = "the bot"

_BY_TYPE: Final[dict[str, type[PoeError]]] = {
    "insufficient_fund": OutOfPoints,
    "insufficient_quota": OutOfPoints,
    "insufficient_credits": OutOfPoints,
    "insufficient_points": OutOfPoints,
    "billing_error": OutOfPoints,
    "subscription_required": SubscriptionRequired,
    "rate_limit_error": RateLimited,
    "rate_limit_exceeded": RateLimited,
    "authentication_error": KeyRefused,
    "invalid_api_key": KeyRefused,
    "not_found_error": ModelNotFound,
    "model_not_found": ModelNotFound,
    "bot_not_api_accessible": ModelNotFound,
    "model_not_accessible_for_this_key": ModelNotFound,
    "user_message_too_long": PromptTooLong,
    "context_length_exceeded": PromptTooLong,
    "request_too_large": PromptTooLong,
    "moderation_error": RefusedByPolicy,
    "privacy_authorization_error": RefusedByPolicy,
    "user_caused_error": RefusedByBot,
    "unsupported_feature_for_model": FeatureRefused,
    "timeout_error": PoeTimeout,
}

#: Without words of Poe's: what the kind's own message would not say.
_MESSAGES: Final = {
    "privacy_authorization_error": "This model needs an authorization that the Poe account has not given.",
}

_BY_WORDS: Final[tuple[tuple[re.Pattern[str], type[PoeError]], ...]] = tuple(
    (re.compile(words, re.IGNORECASE), fault)
    for words, fault in (
        (r"(requires?|needs?) an active poe subscription", SubscriptionRequired),
        (r"used up your points|enough points|needs more points|insufficient (funds?|points|credits)", OutOfPoints),
        (r"exceeded rate limit|rate limit (exceeded|reached)|too many requests", RateLimited),
        (r"(incorrect|invalid) api key", KeyRefused),
        (r"bot does not exist|cannot access private bots|does not support api access", ModelNotFound),
        (r"does not exist or you do not have access|^model \S+ not found", ModelNotFound),
        (r"(does not|doesn't|do not|don't|cannot|can't) support (the )?(use of )?(tool|function)", FeatureRefused),
        (r"(tool|function)s?( use| calls?| calling)? (is|are) (currently )?not (supported|available)", FeatureRefused),
        (r"that support tool use", FeatureRefused),
        (r"(message|prompt|input) (is )?too long|maximum context length|context (window|limit)", PromptTooLong),
        (r"input tok(en count|ens)( \(\d+\))? exceeds? the (maximum|configured)", PromptTooLong),
    )
)

#: What words say more exactly than that the caller is at fault.
_OF_THE_REQUEST: Final = (FeatureRefused, PromptTooLong)

#: How Poe itself says in an event that an account is limited. Other words come from a bot or its provider.
_POES_LIMIT: Final = re.compile(r"exceeded rate limit", re.IGNORECASE)

#: What a 400 or 403 says that is about the key or its account; others may be answered.
_ABOUT_THE_KEY: Final = re.compile(
    r"credit balance|\bbilling\b|permission"
    r"|(this|your|the) (api )?(key|account|plan|organi[sz]ation|project|subscription)\b"
    r"|(available|enabled|allowed|permitted|authori[sz]ed|supported) (for|to|on|in|with|by) (this|your|the) \w+",
    re.IGNORECASE,
)
#: What a 403 says that is about the request: asked again with another account it would be refused again.
_ABOUT_THE_REQUEST: Final = re.compile(
    r"polic(y|ies)|moderat|safety|content|violat|flagged|inappropriate|guideline|prohibited|harmful|terms of",
    re.IGNORECASE,
)

_BY_STATUS: Final[dict[int, type[PoeError]]] = {
    400: RefusedByBot,
    401: KeyRefused,
    402: OutOfPoints,
    403: RefusedByPolicy,
    404: ModelNotFound,
    408: PoeTimeout,
    413: PromptTooLong,
    415: RefusedByBot,
    422: RefusedByBot,
    429: RateLimited,
    504: PoeTimeout,
}


class ErrorWords(NamedTuple):
    """An error body, read.

    Attributes:
        types: machine-readable types and codes.
        text: in words.
        speaker: whose words they are; "" when they are nobody's, like a page of HTML.
        fields: the error object; empty where there is none.
    """

    types: tuple[str, ...]
    text: str
    speaker: str
    fields: Mapping[str, Any] = {}


def fault_of_event(error_type: str, text: str, *, key: str = "") -> PoeError:
    """The fault that a bot's ``error`` event stands for. ``key`` is kept out of what Poe said.

    The event's text may be the bot's author's and may quote the conversation, so for the log only its type is kept.
    """
    kind = kind_of((error_type,), text, status=500)
    if kind is RateLimited and not says_poes_limit(text):
        kind = ProviderLimited
    message = message_of(kind, text, speaker=_THE_BOT, key=key) or _MESSAGES.get(error_type)
    return kind(message, said=words_for_log(error_type, key=key))


def fault_of_response(status: int, headers: Mapping[str, str], body: bytes, *, key: str = "") -> PoeError:
    """The fault that an answer with this status (anything but a 200 event stream) stands for.

    ``key`` is kept out of what Poe said.
    """
    error = read_error(body)
    kind = kind_of(error.types, error.text, status=status)
    return kind(
        message_of(kind, error.text, speaker=error.speaker, key=key),
        said=words_for_log(str(status), *error.types, error.text, key=key),
        retry_after_s=stated_wait_s(kind, headers),
        http_status=status,
    )


def stated_wait_s(kind: type[PoeError], headers: Mapping[str, str]) -> float | None:
    """Retry-After, or for a rate limit without one the time to the reset of its window."""
    wait_s = parse_retry_after(headers.get("retry-after"))
    limits = parse_rate_limits(headers) if wait_s is None and kind is RateLimited else None
    # A window that has been reset already would not have refused the request: such a time says nothing.
    return min(limits.reset_s, MAX_RETRY_AFTER_S) if limits and limits.reset_s else wait_s


def says_poes_limit(text: str) -> bool:
    """Whether Poe itself says that an account is limited, in its own words."""
    return _POES_LIMIT.search(text) is not None


def kind_of(types: tuple[str, ...], words: str, *, status: int) -> type[PoeError]:
    """The kind of failure that an error's types and words stand for, and where they say nothing, its status."""
    named = {_BY_TYPE[kind] for kind in types if kind in _BY_TYPE}
    if OutOfPoints in named:
        # "insufficient_quota" is also how Poe labels a missing subscription; its words tell the two apart.
        return SubscriptionRequired if _BY_WORDS[0][0].search(words) else OutOfPoints
    for kind in types:
        if kind in _BY_TYPE and _BY_TYPE[kind] not in (RateLimited, RefusedByBot):
            return _BY_TYPE[kind]
    for pattern, fault in _BY_WORDS:
        if pattern.search(words) and (RefusedByBot not in named or fault in _OF_THE_REQUEST):
            return fault
    if named:
        return RateLimited if RateLimited in named else RefusedByBot
    if status in (400, 403):
        return _refusal(" ".join((*types, words)), status=status)
    return _BY_STATUS.get(status, RefusedByBot if 400 <= status < 500 else PoeFailed)


def _refusal(words: str, *, status: int) -> type[PoeError]:
    """Whose fault a 400 or a 403 is: the caller's, the account's, or nobody knows."""
    if _ABOUT_THE_REQUEST.search(words):
        return _BY_STATUS[status]
    if _ABOUT_THE_KEY.search(words):
        return RefusedHere
    return RefusedWithoutReason if status == 403 else _BY_STATUS[status]


def read_error(body: bytes) -> ErrorWords:
    """An error body in any of the shapes that Poe has sent."""
    try:
        return error_of(orjson.loads(body))
    except orjson.JSONDecodeError:
        return _error_of_text(body)


def error_of(error: Any) -> ErrorWords:
    """The same of its parsed JSON."""
    if isinstance(error, dict):
        error = error.get("error", error.get("detail", error))
    if not isinstance(error, dict):
        return ErrorWords((), str(error), _POE if isinstance(error, str) else "")
    types = tuple(str(error[key]) for key in ("code", "type", "error_type") if isinstance(error.get(key), str))
    words = error.get("message") or error.get("text") or ""
    return ErrorWords(types, str(words), _POE if isinstance(words, str) else "", error)


def _error_of_text(body: bytes) -> ErrorWords:
    """An event stream with an error event, or any other text."""
    splitter = EventSplitter()
    for event in splitter.feed(body) + splitter.finish():
        if event.name == "error" and isinstance(failure := _json_of(event.data), dict):
            return error_of(failure)._replace(speaker=_THE_BOT)
    return ErrorWords((), body[:2000].decode(errors="replace"), "")


def _json_of(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def words_for_log(*parts: str, key: str) -> str:
    """Poe's words on one line, capped, for the operator's log. They may quote the key, which is no log's business."""
    words = " ".join(" ".join(part.split()) for part in parts if part)
    return (words.replace(key, "[key]") if key else words)[:_MAX_SAID]
