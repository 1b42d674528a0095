"""Addresses as people read them: IPv6 in brackets, and no credentials."""

import pytest

from proxy.urls import http_url, without_credentials


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("localhost", "http://localhost:80"),
        ("::", "http://[::]:80"),
        ("::1", "http://[::1]:80"),
        ("fe80::1%eth0", "http://[fe80::1%eth0]:80"),
    ],
)
def test_an_address_can_be_pasted_into_a_client(host: str, url: str) -> None:
    assert http_url(host, 80) == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://redis:6379/0", "redis://redis:6379/0"),
        ("redis://:s3cret@redis:6379/0", "redis://redis:6379/0"),
        ("rediss://user:s3c%2Fret@redis.example.com:6380", "rediss://redis.example.com:6380"),
        ("redis://redis:6379/0?password=s3cret&db=1", "redis://redis:6379/0"),
        ("redis://redis:6379?password=s3cret", "redis://redis:6379"),
        ("redis://user:s3cret@twice@redis:6379", "redis://redis:6379"),
        ("unix://user:s3cret@/run/redis.sock?db=2", "unix:///run/redis.sock"),
        ("redis+sentinel://:s3cret@s1:26379,s2:26379/mymaster?db=0", "redis+sentinel://s1:26379,s2:26379/mymaster"),
        ("redis+cluster://u:s3cret@n1:6379,n2:6379", "redis+cluster://n1:6379,n2:6379"),
    ],
)
def test_where_redis_is_can_be_told_without_how_to_get_in(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
