"""``python -m proxy check``, run as an operator runs it."""

from typing import Final

import pytest

from proxy.credentials import fingerprint
from proxy.server.process.startup import warnings_of
from tests.support.commands import run_command
from tests.support.connect_proxy import connect_proxy
from tests.support.scripted_poe import ScriptedPoe
from tests.support.serving import make_settings

GOOD: Final = "s3cret-good-key"
BAD: Final = "s3cret-bad-key"
TOKENS: Final = {"ACCESS_TOKENS": "s3cret-token-of-9"}


async def test_a_broken_configuration_is_told_in_full_with_exit_2() -> None:
    """Every problem by name, on standard error; neither a traceback nor a secret."""
    finished = await run_command(
        "check", POE_API_KEYS="s3cret key", ACCESS_TOKENS="s3cret,s3cret", PORT="x", WORKERS="0"
    )

    assert finished.code == 2
    assert finished.out == ""
    assert finished.err.splitlines()[0] == "The configuration cannot be used:"
    assert [line.split(":")[0] for line in finished.err.splitlines()[1:]] == [
        "  - POE_API_KEYS",
        "  - ACCESS_TOKENS",
        "  - PORT",
        "  - WORKERS",
    ]
    assert "s3cret" not in finished.err


async def test_an_accepted_key_is_shown_with_its_points(poe: ScriptedPoe) -> None:
    poe.balances = {GOOD: 1_234_567}

    finished = await run_command("check", POE_API_KEYS=f"work:{GOOD}", **TOKENS, POE_BASE_URL=poe.base_url)

    assert finished.code == 0, finished.err
    [row] = [line for line in finished.out.splitlines() if fingerprint(GOOD) in line]
    assert [cell.strip() for cell in row.strip("│ ").split("│")] == [fingerprint(GOOD), "work", "accepted", "1,234,567"]


async def test_a_refused_key_makes_it_exit_1(poe: ScriptedPoe) -> None:
    """And the other keys are reported all the same."""
    poe.balances = {GOOD: 5}

    finished = await run_command("check", POE_API_KEYS=f"{BAD},{GOOD}", **TOKENS, POE_BASE_URL=poe.base_url)

    assert finished.code == 1
    rows = {key: next(line for line in finished.out.splitlines() if fingerprint(key) in line) for key in (BAD, GOOD)}
    assert "refused" in rows[BAD]
    assert "accepted" in rows[GOOD]


async def test_a_poe_that_cannot_be_reached_makes_it_exit_1() -> None:
    finished = await run_command("check", POE_API_KEYS=GOOD, **TOKENS, POE_BASE_URL="http://127.0.0.1:9")

    assert finished.code == 1
    assert fingerprint(GOOD) in finished.out
    assert "accepted" not in finished.out
    assert "Traceback" not in finished.err


@pytest.mark.parametrize("columns", ["40", "80", "300"])
async def test_keys_are_named_by_their_id_alone(poe: ScriptedPoe, columns: str) -> None:
    """Whole, however narrow the terminal and long the account's label; never by any part of the key."""
    poe.balances = {GOOD: 5}
    keys = f"{'a' * 64}:{GOOD},{BAD}"

    finished = await run_command("check", POE_API_KEYS=keys, **TOKENS, POE_BASE_URL=poe.base_url, COLUMNS=columns)

    assert fingerprint(GOOD) in finished.out
    assert fingerprint(BAD) in finished.out
    assert "s3cret" not in finished.out + finished.err


async def test_the_outbound_proxy_is_named_without_its_password(poe: ScriptedPoe) -> None:
    """And asked: the key is accepted by a Poe that only the proxy can find."""
    async with connect_proxy(poe.base_url) as proxy:
        url = f"http://wanda:s3cret@127.0.0.1:{proxy.port}"
        finished = await run_command(
            "check", POE_API_KEYS=GOOD, **TOKENS, POE_BASE_URL="http://poe.test", http_proxy=url, NO_PROXY="quora.com"
        )

    assert finished.code == 0, finished.out + finished.err
    told = f"Outbound proxy: http://127.0.0.1:{proxy.port} for poe.test, none for www.quora.com"
    assert told in finished.out.splitlines()
    assert "s3cret" not in finished.out + finished.err
    assert proxy.asked == ["GET http://poe.test/usage/current_balance"]


