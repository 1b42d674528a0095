"""What an operator is told at the start: that the server listens, with what, and which settings are risky.

``python -m proxy check`` says the same of the settings, without a start.
"""

import logging
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Final

from proxy.credentials import AccessToken
from proxy.settings import Settings
from proxy.store.embedded import embedded_url
from proxy.urls import http_url, url_host, without_credentials

_log = logging.getLogger(__name__)

#: What clients may speak.
DIALECTS: Final = "openai, anthropic"
#: go-openai (1.43) ends a stream after 300 lines in a row without data. A heartbeat is two, so at 5 s it waits for
#: 12 minutes, longer than any answer may take with the defaults.
LEAST_SAFE_HEARTBEAT_S: Final = 5.0


def log_serving(settings: Settings) -> None:
    """One line: the port takes requests."""
    is_embedded = settings.redis_url == embedded_url(settings.data_dir)
    facts = {
        "address": http_url(settings.host, settings.port),
        "dialects": DIALECTS,
        "keys": len(settings.poe_api_keys),
        "accounts": len({key.account_id for key in settings.poe_api_keys}),
        "caller_keys": "allowed" if settings.caller_keys_allowed else "refused",
        "outbound_proxy": outbound_of(settings),
        "redis": "embedded" if is_embedded else without_credentials(settings.redis_url),
        "workers": settings.workers,
        "admin": "/admin" if settings.admin_tokens else "off",
    }
    _log.info("serving", extra=facts)


def outbound_of(settings: Settings) -> str:
    """The outbound proxy of each upstream, without credentials; ``none`` where all are reached directly."""
    proxies = {
        url_host(url): str(settings.outbound.proxy_for(url) or "none")
        for url in (settings.poe_base_url, settings.poe_upload_url)
    }
    if len(set(proxies.values())) == 1:
        return next(iter(proxies.values()))
    return ", ".join(f"{proxy} for {host}" for host, proxy in proxies.items())


def log_warnings(settings: Settings) -> None:
    """One line for each setting that is risky."""
    for warning in warnings_of(settings):
        _log.warning("%s", warning)


def warnings_of(settings: Settings) -> list[str]:
    """Settings that can be used, and may not do what was meant. Names them; tells no secret."""
    return [*_about_callers(settings), *_about_models(settings), *_about_streams(settings)]


def _about_callers(settings: Settings) -> Iterator[str]:
    if not settings.poe_api_keys:
        yield "POE_API_KEYS is not set: any bearer that a caller sends is used as that caller's own Poe key"
    elif settings.caller_keys_allowed:
        yield "ALLOW_CALLER_KEYS is true: a bearer that is no token of yours is sent to Poe as a key"
    for name, tokens in (("ACCESS_TOKENS", settings.access_tokens), ("ADMIN_TOKENS", settings.admin_tokens)):
        if weak := _named(token for token in tokens if token.is_weak):
            yield f"{name}: easy to guess: {weak}; `openssl rand -hex 24` makes a good token"


def _about_models(settings: Settings) -> Iterator[str]:
    name = settings.default_model
    bot = settings.model_aliases.get(name.lower(), name).lower()
    if not any(fnmatchcase(bot, pattern) for pattern in settings.allowed_models):
        yield f"DEFAULT_MODEL: ALLOWED_MODELS leaves {name!r} out, so a request that names no model is a 404"


def _about_streams(settings: Settings) -> Iterator[str]:
    if settings.heartbeat_s < LEAST_SAFE_HEARTBEAT_S:
        yield (
            f"HEARTBEAT_S: below {LEAST_SAFE_HEARTBEAT_S:g}, clients that count empty lines (go-openai ends at 300) "
            f"may give up after {150 * settings.heartbeat_s:.0f} s of silence"
        )


def _named(tokens: Iterator[AccessToken]) -> str:
    names = [token.name for token in tokens]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
