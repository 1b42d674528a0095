"""The items of a response while it streams: which of them an event is about, and how much of each was given. Pure.

Servers that speak OpenAI's Responses API err in ways of their own: ids that differ from event to event, one index for
all items, texts of items that never began. An item is found by what is right of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from proxy.core.failures import PoeFailed

#: A response has at most so many.
_MAX_ITEMS: Final = 2_000


class GivenText:
    """How many characters of a text were given."""

    __slots__ = ("characters",)

    def __init__(self) -> None:
        self.characters = 0

    def rest_of(self, whole: str) -> str:
        """What of the whole text was not given; it counts as given from now on."""
        rest = whole[self.characters :]
        self.characters += len(rest)
        return rest


class Item:
    """One item.

    Attributes:
        kind: its type, such as ``message``.
        ids: by which events call it.
        index: its place in the response, where that is known.
        call_id: of a call that has begun.
        position: of such a call among the calls of the answer.
        held: pieces of a call's arguments that came before its name.
        is_announced: an event said that it begins, and another will say that it ends.
        has_ended: an event said so.
        has_ended_text: an event said so of a text of it.
    """

    __slots__ = (
        "_texts",
        "call_id",
        "has_ended",
        "has_ended_text",
        "held",
        "ids",
        "index",
        "is_announced",
        "kind",
        "position",
    )

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.ids: set[str] = set()
        self.index: int | None = None
        self.call_id = ""
        self.position: int | None = None
        self.held: list[str] = []
        self.is_announced = self.has_ended = self.has_ended_text = False
        self._texts: dict[tuple[str, int], GivenText] = {}

    @property
    def is_whole(self) -> bool:
        """Whether nothing more of it is to come."""
        return self.has_ended or (self.has_ended_text and not self.is_announced)

    def text(self, field: str, index: int = 0) -> GivenText:
        """One text of it: that with this index in the list that is ``field``."""
        return self._texts.setdefault((field, index), GivenText())

    def given(self) -> "Given":
        """How much of each field was given."""
        given = Given()
        for (field, _), text in self._texts.items():
            given.add(field, text.characters)
        return given


class Given:
    """Numbers of characters that were given, by field."""

    __slots__ = ("_characters",)

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._characters: dict[str, int] = {}
        for item in items:
            for field, characters in item.given():
                self.add(field, characters)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._characters.items())

    def has(self, field: str) -> bool:
        """Whether something of this field was given."""
        return self._characters.get(field, 0) > 0

    def add(self, field: str, characters: int) -> None:
        """Counts more of them."""
        self._characters[field] = self._characters.get(field, 0) + characters

    def rest_of(self, field: str, whole: str) -> str:
        """What was not given of the next whole text of this field."""
        given = self._characters.get(field, 0)
        self._characters[field] = max(0, given - len(whole))
        return whole[given:]


class Items:
    """All items of one response, in the order in which they began."""

    __slots__ = ("_all", "_by_id", "_by_index")

    def __init__(self) -> None:
        self._all: list[Item] = []
        self._by_id: dict[str, Item] = {}
        self._by_index: dict[tuple[str, int], Item] = {}

    def __iter__(self) -> Iterator[Item]:
        return iter(self._all)

    @property
    def are_whole(self) -> bool:
        """Whether there are any, and all of them are whole."""
        return bool(self._all) and all(item.is_whole for item in self._all)

    def known(self, item_id: object) -> Item | None:
        """The item with this id."""
        return self._by_id.get(item_id) if isinstance(item_id, str) else None

    def begin(self, kind: str, ids: Sequence[str], index: object) -> Item:
        """A new item. Raises PoeFailed: there are too many."""
        if len(self._all) >= _MAX_ITEMS:
            raise PoeFailed(said="a response of too many items")
        item = Item(kind)
        self._all.append(item)
        self.note(item, ids, index)
        return item

    def note(self, item: Item, ids: Sequence[str], index: object) -> None:
        """Events call the item so, too."""
        item.ids.update(ids)
        self._by_id.update((one, item) for one in ids)
        if type(index) is int and item.index is None:
            item.index = index
            self._by_index[item.kind, index] = item

    def find(self, kind: str, ids: Sequence[str], index: object) -> Item | None:
        """The item of this kind that an event is about.

        It has one of the ids, or the index if it has not ended; else it is the last one that may be meant, since
        nothing is known of it that is said here.
        """
        for one in ids:
            if (item := self._by_id.get(one)) is not None and item.kind == kind and not _is_over(item, index):
                return item
        at_index = self._at(kind, index)
        if at_index is not None and not at_index.has_ended:
            return at_index
        return next((item for item in reversed(self._all) if item.kind == kind and _may_be(item, ids, index)), None)

    def find_listed(self, kind: str, ids: Sequence[str], index: int) -> Item | None:
        """The item of this kind that the whole response lists at this place."""
        at_index = self._at(kind, index)
        if at_index is not None and not at_index.ids.isdisjoint(ids):
            return at_index
        by_id = [self._by_id[one] for one in ids if one in self._by_id and self._by_id[one].kind == kind]
        return by_id[0] if by_id else at_index

    def _at(self, kind: str, index: object) -> Item | None:
        return self._by_index.get((kind, index)) if type(index) is int else None


def _is_over(item: Item, index: object) -> bool:
    """Whether an item with a known id has ended elsewhere: some servers give one id to several."""
    return item.has_ended and item.index is not None and type(index) is int and item.index != index


def _may_be(item: Item, ids: Sequence[str], index: object) -> bool:
    if item.has_ended or (ids and item.ids):
        return False
    return item.index is None or type(index) is not int