async def test_without_an_outbound_proxy_it_says_so(poe: ScriptedPoe) -> None:
    finished = await run_command("check", POE_BASE_URL=poe.base_url)

    assert "Outbound proxy: none" in finished.out.splitlines()


async def test_a_socks_proxy_is_refused_by_the_settings_name() -> None:
    finished = await run_command("check", HTTPS_PROXY="socks5://wanda:s3cret@proxy:1080")

    assert finished.code == 2
    assert "  - HTTPS_PROXY: SOCKS is not supported; give an http:// or https:// proxy" in finished.err.splitlines()
    assert "s3cret" not in finished.err


async def test_checking_spends_no_points(poe: ScriptedPoe) -> None:
    """Only balances are asked for."""
    poe.balances = {GOOD: 5}

    await run_command("check", POE_API_KEYS=GOOD, **TOKENS, POE_BASE_URL=poe.base_url)

    assert [(asked.method, asked.path) for asked in poe.other + poe.queries] == [("GET", "/usage/current_balance")]


async def test_without_keys_there_is_nothing_to_ask(poe: ScriptedPoe) -> None:
    finished = await run_command("check", POE_BASE_URL=poe.base_url)

    assert finished.code == 0
    assert "callers bring their own" in finished.out
    assert poe.other == []


async def test_what_is_risky_is_warned_of(poe: ScriptedPoe) -> None:
    """And is no failure: the settings can be used."""
    poe.balances = {GOOD: 5}
    finished = await run_command(
        "check",
        POE_API_KEYS=GOOD,
        ACCESS_TOKENS="laptop:token-1,phone:long-and-s3cret-enough",
        ADMIN_TOKENS="op:a-long-random-token",
        ALLOW_CALLER_KEYS="true",
        ALLOWED_MODELS="gpt-*",
        HEARTBEAT_S="2",
        POE_BASE_URL=poe.base_url,
    )

    assert finished.code == 0
    told = [line.removeprefix("Warning: ") for line in finished.out.splitlines() if line.startswith("Warning: ")]
    assert told == [
        "ALLOW_CALLER_KEYS is true: a bearer that is no token of yours is sent to Poe as a key",
        "ACCESS_TOKENS: easy to guess: laptop; `openssl rand -hex 24` makes a good token",
        "ADMIN_TOKENS: easy to guess: op; `openssl rand -hex 24` makes a good token",
        "DEFAULT_MODEL: ALLOWED_MODELS leaves 'Assistant' out, so a request that names no model is a 404",
        *warnings_of(make_settings(heartbeat_s=2.0, default_model="x", allowed_models="*"))[-1:],
    ]
    assert "go-openai" in told[-1]


@pytest.mark.parametrize(("default", "aliases"), [("GPT-5", ""), ("fast", "fast=GPT-5-mini")])
def test_a_default_model_that_is_allowed_is_not_warned_of(default: str, aliases: str) -> None:
    """Also by way of an alias, in any case."""
    settings = make_settings(default_model=default, model_aliases=aliases, allowed_models="gpt-*")

    assert [one for one in warnings_of(settings) if "DEFAULT_MODEL" in one] == []


@pytest.mark.parametrize(("seconds", "is_warned"), [(4.9, True), (5, False), (10, False)])
def test_heartbeats_are_warned_of_below_five_seconds(seconds: float, *, is_warned: bool) -> None:
    assert any("HEARTBEAT_S" in one for one in warnings_of(make_settings(heartbeat_s=seconds))) is is_warned


def test_many_weak_tokens_are_told_in_one_line() -> None:
    settings = make_settings(access_tokens=",".join(f"name-{n}:token-{n}" for n in range(9)))

    [told] = [one for one in warnings_of(settings) if "ACCESS_TOKENS" in one]
    assert told.startswith("ACCESS_TOKENS: easy to guess: name-0, name-1, name-2, name-3, name-4 and 4 more; ")
