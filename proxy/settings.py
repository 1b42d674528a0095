"""All configuration: environment variables, parsed once into one frozen, picklable value.

Owns names, defaults, parsing and the wording of every configuration problem. Knows nothing of what
the settings are used for. Secrets never show in a ``repr`` or in a problem.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AliasChoices, BeforeValidator, Field, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from proxy.credentials import (
    AccessToken,
    PoeKey,
    UnusableFile,
    fingerprint,
    parse_access_tokens,
    parse_poe_keys,
    repeated_credentials,
)
from proxy.outbound import (
    Exemptions,
    Outbound,
    OutboundProxy,
    UnusableProxy,
    parse_exemptions,
    parse_fallback_proxy,
    parse_proxy,
)
from proxy.setting_models import DEFAULT_ALIASES, Upstream, parse_aliases, parse_globs, parse_model_upstreams
from proxy.setting_names import misspelt
from proxy.setting_sources import PROXY_NAMES, SECRET_NAMES, ProxyVariables, SecretFiles
from proxy.urls import parse_base_url, parse_host, parse_redis_url, parse_upload_url

__all__ = [
    "PROXY_NAMES",
    "SECRET_NAMES",
    "SETTING_NAMES",
    "AccessToken",
    "PoeKey",
    "Settings",
    "SettingsError",
    "fingerprint",
    "load_settings",
    "parse_access_tokens",
    "parse_poe_keys",
]

_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,32}")


class SettingsError(Exception):
    """The configuration cannot be used; ``problems`` names each fault, without any secret."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def _parse_redis_url(value: object) -> str:
    if isinstance(value, UnusableFile):
        raise ValueError(value.problem)  # noqa: TRY004 - pydantic turns ValueErrors into problems
    return parse_redis_url(value)


