"""A command in a fork of a process that has loaded it is the command that an operator starts."""

import os
from typing import Final

import pytest

from tests.support.commands import run_cold_command, run_command

AWAY: Final = "redis://127.0.0.1:1"


@pytest.mark.parametrize(
    ("arguments", "environment", "code"),
    [
        (["--version"], {}, 0),
        (["keys", "list"], {"REDIS_URL": AWAY, "POE_API_KEYS": "key", "ACCESS_TOKENS": "token"}, 1),
        (["usage"], {"PORT": "ü", "REDIS_URL": AWAY}, 2),
    ],
    ids=["version", "no Redis", "a bad setting"],
)
async def test_it_says_the_same_and_ends_with_the_same_code(
    arguments: list[str], environment: dict[str, str], code: int
) -> None:
    warm, cold = await run_command(*arguments, **environment), await run_cold_command(*arguments, **environment)

    assert warm == cold
    assert warm.code == code


async def test_one_command_hands_no_setting_on_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does this process."""
    monkeypatch.setitem(os.environ, "PORT", "x")
    broken = await run_command("usage", REDIS_URL=AWAY, PORT="x")
    after = await run_command("usage", REDIS_URL=AWAY)

    assert (broken.code, after.code) == (2, 1)
