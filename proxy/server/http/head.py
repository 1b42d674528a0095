"""Reads the head of an HTTP/1 request, strictly: what two programs could read in two ways is refused. Pure.

RFC 9112 lets a server repair much. A proxy in front may repair it otherwise, and then a body holds a second request
("request smuggling"); so nothing is repaired here.
"""

import re
from typing import Final, NamedTuple

from proxy.core.failures import HeadTooLarge, InvalidRequest

#: Longest head, and most header fields in it.
MAX_HEAD_BYTES: Final = 16 * 1024
MAX_FIELDS: Final = 100

_HEAD: Final = re.compile(
    r"(?P<method>[!#$%&'*+.^_`|~0-9A-Za-z-]+) (?P<target>[!-~]+) HTTP/(?P<version>1\.[01])"
    r"(?P<fields>(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*)*)"
)
_FIELD: Final = re.compile(r"\r\n([^:]+):([^\r]*)")
_TARGET: Final = re.compile(
    r"https?://(?:[a-z0-9._~%-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?(?P<path>/[^#]*)?|\*", re.IGNORECASE
)
_LENGTH: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
#: Fields that say something of the body, or of which two would be a riddle.
_ONCE: Final = frozenset(("content-length", "transfer-encoding", "host", "content-encoding", "expect"))
_LINE_END: Final = re.compile(rb"(?<!\r)\n|\r[^\n]")


class Head(NamedTuple):
    """A request's head.

    Attributes:
        target: path and query.
        version: "1.0" or "1.1".
        fields: names in lower case, values without blanks around them.
        length: bytes of the body; None when it comes in chunks.
    """

    method: str
    target: str
    version: str
    fields: list[tuple[str, str]]
    keep_alive: bool
    has_body: bool
    length: int | None
    expects_continue: bool


def parse_head(head: bytes) -> Head:
    """The head, which stands here without the empty line that ends it.

    Raises:
        InvalidRequest: it is not HTTP/1, or not in its strictest form.
        HeadTooLarge: there are too many fields.
    """
    found = _HEAD.fullmatch(head.decode(errors="surrogateescape"))
    if found is None:
        raise _malformed(_fault(head))
    method, target, version, lines = found.groups()
    fields = [(name.lower(), value.strip(" \t")) for name, value in _FIELD.findall(lines)]
    named = dict(fields)
    if len(named) < len(fields):
        _refuse_two(fields)
    if len(fields) > MAX_FIELDS:
        raise HeadTooLarge(f"The request has more than {MAX_FIELDS} headers.")
    keep_alive = version == "1.1"
    if "connection" in named:
        for name, value in fields:
            if name == "connection":
                keep_alive = _keeps_alive(value, otherwise=keep_alive)
    has_body, length = _framing(named, version)
    expects = "expect" in named
    if expects and named["expect"].lower() != "100-continue":
        raise InvalidRequest("This Expect header is not supported.")
    expects_continue = has_body and expects and version == "1.1"
    return Head(method, _path(target), version, fields, keep_alive, has_body, length, expects_continue)


def refuse_bare_line_ends(part: bytes | bytearray, start: int = 0) -> None:
    """Raises InvalidRequest for what, from ``start`` on, will never be a head, so that nobody waits for its end."""
    if _LINE_END.search(part, start):
        raise _malformed("lines end with CR LF")


def _refuse_two(fields: list[tuple[str, str]]) -> None:
    """Raises InvalidRequest where a field comes twice that may not."""
    once = [name for name, _ in fields if name in _ONCE]
    for name in once:
        if once.count(name) > 1:
            raise _malformed(f"there are two {name} headers")


def _framing(once: dict[str, str], version: str) -> tuple[bool, int | None]:
    """Whether there is a body, and its length."""
    coding, length = once.get("transfer-encoding"), once.get("content-length")
    if coding is None:
        if length is None:
            return False, 0
        if not _LENGTH.fullmatch(length):
            raise _malformed("the content-length is no number")
        return True, int(length)
    if length is not None:
        raise _malformed("there are both content-length and transfer-encoding")
    if coding.lower() != "chunked" or version == "1.0":
        raise _malformed("the transfer-encoding is not chunked")
    return True, None


def _keeps_alive(value: str, *, otherwise: bool) -> bool:
    words = [word.strip(" \t").lower() for word in value.split(",")]
    return False if "close" in words else otherwise or "keep-alive" in words


def _path(target: str) -> str:
    """Path and query of a target. Proxies also write whole URLs; ``*`` is the server as such."""
    if target.startswith("/") and "#" not in target:
        return target
    found = _TARGET.fullmatch(target)
    if found is None:
        raise _malformed("the request target is no path")
    return found["path"] or "/"


def _fault(head: bytes) -> str:
    """What is wrong with a head, as nearly as one can tell."""
    first, *lines = head.split(b"\r\n")
    if _LINE_END.search(head):
        return "lines end with CR LF"
    if not _HEAD.fullmatch(first.decode(errors="surrogateescape")):
        return "the first line is no HTTP/1 request"
    if any(line[:1] in (b" ", b"\t") for line in lines):
        return "a header goes on over several lines"
    return "a header is not 'name: value', or has a character that none may have"


def _malformed(reason: str) -> InvalidRequest:
    return InvalidRequest(f"The HTTP request is malformed: {reason}.")
