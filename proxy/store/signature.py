"""What a script is called with, by name: a NamedTuple in Python, locals of the same names in Lua.

The NamedTuple alone knows the order. Its fields are, in this order:

==================== =================================================================================
``Key``              the name of a key; in KEYS
``str``, ``int``     a value; in Lua a string or a number
``Sequence[str]``    a list of a few thousand at most; in Lua a table
``Sequence[Row]``    a list of NamedTuples of values; in Lua an iterator: ``for name, state in rows() do``
``Row | None``       values that come together or not at all; in Lua locals of their own names, or nil
==================== =================================================================================

On the wire all is flat; each list stands behind the number of its rows.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from types import NoneType, UnionType
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

#: The name of a key.
Key = Annotated[str, "KEYS"]

#: What is sent as KEYS and as ARGV.
Parts = tuple[Sequence[str], Sequence[str | int]]
#: Column → type, in order.
Columns = dict[str, Any]

_END: Final = "local {name}_end = {at} + {width} * ARGV[{at}]\n"
_TABLE: Final = "local {name} = {{unpack(ARGV, {at} + 1, {name}_end)}}\n"
_ITERATOR: Final = """\
local function {name}()
  local at = {at} + 1 - {width}
  return function()
    at = at + {width}
    if at <= {name}_end then return {row} end
  end
end
"""
_OPTIONAL: Final = "local {names}\nif ARGV[{at}] then {names} = {row} end\n"


class Signature:
    """The fields of one NamedTuple.

    Attributes:
        keys: the names of its keys.
        values: of its values, each with its type.
        strings: of its lists of strings.
        rows: of its lists of rows, each with its columns.
        optional: of what may be left out, with its columns; one at most.
    """

    def __init__(self, arguments: type[tuple[Any, ...]]) -> None:
        fields = get_type_hints(arguments, include_extras=True)
        self.keys = [name for name, kind in fields.items() if kind == Key]
        self.values: Columns = {name: kind for name, kind in fields.items() if kind in (str, int)}
        self.strings = [name for name, kind in fields.items() if kind == Sequence[str]]
        rows = {name: kind for name, kind in fields.items() if get_origin(kind) is Sequence and kind != Sequence[str]}
        self.rows = {name: get_type_hints(*get_args(kind)) for name, kind in rows.items()}
        optional = {name: kind for name, kind in fields.items() if get_origin(kind) is UnionType}
        self.optional = {name: get_type_hints(_without_none(kind)) for name, kind in optional.items()}
        if list(fields) != [*self.keys, *self.values, *self.strings, *self.rows, *self.optional]:
            raise TypeError(f"{arguments.__name__}: its fields stand in another order than scripts have them")

    def head(self) -> str:
        """Lua that gives every argument its name."""
        sources = [f"KEYS[{position}]" for position, _ in enumerate(self.keys, start=1)]
        sources += [_read(kind, position) for position, kind in enumerate(self.values.values(), start=1)]
        names = [*self.keys, *self.values]
        return f"local {', '.join(names)} = {', '.join(sources)}\n" + "".join(self._after_values())

    def _after_values(self) -> Iterator[str]:
        at = str(len(self.values) + 1)
        for name in self.strings:
            yield (_END + _TABLE).format(name=name, at=at, width=1)
            at = f"{name}_end + 1"
        for name, columns in self.rows.items():
            yield (_END + _ITERATOR).format(name=name, at=at, width=len(columns), row=_row(columns, "at"))
            at = f"{name}_end + 1"
        for columns in self.optional.values():
            yield _OPTIONAL.format(at=at, names=", ".join(columns), row=_row(columns, at))

    def divider(self) -> Callable[[tuple[Any, ...]], Parts]:
        """A function that brings the arguments into the order of the wire."""
        keys, strings_at = len(self.keys), len(self.keys) + len(self.values)
        rows_at = strings_at + len(self.strings)
        optional_at = rows_at + len(self.rows)

        def divide(given: tuple[Any, ...]) -> Parts:
            return given[:keys], given[keys:]

        def spread(given: tuple[Any, ...]) -> Parts:
            values = list(given[keys:strings_at])
            for strings in given[strings_at:rows_at]:
                values.append(len(strings))
                values += strings
            for rows in given[rows_at:optional_at]:
                values.append(len(rows))
                values += chain.from_iterable(rows)
            for row in given[optional_at:]:
                values += row or ()
            return given[:keys], values

        return spread if self.strings or self.rows or self.optional else divide


def _without_none(kind: Any) -> Any:
    [row] = (one for one in get_args(kind) if one is not NoneType)
    return row


def _row(columns: Columns, at: str) -> str:
    return ", ".join(_read(kind, f"{at} + {offset}") for offset, kind in enumerate(columns.values()))


def _read(kind: Any, position: int | str) -> str:
    return f"tonumber(ARGV[{position}])" if kind is int else f"ARGV[{position}]"
