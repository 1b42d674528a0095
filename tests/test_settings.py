"""Settings as an operator gives them: through the environment, with every fault named and no secret told."""

import hashlib
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.credentials import PoeKey, fingerprint, parse_poe_keys
from proxy.outbound import Exemptions
from proxy.settings import (
    SECRET_NAMES,
    SETTING_NAMES,
    Settings,
    SettingsError,
    load_settings,
)

Load = Callable[..., Settings]

#: In every secret of these tests, and in nothing else.
SECRET: Final = "s3cret"

#: The least that a pool needs.
POOL: Final = {"POE_API_KEYS": f"{SECRET}-key", "ACCESS_TOKENS": f"{SECRET}-token"}

DEFAULTS: Final[dict[str, Any]] = {
    "poe_api_keys": (),
    "access_tokens": (),
    "admin_tokens": (),
    "allow_caller_keys": None,
    "redis_url": "embedded",
    "redis_namespace": "poe",
    "redis_timeout_s": 2,
    "data_dir": Path("data"),
    "host": "0.0.0.0",
    "port": 10_000,
    "workers": len(os.sched_getaffinity(0)),
    "poe_base_url": "https://api.poe.com",
    "poe_upload_url": "https://www.quora.com/poe_api/",
    "https_proxy": None,
    "http_proxy": None,
    "all_proxy": None,
    "no_proxy": Exemptions(),
    "default_model": "Assistant",
    "model_aliases": {
        "gpt-3.5-turbo": "GPT-5-mini",
        "gpt-4": "GPT-5",
        "gpt-4-turbo": "GPT-5",
        "claude-3-opus-20240229": "Claude-Opus-4.6",
        "claude-3-sonnet-20240229": "Claude-Sonnet-4.5",
        "claude-3-haiku-20240307": "Claude-Haiku-4.5",
    },
    "claude_code_aliases": "on",
    "poe_upstream": "auto",
    "model_upstreams": (),
    "prompt_cache": "auto",
    "allowed_models": ("*",),
    "metrics_port": 9091,
    "log_format": "auto",
    "log_level": "info",
    "max_attempts": 3,
    "failover_budget_s": 30,
    "key_wait_s": 10,
    "key_wait_queue": 1000,
    "client_wait_s": 10,
    "rpm_per_account": 500,
    "max_in_flight_per_key": 0,
    "session_affinity_s": 3600,
    "balance_every_s": 600,
    "points_every_s": 900,
    "commit_hold_s": 10,
    "heartbeat_s": 10,
    "cooldown_base_s": 5,
    "cooldown_cap_s": 300,
    "connect_timeout_s": 5,
    "connect_patience_s": 5,
    "first_event_s": 120,
    "upstream_idle_s": 120,
    "upstream_total_s": 600,
    "catalogue_ttl_s": 3600,
    "drain_timeout_s": 25,
    "drain_notice_s": 1,
    "max_body_bytes": 32 * 1024 * 1024,
    "max_bodies_bytes": 0,
    "max_answer_bytes": 32 * 1024 * 1024,
    "max_attachment_bytes": 20 * 1024 * 1024,
}

#: name → (least, most) accepted.
RANGES: Final[dict[str, tuple[float, float]]] = {
    "PORT": (1, 65_535),
    "METRICS_PORT": (0, 65_535),
    "WORKERS": (1, 256),
    "MAX_ATTEMPTS": (1, 10),
    "MAX_BODY_BYTES": (1024, 1 << 30),
    "MAX_BODIES_BYTES": (0, 1 << 34),
    "MAX_ANSWER_BYTES": (1024, 1 << 30),
    "MAX_ATTACHMENT_BYTES": (1024, 1 << 30),
    "KEY_WAIT_S": (0, 3600),
    "CLIENT_WAIT_S": (0, 3600),
    "REDIS_TIMEOUT_S": (0.001, 10),
    "POINTS_EVERY_S": (0, 86_400),
    "DRAIN_NOTICE_S": (0, 3600),
    "CONNECT_PATIENCE_S": (0, 60),
    "KEY_WAIT_QUEUE": (0, 100_000),
    "RPM_PER_ACCOUNT": (0, 100_000),
    "MAX_IN_FLIGHT_PER_KEY": (0, 100_000),
    "SESSION_AFFINITY_S": (0, 86_400),
    **{
        name.upper(): (0.001, 86_400)
        for name in DEFAULTS
        if name.endswith("_s")
        and name
        not in (
            *("key_wait_s", "client_wait_s", "points_every_s", "drain_notice_s", "redis_timeout_s"),
            *("connect_patience_s", "session_affinity_s"),
        )
    },
}


