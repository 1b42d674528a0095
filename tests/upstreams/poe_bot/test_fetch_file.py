"""Files that a bot names: only those at Poe are asked for, whatever the URL looks like, and no URL is our failure."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.core.failures import PoeFailed
from proxy.upstreams.poe.asking import Timeouts
from proxy.upstreams.poe_bot.client import PoeClient
from tests.support.scripted_poe import ScriptedPoe

TIMEOUTS = Timeouts(connect_s=1, first_event_s=1, idle_s=1, total_s=1, patience_s=0)
ELSEWHERE = [
    "https://ⓟoecdn.net/x",
    "https://a.ⓟoecdn.net/x",
    "https://poecdn。net/x",
    "https://ß.poecdn.net/x",
    "https://\u00ad.poecdn.net/x",
    "httpſ://poecdn.net/x",
    "https://xn--.poecdn.net/x",
    "https://xn--oecdn-0r1c.net/x",
    "https://-.poecdn.net/x",
    "https://.poecdn.net/x",
    "https://*.poecdn.net/x",
    "https://" + "a." * 200 + "poecdn.net/x",
    "https://" + "a" * 64 + ".poecdn.net/x",
    "https://poecdn.net/" + "x" * 9_000,
    "https://poecdn.net:99999/x",
    "https://poecdn.net:8443/x",
    "https://poecdn.net:x/",
    "https://user:password@poecdn.net/x",
    "https://poecdn.net@evil.example/x",
    "https://evil.example\\@poecdn.net/",
    "https://poecdn.net\\@evil.example/",
    "https://evil.example#@poecdn.net/",
    "https://[::1]/x",
    "https://[fe80::1%poecdn.net]/x",
    "https://[poecdn.net]/x",
    "https://%70oecdn.net/x",
    "https://poecdn.net%2f.evil.example",
    "https://poecdn.net/ x",
    "https://poecdn.net/\r\nHost: evil",
    "https://poecdn.net/\x00",
    "https://poecdn.net/\ud800",
    "http://poecdn.net/x",
    "//poecdn.net/x",
    "https:poecdn.net",
    "https:///poecdn.net",
    "data:image/png;base64,eA==",
    "file:///etc/passwd",
    "",
]


class Asked(Exception):
    """A request was about to be sent."""


@pytest.fixture
async def client(poe: ScriptedPoe, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PoeClient]:
    """One that sends nothing."""

    def ask(_: aiohttp.ClientSession, url: object, **__: object) -> None:
        raise Asked(str(url))

    async with PoeClient(poe.base_url, TIMEOUTS) as opened:
        monkeypatch.setattr(aiohttp.ClientSession, "get", ask)
        yield opened


@pytest.mark.parametrize("url", ELSEWHERE, ids=ascii)
async def test_a_file_that_is_not_surely_at_poe_is_not_asked_for(client: PoeClient, url: str) -> None:
    with pytest.raises(PoeFailed) as caught:
        await client.fetch_file(url, max_bytes=10)

    assert caught.value.kind == "upstream_error"
    assert "not at Poe" in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "https://poecdn.net/x",
        "https://pfst.cf2.poecdn.net/base/image/a1?w=1024&h=1024#top",
        "HTTPS://POECDN.NET:443/x",
        "https://poecdn.net/%zz%",
    ],
)
async def test_a_file_at_poe_is_asked_for(client: PoeClient, url: str) -> None:
    with pytest.raises(Asked):
        await client.fetch_file(url, max_bytes=10)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(url=st.text() | st.from_regex(r"https?://[^/]{0,20}poecdn\.net.{0,20}"))
async def test_no_url_breaks_the_reading(client: PoeClient, url: str) -> None:
    with pytest.raises((PoeFailed, Asked)):
        await client.fetch_file(url, max_bytes=10)
