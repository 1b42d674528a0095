"""Which outbound proxy leads to a server, from what the environment of many programs says."""

import pickle
from base64 import b64decode
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.outbound import Outbound, OutboundProxy, UnusableProxy, parse_exemptions, parse_fallback_proxy, parse_proxy
from proxy.settings import Settings, SettingsError, load_settings

SECRET = "s3cret"
NAMES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(name="load")
def _load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("REQUEST_METHOD", raising=False)

    def load(**environment: str) -> Settings:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return load_settings()

    return load


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("http://proxy:3128", OutboundProxy("http", "proxy", 3128)),
        ("https://proxy.example.com", OutboundProxy("https", "proxy.example.com", 443)),
        ("http://proxy/", OutboundProxy("http", "proxy", 80)),
        ("proxy:3128", OutboundProxy("http", "proxy", 3128)),
        ("HTTP://Proxy:3128", OutboundProxy("http", "proxy", 3128)),
        ("http://[fd00::1]:3128", OutboundProxy("http", "fd00::1", 3128)),
        ("http://me:p%2F%3A%40s@proxy:1", OutboundProxy("http", "proxy", 1, "me", "p/:@s")),
        ("http://me@proxy:1", OutboundProxy("http", "proxy", 1, "me")),
        ("", None),
    ],
)
def test_a_proxy_is_written_as_everywhere(value: str, expected: OutboundProxy | None) -> None:
    assert parse_proxy(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        f"http://me:{SECRET}/{SECRET}@proxy:3128",
        f"http://me:{SECRET}#{SECRET}@proxy:3128",
        f"http://me:12/{SECRET}@proxy:3128",
        f"http://m%3Ae:{SECRET}@proxy",
        f"http://me:{SECRET}%0d%0aX-Y: z@proxy",
        f"http://me:{SECRET}%ff@proxy",
        f"ftp://me:{SECRET}@proxy",
        f"socks5://me:{SECRET}@proxy:1080",
        f"http://me:{SECRET}@proxy:0",
        f"http://me:{SECRET}@prox y",
        f"http://me:{SECRET}@[::",
        f"http://me:{SECRET}@",
    ],
)
def test_what_is_no_proxy_is_refused_without_a_secret(load: Callable[..., Settings], value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(HTTPS_PROXY=value)

    assert str(caught.value).startswith("HTTPS_PROXY: ")
    assert SECRET not in str(caught.value)


def test_no_picture_of_a_proxy_shows_its_credentials(load: Callable[..., Settings]) -> None:
    settings = load(HTTPS_PROXY=f"http://wanda:{SECRET}@proxy:3128")
    copy = pickle.loads(pickle.dumps(settings))

    assert copy.outbound == settings.outbound
    for shown in (repr(settings), str(settings.https_proxy), repr(settings.outbound)):
        assert "proxy" in shown
        assert SECRET not in shown
        assert "wanda" not in shown
    assert settings.https_proxy is not None
    assert b64decode(settings.https_proxy.authorization.removeprefix("Basic ")) == f"wanda:{SECRET}".encode()


@pytest.mark.parametrize(
    ("environment", "https", "http"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "http://a"}, "a", None),
        ({"https_proxy": "http://a"}, "a", None),
        ({"HTTPS_PROXY": "http://a", "https_proxy": "http://b"}, "b", None),
        ({"HTTP_PROXY": "http://a"}, None, "a"),
        ({"HTTP_PROXY": "http://a", "REQUEST_METHOD": "GET"}, None, None),
        ({"HTTP_PROXY": "http://a", "http_proxy": "http://b", "REQUEST_METHOD": "GET"}, None, "b"),
        ({"ALL_PROXY": "http://a"}, "a", "a"),
        ({"ALL_PROXY": "http://a", "HTTPS_PROXY": "http://b"}, "b", "a"),
        ({"all_proxy": "http://a", "http_proxy": "http://b"}, "a", "b"),
        ({"HTTPS_PROXY": "http://a", "NO_PROXY": ".poe.com"}, None, None),
        ({"HTTPS_PROXY": "http://a", "NO_PROXY": "x", "no_proxy": "poe.com"}, None, None),
        ({"HTTPS_PROXY": "http://a", "https_proxy": ""}, "a", None),
    ],
    ids=str,
)
def test_the_environment_is_read_as_by_curl(
    load: Callable[..., Settings], environment: dict[str, str], https: str | None, http: str | None
) -> None:
    """But that upper case HTTP_PROXY counts where no CGI program could have been given it by a client."""
    outbound = load(**environment).outbound
    chosen = [outbound.proxy_for(f"{scheme}://api.poe.com/v1") for scheme in ("https", "http")]

    assert [proxy and proxy.host for proxy in chosen] == [https, http]


