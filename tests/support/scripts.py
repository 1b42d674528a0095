"""Scripts of the tests' own."""

import hashlib
from typing import Any, NamedTuple

from proxy.keypool.scripts import CountKeys
from proxy.store.keyspace import KeySpace
from proxy.store.script import Script
from proxy.store.signature import Key, Signature


def count_of_none(names: KeySpace) -> CountKeys:
    """What ``COUNT_KEYS`` is called with for an instance that has no keys."""
    return CountKeys(names.cooling, names.out, names.keyset("none"), names.clock)


class Nothing(NamedTuple):
    """What a script is called with that needs nothing."""


class OneKey(NamedTuple):
    """What a script is called with that needs a key."""

    name: Key


class Text(NamedTuple):
    """What a script is called with that needs a key and a text."""

    name: Key
    text: str


def made_script(source: str, arguments: type[Any] = OneKey) -> Script[Any]:
    """A script that no package has; ``source`` says KEYS and ARGV."""
    script = Script.__new__(Script)
    script.name, script.source = "made", source
    script.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    script.parts_of = Signature(arguments).divider()
    return script
