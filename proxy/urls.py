"""The URLs that settings name, checked. A problem is a ValueError that quotes nothing: a URL may hold a password."""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

_HOST = r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_SEVERAL_REDIS = re.compile(
    rf"redis\+(?:(?P<sentinel>sentinel)|cluster)://([^@/?#\[\]]*@)?(?P<hosts>{_HOST}(,{_HOST})*)"
    r"(?(sentinel)/[A-Za-z0-9_.-]+(\?db=[0-9]{1,5})?|/?)"
)


def parse_base_url(value: object) -> str:
    """Poe's API, with or without ``/bot/`` at its end; without a slash."""
    return _parse_web_url(str(value).strip().rstrip("/").removesuffix("/bot"))


def parse_upload_url(value: object) -> str:
    """Poe's endpoint for files; with a slash at its end."""
    return _parse_web_url(str(value).strip().rstrip("/")) + "/"


def _parse_web_url(url: str) -> str:
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL")
    return url


def _split(url: str) -> SplitResult | None:
    """The parts of a URL, None when it is none; urlsplit's own complaints quote what may be a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is no number, as after a password with an unescaped slash
    except ValueError:
        return None
    return parts


def parse_redis_url(value: object) -> str:
    """``embedded``, or a URL of one Redis, of Sentinels or of a cluster."""
    url = str(value).strip()
    parts = _split(url)
    is_one_server = parts is not None and parts.scheme in ("redis", "rediss", "unix")
    if url.lower() == "embedded":
        return "embedded"
    if not is_one_server and not _names_several_redis(url):
        raise ValueError(
            "must be 'embedded' or a redis://, rediss://, unix://, redis+sentinel://host,host/name or "
            "redis+cluster://host,host URL; in a password, write / ? # as %2F %3F %23"
        )
    return url


def parse_host(value: object) -> str:
    """An address to listen on, or a name of this machine; an IPv6 address also in brackets."""
    host = str(value).strip()
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        if not _HOST_NAME.fullmatch(host):
            raise ValueError("must be an address or a name, without a port: 0.0.0.0, ::, localhost") from None
    return bare


def http_url(host: str, port: int) -> str:
    """Where a server that listens there is reached; IPv6 addresses go in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def url_host(url: str) -> str:
    """The host of a URL, with its port where it names one."""
    return urlsplit(url).netloc.rpartition("@")[2]


def without_credentials(url: str) -> str:
    """A Redis URL for people to read: without user and password, and without its options."""
    scheme, separator, rest = re.split(r"[?#]", url)[0].partition("://")
    netloc, slash, path = rest.partition("/")
    return f"{scheme}{separator}{netloc.rpartition('@')[2]}{slash}{path}"


def _names_several_redis(url: str) -> bool:
    """Whether it is a URL of Sentinels or of a cluster, whose hosts urlsplit takes for one with a strange port."""
    found = _SEVERAL_REDIS.fullmatch(url)
    return found is not None and all(0 < int(port) < 65_536 for port in re.findall(r":(\d+)(?=,|$)", found["hosts"]))
