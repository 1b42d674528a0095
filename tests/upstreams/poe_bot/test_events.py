"""The decoder of Poe's events: what each event means, and that no split of the bytes changes it."""

import itertools
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstreams.poe_bot import events as events_module
from proxy.upstreams.poe_bot import pipeline
from proxy.upstreams.poe_bot.events import (
    MAX_EVENT_BYTES,
    STEP_BYTES,
    Done,
    Event,
    EventDecoder,
    Failure,
    File,
    Json,
    Replace,
    Text,
    Texts,
)
from tests.support.scripted_poe import DONE, META, event, replace, text
from tests.upstreams.poe_bot.receiving import received
from tests.upstreams.poe_bot.streams import AGREED, agreed_streams, decoded, line_ends, soups, splits

MALFORMED = Failure(text="", error_type="malformed_event")


def test_a_text_is_appended() -> None:
    assert decoded(text("Hello")) == [Text("Hello")]


def test_a_replacement_is_told_apart_from_a_text() -> None:
    assert decoded(replace("Thinking...")) == [Replace("Thinking...")]


def test_an_empty_replacement_counts_and_an_empty_text_does_not() -> None:
    """The first takes everything back; the second adds nothing."""
    assert decoded(replace("") + text("")) == [Replace("")]


def test_a_file_keeps_what_poe_said_of_it() -> None:
    raw = event("file", {"url": "https://x/a", "content_type": "image/png", "name": "a.png", "inline_ref": "r"})

    assert decoded(raw) == [File("https://x/a", "image/png", "a.png", "r")]


def test_a_file_needs_only_its_url() -> None:
    assert decoded(event("file", {"url": "https://x/a"})) == [
        File("https://x/a", "application/octet-stream", "file", None)
    ]


@pytest.mark.parametrize("payload", [{}, {"url": ""}, {"url": None}, {"url": 7}])
def test_a_file_without_a_url_makes_no_sense(payload: dict[str, object]) -> None:
    assert decoded(event("file", payload) + DONE) == [MALFORMED]


@pytest.mark.parametrize("name", ["text", "replace_response"])
def test_a_text_may_be_null_and_not_missing(name: str) -> None:
    """A null says nothing; without the field something was lost."""
    assert decoded(event(name, {"text": None}) + text("x")) == [Text("x")]
    assert decoded(event(name, {}) + text("x")) == [MALFORMED]


def test_a_json_event_is_handed_on_as_it_is() -> None:
    payload = {"choices": [{"delta": {"content": "x"}}], "n": 1.5, "none": None}

    assert decoded(event("json", payload)) == [Json(payload)]


def test_an_error_keeps_its_words_and_its_type() -> None:
    assert decoded(event("error", {"text": "no points", "error_type": "insufficient_fund"})) == [
        Failure("no points", "insufficient_fund")
    ]


@pytest.mark.parametrize("payload", [{}, {"text": None, "error_type": None}, {"text": 7, "error_type": ["x"]}])
def test_an_error_that_says_nothing_is_still_a_failure(payload: dict[str, object]) -> None:
    assert decoded(event("error", payload)) == [Failure("", "")]


@pytest.mark.parametrize(
    "raw",
    [
        b"event: done\ndata: {}\n\n",
        b"event: done\ndata:\n\n",
        b"event: done\n\n",
        b"event:done\ndata: bye\n\n",
        b"event: done\ndata: null\n\n",
        b'event: done\ndata: ["odd"]\n\n',
        b"data: {}\nevent: done\nid: 7\nretry: 5\n\n",
        b"event: done\ndata: \xff\xfe\n\n",
    ],
)
def test_done_is_done_whatever_it_carries(raw: bytes) -> None:
    assert decoded(raw) == [Done()]


@pytest.mark.parametrize(
    "name", ["meta", "suggested_reply", "ping", "data", "attachment", "TEXT", "text ", "", "texts"]
)
@pytest.mark.parametrize("payload", [b'{"text": "not for the answer"}', b"", b"not JSON", b"[]"])
def test_hints_and_unknown_events_yield_nothing(name: str, payload: bytes) -> None:
    raw = b"event: %b\ndata: %b\n\n" % (name.encode(), payload)

    assert decoded(META + raw + text("x") + DONE) == [Text("x"), Done()]


