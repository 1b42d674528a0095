"""Token counts: those of OpenAI's own library for any text, and slow for none."""

import asyncio
import base64
import gzip
import hashlib
import json
import random
import time
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken_ext import openai_public  # type: ignore[import-untyped]  # ships no types

from proxy.answer.token_counts import Encoder, KnownCounts, TokenCounter, load_encoding
from proxy.upstreams.poe_bot.query import Message, Query

MEGABYTE = 1_000_000
#: OpenAI's own vocabulary; tiktoken would download it.
VOCABULARY = Path(__file__).parent / "o200k_base.tiktoken.gz"


@pytest.fixture
async def counter() -> TokenCounter:
    return TokenCounter()


@pytest.fixture(scope="module")
def openais() -> tiktoken.Encoding:
    """OpenAI's own library with its own definition, which names the hash of the vocabulary."""

    def load(_: str, *, expected_hash: str) -> dict[bytes, int]:
        raw = gzip.decompress(VOCABULARY.read_bytes())
        assert hashlib.sha256(raw).hexdigest() == expected_hash
        return {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, raw.splitlines())}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_public, "load_tiktoken_bpe", load)
        return tiktoken.Encoding(**openai_public.o200k_base())


#: What the pattern of the vocabulary treats apart: cases, marks, contractions, digits, blanks, ends of lines.
TELLING = "aAbBzZ  \n\r\t'sStTrReEvVmMlLdDſK0123/.,-<|>_é中ǅʰ़\u00a0\u3000\u2028🙂"


@given(text=st.text(st.sampled_from(TELLING), max_size=80) | st.text(max_size=80))
@settings(max_examples=500)
def test_any_text_has_the_tokens_of_openais_own_library(openais: tiktoken.Encoding, text: str) -> None:
    assert Encoder(load_encoding()).encode(text) == openais.encode_ordinary(text)


@given(text=st.lists(st.sampled_from([*TELLING, "<|endoftext|>", "<|", "|>", "\ud83d"]), max_size=80).map("".join))
def test_a_count_is_that_of_the_tokens(text: str) -> None:
    encoder = Encoder(load_encoding())

    assert encoder.count(text) == len(encoder.encode(text))


def test_every_special_token_is_known_by_its_name() -> None:
    """A text without it can be counted in the quickest way, which would take such a name for one token."""
    assert all("<|" in name for name in load_encoding().special_tokens())


