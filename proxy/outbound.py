"""Outbound proxies: how their URLs are written, and which of them leads to a server (HTTPS_PROXY, NO_PROXY and so on).

Knows neither settings nor sockets. A problem is a ValueError that quotes nothing: the URL may hold a password.
"""

import ipaddress
import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[a-z0-9_.-]{1,253}|[0-9a-f:.]+", re.ASCII)
#: Of what would be read as another part of the URL, in a user name or password.
_ESCAPES: Final = "in a user name or password write / ? # @ as %2F %3F %23 %40"

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class OutboundProxy:
    """An HTTP proxy between this process and the upstreams. Its text and its repr leave out the credentials.

    Attributes:
        scheme: ``http``, or ``https`` for a proxy that is spoken to over TLS.
    """

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{join_host_port(self.host, self.port)}"

    @property
    def authorization(self) -> str:
        """The value of ``Proxy-Authorization``; empty without credentials."""
        if not (self.user or self.password):
            return ""
        return f"Basic {b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


@dataclass(frozen=True, slots=True)
class UnusableProxy:
    """A proxy that cannot be used. Only a problem when a connection would go through it."""

    problem: str


@dataclass(frozen=True, slots=True)
class Exemptions:
    """The servers to which connections go without a proxy.

    Attributes:
        names: hosts in lower case, each with all names below it; with a port, or None for every port.
        networks: for hosts that are addresses.
    """

    everything: bool = False
    names: tuple[tuple[str, int | None], ...] = ()
    networks: tuple[tuple[_Network, int | None], ...] = ()

    def cover(self, host: str, port: int) -> bool:
        """Whether this server is reached directly. A loopback address always is, since a proxy has its own."""
        host = host.lower().rstrip(".")
        address = _address(host)
        if self.everything or host == "localhost" or (address is not None and address.is_loopback):
            return True
        if address is not None:
            return any(address in network and only in (None, port) for network, only in self.networks)
        return any((host == name or host.endswith(f".{name}")) and only in (None, port) for name, only in self.names)


@dataclass(frozen=True, slots=True)
class Outbound:
    """Which outbound proxy leads to a server: one for https:// servers, one for http://, and exemptions from both."""

    https: OutboundProxy | None = None
    http: OutboundProxy | None = None
    exemptions: Exemptions = Exemptions()

    def proxy_for(self, url: str) -> OutboundProxy | None:
        """The proxy through which this URL is asked; None for a direct connection."""
        parts = urlsplit(url)
        proxy = self.https if parts.scheme == "https" else self.http
        if proxy is None or self.exemptions.cover(parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]):
            return None
        return proxy


#: Every connection is direct.
DIRECT: Final = Outbound()


def parse_proxy(value: object) -> OutboundProxy | None:
    """``http://user:password@host:port``, or https://; http:// where no scheme is given. None when empty."""
    if value is None or isinstance(value, OutboundProxy):
        return value
    text = str(value).strip()
    if not text:
        return None
    parts = _split(text if "://" in text else f"http://{text}")
    if parts is not None and parts.scheme.startswith("socks"):
        raise ValueError("SOCKS is not supported; give an http:// or https:// proxy")
    host = (parts.hostname or "") if parts is not None else ""
    if parts is None or parts.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(host) or _has_more(parts):
        raise ValueError(f"must look like http://host:port or https://user:password@host:port; {_ESCAPES}")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if ":" in user or "\ufffd" in user + password or not (user + password).isprintable():
        raise ValueError("user name and password must be text in UTF-8, the user name without a colon")
    return OutboundProxy(parts.scheme, host, parts.port or _DEFAULT_PORTS[parts.scheme], user, password)


def parse_fallback_proxy(value: object) -> OutboundProxy | UnusableProxy | None:
    """The same, but what cannot be used is a value too: many systems name a SOCKS proxy beside their HTTP proxy."""
    try:
        return value if isinstance(value, UnusableProxy) else parse_proxy(value)
    except ValueError as error:
        return UnusableProxy(str(error))


def parse_exemptions(value: object) -> Exemptions:
    """A list with commas or blanks between: ``*``, names, addresses, networks as 10.0.0.0/8; with ``:port`` or without.

    ``example.com``, ``.example.com`` and ``*.example.com`` are the same: the host and everything below it. An entry
    that is none of these covers nothing, since other programs read this list too.
    """
    if isinstance(value, Exemptions):
        return value
    names: list[tuple[str, int | None]] = []
    networks: list[tuple[_Network, int | None]] = []
    everything = False
    for entry in str(value).lower().replace(",", " ").split():
        host, port = _split_port(entry)
        network = _network(host)
        everything = everything or entry == "*"
        if network is not None:
            networks.append((network, port))
        elif name := host.removeprefix("*").strip("."):
            names.append((name, port))
    return Exemptions(everything, tuple(names), tuple(networks))


def join_host_port(host: str, port: int) -> str:
    """``host:port``; IPv6 addresses go in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split(url: str) -> SplitResult | None:
    """The parts of a URL, None when it is none; urlsplit's own complaints quote what may be a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is no number
    except ValueError:
        return None
    return parts


def _has_more(parts: SplitResult) -> bool:
    """A path is as a rule the rest of a password with a slash in it."""
    return parts.path not in ("", "/") or bool(parts.query or parts.fragment) or parts.port == 0


def _split_port(entry: str) -> tuple[str, int | None]:
    """The host of an entry, and its port where it has one. A bare IPv6 address has none."""
    bracketed = re.fullmatch(r"\[([0-9a-f:.]+)\](?::([0-9]{1,5}))?", entry)
    if bracketed is not None:
        return bracketed[1], int(bracketed[2]) if bracketed[2] else None
    host, colon, port = entry.partition(":")
    return (host, int(port)) if colon and port.isdecimal() else (entry, None)


def _network(host: str) -> _Network | None:
    try:
        return ipaddress.ip_network(host, strict=False)
    except ValueError:
        return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
