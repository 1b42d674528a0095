"""Pictures that come beside the text of a chat completion, as links within it: a chat has no other place. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

#: What can stand within a Markdown link.
_LINK: Final = re.compile(r"https?://[^\s()<>]{1,8192}|data:image/[\w.+-]+;base64,[\w+/=-]+", re.ASCII)
#: An answer has at most so many.
_MAX_PICTURES: Final = 100


class Pictures:
    """The pictures of one answer."""

    def __init__(self) -> None:
        self._shown: set[int] = set()

    def links_in(self, chunk: Mapping[str, Any], text: str) -> list[str]:
        """The pictures beside ``text``, as Markdown, but for those that it has a link to or that were shown before."""
        links = []
        for url in _urls(chunk):
            if hash(url) not in self._shown and len(self._shown) < _MAX_PICTURES:
                self._shown.add(hash(url))
                links += [] if url in text else [f"![image]({url})"]
        return links


def _urls(chunk: Mapping[str, Any]) -> list[str]:
    try:
        said = chunk["choices"][0]
        images = (said.get("delta") or said.get("message") or {}).get("images")
    except (KeyError, IndexError, TypeError, AttributeError):
        return []
    urls = [_url(image) for image in images] if isinstance(images, list) else []
    return [url for url in urls if isinstance(url, str) and _LINK.fullmatch(url)]


def _url(image: object) -> object:
    """An image is written as a part of a message's content."""
    place = image.get("image_url") if isinstance(image, dict) else None
    return place.get("url") if isinstance(place, dict) else place
