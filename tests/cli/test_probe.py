"""``python -m proxy check --probe``, against the demo's Poe: what it caches is known, so what is found can be wrong."""

import itertools
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.support.commands import run_command
from tests.support.local_poe import running_local_poe
from tests.support.scripted_poe import ScriptedPoe

KEYS: Final = ("s3cret-key-one", "s3cret-key-two", "s3cret-key-three")
ACCOUNTS: Final[Mapping[str, str]] = {KEYS[0]: "work", KEYS[1]: "work", KEYS[2]: "home"}
ENVIRONMENT: Final = {
    "ACCESS_TOKENS": "s3cret-token-of-nine",
    "POE_API_KEYS": ",".join(f"{account}:{key}" for key, account in ACCOUNTS.items()),
}


def answers_in(out: str) -> dict[str, str]:
    """question → answer."""
    lines = out.splitlines()
    return {line: after.strip() for line, after in itertools.pairwise(lines) if line.endswith("?")}


async def test_it_tells_who_caches_and_who_shares_a_cache() -> None:
    async with running_local_poe(*KEYS, account_of=ACCOUNTS.__getitem__) as url:
        finished = await run_command("check", "--probe", "--yes", **ENVIRONMENT, POE_BASE_URL=url)
    answers = answers_in(finished.out)

    assert finished.code == 0, finished.err
    claude = answers["Does Claude-Demo cache over messages?"]
    assert claude.startswith("yes: ")
    assert "; another key of the account read " in claude
    assert "another key of the account read nothing" not in claude
    assert claude.endswith("; another account read nothing")
    assert answers["Does Claude-Demo cache over chat?"].startswith("no")
    for endpoint in ("chat", "responses"):
        assert answers[f"Does GPT-Demo cache over {endpoint}?"].startswith("yes: ")
        assert answers[f"Are rate limit headers there on {endpoint}?"].startswith("yes: limit 500")
    assert "-> RPM_PER_ACCOUNT=500" in finished.out
    assert answers["Does chat take a system message in the middle?"] == "yes"
    assert answers["What did this cost?"] == "0 points"
    assert "s3cret" not in finished.out + finished.err


async def test_it_spends_nothing_before_it_may(poe: ScriptedPoe) -> None:
    finished = await run_command("check", "--probe", **ENVIRONMENT, POE_BASE_URL=poe.base_url)

    assert finished.code == 2
    assert "--yes" in finished.err
    assert poe.queries == []


async def test_a_question_that_fails_is_told_and_the_others_go_on(poe: ScriptedPoe) -> None:
    entry: dict[str, Any] = {
        "id": "gpt",
        "owned_by": "OpenAI",
        "pricing": {"prompt": "0.000001"},
        "supported_features": ["tools"],
        "supported_endpoints": ["/v1/responses", "/v1/chat/completions"],
    }
    poe.models = [entry]
    finished = await run_command("check", "--probe", "--yes", **ENVIRONMENT, POE_BASE_URL=poe.base_url)
    answers = answers_in(finished.out)

    assert finished.code == 0, finished.err
    assert len(answers) >= 3
    assert all(answer.startswith("it could not be asked") for name, answer in answers.items() if "gpt" in name)
    assert "-> MODEL_UPSTREAMS=gpt=bot, if this lasts" in finished.out


@pytest.mark.parametrize("models", [[], [{"id": "x", "pricing": {"prompt": "free"}}, {"id": "y", "pricing": None}]])
async def test_a_list_without_such_models(poe: ScriptedPoe, models: list[dict[str, Any]]) -> None:
    poe.models = models
    finished = await run_command("check", "--probe", "--yes", **ENVIRONMENT, POE_BASE_URL=poe.base_url)

    assert finished.code == 0, finished.err
    assert answers_in(finished.out)["Which models are served over REST?"] == "Poe lists none"


async def test_it_needs_a_key() -> None:
    finished = await run_command("check", "--probe", "--yes", ALLOW_CALLER_KEYS="true", POE_API_KEYS="")

    assert finished.code == 2
    assert "POE_API_KEYS" in finished.err