@pytest.mark.parametrize(
    ("listed", "url", "is_direct"),
    [
        ("example.com", "https://example.com", True),
        ("example.com", "https://api.example.com", True),
        ("example.com", "https://EXAMPLE.com.", True),
        ("example.com", "https://badexample.com", False),
        ("example.com", "https://example.com.evil.org", False),
        (".example.com", "https://api.example.com", True),
        (".example.com", "https://example.com", True),
        ("*.example.com", "https://api.example.com", True),
        ("EXAMPLE.COM", "https://example.com", True),
        ("com", "https://example.com", True),
        ("example.com:443", "https://example.com", True),
        ("example.com:443", "https://example.com:8443", False),
        ("example.com:8443", "https://api.example.com:8443", True),
        ("example.com:80", "http://example.com", True),
        ("*", "https://example.com", True),
        ("a.org, *", "https://example.com", True),
        (" a.org ,,example.com ", "https://example.com", True),
        ("a.org example.com", "https://example.com", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.1.2.3/8", "https://10.200.0.1", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.0.0.0/8", "https://10.example.com", False),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("10.1.2.3", "https://10.1.2.33", False),
        ("10.1.2.3:443", "https://10.1.2.3", True),
        ("10.1.2.3:80", "https://10.1.2.3", False),
        ("fd00::/8", "https://[fd12::1]", True),
        ("fd12::1", "https://[fd12:0::1]", True),
        ("[fd12::1]", "https://[fd12::1]", True),
        ("[fd12::1]:8443", "https://[fd12::1]:8443", True),
        ("[fd12::1]:8443", "https://[fd12::1]", False),
        ("fd00::/8", "https://10.1.2.3", False),
        ("10.0.0.0/99", "https://10.1.2.3", False),
        (".", "https://example.com", False),
        ("", "https://example.com", False),
        ("", "http://localhost:8000", True),
        ("", "http://127.3.2.1:8000", True),
        ("", "http://[::1]:8000", True),
        ("", "http://localhost.example.com", False),
    ],
)
def test_what_is_reached_directly(listed: str, url: str, is_direct: bool) -> None:
    """As Python and Go read the list; a leading dot means the same as none, as for curl. This machine always is."""
    proxy = OutboundProxy("http", "proxy", 3128)
    outbound = Outbound(proxy, proxy, parse_exemptions(listed))

    assert outbound.proxy_for(url) == (None if is_direct else proxy)


@given(st.text())
def test_no_list_of_exemptions_is_a_problem(listed: str) -> None:
    """Other programs read it too, and may know more."""
    parse_exemptions(listed).cover("example.com", 443)


@given(st.text())
def test_no_fallback_is_a_problem_by_itself(value: str) -> None:
    assert isinstance(parse_fallback_proxy(value), OutboundProxy | UnusableProxy | None)


@pytest.mark.parametrize(
    ("environment", "problems"),
    [
        ({"HTTPS_PROXY": "socks5://proxy:1080"}, ["HTTPS_PROXY"]),
        ({"http_proxy": "socks5h://proxy:1080"}, ["HTTP_PROXY"]),
        ({"ALL_PROXY": "socks5://proxy:1080"}, ["ALL_PROXY"]),
        ({"ALL_PROXY": "socks5://proxy:1080", "HTTP_PROXY": "http://a"}, ["ALL_PROXY"]),
        ({"all_proxy": "socks5://proxy:1080", "https_proxy": "http://a"}, []),
        ({"all_proxy": "socks5://proxy:1080", "NO_PROXY": "*"}, []),
    ],
    ids=str,
)
def test_socks_is_refused_by_name_where_it_would_be_used(
    load: Callable[..., Settings], environment: dict[str, str], problems: list[str]
) -> None:
    """Systems often name a SOCKS proxy beside an HTTP one, for whoever can use it."""
    try:
        load(**environment)
        found: list[str] = []
    except SettingsError as error:
        found = error.problems

    assert [problem.partition(":")[0] for problem in found] == problems
    assert all("SOCKS is not supported" in problem for problem in found)


def test_a_local_upstream_needs_no_fallback(load: Callable[..., Settings]) -> None:
    local = {"POE_BASE_URL": "http://127.0.0.1:9", "POE_UPLOAD_URL": "http://127.0.0.1:9"}

    assert load(ALL_PROXY="socks5://proxy", **local).outbound.proxy_for("http://127.0.0.1:9") is None
