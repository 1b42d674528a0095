"""Where settings come from beside variables of their own name: files that hold secrets, and the names of proxies."""

import os
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from proxy.credentials import UnusableFile

#: Settings that may also come as ``NAME_FILE``: the path of a file that holds the value.
SECRET_NAMES: Final = ("POE_API_KEYS", "ACCESS_TOKENS", "ADMIN_TOKENS", "REDIS_URL")
#: Settings that other programs read, too, most in lower case.
PROXY_NAMES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


class _Source(PydanticBaseSettingsSource):
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # only __call__ is used: there is nothing to do for one field alone


class SecretFiles(_Source):
    """Reads the file named by ``NAME_FILE`` for each secret; a fault becomes a problem of that setting."""

    def __call__(self) -> dict[str, Any]:
        named = {name: os.environ.get(f"{name}_FILE", "") for name in SECRET_NAMES}
        return {name.lower(): _read_secret_file(name, path) for name, path in named.items() if path}


class ProxyVariables(_Source):
    """Reads the variables of outbound proxies, which many programs share, by their rules.

    The lower case name wins, as for curl. ``HTTP_PROXY`` is ignored in a CGI program, where a client can set it with a
    header ``Proxy`` (httpoxy); ``REQUEST_METHOD`` gives such a program away, as for Go and Python.
    """

    def __call__(self) -> dict[str, Any]:
        found = {name.lower(): os.environ.get(name.lower()) or os.environ.get(name, "") for name in PROXY_NAMES}
        if "REQUEST_METHOD" in os.environ:
            found["http_proxy"] = os.environ.get("http_proxy", "")
        return {name: value for name, value in found.items() if value or name == "http_proxy"}


def _read_secret_file(name: str, path: str) -> str | UnusableFile:
    if os.environ.get(name):
        return UnusableFile(f"set {name} or {name}_FILE, not both")
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        return UnusableFile(f"the file named by {name}_FILE cannot be read: {reason}")
    return text or UnusableFile(f"the file named by {name}_FILE is empty")
