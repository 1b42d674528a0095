"""Files within a request as they came: in base64 or by their URL, with their kinds. Pure.

Only the beginning of a file is decoded here.
"""

import base64
import mimetypes
import re
from typing import Final, NamedTuple
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from proxy.core.chat_request import Audio, File, Image
from proxy.core.failures import InvalidRequest
from proxy.upstreams.poe.file_types import UNNAMED, extension_of, type_of

_DATA_URL: Final = re.compile(
    r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]{0,200})*(?P<base64>;base64)?,", re.IGNORECASE | re.ASCII
)
_MAX_URL_CHARACTERS: Final = 8_192
_MAX_NAME_CHARACTERS: Final = 200
#: Most that is percent-decoded, which takes 100 ns a character.
_MAX_ENCODED_CHARACTERS: Final = 1_048_576
#: What a bot may be shown as a picture without being told that it is one.
_SHOWN: Final = ("image/", "video/", "application/pdf")
_AUDIO_TYPES: Final = {"mp3": "audio/mpeg", "wav": "audio/wav"}


class EmbeddedFile(NamedTuple):
    """A file that came within the request.

    Attributes:
        data: base64 as the caller sent it, not looked at yet.
        param: the request's field it came in, to be named when something is wrong with it.
    """

    data: str
    content_type: str
    name: str
    param: str

    @property
    def data_url(self) -> str:
        """All of it as a URL."""
        return f"data:{self.content_type};base64,{self.data}"


class RemoteFile(NamedTuple):
    """A file that Poe is to fetch; the proxy never does.

    Attributes:
        url: http or https.
        param: the request's field it came in.
    """

    url: str
    name: str
    param: str


def read_file(part: Image | Audio | File) -> EmbeddedFile | RemoteFile:
    """The file that a part of a message is.

    Raises:
        InvalidRequest: a URL is not valid, or the kind of a picture cannot be told.
    """
    match part:
        case Image(url, path):
            return _by_url(url, path)
        case Audio():
            return _audio(part)
        case File():
            return _file(part)


def _by_url(url: str, param: str) -> EmbeddedFile | RemoteFile:
    if url[:5].lower() == "data:":
        return _embedded(url, "image", param, is_picture=True)
    return RemoteFile(_checked_url(url, param), _name_in(url) or "image", param)


def _file(file: File) -> EmbeddedFile | RemoteFile:
    data, name, path = file.data, _safe_name(file.name), file.path
    if data[:5].lower() == "data:":
        return _embedded(data, name or "file", path)
    if data[:8].lower().startswith(("http://", "https://")):
        return RemoteFile(_checked_url(data, path), name or _name_in(data) or "file", path)
    return _named(data, type_of(data, mimetypes.guess_type(name)[0] or ""), name or "file", path)


def _audio(audio: Audio) -> EmbeddedFile:
    said = _AUDIO_TYPES.get(audio.format, f"audio/{audio.format}")
    kind = type_of(audio.data, said)
    name = f"audio.{audio.format}" if kind == said else "audio"
    return _named(audio.data, kind, name, audio.path)


def _embedded(url: str, name: str, param: str, *, is_picture: bool = False) -> EmbeddedFile:
    """A data URL; what is percent-encoded in it becomes base64, so that there is one form."""
    head = _DATA_URL.match(url)
    if head is None:
        raise InvalidRequest(f"Invalid value for '{param}': not a data URL with a media type.", param=param)
    declared = (head["type"] or "").lower()
    data = url[head.end() :]
    if len(data) > _MAX_ENCODED_CHARACTERS and "%" in data:
        raise InvalidRequest(f"Invalid value for '{param}': too much to be percent-encoded; use base64.", param=param)
    data = unquote(data) if head["base64"] else base64.b64encode(unquote_to_bytes(data)).decode()
    is_said = declared not in ("", UNNAMED)
    kind = type_of(data, declared if is_said else mimetypes.guess_type(name)[0] or "")
    if is_picture and not is_said and not kind.startswith(_SHOWN):
        raise InvalidRequest(
            f"Invalid value for '{param}': what kind of file this is shows neither in the data URL nor in its bytes; "
            "begin it with its media type, such as data:image/png;base64,",
            param=param,
        )
    return _named(data, kind, name, param)


def _named(data: str, kind: str, name: str, param: str) -> EmbeddedFile:
    """Bots go by the ending of a name; one that is missing is added."""
    return EmbeddedFile(data, kind, name if "." in name else name + extension_of(kind), param)


def _checked_url(url: str, param: str) -> str:
    """An http(s) URL for Poe to fetch; it is not looked at further."""
    if len(url) > _MAX_URL_CHARACTERS:
        raise InvalidRequest(
            f"Invalid value for '{param}': the URL has {len(url)} characters, at most {_MAX_URL_CHARACTERS} are taken.",
            param=param,
        )
    if wrong := re.search(r"[\x00-\x20\x7f]", url):
        raise InvalidRequest(
            f"Invalid value for '{param}': the URL has a blank or control character at position {wrong.start()}; "
            "write it percent-encoded.",
            param=param,
        )
    try:
        parts = urlsplit(url)
        is_url = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_url = False
    if not is_url:
        raise InvalidRequest(f"Invalid value for '{param}': must be an http(s) or data URL.", param=param)
    return url


def _name_in(url: str) -> str:
    """The file name that a URL's path ends with, or ""."""
    return _safe_name(unquote(urlsplit(url).path).rpartition("/")[2])


def _safe_name(name: str) -> str:
    """A file name without directories and control characters."""
    name = re.split(r"[/\\]", name)[-1]
    return re.sub(r"[\x00-\x1f\x7f]", "", name)[-_MAX_NAME_CHARACTERS:].strip(". ")