@pytest.fixture(name="load")
def _load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads the settings from an environment that holds these variables and none of the machine's own."""
    for name in SETTING_NAMES | {f"{name}_FILE" for name in SECRET_NAMES}:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def load(**environment: str) -> Settings:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return load_settings()

    return load


def problems_of(load: Load, **environment: str) -> list[str]:
    """The problems that these variables make."""
    with pytest.raises(SettingsError) as caught:
        load(**environment)
    return caught.value.problems


def fault_of_keys(value: str) -> str:
    """What an operator could ever see of the fault in this value; nothing when there is none."""
    try:
        parse_poe_keys(value)
    except ValueError as error:
        return "".join(traceback.format_exception(error))
    return ""


def names_in(problems: list[str]) -> list[str]:
    """The setting that each problem begins with."""
    return [problem.partition(":")[0] for problem in problems]


def test_the_room_for_all_bodies_is_four_times_the_largest_unless_more_is_given(load: Load) -> None:
    assert load().bodies_bytes == 4 * 32 * 1024 * 1024
    assert load(MAX_BODY_BYTES="10000").bodies_bytes == 40_000
    assert load(MAX_BODY_BYTES="10000", MAX_BODIES_BYTES="90000").bodies_bytes == 90_000
    with pytest.raises(SettingsError, match="MAX_BODIES_BYTES: must be at least 4 x MAX_BODY_BYTES"):
        load(MAX_BODY_BYTES="10000", MAX_BODIES_BYTES="39999")


def test_how_single_models_are_asked(load: Load) -> None:
    settings = load(MODEL_UPSTREAMS=" Claude-* = bot,gpt-5*=Responses ")

    assert settings.model_upstreams == (("claude-*", "bot"), ("gpt-5*", "responses"))
    for wrong in ("claude", "claude=", "=bot", "claude=telex"):
        with pytest.raises(SettingsError, match="MODEL_UPSTREAMS: each entry must look like glob=upstream"):
            load(MODEL_UPSTREAMS=wrong)


def test_every_default_is_as_documented(load: Load) -> None:
    """A new setting must be listed here, and a changed default is a decision."""
    settings = load()

    assert {name: getattr(settings, name) for name in Settings.model_fields} == DEFAULTS


