"""Parts of a message: text, and files to attach. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from proxy.core.chat_request import Audio, File, Image, Part, Text
from proxy.upstreams.poe.files import read_file
from proxy.upstreams.poe_bot.attachments import FileToAttach


class Said(NamedTuple):
    """The text of a message and the files beside it."""

    text: str
    files: list[FileToAttach]


def read_parts(parts: Sequence[Part]) -> Said:
    """The texts of these parts, joined by line ends, and their files. Calls, results and thoughts are left out.

    Raises:
        InvalidRequest: a URL is not valid, or the kind of a file cannot be told.
    """
    if len(parts) == 1 and isinstance(only := parts[0], Text):  # as nearly every message is
        return Said(only.text, [])
    texts: list[str] = []
    files: list[FileToAttach] = []
    for part in parts:
        match part:
            case Text(text):
                texts.append(text)
            case Image() | Audio() | File():
                files.append(read_file(part))
    return Said("\n".join(texts), files)