def test_an_event_without_a_name_yields_nothing() -> None:
    assert decoded(b'data: {"text": "x"}\n\n' + DONE) == [Done()]


def test_comments_yield_nothing() -> None:
    assert decoded(b': ping\n\n:\n\nevent: text\n: here too\ndata: {"text": "x"}\n\n') == [Text("x")]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_of_the_standard_is_understood_at_once(line_end: bytes) -> None:
    """An event is out as soon as its blank line is, whatever follows."""
    assert decoded((text("x") + DONE).replace(b"\n", line_end)) == [Text("x"), Done()]


@pytest.mark.parametrize("end", [b"\n\r\n", b"\r\n\n", b"\r\r\n", b"\n\r", b"\r\n\r"])
def test_line_ends_may_be_mixed(end: bytes) -> None:
    assert decoded(b'event: text\rdata: {"text": "x"}' + end, text("y")) == [Text("x"), Text("y")]


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_a_byte_order_mark_at_the_start_is_no_part_of_the_first_line(cut: int) -> None:
    raw = b"\xef\xbb\xbf" + text("x")

    assert decoded(raw[:cut], raw[cut:]) == [Text("x")]


def test_blank_lines_between_events_do_not_matter() -> None:
    assert decoded(b"\n\n\n" + text("x") + b"\n" + text("y") + b"\n\n\n" + DONE) == [Text("x"), Text("y"), Done()]


def test_data_lines_are_one_payload() -> None:
    assert decoded(b'data: {"text":\nevent: text\ndata:   "x"\ndata:}\n\n') == [Text("x")]


def test_the_last_name_of_an_event_counts() -> None:
    assert decoded(b'event: text\nevent: replace_response\ndata: {"text": "x"}\n\n') == [Replace("x")]


@pytest.mark.parametrize("name", ["text", "replace_response"])
@pytest.mark.parametrize("value", [7, True, ["x"], {"text": "x"}])
def test_text_that_is_no_string_fails_the_answer(name: str, value: object) -> None:
    assert decoded(event(name, {"text": value}) + DONE) == [MALFORMED]


@pytest.mark.parametrize("name", ["text", "replace_response", "file", "json", "error"])
@pytest.mark.parametrize("data", [b"", b"{", b"hello", b"[]", b"7", b'"text"', b"null", b"[" * 100_000])
def test_a_payload_that_is_no_json_object_fails_the_answer(name: str, data: bytes) -> None:
    assert decoded(b"event: %b\ndata: %b\n\n" % (name.encode(), data) + DONE) == [MALFORMED]


@pytest.mark.parametrize(
    "end", [DONE, event("error", {"text": "busy"}), event("text", []), event("text", {"text": 7})], ids=str
)
def test_nothing_follows_the_end(end: bytes) -> None:
    first = end + text("more") + DONE + event("error", {})
    (last,) = decoded(first)

    assert isinstance(last, Done | Failure)
    assert decoded(first, text("more"), DONE, b"x" * 100) == [last]


def test_two_halves_of_a_character_arrive_with_the_second() -> None:
    first, second = b'event: text\ndata: {"text": "a\\ud83d"}\n\n', b'event: text\ndata: {"text": "\\ude42b"}\n\n'

    assert decoded(first, second) == [Text("a"), Text("🙂b")]


def test_halves_find_each_other_over_events_that_say_nothing() -> None:
    first, second = b'event: text\ndata: {"text": "\\ud83d"}\n\n', b'event: text\ndata: {"text": "\\ude42"}\n\n'

    joined = decoded(first, b": ping\n\n" + META + text("") + event("text", {"text": None}), second)

    assert "".join(one.text for one in joined if isinstance(one, Text)) == "🙂"


def test_a_half_that_stays_alone_is_a_replacement_character() -> None:
    raw = b'event: text\ndata: {"text": "\\ud83d"}\n\n' + text("abc") + b'event: text\ndata: {"text": "\\ude42"}\n\n'

    assert decoded(raw) == [Text(""), Text("\ufffdabc"), Text("\ufffd")]


def test_a_replacement_takes_back_half_a_character_too() -> None:
    assert decoded(b'event: text\ndata: {"text": "a\\ud83d"}\n\n' + replace("b"), text("c")) == [
        Text("a"),
        Replace("b"),
        Text("c"),
    ]