def test_every_setting_is_explained() -> None:
    """The pages are written from these descriptions."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("name", [name for name in DEFAULTS if name != "allow_caller_keys"])
def test_an_empty_variable_is_one_that_is_not_set(load: Load, name: str) -> None:
    """Compose files and deploy workflows pass on what the operator left empty."""
    settings = load(**{name.upper(): ""})

    assert getattr(settings, name) == DEFAULTS[name]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_an_empty_file_variable_is_one_that_is_not_set(load: Load, name: str) -> None:
    settings = load(**{f"{name}_FILE": ""})

    assert getattr(settings, name.lower()) == DEFAULTS[name.lower()]


def test_all_problems_are_reported_at_once(load: Load) -> None:
    """An operator who mends one fault never meets the next one only at the next start."""
    problems = problems_of(
        load,
        POE_API_KEYS="one two",
        REDIS_URL="http://localhost",
        REDIS_NAMESPACE="a:b",
        PORT="0",
        WORKERS="many",
        POE_BASE_URL="ftp://poe",
        MODEL_ALIASES="gpt-4",
        LOG_FORMAT="xml",
        LOG_LEVEL="loud",
        HEARTBEAT_S="-1",
        MAX_BODY_BYTES="1",
    )

    assert sorted(names_in(problems)) == [
        "ACCESS_TOKENS",
        "HEARTBEAT_S",
        "LOG_FORMAT",
        "LOG_LEVEL",
        "MAX_BODY_BYTES",
        "MODEL_ALIASES",
        "POE_API_KEYS",
        "POE_BASE_URL",
        "PORT",
        "REDIS_NAMESPACE",
        "REDIS_URL",
        "WORKERS",
    ]


@pytest.mark.parametrize(
    "environment",
    [
        {"POE_API_KEYS": f"{SECRET} with spaces", "ACCESS_TOKENS": f"{SECRET}é"},
        {"POE_API_KEYS": f"bad label {SECRET}:{SECRET}", "ACCESS_TOKENS": f"{SECRET},{SECRET}"},
        {"POE_API_KEYS": f"{SECRET},{SECRET}"},
        {"POE_API_KEYS": SECRET * 100, "ACCESS_TOKENS": f"{SECRET}-1,:,{SECRET}-2"},
        {"REDIS_URL": f"http://:{SECRET}@redis"},
        {"REDIS_URL": f"redis://:{SECRET}/{SECRET}@redis:6379"},
        {"REDIS_URL": f"redis://:{SECRET}#{SECRET}@redis:6379"},
        {"REDIS_URL": f"redis://:{SECRET}℀@redis:6379"},
        {"REDIS_URL": f"redis://:{SECRET}@[redis:6379"},
    ],
    ids=str,
)
def test_no_problem_tells_a_secret(load: Load, environment: dict[str, str]) -> None:
    """Problems are printed, and logged by whatever started the proxy."""
    with pytest.raises(SettingsError) as caught:
        load(**environment)

    assert set(names_in(caught.value.problems)) <= {"POE_API_KEYS", "ACCESS_TOKENS", "REDIS_URL"}
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("show", [repr, str, lambda settings: f"{settings.poe_api_keys} {settings.access_tokens}"])
def test_no_picture_of_the_settings_shows_a_secret(load: Load, show: Callable[[Settings], str]) -> None:
    settings = load(**POOL, REDIS_URL=f"redis://:{SECRET}@localhost")

    assert SECRET not in show(settings)


def test_tokens_are_kept_as_digests_only(load: Load) -> None:
    """Not even this process's memory needs the tokens themselves."""
    settings = load(**POOL)

    assert settings.access_tokens[0].digest == hashlib.sha256(POOL["ACCESS_TOKENS"].encode()).digest()
    assert POOL["ACCESS_TOKENS"].encode() not in pickle.dumps(settings)


def test_settings_survive_pickling(load: Load) -> None:
    """Sanic hands them to each worker process pickled."""
    settings = load(**POOL, REDIS_URL="redis://localhost", MODEL_ALIASES="a=B", DATA_DIR="/tmp/x")
    before = settings.poe_api_keys[0].key_id

    copy = pickle.loads(pickle.dumps(settings))

    assert copy == settings
    assert copy.poe_api_keys[0].key_id == before


def test_settings_cannot_be_changed(load: Load) -> None:
    settings = load()

    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_may_come_from_a_file(load: Load, tmp_path: Path, name: str) -> None:
    """The newline that editors leave at the end is no part of it."""
    values = {**POOL, "ADMIN_TOKENS": "op:secret", "REDIS_URL": "redis://localhost:1"}
    directly = load(**values)
    file = tmp_path / "secret"
    file.write_text(values[name] + "\n")

    assert load(**values | {name: "", f"{name}_FILE": str(file)}) == directly


def test_a_secret_file_may_hold_one_entry_a_line(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("one\n\nwork:two\n")

    settings = load(**POOL | {"POE_API_KEYS": "", "POE_API_KEYS_FILE": str(file)})

    assert settings.poe_api_keys == (PoeKey("one"), PoeKey("two", account="work"))


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_given_twice_is_refused(load: Load, tmp_path: Path, name: str) -> None:
    """Which of the two counts should never be a guess."""
    file = tmp_path / "secret"
    file.write_text("from-a-file")
    values = {**POOL, "ADMIN_TOKENS": "op:secret", "REDIS_URL": "redis://localhost:1"}

    assert problems_of(load, **values, **{f"{name}_FILE": str(file)}) == [
        f"{name}: set {name} or {name}_FILE, not both"
    ]


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff\xfe", "cannot be read: not UTF-8 text"),
        (b" \n", "is empty"),
    ],
)
def test_a_secret_file_that_cannot_be_used_is_a_problem(
    load: Load, tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)

    problems = problems_of(load, **{**POOL, name: "", f"{name}_FILE": str(file)})

    assert problems == [f"{name}: the file named by {name}_FILE {reason}"]


