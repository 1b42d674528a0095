"""Token counts: right for ordinary texts, and neither wrong nor slow for any other."""

import asyncio
import gzip
import hashlib
import json
import random
import threading
import time
from collections.abc import AsyncIterator
from importlib.resources import files

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from tiktoken_ext import openai_public  # type: ignore[import-untyped]  # ships no types

from proxy.poe_api.query import Message, Query
from proxy.translator.usage import VOCABULARY_SHA256, Encoder, KnownCounts, TokenCounter, _count, load_encoding

MEGABYTE = 1_000_000


@pytest.fixture
async def counter() -> AsyncIterator[TokenCounter]:
    token_counter = TokenCounter()
    await token_counter.count("wait until the vocabulary is loaded")
    yield token_counter
    token_counter.close()


def test_the_vocabulary_and_the_pattern_are_openais(monkeypatch: pytest.MonkeyPatch) -> None:
    """tiktoken's own definition names the hash of its download, here of what lies beside the module."""
    expected: list[str] = []

    def load(_: str, *, expected_hash: str) -> dict[bytes, int]:
        expected.append(expected_hash)
        return {}

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", load)
    definition = openai_public.o200k_base()
    packed = files("proxy.translator") / "vocabulary" / "o200k_base.tiktoken.gz"

    assert expected == [VOCABULARY_SHA256]
    assert hashlib.sha256(gzip.decompress(packed.read_bytes())).hexdigest() == VOCABULARY_SHA256
    assert load_encoding()._pat_str == definition["pat_str"]  # noqa: SLF001 - tiktoken tells it nowhere else
    assert load_encoding().n_vocab == 199_998, "all tokens but the special ones"


def test_a_damaged_vocabulary_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip, "decompress", lambda _: b"IQ== 0\n")

    with pytest.raises(ValueError, match="damaged"):
        load_encoding.__wrapped__()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("tiktoken is great!", 6),
        ("antidisestablishmentarianism", 6),
        ("2 + 2 = 4", 7),
        ("お誕生日おめでとう", 8),
        ("hello world", 2),
    ],
)
async def test_known_texts_have_their_known_counts(counter: TokenCounter, text: str, tokens: int) -> None:
    """The figures of OpenAI's cookbook."""
    assert await counter.count(text) == tokens


@pytest.mark.parametrize("special", ["<|endoftext|>", "<|endofprompt|>", "<|im_start|>"])
async def test_the_name_of_a_special_token_is_plain_text(counter: TokenCounter, special: str) -> None:
    """It neither raises nor counts as one."""
    assert await counter.count(special) > 3
    assert await counter.count(special * 1_000) > 3_000


@pytest.mark.parametrize("text", ["\ud83d", "a\ude42b", "\ud83d" * 5_000, "\ude42\ud83d" * 5_000])
async def test_half_characters_are_counted_like_any_text(counter: TokenCounter, text: str) -> None:
    assert await counter.count(text) > 0


async def test_a_prompt_is_its_messages_and_what_the_format_adds(counter: TokenCounter) -> None:
    query = Query([Message("system", "be brief"), Message("user", "hello world")])

    assert await counter.count_prompt(query) == await counter.count("be brief") + await counter.count("hello world") + 9


