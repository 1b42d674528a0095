"""The page's files, looked at without a browser: what they hold, load and say."""

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Final

import httpx
import pytest

from proxy.core.failures import ProxyError
from proxy.keypool import verdict
from proxy.outcomes import CLIENT_LIMITS, SUCCESSES
from proxy.server.admin.page import assets
from tests.support.serving import http

STATIC: Final = Path(str(files("proxy.server") / "static"))
OURS: Final = sorted(path for path in STATIC.glob("*.*"))
VENDORED: Final = re.findall(
    r"^\| `([^`]+)` \| .*\| `([0-9a-f]{64})` \|$", (STATIC / "vendor" / "VENDORED.md").read_text(), re.MULTILINE
)


def words(language: str) -> dict[str, str]:
    """The strings of a language."""
    source = (STATIC / f"{language}.js").read_text(encoding="utf-8")
    strings: dict[str, str] = json.loads(source[source.index("{") : source.rindex("}") + 1])
    return strings


@pytest.mark.parametrize(("name", "digest"), VENDORED)
def test_vendored_files_are_as_they_were_published(name: str, digest: str) -> None:
    assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest


def test_every_vendored_file_is_listed_with_its_licence() -> None:
    code = {
        str(path.relative_to(STATIC / "vendor"))
        for path in (STATIC / "vendor").rglob("*")
        if path.suffix in (".js", ".css")
    }

    assert code == {name for name, _ in VENDORED}
    assert "Permission is hereby granted" in (STATIC / "vendor" / "uplot" / "LICENSE").read_text()


def test_both_languages_say_the_same_things_with_the_same_values() -> None:
    english, chinese = words("en"), words("zh")

    assert english.keys() == chinese.keys()
    assert {name: sorted(re.findall(r"\{\w+\}", text)) for name, text in english.items()} == {
        name: sorted(re.findall(r"\{\w+\}", text)) for name, text in chinese.items()
    }
    assert all(text.strip() for text in (*english.values(), *chinese.values()))


def test_every_word_that_the_page_asks_for_is_there() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in OURS if path.name not in ("en.js", "zh.js"))
    asked = set(re.findall(r'\bt\("([^"]+)"', source))
    beginnings = set(re.findall(r"\bt\(`([^$`]+)\$", source))

    assert asked - words("en").keys() == set()
    assert [start for start in beginnings if not any(name.startswith(start) for name in words("en"))] == []


@pytest.mark.parametrize("path", [path for path in OURS if path.suffix in (".js", ".html")], ids=lambda path: path.name)
def test_nothing_turns_text_into_markup_or_code(path: Path) -> None:
    source = path.read_text(encoding="utf-8")

    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "style=",
    ):
        assert forbidden not in source


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    assert set(re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8"))) <= {"http://www.w3.org/2000/svg"}


def colors(block: str) -> dict[str, tuple[int, ...]]:
    """The colours that a part of the stylesheet names."""
    found = re.findall(r"--([a-z-]+): #([0-9a-f]{6});", block)
    return {name: tuple(bytes.fromhex(value)) for name, value in found}


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """As WCAG 2 defines it."""

    def luminance(color: tuple[int, ...]) -> float:
        parts = [part / 255 for part in color]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "dark by the system"])
def test_every_text_stands_out_from_what_is_behind_it(theme: int) -> None:
    blocks = re.findall(r":root[^{]*\{([^}]*)\}", (STATIC / "style.css").read_text(encoding="utf-8"))
    palette = colors(blocks[theme])
    pairs = [(text, ground) for text in ("text", "muted", "accent", "bad", "good") for ground in ("surface", "page")]
    pairs += [("muted", "raised"), ("accent", "accent-wash"), ("on-accent", "accent"), ("on-accent", "accent-strong")]
    pairs += [("good", "good-wash"), ("warm", "warm-wash"), ("violet", "violet-wash"), ("bad", "bad-wash")]
    pairs += [("surface", "bad"), ("page", "text"), ("text", "warm-wash"), ("text", "pressed")]

    assert [(pair, ratio) for pair in pairs if (ratio := contrast(palette[pair[0]], palette[pair[1]])) < 4.5] == []
    assert theme == 0 or palette == colors(blocks[1])


def test_every_file_that_another_one_loads_is_served() -> None:
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    loaded = set(re.findall(r'"/admin/static/([^"]+)"', html))
    for path in STATIC.glob("*.js"):
        loaded.update(re.findall(r'from "\./([^"]+)"', path.read_text(encoding="utf-8")))

    assert loaded <= assets().keys()
    assert {path.name for path in STATIC.glob("*.js")} <= loaded


@pytest.mark.asyncio(loop_scope="module")
async def test_a_browser_that_has_a_file_is_told_so(proxy: str) -> None:
    async with http(proxy, None) as raw:
        first = await raw.get("/admin/static/app.js")
        again = await raw.get("/admin/static/app.js", headers={"if-none-match": first.headers["etag"]})

    assert (first.status_code, first.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "../app.py", "..%2fapp.py", "vendor/VENDORED.md", ""])
@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_else_is_served(proxy: str, name: str) -> None:
    async with httpx.AsyncClient(base_url=proxy) as raw:
        response = await raw.get(f"/admin/static/{name}")

    assert response.status_code == 404


def test_one_word_for_one_thing_in_chinese() -> None:
    """A key that is parked or retired is not usable, 不可用; only a retired one is 停用. A duration is no distance."""
    chinese = words("zh")

    assert "停用" not in chinese["tile.keys.note"]
    assert [name for name, text in chinese.items() if "全程" in text] == []
    assert {chinese[name].split(" ")[0] for name in chinese if name.endswith(".duration")} == {"总耗时"}


def all_codes() -> set[str]:
    """Whatever the page may have to name: how requests and attempts end, limits, and what happens."""
    classes, codes = [ProxyError], set()
    while classes:
        failure = classes.pop()
        codes.add(failure.kind)
        classes += failure.__subclasses__()
    codes |= {value.outcome for value in vars(verdict).values() if isinstance(value, verdict.Verdict)}
    scripts = [path.read_text() for path in Path(str(files("proxy.keypool") / "lua")).glob("*.lua")]
    noted = re.compile(r"\bnote_(?:key_event\(|event\(prefix .. 'events', )'(\w+)'")
    events = {name for script in scripts for name in noted.findall(script)}
    assert {"key_cooled", "bot_rests"} <= events
    return codes | events | SUCCESSES | CLIENT_LIMITS


@pytest.mark.parametrize("language", ["en", "zh"])
def test_there_are_words_for_every_end_and_every_event(language: str) -> None:
    assert sorted(code for code in all_codes() if f"code.{code}" not in words(language)) == []