def test_bot_names_the_default_model(load: Load) -> None:
    assert load(BOT="Claude-Sonnet-4.5").default_model == "Claude-Sonnet-4.5"


def test_default_model_outweighs_bot(load: Load) -> None:
    assert load(BOT="One", DEFAULT_MODEL="Two").default_model == "Two"


def test_port_is_read_as_a_number(load: Load) -> None:
    assert load(PORT="8080").port == 8080


@pytest.mark.parametrize("environment", [{"PORT": "9091"}, {"METRICS_PORT": "10000"}], ids=str)
def test_metrics_have_a_port_of_their_own(load: Load, environment: dict[str, str]) -> None:
    """Whatever is on PORT is public."""
    assert names_in(problems_of(load, **environment)) == ["METRICS_PORT"]


@pytest.mark.parametrize("name", ["BASE", "POE_BASE_URL"])
@pytest.mark.parametrize("end", ["", "/", "/bot", "/bot/"])
def test_poes_address_may_end_as_people_write_it(load: Load, name: str, end: str) -> None:
    assert load(**{name: f"https://api.poe.com{end}"}).poe_base_url == "https://api.poe.com"


@pytest.mark.parametrize("name", ["BASE", "POE_BASE_URL"])
@pytest.mark.parametrize("url", ["api.poe.com", "ftp://api.poe.com", "https://", "http://[::1", "http://poe:99999"])
def test_poes_address_must_be_a_web_address(load: Load, name: str, url: str) -> None:
    """The problem names POE_BASE_URL, whichever of the two names was used."""
    assert problems_of(load, **{name: url}) == ["POE_BASE_URL: must be an http:// or https:// URL"]


@pytest.mark.parametrize("end", ["", "/", "//", "/ "])
def test_the_upload_address_ends_in_one_slash(load: Load, end: str) -> None:
    assert load(POE_UPLOAD_URL=f"https://poe.example/api{end}").poe_upload_url == "https://poe.example/api/"


@pytest.mark.parametrize("url", ["poe.example", "ftp://poe.example", "https://", "/", "http://poe:99999"])
def test_the_upload_address_must_be_a_web_address(load: Load, url: str) -> None:
    assert problems_of(load, POE_UPLOAD_URL=url) == ["POE_UPLOAD_URL: must be an http:// or https:// URL"]


@pytest.mark.parametrize("url", ["redis://h", "rediss://u:p%2Fw@h:6380/1", "unix:///run/redis.sock", "embedded"])
def test_redis_may_be_named_in_these_ways(load: Load, url: str) -> None:
    assert load(REDIS_URL=url).redis_url == url


@pytest.mark.parametrize("url", ["localhost:6379", "http://h", "embed", "redis://h:port", "redis://:pass/word@h:6379"])
def test_other_addresses_are_no_redis(load: Load, url: str) -> None:
    assert names_in(problems_of(load, REDIS_URL=url)) == ["REDIS_URL"]


@pytest.mark.parametrize("namespace", ["a:b", "a{b}", "a b", "x" * 33])
def test_a_namespace_cannot_break_out_of_its_keys(load: Load, namespace: str) -> None:
    assert names_in(problems_of(load, REDIS_NAMESPACE=namespace)) == ["REDIS_NAMESPACE"]


def test_keys_with_one_label_are_one_account(load: Load) -> None:
    keys = load(**POOL | {"POE_API_KEYS": " work:one , work:two,three "}).poe_api_keys

    assert [key.secret for key in keys] == ["one", "two", "three"]
    assert [key.account_id for key in keys] == ["work", "work", fingerprint("three")]


