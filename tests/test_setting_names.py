"""Variables that were meant to be a setting are refused by name; those of other programs are left alone."""

from typing import Final

import pytest

from proxy.setting_names import misspelt
from proxy.settings import SECRET_NAMES, SETTING_NAMES, SettingsError, load_settings

LONG: Final = sorted(name for name in SETTING_NAMES if len(name) >= 7)

#: What stands in environments for reasons that have nothing to do with us.
OF_OTHERS: Final = (
    "PATH HOME LANG LC_ALL TERM SHELL USER HOSTNAME PWD OLDPWD SHLVL LOGNAME EDITOR TZ TMPDIR DISPLAY PYTHONPATH "
    "PYTHONUNBUFFERED VIRTUAL_ENV PIP_INDEX_URL NO_COLOR COLUMNS FTP_PROXY RSYNC_PROXY SOCKS_PROXY SSL_CERT_FILE "
    "REQUESTS_CA_BUNDLE OPENAI_API_KEY OPENAI_BASE_URL OPENAI_API_BASE ANTHROPIC_API_KEY ANTHROPIC_BASE_URL "
    "POE_ACCESS_KEY POE_BOT_NAME KUBERNETES_SERVICE_HOST KUBERNETES_PORT REDIS_HOST REDIS_PORT REDIS_PASSWORD "
    "REDIS_SERVICE_HOST REDIS_PORT_6379_TCP REDIS_TLS_URL REDIS_PRIVATE_URL POE_PROXY_PORT POE_PROXY_SERVICE_HOST "
    "POE_PROXY_VERSION DATABASE_URL BASE_URL WEB_CONCURRENCY FLY_API_TOKEN FLY_APP_NAME FLY_REGION FLY_MACHINE_ID "
    "FLY_PUBLIC_IP PRIMARY_REGION GITHUB_TOKEN GITHUB_ACTIONS CI AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY "
    "AWS_SESSION_TOKEN COMPOSE_PROFILES REPLICAS GRAFANA_PORT SANIC_WORKER_NAME INVOCATION_ID JOURNAL_STREAM "
    "NOTIFY_SOCKET LISTEN_FDS PROMETHEUS_MULTIPROC_DIR HOSTS PORTS BOTS DATA LOG LEVEL MODELS "
)


def meant_by(name: str) -> str:
    """The setting that this variable is taken for, "" when it is left alone."""
    problems = misspelt({name: "x"}, SETTING_NAMES, SECRET_NAMES)
    return problems[0].rpartition("did you mean ")[2].rstrip("?") if problems else ""


@pytest.mark.parametrize("name", LONG)
def test_one_slip_of_the_finger_is_noticed(name: str) -> None:
    """A letter left out, doubled, wrong, or swapped with the next, wherever it is."""
    slips = {
        *(name[:at] + name[at + 1 :] for at in range(len(name))),
        *(name[:at] + name[at] + name[at:] for at in range(len(name))),
        *(name[:at] + "Q" + name[at + 1 :] for at in range(len(name))),
        *(name[:at] + name[at + 1] + name[at] + name[at + 2 :] for at in range(len(name) - 1)),
    } - SETTING_NAMES

    assert [slip for slip in slips if not meant_by(slip)] == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ACCESS_TOKEN", "ACCESS_TOKENS"),
        ("ADMIN_TOKEN", "ADMIN_TOKENS"),
        ("POE_KEYS", "POE_API_KEYS"),
        ("POE_API_TOKEN", "POE_API_KEYS"),
        ("POE_APIKEYS", "POE_API_KEYS"),
        ("REDIS_URI", "REDIS_URL"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("WORKER", "WORKERS"),
        ("ALLOWED_MODEL", "ALLOWED_MODELS"),
        ("MODEL_ALIAS", "MODEL_ALIASES"),
        ("HEARTBEAT", "HEARTBEAT_S"),
        ("HEARTBEAT_SECONDS", "HEARTBEAT_S"),
        ("DRAIN_TIMEOUT", "DRAIN_TIMEOUT_S"),
        ("ACCESS_TOKEN_FILE", "ACCESS_TOKENS_FILE"),
        ("POE_API_KEY_FILE", "POE_API_KEYS_FILE"),
    ],
)
def test_what_people_write_is_told_what_they_meant(name: str, meant: str) -> None:
    assert meant_by(name) == meant


def test_variables_of_other_programs_are_left_alone() -> None:
    assert {name: meant for name in OF_OTHERS.split() if (meant := meant_by(name))} == {}


@pytest.mark.parametrize("name", sorted(SETTING_NAMES | {f"{name}_FILE" for name in SECRET_NAMES}))
def test_no_setting_is_taken_for_a_slip_of_another(name: str) -> None:
    assert misspelt({name: "x"}, SETTING_NAMES, SECRET_NAMES) == []


def test_what_cannot_come_from_a_file_says_so() -> None:
    assert misspelt({"LOG_LEVEL_FILE": "/x"}, SETTING_NAMES, SECRET_NAMES) == [
        "LOG_LEVEL_FILE: only POE_API_KEYS, ACCESS_TOKENS, ADMIN_TOKENS, REDIS_URL may come from a file"
    ]


def test_an_empty_variable_is_none() -> None:
    assert misspelt({"ACCESS_TOKEN": ""}, SETTING_NAMES, SECRET_NAMES) == []


def test_a_misspelt_setting_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else callers' tokens would be taken for Poe keys of their own, and sent to Poe."""
    for name in SETTING_NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACCESS_TOKEN", "s3cret")

    with pytest.raises(SettingsError) as refused:
        load_settings()

    assert refused.value.problems == ["ACCESS_TOKEN: there is no such setting; did you mean ACCESS_TOKENS?"]
