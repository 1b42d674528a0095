"""Files of an answer: each is linked once, where the text refers to it if it does, however text and files arrive."""

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt  # comes with rich

from proxy.upstreams.poe_bot.events import File
from proxy.upstreams.poe_bot.file_links import FileLinks, picture_urls

REF = "Ab12Cd34"
MARKDOWN = MarkdownIt("commonmark")


def picture(url: str = "https://poecdn/a.png", *, name: str = "a.png", ref: str | None = REF) -> File:
    return File(url=url, content_type="image/png", name=name, inline_ref=ref)


def by_step(*arrivals: str | File) -> list[str]:
    """What each text and file lets out, and last what the end does."""
    links = FileLinks()
    steps = [links.add(one) if isinstance(one, File) else links.feed(one) for one in arrivals]
    return [*steps, links.finish()]


def linked(*arrivals: str | File) -> str:
    return "".join(by_step(*arrivals))


def targets(text: str) -> list[str]:
    """The addresses of all links and pictures, as markdown reads them."""
    tokens = [token for block in MARKDOWN.parse(text) for token in block.children or []]
    return [str(token.attrs["src" if token.type == "image" else "href"]) for token in tokens if token.attrs]


@pytest.mark.parametrize(
    "text", ["", "a", "a b\n", "a [link](https://x) b", "![a](https://x)", "- [ ] task", "a[0][1]"]
)
def test_a_text_without_files_stays_as_it_is(text: str) -> None:
    assert linked(text) == "".join(by_step(*text)) == text


@pytest.mark.parametrize("text", ["a [", "f(a[0])", "[link](x) [t][r]", "a [t"])
def test_brackets_do_not_hold_a_text_back(text: str) -> None:
    """As long as no file with a ref has come, only pictures wait."""
    assert by_step(text, "!") == [text, "!", ""]


def test_a_reference_to_a_file_that_came_is_a_link_at_once() -> None:
    assert by_step(picture(), f"See ![t][{REF}]", ".") == ["", "See ![t](https://poecdn/a.png)", ".", ""]


def test_a_picture_waits_for_its_file_and_the_text_after_it_too() -> None:
    steps = by_step(f"See ![t][{REF}]", " or not.", picture(), " End.")

    assert steps == ["See !", "", "[t](https://poecdn/a.png) or not.", " End.", ""]


@given(data=st.data(), known=st.booleans())
def test_how_a_reference_is_cut_changes_nothing(data: st.DataObject, known: bool) -> None:
    text = f"A ![one][{REF}] and [two][r-2], not [three][r-3]."
    files = [picture(), picture("https://poecdn/b.png", ref="r-2")]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    if known:
        assert linked(*files, *pieces) == linked(*files, text)
    else:
        assert linked(*pieces, *files) == linked(text, *files)


def test_a_link_that_is_no_picture_does_not_wait_and_is_defined_at_the_end() -> None:
    steps = by_step("See [t][r1]", ".", picture(ref="r1"))

    assert steps == ["See [t][r1]", ".", "", "\n\n[r1]: https://poecdn/a.png"]
    assert targets("".join(steps)) == ["https://poecdn/a.png"]


@pytest.mark.parametrize("pieces", [("See [t][r1].",), ("See [t]", "[r1]."), tuple("See [t][r1].")])
def test_a_reference_is_known_however_it_went_out(pieces: tuple[str, ...]) -> None:
    assert linked(*pieces, picture(ref="r1")) == "See [t][r1].\n\n[r1]: https://poecdn/a.png"


def test_a_picture_whose_file_does_not_come_is_given_up_in_the_end() -> None:
    assert by_step(f"![t][{REF}] x") == ["!", f"[t][{REF}] x"]


def test_a_picture_whose_file_does_not_come_is_given_up_after_much_text() -> None:
    """When the file comes after all, it is defined at the end."""
    steps = by_step(f"![t][{REF}]", "x" * 1_900, "y" * 200, "z", picture())

    assert steps[:4] == ["!", "", f"[t][{REF}]" + "x" * 1_900 + "y" * 200, "z"]
    assert steps[4:] == ["", f"\n\n[{REF}]: https://poecdn/a.png"]


def test_the_second_picture_waits_when_the_first_is_given_up() -> None:
    steps = by_step("![t][Zz12Cd34]" + "x" * 1_000, f"![u][{REF}]" + "y" * 1_000, picture())

    assert "".join(steps) == "![t][Zz12Cd34]" + "x" * 1_000 + "![u](https://poecdn/a.png)" + "y" * 1_000


@pytest.mark.parametrize("ref", ["Ab12Cd3", "Ab12Cd345", "Ab12-d34", "1", "fig-1"])
def test_a_picture_with_a_ref_that_poe_would_not_make_does_not_wait(ref: str) -> None:
    assert by_step(f"![t][{ref}]", ".") == [f"![t][{ref}]", ".", ""]


def test_a_title_longer_than_a_references_is_not_waited_for() -> None:
    text = "![" + "x" * 301

    assert by_step(text) == [text, ""]


def test_a_file_may_be_referred_to_twice() -> None:
    assert linked(picture(), f"![t][{REF}] ![u][{REF}]") == "![t](https://poecdn/a.png) ![u](https://poecdn/a.png)"


def test_files_nobody_refers_to_stand_at_the_end() -> None:
    """In the order they came, a paragraph each."""
    table = File("https://poecdn/b.csv", "text/csv", "b.csv", None)

    assert linked(picture(ref=None), "Text\n", table) == (
        "Text\n\n\n![a.png](https://poecdn/a.png)\n\n[b.csv](https://poecdn/b.csv)"
    )