def test_a_keys_id_is_the_beginning_of_its_digest(load: Load) -> None:
    key = load(**POOL).poe_api_keys[0]

    assert key.key_id == hashlib.sha256(key.secret.encode()).hexdigest()[:12]


def test_a_token_without_a_name_is_named_by_its_position(load: Load) -> None:
    tokens = load(**POOL | {"ACCESS_TOKENS": "one,alice:two,three"}).access_tokens

    assert [token.name for token in tokens] == ["client-1", "alice", "client-3"]


@pytest.mark.parametrize("name", POOL)
def test_a_repeated_entry_is_refused(load: Load, name: str) -> None:
    """The same key under two labels would be spent twice as often as Poe allows."""
    assert problems_of(load, **POOL | {name: "a:same,b:same"}) == [f"{name}: the same entry appears twice"]


@pytest.mark.parametrize("name", POOL)
@pytest.mark.parametrize("entry", ["two words", "é", ":", "label:", "x" * 513, "a b:key", ":key", "a:b:key", "\x7f"])
def test_a_bad_entry_is_named_by_its_position(load: Load, name: str, entry: str) -> None:
    [problem] = problems_of(load, **POOL | {name: f"good,{entry}"})

    assert problem.startswith(f"{name}: entry 2: ")


@pytest.mark.parametrize("name", POOL)
def test_a_list_of_nothing_is_refused(load: Load, name: str) -> None:
    """It was meant to hold something; to run without would open or close the proxy unnoticed."""
    assert problems_of(load, **POOL | {name: " , "}) == [f"{name}: there is nothing between the commas"]


def test_keys_without_tokens_are_refused(load: Load) -> None:
    assert names_in(problems_of(load, POE_API_KEYS="key")) == ["ACCESS_TOKENS"]


