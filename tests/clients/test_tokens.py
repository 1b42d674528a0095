"""Who may call, told from the token alone."""

import pytest

from proxy.clients.tokens import ClientRegistry
from proxy.errors import InvalidToken
from proxy.settings import fingerprint, parse_access_tokens

#: Nobody's token.
STRANGE = "strange-token"


def registry(tokens: str = "alice:token-a,token-b", *, caller_keys_allowed: bool = False) -> ClientRegistry:
    return ClientRegistry(parse_access_tokens(tokens), caller_keys_allowed=caller_keys_allowed)


@pytest.mark.parametrize(("token", "name"), [("token-a", "alice"), ("token-b", "client-2")])
def test_a_token_tells_who_calls(token: str, name: str) -> None:
    client = registry().identify(token)

    assert (client.name, client.own_key) == (name, None)


def test_two_tokens_may_be_one_clients() -> None:
    """So that a token can be replaced without a moment in which neither works."""
    clients = registry("alice:old,alice:new")

    assert clients.identify("old") == clients.identify("new")


@pytest.mark.parametrize("token", [None, ""])
def test_without_a_token_the_caller_is_told_how_to_send_one(token: str | None) -> None:
    with pytest.raises(InvalidToken, match="Authorization: Bearer"):
        registry(caller_keys_allowed=True).identify(token)


@pytest.mark.parametrize("token", [STRANGE, "TOKEN-A", "token-a ", "alice:token-a", "é", "\udcff"])
def test_a_token_that_nobody_has_is_refused(token: str) -> None:
    """Down to bytes that are no text, which Sanic hands on as lone surrogates."""
    with pytest.raises(InvalidToken):
        registry().identify(token)


def test_a_refused_token_is_not_repeated() -> None:
    """It may be somebody's real one, sent to the wrong place."""
    with pytest.raises(InvalidToken) as caught:
        registry().identify(STRANGE)

    assert STRANGE not in caught.value.message


def test_a_strange_token_is_the_callers_own_key_where_that_is_allowed() -> None:
    client = registry(caller_keys_allowed=True).identify(STRANGE)

    assert client.own_key
    assert client.own_key.secret == STRANGE
    assert client.name == f"own-key-{fingerprint(STRANGE)}"


def test_a_known_token_is_never_taken_for_a_key() -> None:
    client = registry(caller_keys_allowed=True).identify("token-a")

    assert client.own_key is None


@pytest.mark.parametrize("token", ["é", "a\tb", "a\x00b", "\udcff", "x" * 513])
def test_what_cannot_be_a_key_is_refused(token: str) -> None:
    """It would end up in a header to Poe."""
    with pytest.raises(InvalidToken):
        registry(caller_keys_allowed=True).identify(token)


def test_a_client_never_shows_its_key() -> None:
    client = registry(caller_keys_allowed=True).identify(STRANGE)

    assert STRANGE not in repr(client)