def test_a_file_without_a_name_can_still_be_seen() -> None:
    assert linked(File("https://poecdn/b.csv", "text/csv", "", None)) == "[file](https://poecdn/b.csv)"


def test_a_file_alone_begins_the_answer() -> None:
    assert by_step(picture()) == ["", "![a.png](https://poecdn/a.png)"]


@pytest.mark.parametrize("end", ["\n\n", "x\n\n"])
def test_a_text_that_ends_with_a_blank_line_gets_no_other(end: str) -> None:
    assert by_step(*end, picture())[-1] == "![a.png](https://poecdn/a.png)"


def test_of_two_files_with_one_ref_the_other_stands_at_the_end() -> None:
    text = linked(picture(), picture("https://poecdn/b.png"), f"![t][{REF}]")

    assert targets(text) == ["https://poecdn/a.png", "https://poecdn/b.png"]


@pytest.mark.parametrize("ref", ["a]b", "", "x" * 65, "a b", "é", "r\n"])
def test_a_file_with_an_odd_ref_stands_at_the_end(ref: str) -> None:
    assert targets(linked(f"See [t][{ref}]. ", picture(ref=ref)))[-1] == "https://poecdn/a.png"


@pytest.mark.parametrize(
    "name", ["", "a]b.png", "a](https://evil", "[", "a\nb", "a\n\nb", "a\r\rb", "a\\", "a`b", "*a*", "a\\]b", "<b>"]
)
@pytest.mark.parametrize(
    "url", ["https://x/a", "https://x/a b", "https://x/(a", "https://x/a)", "https://x/<a>", "https://x/a\n\nb", "x\\"]
)
def test_no_name_and_no_address_breaks_the_link(name: str, url: str) -> None:
    (target,) = targets(linked("Text", picture(url, name=name, ref=None)))

    assert target.startswith(("https://x/", "x"))


@given(
    names=st.lists(st.text(max_size=8), min_size=1, max_size=3),
    refs=st.lists(st.none() | st.sampled_from([REF, "r-1", "x]"]), min_size=3, max_size=3),
    text=st.lists(st.sampled_from([f"![t][{REF}]", "[u][r-1]", "[", "]", "!", "x ", "\n\n"]), max_size=6),
    data=st.data(),
)
def test_every_file_is_there_and_no_text_is_lost(
    names: list[str], refs: list[str | None], text: list[str], data: st.DataObject
) -> None:
    files = [picture(f"https://poecdn/{at}", name=name, ref=refs[at]) for at, name in enumerate(names)]
    arrivals = data.draw(st.permutations([*files, *range(len(text))]).map(lambda order: in_order(order, text)))
    whole = linked(*arrivals)

    assert all(file.url in whole for file in files)
    assert without_references(whole).startswith(without_references("".join(text)))


def in_order(mixed: Sequence[File | int], text: Sequence[str]) -> list[str | File]:
    """The files where the permutation puts them, and the pieces of text in their own order."""
    pieces = iter(text)
    return [one if isinstance(one, File) else next(pieces) for one in mixed]


def without_references(text: str) -> str:
    for at in range(3):
        text = text.replace(f"(https://poecdn/{at})", "")
    return text.replace(f"[{REF}]", "").replace("[r-1]", "")


class TestPicturesOfAnAnswer:
    @pytest.mark.parametrize(
        ("answer", "urls"),
        [
            ("", []),
            ("I cannot draw that.", []),
            ("![a cat](https://example.com/1.png)", ["https://example.com/1.png"]),
            (
                "![](http://example.com/1.png) and ![b](https://example.com/2.png)",
                [
                    "http://example.com/1.png",
                    "https://example.com/2.png",
                ],
            ),
            ("![a](https://pfst.cf2.poecdn.net/x)\n\nhttps://pfst.cf2.poecdn.net/x", ["https://pfst.cf2.poecdn.net/x"]),
            (
                "Look: https://pfst.cf2.poecdn.net/x?w=1 (2x: https://pfst.cf2.poecdn.net/x?w=2)",
                ["https://pfst.cf2.poecdn.net/x?w=1", "https://pfst.cf2.poecdn.net/x?w=2"],
            ),
            ("[a cat](https://pfst.cf2.poecdn.net/x)", ["https://pfst.cf2.poecdn.net/x"]),
            ("[a page](https://example.com/)", []),
            ("![a](data:image/png;base64,AAAA)", []),
            ("![a](javascript:alert(1))", []),
            ("![a](https://example.com/a b.png)", []),
            ("![a](https://example.com/1) ![b](https://example.com/1)", ["https://example.com/1"]),
        ],
        ids=lambda value: str(value)[:50],
    )
    def test_each_picture_is_found_once(self, answer: str, urls: list[str]) -> None:
        """What is shown as a picture; where there is none, whatever lies at Poe."""
        assert picture_urls(answer) == urls

    @pytest.mark.parametrize(
        "piece", ["![", "![](http://", "![a](https://x", "https://", "a.", "https://a.", "https://a.poecdn.net/"]
    )
    def test_a_hostile_answer_is_read_at_once(self, piece: str) -> None:
        """As long as Poe lets one be; this happens in a worker's event loop."""
        started_at = time.monotonic()
        picture_urls("https://" + piece * (512_000 // len(piece)))

        assert time.monotonic() - started_at < 2