def test_a_replacement_may_end_in_half_a_character() -> None:
    raw = b'event: replace_response\ndata: {"text": "a\\ud83d"}\n\nevent: text\ndata: {"text": "\\ude42"}\n\n'

    assert decoded(raw) == [Replace("a"), Text("🙂")]


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("text", '{"text": "\\ude42x"}'),
        ("replace_response", '{"text": "\\ude42x"}'),
        ("json", '{"choices": [{"delta": {"content": "\\ud83d"}}], "\\ud83d": 1}'),
        ("file", '{"url": "https://x/\\ud83d", "name": "\\ud83d", "content_type": "\\ud83d", "inline_ref": "\\ud83d"}'),
        ("error", '{"text": "\\ud83d", "error_type": "\\ud83d"}'),
    ],
)
def test_no_event_carries_what_cannot_be_written(name: str, payload: str) -> None:
    """Half a character is no UTF-8: it would fail later, where the answer or the log is written."""
    (only,) = decoded(f"event: {name}\ndata: {payload}\n\n".encode())

    assert json.dumps(only, ensure_ascii=False).encode().count("\ufffd".encode()) >= 1


@pytest.mark.parametrize("depth", [200, 300, 900, 1_000, 2_000])
def test_a_deeply_nested_payload_is_understood_or_fails_the_answer(depth: int) -> None:
    (only,) = decoded(b'event: json\ndata: {"a": %b1%b}\n\n' % (b"[" * depth, b"]" * depth))

    assert isinstance(only, Json) or only == MALFORMED


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    """As the standard of event streams says; an answer is not given up for a broken byte."""
    assert decoded(b'event: text\ndata: {"text": "a\xffb\xf0\x9f"}\n\n') == [Text("a\ufffdb\ufffd")]


def test_numbers_that_only_python_reads_are_no_fault() -> None:
    assert decoded(b'event: text\ndata: {"text": "x", "score": NaN}\n\n') == [Text("x")]


@pytest.fixture
def small_events(monkeypatch: pytest.MonkeyPatch) -> int:
    """Events of at most this many bytes."""
    monkeypatch.setattr(events_module, "MAX_EVENT_BYTES", 100)
    for module in (events_module, pipeline):  # a step may not be more than an event
        monkeypatch.setattr(module, "STEP_BYTES", 100)
    return 100


