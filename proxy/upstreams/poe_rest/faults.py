"""What errors of Poe's REST endpoints mean, beyond what all of Poe's APIs have alike (``poe/faults.py``). Pure.

Behind the endpoints stand the models' providers, whose errors Poe passes on: in their own words, behind a prefix of
LiteLLM's, or as JSON within the message. A provider knows Poe's account with it, and nothing of ours:

============================ =========================== ======================================
an error says                of Poe                      of the provider
============================ =========================== ======================================
too many requests            ``RateLimited`` (account)   ``ProviderLimited`` (this model alone)
the key is wrong, no points, as ``poe/faults.py`` has it ``PoeFailed`` (the model's failure)
not for this account
the endpoint does not serve  ``EndpointRefused``         ``EndpointRefused``
this model
anything else                as ``poe/faults.py`` has it the same
============================ =========================== ======================================

Poe's own limit is known by its words, or by headers with no requests left; a provider's by ``error_id``, by requests
that are left, or by what else shows that it is the provider's. An error within a stream has no headers: without Poe's
words it is the provider's.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from proxy.core.failures import KeyRefused, OutOfPoints, PoeError, PoeFailed, RateLimited, SubscriptionRequired
from proxy.upstreams.poe.doubtful import ProviderLimited, RefusedHere
from proxy.upstreams.poe.faults import (
    ErrorWords,
    error_of,
    kind_of,
    read_error,
    says_poes_limit,
    stated_wait_s,
    words_for_log,
)
from proxy.upstreams.poe.rate_limits import parse_rate_limits
from proxy.upstreams.poe.responses import fault_of
from proxy.upstreams.poe.wording import message_of, quotes
from proxy.upstreams.poe_rest.refused_thoughts import ThoughtsRefused
from proxy.upstreams.poe_rest.unserved import EndpointRefused

#: How an endpoint says that it does not serve the model. These words must begin the message: further on they may be
#: the caller's, quoted.
_DOES_NOT_SERVE: Final = re.compile(
    r"(the |this )?model does not support (the )?\w+( \w+)? (method|endpoint)\b"
    r"|token unit price not found"
    r"|(the |this )?(model )?is not a chat model|this is not a chat model"
    r"|(the |this )?model is only supported in v1/"
    r"|invalid url \(",
    re.IGNORECASE,
)
_REFUSALS: Final = (400, 404, 405)

#: How Anthropic and OpenAI say that they did not sign the thoughts of an earlier answer, or miss them.
_REFUSES_THOUGHTS: Final = re.compile(
    r"invalid `(signature|data)` in `(redacted_)?thinking`|expected `thinking` or `redacted_thinking`"
    r"|encrypted[ _]content .{0,200}(could not be|cannot be|failed to be) (verified|decrypted|parsed)",
    re.IGNORECASE | re.DOTALL,
)
_ENCRYPTED: Final = "invalid_encrypted_content"

#: What LiteLLM puts before a provider's words.
_PREFIX: Final = re.compile(r"litellm\.\w+: (?:\w+Error: )?(?:\w+Exception - )?|\w+Exception - ")
_PROVIDERS_TYPES: Final = frozenset({"provider_error", "overloaded_error"})
_PROVIDERS_WORDS: Final = re.compile(
    r"^error from \w+:|resource (has been )?exhausted|organi[sz]ation|overloaded|tokens? per (min|day)", re.IGNORECASE
)
#: What a provider says of the account that asks it, which is Poe's own.
_OF_THE_PROVIDER: Final[dict[type[PoeError], type[PoeError]]] = {
    RateLimited: ProviderLimited,
    KeyRefused: PoeFailed,
    OutOfPoints: PoeFailed,
    SubscriptionRequired: PoeFailed,
    RefusedHere: PoeFailed,
}

#: The status that an error within a stream would have had.
_STATUS_OF_TYPE: Final = {
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}

#: A provider's error may be wrapped so often.
_MAX_WRAPPINGS: Final = 3
_MAX_PARAM: Final = 200
_PARAM: Final = re.compile(r"[\w.\[\]-]+", re.ASCII)
#: How messages name the field that is wrong: ``tools.0.name: Field required``, ``Unsupported parameter: 'top_k'``.
_FIELD: Final = re.compile(
    r"([a-z]\w*(?:[.\[][\w\]-]+)+): |([a-z]\w*): (?=Extra inputs|Field required|Input should)"
    r"|(?:Unsupported|Unknown|Missing required|Invalid) parameter: '([\w.\[\]-]+)'"
)


def fault_of_answer(status: int, content_type: str, headers: Mapping[str, str], body: bytes, key: str) -> PoeError:
    """The fault that an answer of any of the endpoints stands for which is not what was asked for.

    ``key`` is kept out of it.
    """
    if status < 400:
        return fault_of(status, content_type, headers, body, key)
    error = _unwrapped(read_error(body))
    remaining = limits.remaining if (limits := parse_rate_limits(headers)) else None
    in_doubt = not error.is_providers and remaining is None and "error_id" not in error.words.fields
    kind = _kind(error, status, is_poes_limit=remaining == 0 or in_doubt)
    fault = _fault(kind, error.words, key, status=status)
    fault.retry_after_s, fault.http_status = stated_wait_s(kind, headers), status
    return fault


def fault_of_error_event(data: dict[str, Any], *, key: str = "") -> PoeError:
    """The fault of an error within a stream, in any vendor's form, or of a response that failed or its ``error``."""
    response = data.get("response")
    error = _unwrapped(error_of(response if isinstance(response, dict) else data))
    status = _status_of(error.words)
    return _fault(_kind(error, status, is_poes_limit=False), error.words, key, status=status)


