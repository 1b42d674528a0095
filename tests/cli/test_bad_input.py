"""What no command can do: told in a line or two that names the option and its rule, before anything is done.

Within this process, so that each costs a moment; Redis is not there, and none is asked.
"""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from proxy.cli.main import main
from proxy.settings import SETTING_NAMES

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command with the settings of a small pool, whose Redis is away."""
    for name in SETTING_NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in {"POE_API_KEYS": "key", "ACCESS_TOKENS": "token", "REDIS_URL": "redis://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(main, arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("demo", "--port", "99999"), "99999 is not in the range 1<=x<=65535"),
        (("demo", "--port", "0"), "0 is not in the range 1<=x<=65535"),
        (("demo", "--port", "-1"), "-1 is not in the range 1<=x<=65535"),
        (("demo", "--port", "ten"), "'ten' is not a valid integer"),
        (("keys", "cool", "k", "--seconds", "nan"), "nan is not in the range"),
        (("keys", "cool", "k", "--seconds", "inf"), "inf is not in the range"),
        (("keys", "cool", "k", "--seconds", "1e300"), "1e+300 is not in the range"),
        (("keys", "cool", "k", "--seconds", "0"), "0 is not in the range"),
        (("clients", "rotate", "c", "--grace", "nan"), "nan is not in the range"),
        (("clients", "rotate", "c", "--grace", "-1"), "-1.0 is not in the range"),
        (("clients", "create", "c", "--expires", "0d"), "'--expires 0d' is over already"),
        (("clients", "create", "c", "--expires", "-3d"), "'--expires -3d' is over already"),
        (("clients", "create", "c", "--expires", "2020-01-01"), "'--expires 2020-01-01' is over already"),
        (("clients", "set", "c", "--expires", "0.0d"), "--disable"),
        (("clients", "create", "c", "--expires", "nand"), "'--expires' takes a date such as 2026-12-31"),
        (("clients", "create", "c", "--expires", "infd"), "'--expires' takes a date such as 2026-12-31"),
        (("clients", "create", "c", "--expires", "9999999999d"), "'--expires' takes a date such as 2026-12-31"),
        (("clients", "create", "c", "--expires", ""), "'--expires' takes a date such as 2026-12-31"),
        (("clients", "create", "c", "--streams", "1000000001"), "is not in the range 0<=x<=1000000000"),
        (("clients", "create", "c", "--tokens-per-day", "9" * 30), "is not in the range 0<=x<=1000000000"),
        (("trail", "--count", "0"), "0 is not in the range"),
        (("usage", "--since", "9999-12-31"), "lies in the future"),
        (("usage", "--since", "soon"), "neither a length of time like 7d or 24h nor a date"),
    ],
    ids=str,
)
def test_an_option_out_of_its_range_is_named(run: Run, arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 2, result.output
    assert words in " ".join(result.output.replace("│", " ").split())
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    "name", ["", " ", "  ", " a", "a ", "a/b", "a|b", "a,b", "[red]", "a\x1b[2J", "a\nb", "x" * 65, "a\u202eb"]
)
def test_a_client_needs_a_name_that_can_be_read(run: Run, name: str) -> None:
    result = run("clients", "create", name)

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "Not possible:",
        "  - Invalid value for 'name': must be 1 to 64 letters, digits or . _ @ + -, with blanks only between them.",
    ]


@pytest.mark.parametrize("name", ["a", "class 7b", "Zoë", "小明", "a.b_c@d+e-f", "x" * 64])
def test_a_good_name_gets_as_far_as_redis(run: Run, name: str) -> None:
    result = run("clients", "create", name)

    assert "Invalid value" not in result.output
    assert "Redis" in result.output


@pytest.mark.parametrize("models", [",", "a|b", "a b", "x" * 101])
def test_a_clients_models_are_told_their_rule(run: Run, models: str) -> None:
    result = run("clients", "create", "c", "--models", models)

    assert result.exit_code == 1
    assert "Invalid value for 'models': must be 1 to 100 patterns" in result.output
