"""Who may call, told from the token alone."""

import pytest

from proxy.clients.managed import ManagedClients
from proxy.clients.tokens import ClientRegistry
from proxy.core.failures import InvalidToken
from proxy.credentials import fingerprint, parse_access_tokens
from proxy.store.redis import RedisStore

#: Nobody's token.
STRANGE = "strange-token"


LONG = "6f1d0c2b9a8e47f3b5d6c7a8e9f00112233445566778899"
ADMIN = "admin-0123456789abcdef0123456789abcdef"
MANAGED = "pp-abcd2345-0123456789abcdefghijklmnopqrstuv"
POE_KEY = "Zk3-Qw_9xYtRmLpVb7NcDsFgHjKaUeIo2W4T6Y8U0iO"


def registry(tokens: str = "alice:token-a,token-b", *, caller_keys_allowed: bool = False) -> ClientRegistry:
    """Everybody but managed clients, whom these tokens are not taken for: there is no Redis to look them up in."""
    managed = ManagedClients(RedisStore("redis://127.0.0.1:1", "none"))
    admins = parse_access_tokens(f"root:{ADMIN}")
    return ClientRegistry(parse_access_tokens(tokens), managed, caller_keys_allowed=caller_keys_allowed, others=admins)


@pytest.mark.parametrize(("token", "name"), [("token-a", "alice"), ("token-b", "client-2")])
async def test_a_token_tells_who_calls(token: str, name: str) -> None:
    client = await registry().identify(token)

    assert (client.name, client.own_key) == (name, None)


async def test_two_tokens_may_be_one_clients() -> None:
    """So that a token can be replaced without a moment in which neither works."""
    clients = registry("alice:old,alice:new")

    assert await clients.identify("old") == await clients.identify("new")


@pytest.mark.parametrize("token", [None, ""])
async def test_without_a_token_the_caller_is_told_how_to_send_one(token: str | None) -> None:
    with pytest.raises(InvalidToken, match="Authorization: Bearer"):
        await registry(caller_keys_allowed=True).identify(token)


@pytest.mark.parametrize("token", [STRANGE, "TOKEN-A", "token-a ", "alice:token-a", "é", "\udcff"])
async def test_a_token_that_nobody_has_is_refused(token: str) -> None:
    """Down to bytes that are no text, which Sanic hands on as lone surrogates."""
    with pytest.raises(InvalidToken):
        await registry().identify(token)


async def test_a_refused_token_is_not_repeated() -> None:
    """It may be somebody's real one, sent to the wrong place."""
    with pytest.raises(InvalidToken) as caught:
        await registry().identify(STRANGE)

    assert STRANGE not in caught.value.message


async def test_a_strange_token_is_the_callers_own_key_where_that_is_allowed() -> None:
    client = await registry(caller_keys_allowed=True).identify(STRANGE)

    assert client.own_key
    assert client.own_key.secret == STRANGE
    assert client.name == f"own-key-{fingerprint(STRANGE)}"


async def test_a_known_token_is_never_taken_for_a_key() -> None:
    client = await registry(caller_keys_allowed=True).identify("token-a")

    assert client.own_key is None


@pytest.mark.parametrize("token", ["é", "a\tb", "a\x00b", "\udcff", "x" * 513])
async def test_what_cannot_be_a_key_is_refused(token: str) -> None:
    """It would end up in a header to Poe."""
    with pytest.raises(InvalidToken):
        await registry(caller_keys_allowed=True).identify(token)


async def test_a_client_never_shows_its_key() -> None:
    client = await registry(caller_keys_allowed=True).identify(STRANGE)

    assert STRANGE not in repr(client)


@pytest.mark.parametrize(
    "bearer",
    [
        ADMIN,
        ADMIN[:-1],
        ADMIN.upper(),
        f"root:{ADMIN}",
        f"{LONG}.",
        f"{LONG}\\n",
        f'"{LONG}"',
        f"Bearer {LONG}",
        f"{LONG}{LONG}",
        f"{LONG},{ADMIN}",
        f"sk-{LONG}-xyz",
        LONG[:-1],
        LONG[1:],
        LONG[: len(LONG) // 2 + 1],
        f"{LONG[:-6]}...",
        LONG.upper(),
        MANAGED[:-1] + ".",
        MANAGED[:20],
        MANAGED[:11],
        "pp-",
        MANAGED.upper(),
        f" {MANAGED}x" * 2,
        f"token={MANAGED}",
        "token-a.",
        "alice:token-a",
        "'token-a'",
    ],
)
async def test_what_could_be_a_token_of_ours_never_goes_to_poe_as_a_key(bearer: str) -> None:
    """Whole, cut at either end, with something around it, in another case; an operator's and a managed client's too."""
    clients = registry(f"alice:token-a,{LONG}", caller_keys_allowed=True)

    with pytest.raises(InvalidToken):
        await clients.identify(bearer)


@pytest.mark.parametrize("key", [POE_KEY, f"sk-poe-{POE_KEY}", "app-key-app-0001", STRANGE, LONG[:8], LONG[20:24] * 3])
async def test_a_poe_key_is_not_taken_for_a_token_of_ours(key: str) -> None:
    clients = registry(f"alice:token-a,{LONG}", caller_keys_allowed=True)
    seen = [await clients.identify(key) for _ in range(2)]

    assert [one.own_key and one.own_key.secret for one in seen] == [key, key]