class _Unwrapped(NamedTuple):
    """An error in the words of the one that made it; ``is_providers``: it was not Poe."""

    words: ErrorWords
    is_providers: bool


def _unwrapped(error: ErrorWords) -> _Unwrapped:
    """What is behind LiteLLM's prefixes, and within a message that is JSON."""
    is_wrapped = False
    for _ in range(_MAX_WRAPPINGS):
        text = error.text.strip()
        bare = text[prefix.end() :] if (prefix := _PREFIX.match(text)) else text
        inner = error_of(_json_within(bare))
        if not inner.fields and prefix is None:
            break
        is_wrapped = True
        if inner.fields:
            error = ErrorWords(
                (*inner.types, *error.types), inner.text, error.speaker, {**error.fields, **inner.fields}
            )
        else:
            error = error._replace(text=bare)
    by_type = not _PROVIDERS_TYPES.isdisjoint(error.types)
    return _Unwrapped(error, is_wrapped or by_type or _PROVIDERS_WORDS.search(error.text) is not None)


def _json_within(text: str) -> Any:
    """Providers send an error, or a list with one."""
    if not text.startswith(("{", "[")):
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value[0] if isinstance(value, list) and value else value


def _kind(error: _Unwrapped, status: int, *, is_poes_limit: bool) -> type[PoeError]:
    words, is_providers = error
    if _refuses_the_model(words, status):
        return EndpointRefused
    if status == 400 and (_ENCRYPTED in words.types or _REFUSES_THOUGHTS.search(words.text)):
        return ThoughtsRefused
    kind = kind_of(words.types, words.text, status=status)
    if kind is RateLimited and (is_poes_limit or (says_poes_limit(words.text) and not is_providers)):
        return RateLimited
    if kind is RateLimited or is_providers:
        return _OF_THE_PROVIDER.get(kind, kind)
    return kind


def _refuses_the_model(error: ErrorWords, status: int) -> bool:
    if status not in _REFUSALS:
        return False
    if status == 405 or _DOES_NOT_SERVE.match(error.text):
        return True
    return status == 404 and ("api_error" in error.types or _is_of_no_route(error))


def _is_of_no_route(error: ErrorWords) -> bool:
    """Whether a 404 is about the URL: a server that looks for a model says so in an object."""
    return not error.fields and (not error.speaker or error.text.lower() == "not found")


def _status_of(error: ErrorWords) -> int:
    """The status that an error within a stream would have had as an answer."""
    code = str(error.fields.get("code"))
    if re.fullmatch("[45][0-9][0-9]", code):  # LiteLLM's code is a status
        return int(code)
    known = [_STATUS_OF_TYPE[kind] for kind in error.types if kind in _STATUS_OF_TYPE]
    return known[0] if known else 400 if any(kind.startswith("invalid_") for kind in error.types) else 500


def _fault(kind: type[PoeError], error: ErrorWords, key: str, *, status: int) -> PoeError:
    message = message_of(kind, error.text, speaker=error.speaker, key=key)
    return kind(
        message,
        param=_param(error, key) if message else None,
        said=words_for_log(str(status), *error.types, error.text, key=key),
    )


def _param(error: ErrorWords, key: str) -> str | None:
    """The field at fault, as the endpoint names it."""
    stated = error.fields.get("param")
    if not isinstance(stated, str) or stated in ("", "None"):
        named = _FIELD.match(error.text)
        stated = named[named.lastindex or 0] if named else ""
    if len(stated) > _MAX_PARAM or not _PARAM.fullmatch(stated) or quotes(key, stated):
        return None
    return stated
