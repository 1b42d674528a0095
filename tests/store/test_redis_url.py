"""``REDIS_URL`` for several servers: what the settings take is what the store can open."""

import pytest

from proxy.store.connection import open_client
from tests.support.serving import make_settings


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis+sentinel://h/ours", {"db": 0, "username": None, "password": None}),
        ("redis+sentinel://h1:1,h2:65535/ours-1?db=3", {"db": 3}),
        ("redis+sentinel://u:p%2Fw@h1,[::1]:26379/ours", {"db": 0, "username": "u", "password": "p/w"}),
        ("redis+cluster://h1:6379,h2:6379", {"username": None, "password": None}),
        ("redis+cluster://:p%40w:x@[::1],10.0.0.1/", {"username": None, "password": "p@w:x"}),
    ],
)
async def test_several_servers_may_be_named(url: str, expected: dict[str, object]) -> None:
    taken = make_settings(redis_url=url).redis_url
    async with open_client(taken, "poe:1:{pool}:turn") as client:
        options = client.connection_pool.connection_kwargs

    assert {name: options[name] for name in expected} == expected


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h1,h2",
        "redis+sentinel://h/",
        "redis+sentinel://h/ours?db=x",
        "redis+sentinel://h/ours?database=3",
        "redis+sentinel://h:0/ours",
        "redis+cluster://",
        "redis+cluster://h1,,h2",
        "redis+cluster://h:65536",
        "redis+cluster://h/3",
        "redis+cluster://:s3cret/word@h",
        "redis+other://h",
    ],
)
def test_other_lists_of_servers_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="redis\\+cluster://host,host URL"):
        make_settings(redis_url=url)
