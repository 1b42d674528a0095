"""Several streams as one, as their items come. For requests that ask for several choices."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

_Item = TypeVar("_Item")

#: Items of one stream that may wait for a slow reader.
_AHEAD: Final = 16


class _Ended:
    """What a stream puts last: that it ended, or what it failed with."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


async def merged(streams: Sequence[AsyncGenerator[_Item, None]]) -> AsyncGenerator[_Item, None]:
    """The items of all streams. The first that fails ends the others, and its failure is raised; closing closes all."""
    items: asyncio.Queue[_Item | _Ended] = asyncio.Queue(_AHEAD * len(streams))
    tasks = [asyncio.get_running_loop().create_task(_pass_on(stream, items)) for stream in streams]
    left = len(tasks)
    try:
        while left:
            item = await items.get()
            if not isinstance(item, _Ended):
                yield item
                continue
            if item.error is not None:
                raise item.error
            left -= 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(stream: AsyncGenerator[_Item, None], items: "asyncio.Queue[_Item | _Ended]") -> None:
    try:
        async with aclosing(stream) as open_stream:
            async for item in open_stream:
                await items.put(item)
    except Exception as error:  # noqa: BLE001 - raised where the items are read
        await items.put(_Ended(error))
    else:
        await items.put(_Ended())
