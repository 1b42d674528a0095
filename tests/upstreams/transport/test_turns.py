"""Answers that all have much to say take one step in each turn of the event loop, together."""

import asyncio

from proxy.upstreams.transport.turns import TurnQueue


class CountedTurns:
    """Counts the turns of the event loop."""

    def __init__(self) -> None:
        self.now = 0
        self._count()

    def _count(self) -> None:
        self.now += 1
        self._handle = asyncio.get_running_loop().call_soon(self._count)

    def stop(self) -> None:
        self._handle.cancel()


async def turn_in(queue: TurnQueue) -> None:
    """Waits for a turn."""
    turn = asyncio.get_running_loop().create_future()
    queue.add(lambda: turn.set_result(None))
    await turn


async def test_each_step_has_a_turn_of_the_loop_of_its_own_in_the_order_of_arrival() -> None:
    queue, loop_turns = TurnQueue(), CountedTurns()
    taken: list[tuple[str, int]] = []

    async def answer(name: str, steps: int) -> None:
        for _ in range(steps):
            await turn_in(queue)
            taken.append((name, loop_turns.now))

    await asyncio.gather(answer("a", 3), answer("b", 3), answer("c", 3))
    loop_turns.stop()

    assert [name for name, _ in taken] == ["a", "b", "c"] * 3
    assert len({turn for _, turn in taken}) == 9


async def test_a_step_that_fails_is_not_the_last() -> None:
    queue, loop = TurnQueue(), asyncio.get_running_loop()
    failures: list[object] = []
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))

    def fail() -> None:
        raise ValueError

    queue.add(fail)
    async with asyncio.timeout(5):
        await turn_in(queue)

    assert [type(failure) for failure in failures] == [ValueError]
