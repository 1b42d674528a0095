"""A request and its answer passed through: the client speaks the dialect of the endpoint that its model is asked by.

Everything stays as its writer wrote it, but for the model's name and for fields that Poe would refuse. Pure.
"""

import re
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

import orjson

from proxy.upstreams.poe.json_text import written_json

#: Within a string of JSON the quotes would be escaped, so this is the name of a member and its value.
_MODEL: Final = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')
_NAME: Final = b'"model"'


class Passage(NamedTuple):
    """What a client sent.

    Attributes:
        body: JSON, which has been checked.
        given: names of its fields that have a value.
        nulls: names of those that are null.
        model: the model's name in the answer, as the client knows it.
        includes_usage: whether the client wants the token counts at the end of a stream.
        betas: of Anthropic's API, that the client names in a header.
    """

    body: bytes
    given: AbstractSet[str]
    nulls: AbstractSet[str]
    model: str
    includes_usage: bool = False
    betas: str = ""


def json_name(name: str) -> bytes:
    """A model's name as ``renamed`` takes it."""
    return orjson.dumps(name)


class Renamed(NamedTuple):
    """JSON in which the model has another name: what stands up to it, that with the new name, and the rest."""

    before: bytes
    begun: bytes
    rest: bytes


def renamed(json: bytes, name: bytes) -> Renamed | None:
    """Gives the first model that is named another ``name``, itself JSON; None where no model is named."""
    found = _MODEL.search(json)
    if found is None:
        return None
    return Renamed(json[: found.end(1)], json[: found.start(1)] + name, json[found.end(1) :])


def renamed_body(json: bytes, name: bytes) -> bytes:
    """An object with another name as its ``model``. Its bytes change only where it is not plain which one that is."""
    if json.count(_NAME) == 1 and (place := renamed(json, name)) is not None:
        return place.begun + place.rest
    return written_json({**orjson.loads(json), "model": orjson.loads(name)})
