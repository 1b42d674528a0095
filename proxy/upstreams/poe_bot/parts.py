"""Parts of a message's content: text, and files to attach. Pure; only the beginning of a file is decoded here."""

import base64
import mimetypes
import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.openai_chat.request import ContentPart, ImageUrl
from proxy.upstreams.poe_bot.attachments import EmbeddedFile, FileToAttach, RemoteFile
from proxy.upstreams.poe_bot.file_types import UNNAMED, extension_of, type_of

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
_Value = TypeVar("_Value")


class Content(NamedTuple):
    """What a message says, and what goes beside it."""

    text: str
    files: list[FileToAttach]


def read_content(content: str | list[ContentPart] | None, param: str) -> Content:
    """The content of one message; texts are joined by line ends. ``param`` names it: ``messages[2].content``.

    Raises:
        UnsupportedFeature: a part is of a type that has no counterpart at Poe.
        InvalidRequest: a part lacks the field that its type names, or its URL is none.
    """
    if not isinstance(content, list):
        return Content(content or "", [])
    texts: list[str] = []
    files: list[FileToAttach] = []
    for at, part in enumerate(content):
        place = f"{param}[{at}]"
        if part.type in ("text", "refusal"):
            texts.append(_needed(part.text if part.type == "text" else part.refusal, f"{place}.{part.type}"))
        elif part.type in _READERS:
            files.append(_READERS[part.type](part, f"{place}.{part.type}"))
        else:
            raise UnsupportedFeature(f"Content of type '{part.type[:40]}' is not supported.", param=place)
    return Content("\n".join(texts), files)


def _needed(value: _Value | None, param: str) -> _Value:
    if value is None:
        raise InvalidRequest(f"Missing required parameter: '{param}'.", param=param)
    return value


def _image(part: ContentPart, param: str) -> FileToAttach:
    if isinstance(part.image_url, ImageUrl):
        return _by_url(part.image_url.url, f"{param}.url")
    return _by_url(_needed(part.image_url, param), param)


def _by_url(url: str, param: str) -> FileToAttach:
    if url[:5].lower() == "data:":
        return _embedded(url, "image", param, is_picture=True)
    return RemoteFile(_checked_url(url, param), _name_in(url) or "image", param)


def _file(part: ContentPart, param: str) -> FileToAttach:
    file = _needed(part.file, param)
    if file.file_id is not None and file.file_data is None:
        raise UnsupportedFeature(
            "Files uploaded to OpenAI are not here; send the file itself as 'file_data'.", param=f"{param}.file_id"
        )
    param = f"{param}.file_data"
    data, name = _needed(file.file_data, param), _safe_name(file.filename or "")
    if data[:5].lower() == "data:":
        return _embedded(data, name or "file", param)
    if data[:8].lower().startswith(("http://", "https://")):
        return RemoteFile(_checked_url(data, param), name or _name_in(data) or "file", param)
    return _named(data, type_of(data, mimetypes.guess_type(name)[0] or ""), name or "file", param)


def _audio(part: ContentPart, param: str) -> FileToAttach:
    audio = _needed(part.input_audio, param)
    kind = type_of(audio.data, _AUDIO_TYPES.get(audio.format, f"audio/{audio.format}"))
    is_as_said = kind == _AUDIO_TYPES.get(audio.format, f"audio/{audio.format}")
    name = f"audio.{audio.format}" if is_as_said else "audio"
    return _named(audio.data, kind, name, f"{param}.data")


_READERS: Final[dict[str, Callable[[ContentPart, str], FileToAttach]]] = {
    "image_url": _image,
    "file": _file,
    "input_audio": _audio,
}


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