def of_size(size: int) -> bytes:
    """A text event of exactly ``size`` bytes without its blank line."""
    empty = b'event: text\ndata: {"text": ""}'
    return empty[:-2] + b"x" * (size - len(empty)) + empty[-2:]


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_the_largest_event_is_understood_and_a_larger_one_fails_the_answer(
    small_events: int, step: int, end: bytes
) -> None:
    """In however many reads it comes."""
    largest, larger = of_size(small_events), of_size(small_events + 1)

    def fed(block: bytes) -> list[Event]:
        raw = block.replace(b"\n", end[: len(end) // 2]) + end
        return decoded(*(raw[at : at + step] for at in range(0, len(raw), step)))

    assert [type(one) for one in fed(largest)] == [Text]
    assert fed(larger) == [MALFORMED]


def test_a_larger_event_fails_the_answer_also_where_a_text_is_expected(small_events: int) -> None:
    assert decoded(text("a"), of_size(small_events + 1) + b"\n\n") == [Text("a"), MALFORMED]


def test_an_event_without_an_end_is_given_up(small_events: int) -> None:
    """It fails once, and what follows changes nothing."""
    assert decoded(b"x" * small_events) == []
    assert decoded(b"x" * small_events, b"x") == [MALFORMED]
    assert decoded(b"x" * small_events, b"x", b"x" * small_events, b"\n\n", DONE) == [MALFORMED]


def test_the_longest_answer_poe_allows_fits_in_one_event() -> None:
    """512,000 characters, each escaped in twelve bytes."""
    longest = "🙂" * 512_000

    assert len(text(longest)) < MAX_EVENT_BYTES
    pieces = decoded(text(longest))
    assert "".join(piece.text for piece in pieces if isinstance(piece, Text)) == longest
    assert max(len(piece.text) for piece in pieces if isinstance(piece, Text)) <= STEP_BYTES


@pytest.mark.parametrize("name", AGREED)
@pytest.mark.parametrize("step", [1, 2, 3, 5, 16])
def test_recorded_streams_do_not_depend_on_their_splits(name: str, step: int) -> None:
    raw = AGREED[name]

    assert decoded(*(raw[at : at + step] for at in range(0, len(raw), step))) == decoded(raw)


@given(data=st.data(), raw=agreed_streams() | soups)
def test_no_split_of_the_bytes_changes_the_events(data: st.DataObject, raw: bytes) -> None:
    assert decoded(*data.draw(splits(raw))) == decoded(raw)


@given(
    data=st.data(),
    pieces=st.lists(st.tuples(st.sampled_from([Text, Replace]), st.text(min_size=1)), max_size=8),
    line_end=line_ends,
)
def test_what_was_framed_comes_out(
    data: st.DataObject, pieces: list[tuple[type[Text | Replace], str]], line_end: str
) -> None:
    """Any texts, framed with any line end and split anywhere."""
    said: list[Event] = [kind(piece) for kind, piece in pieces]
    raw = b"".join(text(piece) if kind is Text else replace(piece) for kind, piece in pieces) + DONE

    assert decoded(*data.draw(splits(raw.replace(b"\n", line_end.encode())))) == [*said, Done()]


@given(
    data=st.data(),
    units=st.lists(st.sampled_from([0xD83D, 0xDE42, 0x41, 0xE9]), max_size=12),
)
def test_no_split_of_surrogate_pairs_over_events_loses_one(data: st.DataObject, units: list[int]) -> None:
    """UTF-16 units, escaped and spread over text events, read as if they had been one text.

    Only a last half that nothing completes is left out.
    """
    escaped = [f"\\u{unit:04x}" for unit in units]
    whole = "".join(map(chr, units)).removesuffix("\ud83d")
    texts = data.draw(splits(bytes(range(len(units)))))
    raw = "".join(
        'event: text\ndata: {"text": "' + "".join(escaped[at] for at in part) + '"}\n\n' for part in texts
    ).encode()

    joined = "".join(one.text for one in decoded(raw) if isinstance(one, Text))

    assert joined == whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


#: Texts, and what only together with others looks like texts. Each is one event, whole or not.
PAYLOADS = (
    b'{"text":"a"}',
    b'{"text":"say \\"}, {\\",\\\\"}',
    b'{"text":"\\u00e9[1],"}',
    b'{"text":"a"},{"text":"b"}',
    b'{"text":"a","text":"b"}',
    b'{"text":"a","b"}',
    b'{"text":"a","b":[{"c":"d"}',
    b'{"text":"e"}],"f":"g"}',
    b'{"text":[{"q":"c"}',
    b'{"text":"a",["b"}',
    b'{"text":"c"],"d"}',
    b'{"text":"e"}]},{"text":"z"}',
    b'{"text":"e"}],"text":"z"},{"text":"z"}',
    b'{"text":\n"v"}',
    b'{"text":\n\n"v"}',
    b'{"text":"v"\n}',
    b'{"text":"v\n"}',
    b'{"text":"v"\ndata: }',
    b'{"text":"abc\\"}',
    b'{"text":"a\\"}',
    b'{"text":",\\"b"}',
    b'{"text":","z"}',
    b'{"text":"}',
    b'{"text":""}',
    b'{"text":["a"]}',
    b'{"text":"\\ud83d"}',
    b'{"text":"\\ude42"}',
    b'{"text":"\xff"}',
    b'{"text":"a"}\n\n,{"text":"b"}',
)
OTHERS = [replace("b"), b": a comment\n\n", b'"},{"text":\n\n', DONE]


def blocks(form: str) -> list[bytes]:
    """All of them, as a server writes them that puts a space behind the colon or not, and ends lines so or so."""
    texts = [b"event: text\ndata: " + payload + b"\n\n" for payload in PAYLOADS]
    if "space" in form:
        texts = [one.replace(b'{"text":', b'{"text": ') for one in texts]
    every = [*texts, text("as Python writes it"), *OTHERS]
    return [one.replace(b"\n", b"\r\n") for one in every] if "CRLF" in form else every


@pytest.mark.parametrize("form", ["LF", "LF, space", "CRLF", "CRLF, space"])
def test_texts_that_come_together_are_what_they_are_alone(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Runs of texts are decoded at once: what is no text on its own must not become one, nor join with others."""
    monkeypatch.setattr(events_module, "_SHORTEST_RUN", 0)
    usual, *others = blocks(form)
    for pair in itertools.product([usual, *others], repeat=2):
        alone = decoded(usual, *pair, usual)

        assert decoded(usual, b"".join([*pair, usual])) == alone, pair
        assert decoded(b"".join([usual, *pair, usual])) == alone, pair
        assert decoded(usual, b"".join(pair), usual) == alone, pair

        apart = [pair[0], usual, pair[1], usual]

        assert decoded(usual, b"".join(apart)) == decoded(usual, *apart), pair


@pytest.mark.parametrize("form", ["LF", "LF, space", "CRLF", "CRLF, space"])
def test_how_a_server_writes_texts_is_known_when_one_has_come(form: str) -> None:
    """While nothing is pending, a read of nothing but texts is told from any other by it."""
    usual = blocks(form)[0]
    decoder = EventDecoder()

    plain = []
    for read in (text(""), usual, usual[:-1]):
        decoder.feed(read)
        plain.append(decoder.plain)

    before, known, pending = plain
    assert before is pending is None
    assert known is not None
    assert usual.startswith(known.begins)
    assert usual.endswith(known.ends)


@pytest.mark.parametrize("form", ["LF", "LF, space", "CRLF", "CRLF, space"])
def test_a_read_of_nothing_but_texts_is_decoded_at_once(form: str) -> None:
    usual = blocks(form)[0]

    assert received(usual, usual) == [Text("a"), Text("a")]
    assert received(usual, 3 * usual) == [Text("a"), Texts(["a", "a", "a"])]
    assert received(usual, 2 * usual + DONE) == [Text("a"), Text("a"), Text("a"), Done()]


def test_nothing_is_certain_of_texts_before_the_other_half_of_a_character_and_after_the_end() -> None:
    decoder = EventDecoder()
    for read in (text("a"), text("\ud83d"), text("b"), DONE):
        decoder.feed(read)

        assert (decoder.plain is None) == (read in (text("\ud83d"), DONE))


def test_nothing_follows_the_end_however_much_it_is() -> None:
    assert decoded(DONE, 40 * text("What is this?")) == [Done()]


@given(texts=st.lists(st.text(min_size=1), min_size=20, max_size=60), data=st.data())
def test_a_long_run_of_texts_comes_out_whatever_they_say(texts: list[str], data: st.DataObject) -> None:
    raw = b"".join(b"event: text\ndata: %b\n\n" % orjson.dumps({"text": one}) for one in texts)

    assert decoded(*data.draw(splits(raw))) == [Text(one) for one in texts]


@given(raw=st.binary() | soups)
def test_no_bytes_break_the_decoder(raw: bytes) -> None:
    events = decoded(raw, b"\n\n", DONE)

    assert isinstance(events[-1], Done | Failure)
    assert not any(isinstance(one, Done | Failure) for one in events[:-1])


@pytest.mark.parametrize(
    "raw",
    [
        b"event: text\n" + b"data: 1\n" * 1_001 + b"\n",
        b"event: json\ndata: " + b'{"a":[' + b"[]," * 60_000 + b"[]]}\n\n",
        b'event: json\ndata: {"a":"' + b"x" * 2_200_000 + b'"}\n\n',
        b'event: json\ndata: {"a":["\\ud800",' + b"1," * 80_000 + b"1]}\n\n",
    ],
    ids=["lines", "lists", "bytes", "what only the standard library reads"],
)
def test_an_event_that_would_take_long_to_read_fails_the_answer(raw: bytes) -> None:
    assert decoded(raw) == [MALFORMED]


def test_of_a_files_names_no_more_than_a_name_is_kept() -> None:
    [file] = decoded(event("file", {"url": "https://x/y", "name": "n" * 5_000, "content_type": "c" * 5_000}))

    assert isinstance(file, File)
    assert (len(file.name), len(file.content_type)) == (1_000, 1_000)
