"""Scripts of managed clients, and what each is called with; what arguments mean stands at the head of its Lua file."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from proxy.store.script import Script
from proxy.store.signature import Key


class DescribeClients(NamedTuple):
    """Of ``describe_clients.lua``."""

    clock: Key
    prefix: str
    day: str
    client_ids: Sequence[str]


class ListClients(NamedTuple):
    """Of ``list_clients.lua``."""

    clients: Key


class RemoveClient(NamedTuple):
    """Of ``remove_client.lua``."""

    client: Key
    clients: Key
    minute: Key
    permits: Key
    held: Key
    waiting: Key
    client_id: str


class Field(NamedTuple):
    """A field of a client's record."""

    field: str
    value: str


class WriteClient(NamedTuple):
    """Of ``write_client.lua``."""

    client: Key
    clients: Key
    prefix: str
    client_id: str
    mode: str
    fields: Sequence[Field]


DESCRIBE_CLIENTS: Final = Script(__package__, "describe_clients", DescribeClients)
LIST_CLIENTS: Final = Script(__package__, "list_clients", ListClients)
REMOVE_CLIENT: Final = Script(__package__, "remove_client", RemoveClient)
WRITE_CLIENT: Final = Script(__package__, "write_client", WriteClient)
