"""Secrets are found in whatever stands around them, however many there are, and as soon."""

import secrets
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.server.observability.secret_index import SecretIndex

SECRETS = st.lists(
    st.binary(min_size=6, max_size=40) | st.text("ab-", min_size=6).map(str.encode), min_size=1, max_size=30
)


@given(many=SECRETS, which=st.integers(0), before=st.binary(max_size=50), after=st.binary(max_size=50))
def test_none_gets_past(many: list[bytes], which: int, before: bytes, after: bytes) -> None:
    assert SecretIndex(many).may_be_in(before + many[which % len(many)] + after)


def test_none_gets_past_within_a_longer_run_of_the_same_bytes() -> None:
    many = [f"{number:012d}".encode() for number in range(1, 20)]

    assert all(SecretIndex(many).may_be_in(b"999" + secret) for secret in many)
    assert all(SecretIndex(many).may_be_in(secret + b"999") for secret in many)
    assert not SecretIndex(many).may_be_in(b"9" * 30)


def test_none_gets_past_whose_bytes_are_all_there_are() -> None:
    everything = bytes(range(256))

    assert SecretIndex([everything, *(bytes([byte]) * 6 for byte in range(20))]).may_be_in(b"x" + everything)


@pytest.mark.parametrize("count", [0, 1, 8, 9, 1_000])
def test_an_ordinary_line_holds_none(count: int) -> None:
    index = SecretIndex([secrets.token_urlsafe(32).encode() for _ in range(count)])

    assert not index.may_be_in(line())


def test_a_thousand_take_no_longer_than_a_few() -> None:
    """Measured: as long as 20; one after another they took 50 times as long."""
    few, many = (looking_s([secrets.token_urlsafe(32).encode() for _ in range(count)]) for count in (20, 1_000))

    assert many < 5 * few


def looking_s(many: list[bytes]) -> float:
    index, text = SecretIndex(many), line()
    times = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(500):
            index.may_be_in(text)
        times.append(time.process_time() - began)
    return min(times)


def line() -> bytes:
    """As a call's, with an id that is as long as a key."""
    return (
        b'{"logger":"proxy.request","message":"/v1/chat/completions","request_id":"'
        + b"5f3e9a1b" * 6
        + b'","status":200}'
    )