def _in_lower_case(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _parse_namespace(value: object) -> str:
    if not _NAMESPACE.fullmatch(str(value)):
        raise ValueError("must be 1 to 32 of A-Z a-z 0-9 _ . -")
    return str(value)


Seconds = Annotated[float, Field(gt=0, le=86_400)]


def _parsed(parse: Callable[[object], object]) -> tuple[object, ...]:
    """Annotations of a field that arrives as one string and is parsed by ``parse``."""
    return (NoDecode, BeforeValidator(parse))


class Settings(BaseSettings):
    """What the operator may set. The README's table is checked against this class by a test."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, validate_default=True)

    poe_api_keys: Annotated[tuple[PoeKey, ...], *_parsed(parse_poe_keys)] = Field(
        default=(),
        validation_alias=AliasChoices("poe_api_keys", "poe_api_key"),
        description="Poe keys, comma list of `[account:]key`. Keys with one account label share points and rate limit. "
        "Also read from `POE_API_KEY`.",
    )
    access_tokens: Annotated[tuple[AccessToken, ...], *_parsed(parse_access_tokens)] = Field(
        default=(),
        description="Tokens your clients use, comma list of `[name:]token`. Required with `POE_API_KEYS`.",
    )
    admin_tokens: Annotated[tuple[AccessToken, ...], *_parsed(parse_access_tokens)] = Field(
        default=(),
        description="Tokens of operators, comma list of `[name:]token`. They open the page at `/admin`, which does not "
        "exist without them. One sent as `x-admin-token` beside a request has the answer tell in `x-why` why it got "
        "which key.",
    )
    allow_caller_keys: bool | None = Field(
        default=None,
        description="Use a bearer that is no token of ours as the caller's own Poe key. "
        "Default: true exactly when `POE_API_KEYS` is empty.",
    )
    redis_url: Annotated[str, *_parsed(_parse_redis_url)] = Field(
        default="embedded",
        repr=False,
        description="`redis://`, `rediss://`, `unix://`, `redis+sentinel://host,host/name` or `redis+cluster://host,host`"
        "; `embedded` starts the bundled Valkey beside the workers.",
    )
    redis_namespace: Annotated[str, BeforeValidator(_parse_namespace)] = Field(
        default="poe", description="Prefix of every key in Redis."
    )
    redis_timeout_s: Annotated[float, Field(gt=0, le=10)] = Field(
        default=2,
        description="Longest that a request waits for one answer of Redis, in seconds. It waits four round trips, "
        "or 0.25 s where those are shorter, but never longer than this.",
    )
    data_dir: Path = Field(default=Path("data"), description="Where the embedded Valkey keeps its file and socket.")
    host: Annotated[str, BeforeValidator(parse_host)] = Field(default="0.0.0.0", description="Address to listen on.")  # noqa: S104 - a container must be reachable
    port: int = Field(default=10_000, ge=1, le=65_535, description="Port to listen on.")
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        description="Worker processes. Default: one per CPU. One worker runs in a single process.",
    )
    poe_base_url: Annotated[str, BeforeValidator(parse_base_url)] = Field(
        default="https://api.poe.com",
        validation_alias=AliasChoices("poe_base_url", "base"),
        description="Poe's API; also read from `BASE`, with or without a trailing `/bot/`.",
    )
    poe_upload_url: Annotated[str, BeforeValidator(parse_upload_url)] = Field(
        default="https://www.quora.com/poe_api/", description="Where Poe takes files that come with a message."
    )
    https_proxy: Annotated[OutboundProxy | None, *_parsed(parse_proxy)] = Field(
        default=None,
        description="Outbound proxy for `https://` upstreams: `http://user:password@host:port`, or `https://`.",
    )
    http_proxy: Annotated[OutboundProxy | None, *_parsed(parse_proxy)] = Field(
        default=None, description="Outbound proxy for `http://` upstreams."
    )
    all_proxy: Annotated[OutboundProxy | UnusableProxy | None, *_parsed(parse_fallback_proxy)] = Field(
        default=None, description="Outbound proxy for upstreams of a kind that has none of its own."
    )
    no_proxy: Annotated[Exemptions, *_parsed(parse_exemptions)] = Field(
        default=Exemptions(),
        description="Upstreams that are reached directly, comma list: `*`, hosts with all below them, addresses, "
        "networks such as `10.0.0.0/8`, each with `:port` or without.",
    )
    default_model: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        default="Assistant",
        min_length=1,
        validation_alias=AliasChoices("default_model", "bot"),
        description="Bot used when a request names no model; also read from `BOT`.",
    )
    model_aliases: Annotated[dict[str, str], *_parsed(parse_aliases)] = Field(
        default_factory=lambda: parse_aliases(DEFAULT_ALIASES),
        description="Other names for bots, comma list of `name=Bot`. Default: a few well-known names.",
    )
    claude_code_aliases: Annotated[Literal["on", "off"], BeforeValidator(_in_lower_case)] = Field(
        default="on", description="Shows Claude Code every bot that calls tools, under names that begin with `claude-`."
    )
    allowed_models: Annotated[tuple[str, ...], *_parsed(parse_globs)] = Field(
        default=("*",), description="Which bots clients may use, comma list of glob patterns, any case."
    )
    poe_upstream: Annotated[Literal["auto", "bot"], BeforeValidator(_in_lower_case)] = Field(
        default="auto",
        description="How models are asked: `auto` takes that of Poe's REST endpoints which is the model's own, where "
        "Poe lists one, and the bot protocol for all others; `bot` takes the bot protocol for all.",
    )
    model_upstreams: Annotated[tuple[tuple[str, Upstream], ...], *_parsed(parse_model_upstreams)] = Field(
        default=(),
        description="Exceptions from `POE_UPSTREAM`, comma list of `glob=upstream`; the first that matches counts. "
        "`upstream` is `auto`, `bot`, `chat`, `messages` or `responses`.",
    )
    prompt_cache: Annotated[Literal["auto", "off"], BeforeValidator(_in_lower_case)] = Field(
        default="auto",
        description="Marks what Claude's provider shall cache, for clients that do not: in conversations that are "
        "going to go on.",
    )
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        default=9091,
        description="Port of Prometheus's page, `/metrics`, at the same address; 0 = none. Keep it private.",
    )
    log_format: Annotated[Literal["auto", "json", "text"], BeforeValidator(_in_lower_case)] = Field(
        default="auto", description="`json`, `text`, or `auto`: JSON unless standard error is a terminal."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_in_lower_case)] = Field(
        default="info", description="Least level logged."
    )
    max_attempts: int = Field(
        default=3, ge=1, le=10, description="Keys tried for one request before its first visible text."
    )
    failover_budget_s: Seconds = Field(
        default=30, description="Seconds after which no further key is tried for a request."
    )
    key_wait_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=10, description="Seconds a request waits for a key when none is ready; 0 answers 429 at once."
    )
    key_wait_queue: int = Field(
        default=1000, ge=0, le=100_000, description="Requests that may wait for a key at once, in each worker."
    )
    client_wait_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=10,
        description="Seconds a managed client's request waits for one of its others to end, when it may have no more "
        "at once; 0 answers 429 at once.",
    )
    rpm_per_account: int = Field(
        default=500, ge=0, le=100_000, description="Requests a minute that one account may make; 0 = no limit."
    )
    max_in_flight_per_key: int = Field(
        default=0, ge=0, le=100_000, description="Requests under way with one key at once; 0 = no limit."
    )
    session_affinity_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=3600,
        description="Seconds after its last request in which a conversation keeps its account, for the provider's "
        "cache; 0 = not at all.",
    )
    balance_every_s: Seconds = Field(
        default=600, description="Seconds between two looks at a key's balance. They cost no points."
    )
    points_every_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=900,
        description="Seconds between two looks at what an account's queries cost in points; 0 = never. They cost none.",
    )
    commit_hold_s: Seconds = Field(
        default=10, description="Seconds a stream waits for its first visible text before it opens with heartbeats."
    )
    heartbeat_s: Seconds = Field(default=10, description="Seconds of silence filled with a `: ping` comment.")
    cooldown_base_s: Seconds = Field(default=5, description="First guessed cooldown of a key, in seconds; doubles.")
    cooldown_cap_s: Seconds = Field(default=300, description="Longest guessed cooldown, in seconds.")
    connect_timeout_s: Seconds = Field(default=5, description="Seconds to connect to Poe.")
    connect_patience_s: Annotated[float, Field(ge=0, le=60)] = Field(
        default=5,
        description="Seconds a request waits for a connection while none to Poe can be made; 0 = one try.",
    )
    first_event_s: Seconds = Field(default=120, description="Seconds Poe may take until its first event.")
    upstream_idle_s: Seconds = Field(default=120, description="Seconds of silence allowed within an answer.")
    upstream_total_s: Seconds = Field(default=600, description="Seconds a whole answer may take.")
    catalogue_ttl_s: Seconds = Field(
        default=3600, description="Seconds before the list of models is fetched from Poe again."
    )
    drain_timeout_s: Seconds = Field(
        default=25,
        description="Seconds that calls under way get to finish after SIGTERM; then they end with an error event.",
    )
    drain_notice_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=1,
        description="Seconds of these in which the port stays open and `/ready` says `draining`, for balancers.",
    )
    max_body_bytes: int = Field(
        default=33_554_432, ge=1024, le=1 << 30, description="Largest request body accepted, in bytes."
    )
    max_bodies_bytes: int = Field(
        default=0,
        ge=0,
        le=1 << 34,
        description="Most that the bodies of all requests under way in a worker take, in bytes; a large one waits for "
        "its place up to 10 s. At least 4 x `MAX_BODY_BYTES`, which 0 stands for.",
    )
    max_answer_bytes: int = Field(
        default=33_554_432,
        ge=1024,
        le=1 << 30,
        description="Largest answer that is kept until it is whole, in bytes of text; all choices together. A stream, "
        "which is not kept, may have 16 times as much.",
    )
    max_attachment_bytes: int = Field(
        default=20_971_520, ge=1024, le=1 << 30, description="Largest file within a request, decoded, in bytes."
    )

    @property
    def bodies_bytes(self) -> int:
        """Most that all bodies in a worker may take."""
        return self.max_bodies_bytes or 4 * self.max_body_bytes

    @property
    def caller_keys_allowed(self) -> bool:
        """Whether callers may bring their own Poe key."""
        return not self.poe_api_keys if self.allow_caller_keys is None else self.allow_caller_keys

    @property
    def outbound(self) -> Outbound:
        """Which outbound proxy leads to which upstream."""
        fallback = self.all_proxy if isinstance(self.all_proxy, OutboundProxy) else None
        return Outbound(self.https_proxy or fallback, self.http_proxy or fallback, self.no_proxy)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings' signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read ``NAME_FILE`` beside the environment; no ``.env`` file and no secrets directory."""
        return init_settings, SecretFiles(settings_cls), ProxyVariables(settings_cls), env_settings


#: Every name that is a setting, in upper case, with the other names of some.
SETTING_NAMES: Final = frozenset(
    str(name).upper()
    for field_name, field in Settings.model_fields.items()
    for name in (field_name, *getattr(field.validation_alias, "choices", ()))
)


def load_settings() -> Settings:
    """The settings in the environment.

    Raises:
        SettingsError: naming every problem at once, in the operator's words, with no secret in it.
    """
    environment = {name.upper(): value for name, value in os.environ.items()}
    quoted = _quoted(environment)
    others = _contradictions(environment) + misspelt(environment, SETTING_NAMES, SECRET_NAMES)
    try:
        settings = Settings()
    except ValidationError as error:
        faults = [_in_words(fault["loc"], fault["msg"]) for fault in error.errors(include_input=False)]
        faults = [fault for fault in faults if fault.partition(":")[0] not in quoted]
        raise SettingsError([*quoted.values(), *faults, *others]) from None
    if 0 < settings.max_bodies_bytes < 4 * settings.max_body_bytes:
        others.append("MAX_BODIES_BYTES: must be at least 4 x MAX_BODY_BYTES, or 0 for that much")
    if settings.metrics_port == settings.port:
        others.append("METRICS_PORT: must not be PORT: what is there is public")
    others += _unusable_fallback(settings)
    others += repeated_credentials(settings.poe_api_keys, settings.access_tokens, settings.admin_tokens)
    if quoted or others:
        raise SettingsError([*quoted.values(), *others])
    return settings


def _unusable_fallback(settings: Settings) -> list[str]:
    """ALL_PROXY, when it cannot be used and an upstream would be asked through it."""
    fallback = settings.all_proxy
    if not isinstance(fallback, UnusableProxy):
        return []
    instead = OutboundProxy("http", "unusable", 80)
    outbound = settings.model_copy(update={"all_proxy": instead}).outbound
    is_used = instead in [outbound.proxy_for(url) for url in (settings.poe_base_url, settings.poe_upload_url)]
    return [f"ALL_PROXY: {fallback.problem}"] if is_used else []


def _quoted(environment: Mapping[str, str]) -> dict[str, str]:
    """A problem by the name of each setting whose value is within quotation marks.

    A shell takes them away; ``docker run --env-file`` and many a web form do not.
    """
    quotes = {f"{mark}{mark}" for mark in ("'", '"')}
    named = {name: environment.get(name, "").strip() for name in SETTING_NAMES}
    return {
        name: f"{name}: quotation marks are part of the value here; leave them out"
        for name, value in named.items()
        if len(value) > 1 and value[0] + value[-1] in quotes
    }


def _contradictions(environment: Mapping[str, str]) -> list[str]:
    """Settings that do not go together; judged on what is set, so that they show beside other faults."""

    def is_set(*names: str) -> bool:
        return any(environment.get(name, "").strip() or environment.get(f"{name}_FILE") for name in names)

    has_keys, has_tokens = is_set("POE_API_KEYS", "POE_API_KEY"), is_set("ACCESS_TOKENS")
    own_keys = environment.get("ALLOW_CALLER_KEYS", "").strip().lower()
    problems = []
    if is_set("POE_API_KEYS") and environment.get("POE_API_KEY", "").strip():
        problems.append("POE_API_KEY: set POE_API_KEYS or POE_API_KEY, not both")
    if has_keys and not has_tokens:
        problems.append(
            "ACCESS_TOKENS: required when POE_API_KEYS is set: without it anyone could spend the keys' points"
        )
    if has_tokens and not has_keys:
        problems.append("POE_API_KEYS: required when ACCESS_TOKENS is set: there is no key to serve these tokens with")
    if not has_keys and own_keys in ("0", "false", "no", "off", "f", "n"):
        problems.append("POE_API_KEYS: required when ALLOW_CALLER_KEYS is false: no request could be served")
    return problems


def _in_words(location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]).upper() if location else "settings"
    return f"{name}: {message.removeprefix('Value error, ').removeprefix('Input ')}"