def test_keys_from_a_file_without_tokens_are_refused(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("key")

    assert names_in(problems_of(load, POE_API_KEYS_FILE=str(file))) == ["ACCESS_TOKENS"]


def test_tokens_without_keys_are_refused(load: Load) -> None:
    assert names_in(problems_of(load, ACCESS_TOKENS="token")) == ["POE_API_KEYS"]


def test_a_proxy_that_could_serve_nobody_is_refused(load: Load) -> None:
    assert names_in(problems_of(load, ALLOW_CALLER_KEYS="false")) == ["POE_API_KEYS"]


@pytest.mark.parametrize(
    ("environment", "allowed"),
    [
        ({}, True),
        (POOL, False),
        ({**POOL, "ALLOW_CALLER_KEYS": ""}, False),
        ({**POOL, "ALLOW_CALLER_KEYS": "true"}, True),
        ({**POOL, "ALLOW_CALLER_KEYS": "0"}, False),
        ({"ALLOW_CALLER_KEYS": "yes"}, True),
    ],
    ids=str,
)
def test_callers_bring_their_own_keys_exactly_when_there_is_no_pool(
    load: Load, environment: dict[str, str], *, allowed: bool
) -> None:
    """Unless the operator says otherwise."""
    assert load(**environment).caller_keys_allowed is allowed


@pytest.mark.parametrize("name", RANGES)
def test_both_ends_of_a_range_are_accepted(load: Load, name: str) -> None:
    least, most = RANGES[name]

    assert getattr(load(**{name: str(least)}), name.lower()) == least
    assert getattr(load(**{name: str(most)}), name.lower()) == most


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("step", [-1, 1], ids=["below", "above"])
def test_beyond_its_range_a_number_is_refused(load: Load, name: str, step: int) -> None:
    least, most = RANGES[name]
    value = most + 1 if step > 0 else 0 if 0 < least < 1 else least - 1

    assert names_in(problems_of(load, **{name: str(value)})) == [name]


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", ["five", "1e999", "nan", "-inf", "1,5"])
def test_what_is_no_number_is_refused(load: Load, name: str, value: str) -> None:
    assert names_in(problems_of(load, **{name: value})) == [name]


def test_aliases_are_found_in_any_case_and_keep_the_bots_name(load: Load) -> None:
    assert load(MODEL_ALIASES="GPT-4 = My-Bot ,x=Y=Z").model_aliases == {"gpt-4": "My-Bot", "x": "Y=Z"}


@pytest.mark.parametrize("value", ["gpt-4", "=Bot", "gpt-4=", "a=B,c"])
def test_an_alias_needs_both_of_its_names(load: Load, value: str) -> None:
    assert problems_of(load, MODEL_ALIASES=value) == ["MODEL_ALIASES: each entry must look like name=Bot"]


def test_patterns_of_models_are_a_list_in_lower_case(load: Load) -> None:
    assert load(ALLOWED_MODELS="Claude-*, gpt-? ,").allowed_models == ("claude-*", "gpt-?")


@pytest.mark.parametrize("name", ["ALLOWED_MODELS", "MODEL_ALIASES"])
def test_a_list_of_models_that_holds_none_is_refused(load: Load, name: str) -> None:
    """Of ALLOWED_MODELS it would have meant all."""
    assert problems_of(load, **{name: " , "}) == [f"{name}: there is nothing between the commas"]


def test_an_alias_has_one_bot(load: Load) -> None:
    assert problems_of(load, MODEL_ALIASES="a=One,b=Two,A=Three") == [
        "MODEL_ALIASES: entry 3: an earlier entry has the same name"
    ]


def test_the_name_in_poes_own_documents_is_a_name_of_the_keys(load: Load) -> None:
    settings = load(POE_API_KEY=f"work:{SECRET}", ACCESS_TOKENS="token")

    assert settings.poe_api_keys == (PoeKey(SECRET, account="work"),)
    assert not settings.caller_keys_allowed


def test_with_poes_own_name_tokens_are_required_as_ever(load: Load) -> None:
    assert names_in(problems_of(load, POE_API_KEY="key")) == ["ACCESS_TOKENS"]


@pytest.mark.parametrize("other", ["POE_API_KEYS", "POE_API_KEYS_FILE"])
def test_keys_under_both_names_are_refused(load: Load, tmp_path: Path, other: str) -> None:
    file = tmp_path / "keys"
    file.write_text("key-2")
    value = str(file) if other.endswith("_FILE") else "key-2"

    assert problems_of(load, POE_API_KEY="key-1", ACCESS_TOKENS="token", **{other: value}) == [
        "POE_API_KEY: set POE_API_KEYS or POE_API_KEY, not both"
    ]


@pytest.mark.parametrize("name", ["poe_api_keys", "Poe_Api_Keys"])
def test_a_name_may_be_in_any_case(load: Load, name: str) -> None:
    assert load(**{name: "key"}, ACCESS_TOKENS="token").poe_api_keys == (PoeKey("key"),)


@pytest.mark.parametrize("mark", ["'", '"'])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POE_API_KEYS", f"{SECRET}-a,{SECRET}-b"),
        ("ACCESS_TOKENS", f"{SECRET}-a"),
        ("REDIS_URL", f"redis://:{SECRET}@redis"),
        ("HOST", "0.0.0.0"),
        ("PORT", "10000"),
        ("DEFAULT_MODEL", "Assistant"),
        ("BOT", "Assistant"),
        ("ALLOWED_MODELS", "gpt-*,claude-*"),
        ("MODEL_ALIASES", "a=B"),
        ("LOG_LEVEL", "info"),
        ("DATA_DIR", "/data"),
    ],
)
def test_quotation_marks_around_a_value_are_named(load: Load, name: str, value: str, mark: str) -> None:
    """``docker run --env-file`` and web forms pass them on, as part of the value. Told once for each setting."""
    problems = problems_of(load, **{**POOL, name: f"{mark}{value}{mark}"})

    assert problems == [f"{name}: quotation marks are part of the value here; leave them out"]