async def test_of_a_conversation_that_comes_again_only_what_is_new_is_counted(
    counter: TokenCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []

    def noting(encoding: tiktoken.Encoding, text: str) -> int:
        counted.append(text)
        return _count(encoding, text)

    turns = [Message("user", f"{number} " + "hello " * 1000) for number in range(4)]
    before = await counter.count_prompt(Query(turns[:3]))
    monkeypatch.setattr("proxy.translator.usage._count", noting)
    after = await counter.count_prompt(Query(turns))

    assert counted == [turns[3].content]
    assert after - before == await counter.count(turns[3].content) + 3


def test_of_the_counts_that_are_kept_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.translator.usage._MAX_KNOWN", 2)
    known, counted = KnownCounts(), []

    def count(text: str) -> int:
        counted.append(text[0])
        return len(text)

    for name in "abacab":
        assert known.count(name * 500, count) == 500

    assert counted == ["a", "b", "c", "b"]


async def test_a_prompt_of_megabytes_holds_up_nobody(counter: TokenCounter, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many messages it has: no more of it is counted than of one text."""
    counted: list[int] = []
    real = load_encoding().encode_ordinary

    def noting(_: tiktoken.Encoding, text: str) -> list[int]:
        counted.append(len(text))
        return real(text)

    monkeypatch.setattr(tiktoken.Encoding, "encode_ordinary", noting)
    tokens = await counter.count_prompt(Query([Message("user", "hello " * 20_000)] * 20))

    assert sum(counted) <= 250_000
    assert tokens == pytest.approx(20 * 20_000, rel=0.01)


async def test_a_prompt_of_nothing_still_costs_its_format(counter: TokenCounter) -> None:
    assert await counter.count_prompt(Query([])) == 3


async def test_tools_are_part_of_a_prompt(counter: TokenCounter) -> None:
    """As JSON, which is what a bot is given."""
    tools = [{"type": "function", "function": {"name": "look", "description": "wetter für 你好"}}]
    without = await counter.count_prompt(Query([Message("user", "hello")]))
    with_tools = await counter.count_prompt(Query([Message("user", "hello")], tools=tools))

    assert with_tools - without == pytest.approx(await counter.count(json.dumps(tools, ensure_ascii=False)), abs=1)


async def test_whoever_encodes_waits_for_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    may_load, encoding = threading.Event(), load_encoding()
    monkeypatch.setattr("proxy.translator.usage.load_encoding", lambda: may_load.wait(10) and encoding)
    counter = TokenCounter()
    early = asyncio.ensure_future(counter.open_encoder())
    await asyncio.sleep(0)
    may_load.set()
    encoders = [await early, await counter.open_encoder()]

    assert [len(encoder.encode("hello world")) for encoder in encoders] == [2, 2]
    counter.close()


@given(text=st.text(st.characters(exclude_categories=["Cs"])), cut=st.integers(0, 20))
def test_tokens_become_the_text_again_without_half_a_character(text: str, cut: int) -> None:
    encoder = Encoder(load_encoding())
    tokens = encoder.encode(text)

    assert encoder.decode(tokens) == text
    assert text.startswith(encoder.decode(tokens[:cut]))


async def test_a_short_text_is_counted_without_a_thread(counter: TokenCounter) -> None:
    """The way there and back would take longer."""
    counted = counter.count("hello world")

    assert isinstance(counted, asyncio.Future)
    assert counted.done()


async def test_a_long_text_does_not_hold_up_the_event_loop(
    counter: TokenCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def noting(*args: object) -> int:
        threads.append(threading.current_thread())
        return _count(*args)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr("proxy.translator.usage._count", noting)
    await counter.count("hello " * 10_000)

    assert threads[0] is not threading.main_thread()


async def test_counts_asked_for_before_the_vocabulary_is_there_wait_for_it() -> None:
    counter = TokenCounter()
    counts = [counter.count("hello world"), counter.count_prompt(Query([Message("user", "hello world")]))]

    assert await asyncio.gather(*counts) == [2, 8]
    counter.close()


async def test_where_a_text_is_counted_does_not_change_its_count(counter: TokenCounter) -> None:
    text = "naïve 🙂 你好 <|endoftext|> 12345\n"

    assert await counter.count(text * 300) == 300 * await counter.count(text)


@given(text=st.text(st.characters(), max_size=500))
def test_any_text_can_be_counted(text: str) -> None:
    tokens = _count(load_encoding(), text)

    assert tokens <= len(text.encode("utf-8", "replace")) * 3
    assert bool(tokens) == bool(text)


@given(
    text=st.text(alphabet="ab \n.", min_size=1, max_size=300) | st.text(min_size=1, max_size=300),
    slice_characters=st.integers(20, 300),
)
def test_cutting_a_text_into_slices_costs_few_tokens(text: str, slice_characters: int) -> None:
    encoding = load_encoding()
    whole = len(encoding.encode_ordinary(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proxy.translator.usage._SLICE_CHARACTERS", slice_characters)
        sliced = _count(encoding, text)

    assert abs(sliced - whole) <= 5 * (len(text) // slice_characters)


def cpu_seconds(text: str) -> float:
    started_at = time.thread_time()
    _count(load_encoding(), text)
    return time.thread_time() - started_at


@pytest.fixture(scope="module")
def ordinary_s() -> float:
    """What a megabyte of prose takes."""
    prose = "The quick brown fox jumps over the lazy dog, and then 12345 more. "
    cpu_seconds(prose)
    return min(cpu_seconds(prose * (MEGABYTE // len(prose))) for _ in range(3))


@pytest.mark.parametrize(
    "text",
    [
        *(unit * (MEGABYTE // len(unit)) for unit in (" ", "\n", "\t", " \n", "a", "A", "ab", "=", "1", "中", "🙂")),
        " " * MEGABYTE + "x",
        "x" + "\r" * MEGABYTE,
        "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=MEGABYTE)),
        "".join(random.Random(1).choices("!#$%&*+-=?@^_|~", k=MEGABYTE)),
        "\ud83d" * MEGABYTE,
    ],
    ids=lambda text: repr(text[:2]) + repr(text[-1]),
)
def test_no_megabyte_takes_much_longer_than_prose(ordinary_s: float, text: str) -> None:
    """tiktoken alone panics on a million blanks. Measured: 3 to 8 times the prose, 19 for half characters."""
    assert cpu_seconds(text) < 60 * max(ordinary_s, 0.02)
