"""What the items of a response add to an answer, each thing once, however often a server says it. Pure.

A text comes in pieces, then whole with the end of its part, of its item and of the response; a server may leave out any
of them. Each of them gives what those before it did not.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from proxy.core.deltas import ContentDelta, Delta, ReasoningDelta, RefusalDelta, ThinkingSignature
from proxy.core.failures import PoeFailed
from proxy.upstreams.poe_rest.responses_calls import KIND as CALL
from proxy.upstreams.poe_rest.responses_calls import ResponseCalls
from proxy.upstreams.poe_rest.responses_fields import Said, ids_in, index_in, list_in, object_in, text_in, type_of
from proxy.upstreams.poe_rest.responses_items import Given, GivenText, Item, Items

_SIGNATURE: Final = "encrypted_content"
#: What some servers write where there is no signature.
_NO_SIGNATURES: Final = ("", "None")
_PICTURE: Final = "result"


class Place(NamedTuple):
    """A place for texts.

    Attributes:
        kind: of the items that have it.
        field: what items call it.
        numbered_by: what events call the text's place in a list.
        whole_in: what events and parts call the whole text.
        delta: what a piece of the text is.
    """

    kind: str
    field: str
    numbered_by: str
    whole_in: str
    delta: Callable[[str], Delta]


TEXT: Final = Place("message", "text", "content_index", "text", ContentDelta)
REFUSAL: Final = Place("message", "refusal", "content_index", "refusal", RefusalDelta)
SUMMARY: Final = Place("reasoning", "summary", "summary_index", "text", ReasoningDelta)
THOUGHT: Final = Place("reasoning", "content", "content_index", "text", ReasoningDelta)
#: The types of a message's parts.
_PARTS: Final = {"output_text": TEXT, "text": TEXT, "refusal": REFUSAL}


class ResponseAnswer:
    """One answer. What makes no sense raises PoeFailed.

    Args:
        names: the names of tools that the model got in place of longer ones → those.

    Attributes:
        items: of the response, as far as they have begun.
        calls: of the answer.
    """

    __slots__ = ("_has_thoughts", "_text", "_where", "calls", "items")

    def __init__(self, names: Mapping[str, str]) -> None:
        self.items = Items()
        self.calls = ResponseCalls(names)
        #: There are thoughts without a signature, which the next ones go on.
        self._has_thoughts = False
        #: The text that the last piece was of, and where it said that this stands.
        self._text = GivenText()
        self._where: tuple[object, object, object] | None = None

    def more_text(self, event: Said) -> list[Delta]:
        """A piece of visible text. Hot: nearly every event is one."""
        where = (event.get("item_id"), event.get("output_index"), event.get("content_index"))
        if where != self._where:
            self._text, self._where = self._text_at(TEXT, event), where
        piece = event.get("delta")
        if type(piece) is not str:
            piece = text_in(piece)
        self._text.characters += len(piece)
        return [ContentDelta(piece)] if piece else []

    def more(self, place: Place, event: Said) -> list[Delta]:
        """A piece of any text."""
        text, piece = self._text_at(place, event), text_in(event.get("delta"))
        is_first = not text.characters
        text.characters += len(piece)
        return self._given(place, piece, is_first=is_first)

    def end_text(self, place: Place, event: Said, whole: object) -> list[Delta]:
        """A text that is whole now."""
        item, said = self._item_at(place.kind, event), text_in(whole)
        rest = item.text(place.field, index_in(event.get(place.numbered_by))).rest_of(said)
        item.has_ended_text = True
        return self._given(place, rest, is_first=rest == said)

    def end_part(self, event: Said) -> list[Delta]:
        """A part that is whole now. Some servers give thoughts the parts of messages."""
        part = object_in(event.get("part"))
        known = self.items.known(event.get("item_id"))
        place = THOUGHT if known is not None and known.kind == THOUGHT.kind else _PARTS.get(type_of(part))
        return [] if place is None else self.end_text(place, event, part.get(place.whole_in))

    def more_arguments(self, event: Said) -> list[Delta]:
        """A piece of a call's arguments."""
        return self.calls.more(self._item_at(CALL, event), text_in(event.get("delta")))

    def end_arguments(self, event: Said) -> list[Delta]:
        """Arguments that are whole now."""
        item = self._item_at(CALL, event)
        item.has_ended_text = True
        return [*self.calls.begin(item, event), *self.calls.end_arguments(item, event)]

    def begin_item(self, event: Said) -> list[Delta]:
        """An item that begins. What is in it already will come again."""
        said, index = object_in(event.get("item")), event.get("output_index")
        kind, ids = type_of(said), _ids_of(said)
        item = self.items.find(kind, ids, index)
        if item is None or (item.is_announced and item.ids.isdisjoint(ids)):
            item = self.items.begin(kind, ids, index)
        self.items.note(item, ids, index)
        item.is_announced, self._where = True, None
        return self.calls.begin(item, said) if kind == CALL else []

    def end_item(self, event: Said) -> list[Delta]:
        """An item that is whole now."""
        said, index = object_in(event.get("item")), event.get("output_index")
        kind, ids = type_of(said), _ids_of(said)
        item = self.items.find(kind, ids, index)
        if item is None or _is_another_call(item, said):
            item = self.items.begin(kind, ids, index)
        self.items.note(item, ids, index)
        item.has_ended, self._where = True, None
        return self._rest_of(item, said, item.given())

    def end(self, output: object, *, may_be_cut: bool) -> list[Delta]:
        """The whole response. An item that is not found among those before is compared with all that are not found.

        Args:
            output: its items.
            may_be_cut: a call in it may be broken off.
        """
        listed = [object_in(said) for said in list_in(output)]
        found = [self._find_listed(said, at) for at, said in enumerate(listed)]
        given = {id(item): item.given() for item in found if item is not None}
        others = Given(item for item in self.items if id(item) not in given)
        deltas: list[Delta] = []
        for said, known in zip(listed, found, strict=True):
            item = known or self.items.begin(type_of(said), _ids_of(said), None)
            deltas += self._rest_of(item, said, given.get(id(item), others))
        if not may_be_cut and any(item.held for item in self.items):
            raise PoeFailed(said="a call without a name")
        return deltas

    def _text_at(self, place: Place, event: Said) -> GivenText:
        """The text that an event is about."""
        return self._item_at(place.kind, event).text(place.field, index_in(event.get(place.numbered_by)))

    def _item_at(self, kind: str, event: Said) -> Item:
        """The item that an event is about; one that was not announced begins with it."""
        ids, index = ids_in(event.get("item_id")), event.get("output_index")
        item = self.items.find(kind, ids, index) or self.items.begin(kind, ids, index)
        self.items.note(item, ids, index)
        return item

    def _find_listed(self, said: Said, at: int) -> Item | None:
        item = self.items.find_listed(type_of(said), _ids_of(said), at)
        return None if item is not None and _is_another_call(item, said) else item

    def _rest_of(self, item: Item, said: Said, given: Given) -> list[Delta]:
        """What of a whole item was not ``given``."""
        match item.kind:
            case "message":
                return self._rest_of_texts(item, _texts(said), given)
            case "reasoning":
                return [*self._rest_of_texts(item, _thoughts(said, given), given), *self._signature(item, said, given)]
            case "function_call":
                return self.calls.end(item, said)
            case "image_generation_call":
                return _picture(item, said, given)
        return []

    def _rest_of_texts(self, item: Item, texts: Iterator[tuple[Place, int, str]], given: Given) -> list[Delta]:
        deltas: list[Delta] = []
        for place, index, whole in texts:
            rest = given.rest_of(place.field, whole)
            item.text(place.field, index).characters += len(rest)
            deltas += self._given(place, rest, is_first=rest == whole)
        return deltas

    def _given(self, place: Place, text: str, *, is_first: bool) -> list[Delta]:
        """A piece of text. Thoughts begin with a blank line where others stand before them."""
        if not text:
            return []
        if place.delta is ReasoningDelta:
            text = f"\n\n{text}" if is_first and self._has_thoughts else text
            self._has_thoughts = True
        return [place.delta(text)]

    def _signature(self, item: Item, said: Said, given: Given) -> list[Delta]:
        signature = said.get(_SIGNATURE)
        if not isinstance(signature, str) or signature in _NO_SIGNATURES or not _is_new(item, _SIGNATURE, given):
            return []
        self._has_thoughts = False
        return [ThinkingSignature(signature)]