def test_ordinary_pages_have_the_tokens_of_openais_own_library(openais: tiktoken.Encoding) -> None:
    """Prose, Chinese, code, names of special tokens, and texts cut anywhere."""
    root = Path(__file__).parents[2]
    pages = [
        (root / name).read_text() for name in ("README.md", "README.zh-CN.md", "proxy/core/failures.py", "Makefile")
    ]
    cuts = random.Random(1)
    texts = [page[cuts.randrange(len(page)) :] for page in pages for _ in range(20)]
    encoder = Encoder(load_encoding())

    assert [encoder.encode(text) for text in texts] == [openais.encode_ordinary(text) for text in texts]


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


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is looked at, in order."""
    looked_at: list[str] = []
    count = Encoder.count

    def noting(self: Encoder, text: str) -> int:
        looked_at.append(text)
        return count(self, text)

    monkeypatch.setattr(Encoder, "count", noting)
    return looked_at


@pytest.mark.parametrize("words", [100, 10_000])
async def test_of_a_conversation_that_comes_again_only_what_is_new_is_counted(
    counter: TokenCounter, encoded: list[str], words: int
) -> None:
    turns = [Message("user", f"{number} " + "hello " * words) for number in range(4)]
    before = await counter.count_prompt(Query(turns[:3]))
    encoded.clear()
    after = await counter.count_prompt(Query(turns))

    assert "".join(encoded) == turns[3].content
    assert after - before == await counter.count(turns[3].content) + 3


def test_of_the_counts_that_are_kept_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.answer.token_counts._MAX_KNOWN", 2)
    known = KnownCounts()
    texts = {name: name * 500 for name in "abc"}
    known.put(texts["a"], 1)
    known.put(texts["b"], 2)
    asked_again = known.get(texts["a"])
    known.put(texts["c"], 3)

    assert asked_again == 1
    assert {name: known.get(text) for name, text in texts.items()} == {"a": 1, "b": None, "c": 3}


def test_a_text_that_is_as_long_is_another() -> None:
    known = KnownCounts()
    known.put("a" * 500, 1)

    assert known.get("b" * 500) is None


async def test_a_prompt_of_megabytes_holds_up_nobody(counter: TokenCounter, encoded: list[str]) -> None:
    """However many messages it has: no more of it is counted than of one text."""
    tokens = await counter.count_prompt(Query([Message("user", "hello " * 20_000)] * 20))

    assert sum(map(len, encoded)) <= 250_000
    assert tokens == pytest.approx(20 * 20_000, rel=0.01)


async def test_a_prompt_of_nothing_still_costs_its_format(counter: TokenCounter) -> None:
    assert await counter.count_prompt(Query([])) == 3


async def test_tools_are_part_of_a_prompt(counter: TokenCounter) -> None:
    """As JSON, which is what a bot is given."""
    tools = [{"type": "function", "function": {"name": "look", "description": "wetter für 你好"}}]
    without = await counter.count_prompt(Query([Message("user", "hello")]))
    with_tools = await counter.count_prompt(Query([Message("user", "hello")], tools=tools))

    assert with_tools - without == pytest.approx(await counter.count(json.dumps(tools, ensure_ascii=False)), abs=1)


@given(text=st.text(st.characters(exclude_categories=["Cs"])), cut=st.integers(0, 20))
def test_tokens_become_the_text_again_without_half_a_character(text: str, cut: int) -> None:
    encoder = Encoder(load_encoding())
    tokens = encoder.encode(text)

    assert encoder.decode(tokens) == text
    assert text.startswith(encoder.decode(tokens[:cut]))


async def test_a_short_text_is_counted_at_once(counter: TokenCounter) -> None:
    counted = counter.count("hello world")

    assert counter.counts_at_once(["hello world"])
    assert counted.done()


async def test_between_the_slices_of_a_long_text_others_have_their_turn(
    counter: TokenCounter, encoded: list[str]
) -> None:
    turns: list[int] = []

    async def take_turns() -> None:
        while True:
            turns.append(len(encoded))
            await asyncio.sleep(0)

    other = asyncio.ensure_future(take_turns())
    text = "hello " * 20_000
    counted = counter.count(text)

    assert not counter.counts_at_once([text])
    assert await counted == pytest.approx(20_000, abs=6)
    assert turns[:6] == [0, 1, 2, 3, 4, 5]
    assert max(map(len, encoded)) <= 24_000
    other.cancel()


async def test_where_a_text_is_counted_does_not_change_its_count(counter: TokenCounter) -> None:
    text = "naïve 🙂 你好 <|endoftext|> 12345\n"

    assert await counter.count(text * 300) == 300 * await counter.count(text)


@given(
    text=st.text(alphabet="ab \n.", min_size=1, max_size=300) | st.text(min_size=1, max_size=300),
    slice_characters=st.integers(20, 300),
)
def test_cutting_a_text_into_slices_costs_few_tokens(text: str, slice_characters: int) -> None:
    async def counted() -> int:
        return await TokenCounter().count(text)

    whole = len(Encoder(load_encoding()).encode(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proxy.answer.token_counts._AT_ONCE", 3 * slice_characters)
        sliced = asyncio.run(counted())

    assert abs(sliced - whole) <= 5 * (len(text) // slice_characters)


def cpu_seconds(text: str) -> float:
    async def count() -> float:
        counter, started_at = TokenCounter(), time.thread_time()
        await counter.count(text)
        return time.thread_time() - started_at

    return asyncio.run(count())


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
    """Measured: up to 9 times the prose."""
    assert min(cpu_seconds(text), cpu_seconds(text)) < 30 * max(ordinary_s, 0.005)
