"""The examples of ``docs/clients.md``, by the heading they stand under."""

import re
from typing import Final

from tests.contract.clients import ROOT

#: What the page's examples say for the base URL and the token; a test puts in its own.
BASE_URL: Final = "http://localhost:10000/v1"
TOKEN: Final = "a-long-random-token"

_SECTION: Final = re.compile(r"^### (?P<heading>.+?)\n(?P<body>.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"^```(?:python|js)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def examples() -> dict[str, str]:
    """Every Python and JavaScript example, as a reader would copy it."""
    page = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
    found = [
        (section["heading"], code["code"])
        for section in _SECTION.finditer(page)
        for code in _CODE.finditer(section["body"])
    ]
    assert len(found) == len(dict(found)) == len(_CODE.findall(page)), "one example under each heading, and no other"
    return dict(found)


def example(heading: str, *, base_url: str, token: str) -> str:
    """The example under this heading, with its own base URL and token in their places."""
    code = examples()[heading]
    assert BASE_URL in code
    assert TOKEN in code
    return code.replace(BASE_URL, base_url).replace(TOKEN, token)