def _picture(item: Item, said: Said, given: Given) -> list[Delta]:
    """A picture that the model made, as Markdown: no client's form of an answer has pictures."""
    picture, kind = text_in(said.get(_PICTURE)), said.get("output_format")
    if not picture or not _is_new(item, _PICTURE, given):
        return []
    return [ContentDelta(f"![image](data:image/{kind if isinstance(kind, str) else 'png'};base64,{picture})")]


def _is_new(item: Item, field: str, given: Given) -> bool:
    """Whether something that an item has but once was not given yet; it is from now on."""
    item.text(field).characters = 1
    return bool(given.rest_of(field, "1"))


def _texts(said: Said) -> Iterator[tuple[Place, int, str]]:
    """The texts of a message, each with its place."""
    for index, part in enumerate(map(object_in, list_in(said.get("content")))):
        if place := _PARTS.get(type_of(part)):
            yield place, index, text_in(part.get(place.whole_in))


def _thoughts(said: Said, given: Given) -> Iterator[tuple[Place, int, str]]:
    """The texts of a reasoning item, each with its place.

    LiteLLM streams as the summary what it lists as the content: where one was given, the other is no news.
    """
    places = [place for place in (SUMMARY, THOUGHT) if given.has(place.field)] or (SUMMARY, THOUGHT)
    for place in places:
        for index, part in enumerate(map(object_in, list_in(said.get(place.field)))):
            yield place, index, text_in(part.get(place.whole_in))


def _ids_of(said: Said) -> list[str]:
    return ids_in(said.get("id"), said.get("call_id"))


def _is_another_call(item: Item, said: Said) -> bool:
    call_id = said.get("call_id")
    return bool(item.call_id and call_id) and item.call_id != call_id