@pytest.mark.parametrize("name", [*POOL, "ADMIN_TOKENS", "ALLOWED_MODELS"])
@pytest.mark.parametrize("entry", ['"two"', "'two", 'two"'])
def test_quotation_marks_around_an_entry_are_named(load: Load, name: str, entry: str) -> None:
    assert problems_of(load, **{**POOL, name: f"one,{entry},three"}) == [
        f"{name}: entry 2: quotation marks are part of the value here; leave them out"
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POE_API_KEYS", "one;two"),
        ("ACCESS_TOKENS", "a:one;b:two"),
        ("ADMIN_TOKENS", "one;two"),
        ("ALLOWED_MODELS", "gpt-*;claude-*"),
        ("MODEL_ALIASES", "a=B;c=D"),
    ],
)
def test_entries_parted_by_semicolons_are_told_what_parts_them(load: Load, name: str, value: str) -> None:
    assert problems_of(load, **{**POOL, name: value}) == [
        f"{name}: entry 1: has a ';' in it; entries are separated by commas"
    ]


def test_a_token_of_a_client_is_none_of_an_operator(load: Load) -> None:
    """Under whatever names: every client that has it could retire keys and make clients."""
    problems = problems_of(
        load, **POOL | {"ACCESS_TOKENS": f"a:{SECRET}-1,b:{SECRET}-2"}, ADMIN_TOKENS=f"op:{SECRET}-2"
    )

    assert names_in(problems) == ["ADMIN_TOKENS"]
    assert SECRET not in problems[0]


@pytest.mark.parametrize("name", ["ACCESS_TOKENS", "ADMIN_TOKENS"])
def test_a_poe_key_is_no_token(load: Load, name: str) -> None:
    problems = problems_of(load, **POOL | {name: f"x:{POOL['POE_API_KEYS']}"})

    assert names_in(problems) == ["POE_API_KEYS"]
    assert SECRET not in problems[0]


@pytest.mark.parametrize(
    ("token", "is_weak"),
    [
        ("token-1", True),
        ("a-long-random-token", True),
        ("0123456789abcde", True),
        ("aaaaaaaaaaaaaaaaaaaaaaaa", True),
        ("e9f1b6c27a3d4508", False),
        ("correct horse".replace(" ", "-") + "-battery", False),
    ],
)
def test_tokens_that_are_easy_to_guess_are_known(load: Load, token: str, *, is_weak: bool) -> None:
    """They are warned of, not refused: a proxy on a laptop may well live with one."""
    assert load(**POOL | {"ACCESS_TOKENS": f"laptop:{token}"}).access_tokens[0].is_weak is is_weak


@pytest.mark.parametrize("name", ["LOG_LEVEL", "LOG_FORMAT"])
@pytest.mark.parametrize("write", [str.upper, str.title, lambda word: f" {word} "])
def test_words_of_the_log_may_be_in_any_case(load: Load, name: str, write: Callable[[str], str]) -> None:
    word = {"LOG_LEVEL": "warning", "LOG_FORMAT": "json"}[name]

    assert getattr(load(**{name: write(word)}), name.lower()) == word


@pytest.mark.parametrize("value", ["embedded", "EMBEDDED", " Embedded "])
def test_embedded_may_be_in_any_case(load: Load, value: str) -> None:
    assert load(REDIS_URL=value).redis_url == "embedded"


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("::", "::"),
        ("[::]", "::"),
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        (" 127.0.0.1 ", "127.0.0.1"),
        ("localhost", "localhost"),
        ("my_host.internal", "my_host.internal"),
    ],
)
def test_an_address_to_listen_on_is_written_as_people_write_it(load: Load, value: str, host: str) -> None:
    assert load(HOST=value).host == host


@pytest.mark.parametrize(
    "value", ["0.0.0.0:8080", "[::]:80", "http://localhost", "*", " ", "x" * 64, "a..b", "a b", "é"]
)
def test_what_is_no_address_is_told_the_rule(load: Load, value: str) -> None:
    assert problems_of(load, HOST=value) == [
        "HOST: must be an address or a name, without a port: 0.0.0.0, ::, localhost"
    ]


def test_a_model_of_blanks_is_none(load: Load) -> None:
    assert names_in(problems_of(load, DEFAULT_MODEL="  ")) == ["DEFAULT_MODEL"]


@given(st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_parsing_keys_never_puts_one_into_a_fault(pieces: list[str]) -> None:
    """Whatever stands before, between and after: not in the message, nor in what the exception came from."""
    fault = fault_of_keys(SECRET.join(["", *pieces, ""]))

    assert SECRET not in fault
