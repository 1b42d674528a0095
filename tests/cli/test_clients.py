"""``python -m proxy clients``: the real command."""

import json
from typing import Any

import pytest

from proxy.clients.record import digest_of, parse_token
from proxy.store.redis import RedisStore
from tests.support.commands import Finished, run_command


@pytest.fixture
def environment(redis_url: str, namespace: str) -> dict[str, str]:
    """The operator's settings: those of the server."""
    keys = {"POE_API_KEYS": "poe-secret-1", "ACCESS_TOKENS": "token"}
    return {**keys, "REDIS_URL": redis_url, "REDIS_NAMESPACE": namespace}


async def clients(environment: dict[str, str], *arguments: str) -> Finished:
    return await run_command("clients", *arguments, **environment)


async def shown(environment: dict[str, str], name: str) -> dict[str, Any]:
    """What ``show --json`` says."""
    facts: dict[str, Any] = json.loads((await clients(environment, "show", name, "--json")).out)
    return facts


async def test_create_prints_a_token_that_works(environment: dict[str, str]) -> None:
    """The token alone on standard output, so that a script can take it."""
    made = await clients(environment, "create", "laptop", "--requests-per-minute", "60", "--models", "gpt-*, o3")

    token = parse_token(made.out.strip())
    store = RedisStore(environment["REDIS_URL"], environment["REDIS_NAMESPACE"])
    assert token
    kept = await store.get_hash(store.keys.client(token.client_id))
    await store.close()
    assert made.code == 0
    assert "shown this once" in made.err
    assert kept["digest"] == digest_of(token.secret)
    facts = await shown(environment, "laptop")
    assert (facts["requests_per_minute"], facts["models"], facts["state"]) == (60, ["gpt-*", "o3"], "active")
    assert token.secret not in json.dumps(facts)


async def test_list_shows_every_client_and_its_use(environment: dict[str, str]) -> None:
    for name in ("phone", "laptop"):
        await clients(environment, "create", name, "--streams", "2", "--expires", "2999-12-31")

    table = (await clients(environment, "list")).out
    listed = json.loads((await clients(environment, "list", "--json")).out)

    assert [one["name"] for one in listed] == ["laptop", "phone"]
    assert listed[0]["expires_at"].startswith("3000-01-01")
    assert "laptop" in table
    assert "0 / 2" in table


async def test_set_changes_what_it_names_and_nothing_else(environment: dict[str, str]) -> None:
    await clients(environment, "create", "laptop", "--requests-per-minute", "60", "--expires", "30d")

    done = await clients(environment, "set", "laptop", "--streams", "3", "--disable", "--expires", "never")

    facts = await shown(environment, "laptop")
    assert done.code == 0
    assert (facts["requests_per_minute"], facts["streams"], facts["state"]) == (60, 3, "disabled")
    assert facts["expires_at"] == "never"


async def test_rotate_prints_another_token_of_the_same_client(environment: dict[str, str]) -> None:
    first = parse_token((await clients(environment, "create", "laptop")).out.strip())

    second = json.loads((await clients(environment, "rotate", "laptop", "--grace", "60", "--json")).out)

    assert first
    assert second["id"] == first.client_id
    assert second["token"] != first.text


async def test_revoke_leaves_nothing(environment: dict[str, str]) -> None:
    await clients(environment, "create", "laptop")

    assert (await clients(environment, "revoke", "laptop")).code == 0
    assert json.loads((await clients(environment, "list", "--json")).out) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "nobody"), "No such client"),
        (("revoke", "nobody"), "No such client"),
        (("rotate", "nobody"), "No such client"),
        (("set", "nobody", "--streams", "1"), "No such client"),
        (("create", "a|b"), "Invalid value for 'name': must be 1 to 64 letters"),
        (("create", "laptop", "--expires", "soon"), "a date such as"),
        (("create", "laptop", "--streams", "-1"), "--streams"),
        (("set", "laptop"), "something to change"),
    ],
)
async def test_what_cannot_be_done_is_said_without_a_traceback(
    environment: dict[str, str], arguments: tuple[str, ...], words: str
) -> None:
    finished = await clients(environment, *arguments)

    assert finished.code != 0
    assert words in finished.err
    assert "Traceback" not in finished.err
