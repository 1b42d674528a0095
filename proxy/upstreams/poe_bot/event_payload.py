"""What stands in an event of a bot: its fields, and the text in it, within bounds of what it may take. Pure."""

from typing import Any, Final

from proxy.upstreams.poe.payload import MalformedEventError

#: Events that are no text may have so many bytes, and so many lists and objects: each takes its time.
_MAX_OTHER_BYTES: Final = 2 * 1024 * 1024
_MAX_NESTED: Final = 50_000


def is_too_much(data: bytes) -> bool:
    """Whether an event that is no text would take too long to read."""
    return len(data) > _MAX_NESTED and (
        len(data) > _MAX_OTHER_BYTES or data.count(b"[") + data.count(b"{") > _MAX_NESTED
    )


def fields_of(block: bytes) -> tuple[bytes, bytes]:
    """The ``event`` and ``data`` of a block."""
    name, data = b"", []
    for line in block.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value
        elif field == b"data":
            data.append(value)
    return name, b"\n".join(data)


def text_of(payload: dict[str, Any]) -> str | None:
    """None where a bot wrote null, which says nothing; an event without a text makes no sense."""
    text = payload.get("text", ...)
    if text is None or isinstance(text, str):
        return text
    raise MalformedEventError
