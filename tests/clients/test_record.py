"""A managed client's record and its token, apart from Redis."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.clients.limits import ClientLimits
from proxy.clients.record import ClientRecord, new_token, parse_token, record_of

NOW_MS = 1_800_000_000_000

numbers = st.integers(0, 10**9)
records = st.builds(
    ClientRecord,
    client_id=st.just("abcdefgh"),
    name=st.text(min_size=1, max_size=20),
    digest=st.text("0123456789abcdef", min_size=64, max_size=64),
    models=st.lists(st.text("abc*-", min_size=1, max_size=5), min_size=1, max_size=3).map(tuple),
    limits=st.builds(ClientLimits, numbers, numbers, numbers, numbers),
    expires_at_ms=numbers,
    disabled=st.booleans(),
    created_at_ms=numbers,
    old_digest=st.text("0123456789abcdef", max_size=64),
    old_until_ms=numbers,
)


def record(**fields: object) -> tuple[ClientRecord, str]:
    """A client and its secret."""
    token = new_token()
    made = ClientRecord(token.client_id, "laptop", hashlib.sha256(token.secret.encode()).hexdigest())
    return replace(made, **fields), token.secret  # type: ignore[arg-type]  # a test's own fields


def test_a_token_is_read_back_as_it_was_made() -> None:
    """Also where the secret itself has dashes."""
    for _ in range(200):
        token = new_token()
        assert parse_token(token.text) == token


def test_tokens_are_all_different() -> None:
    assert len({new_token().text for _ in range(200)}) == 200


@pytest.mark.parametrize("text", ["", "pp-", "pp-abcdefgh", "pp-abcdefgh-short", "xx-abcdefgh-" + "a" * 32, "sk-abc"])
def test_what_is_no_managed_clients_token_is_not_taken_for_one(text: str) -> None:
    assert parse_token(text) is None


def test_only_its_own_secret_lets_a_client_in() -> None:
    client, secret = record()

    assert client.knows(secret, now_ms=NOW_MS)
    assert not client.knows(secret + "x", now_ms=NOW_MS)
    assert not client.knows("", now_ms=NOW_MS)


def test_after_a_rotation_the_old_secret_works_to_the_end_of_its_grace() -> None:
    client, old_secret = record()
    rotated, new_secret = record(old_digest=client.digest, old_until_ms=NOW_MS)

    assert rotated.knows(old_secret, now_ms=NOW_MS - 1)
    assert not rotated.knows(old_secret, now_ms=NOW_MS)
    assert rotated.knows(new_secret, now_ms=NOW_MS)


def test_a_client_without_an_old_secret_does_not_let_an_empty_one_in() -> None:
    client, _ = record(old_digest="", old_until_ms=NOW_MS + 1)

    assert not client.knows("", now_ms=NOW_MS)


@pytest.mark.parametrize(
    ("fields", "is_usable"),
    [
        ({}, True),
        ({"disabled": True}, False),
        ({"expires_at_ms": NOW_MS}, False),
        ({"expires_at_ms": NOW_MS + 1}, True),
    ],
)
def test_a_client_is_usable_until_it_is_disabled_or_expires(fields: dict[str, object], is_usable: bool) -> None:
    client, _ = record(**fields)

    assert client.is_usable(now_ms=NOW_MS) is is_usable


@given(made=records)
def test_a_record_survives_redis(made: ClientRecord) -> None:
    assert record_of("abcdefgh", made.as_fields()) == made


@pytest.mark.parametrize(
    "fields", [{}, {"name": "x"}, {"digest": "y"}, {"name": "x", "digest": "y", "streams": "many"}]
)
def test_a_record_that_cannot_be_read_is_none(fields: dict[str, str]) -> None:
    assert record_of("abcdefgh", fields) is None


def test_neither_token_nor_record_shows_a_secret() -> None:
    token = new_token()
    client, _ = record(old_digest="0ld")

    assert token.secret not in repr(token)
    assert client.digest not in repr(client)
    assert "0ld" not in repr(client)
