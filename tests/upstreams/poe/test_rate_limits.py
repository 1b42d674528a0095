"""What is believed of the headers that say how long to wait and how many requests are left."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstreams.poe.rate_limits import MAX_RETRY_AFTER_S, RateLimits, parse_rate_limits, parse_retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("1e1", 10),
        ("-3", 0),
        ("-inf", 0),
        ("86401", MAX_RETRY_AFTER_S),
        ("1e999", MAX_RETRY_AFTER_S),
        ("inf", MAX_RETRY_AFTER_S),
        ("9" * 5_000, MAX_RETRY_AFTER_S),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_S),
        ("nan", None),
        ("", None),
        (None, None),
        ("soon", None),
        ("7 seconds", None),
        ("Mon, 32 Jan 2026 00:00:00 GMT", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +9999999999999999999", None),
        ("0x10", None),
    ],
)
def test_retry_after_is_seconds_within_reason(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


@pytest.mark.parametrize("zone", [UTC, None])
def test_retry_after_may_be_a_date(zone: object) -> None:
    """HTTP dates are in GMT, whether they say so (``GMT``) or not (``-0000``)."""
    then = datetime.now(UTC) + timedelta(seconds=90)
    written = format_datetime(then, usegmt=True) if zone else format_datetime(then.replace(tzinfo=None))

    seconds = parse_retry_after(written)

    assert seconds is not None
    assert 85 < seconds <= 90


@given(
    value=st.text()
    | st.from_regex(r"\A[A-Z][a-z]{2}, \d{1,20} [A-Z][a-z]{2} \d{1,20} \d{1,9}:\d{1,9}:\d{1,9} [+-]?\w{1,20}\Z")
    | st.floats().map(str)
)
def test_no_retry_after_breaks_the_reading(value: str) -> None:
    seconds = parse_retry_after(value)

    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S


def test_the_rate_limit_headers_are_numbers() -> None:
    headers = {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "0.12",
    }

    assert parse_rate_limits(headers) == RateLimits(limit=500, remaining=499, reset_s=0.12)


def test_without_rate_limit_headers_there_are_none() -> None:
    assert parse_rate_limits({"x-ratelimit-remaining": "3", "retry-after": "1"}) is None


@pytest.mark.parametrize("value", ["", "many", "nan", "inf", "-1", "1,2", "60s"])
def test_a_rate_limit_header_that_is_no_number_is_left_out(value: str) -> None:
    headers = {"x-ratelimit-limit-requests": value, "x-ratelimit-remaining-requests": "3"}

    assert parse_rate_limits(headers) == RateLimits(limit=None, remaining=3, reset_s=None)
    assert parse_rate_limits({"x-ratelimit-reset-requests": value}) is None


def anthropics(reset: str, *, date: str = "Tue, 05 May 2026 10:00:00 GMT") -> dict[str, str]:
    return {
        "date": date,
        "anthropic-ratelimit-requests-limit": "500",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": reset,
    }


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("2026-05-05T10:00:07Z", 7),
        ("2026-05-05T12:00:07.5+02:00", 7.5),
        ("2026-05-05T09:59:54Z", 0),
        ("2026-05-05T10:00:07", None),
        ("soon", None),
        ("7", None),
        ("", None),
    ],
)
def test_anthropics_headers_name_the_time_of_the_reset(reset: str, seconds: float | None) -> None:
    """By the server's clock: ours may be wrong."""
    limits = parse_rate_limits(anthropics(reset))

    assert limits is not None
    assert (limits.limit, limits.remaining, limits.reset_s) == (500, 0, seconds)


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Jan 2026 00:00:00 GMT"])
def test_without_a_date_our_clock_has_to_do(date: str) -> None:
    limits = parse_rate_limits(anthropics((datetime.now(UTC) + timedelta(seconds=60)).isoformat(), date=date))

    assert limits is not None
    assert limits.reset_s == pytest.approx(60, abs=30)


@given(value=st.text() | st.datetimes().map(str), date=st.text() | st.none())
def test_no_time_of_a_reset_breaks_the_reading(value: str, date: str | None) -> None:
    limits = parse_rate_limits(anthropics(value, date=date or ""))

    assert limits is not None
    assert limits.reset_s is None or limits.reset_s >= 0
