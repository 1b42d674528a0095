"""Sends a case as it says, and sees what comes back: the status, how much, and how it ended."""

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.hostile.case import Case

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_READ_BYTES: Final = 1 << 18


@dataclass(slots=True)
class Outcome:
    """What one connection came to.

    Attributes:
        status: the first answer's; 0 when there was none.
        ended: the answer was whole, or the connection was closed; otherwise the sender gave up.
    """

    status: int = 0
    received_bytes: int = 0
    ended: bool = False
    took_s: float = 0.0


async def send_case(case: Case, pieces: Sequence[bytes], port: int) -> list[Outcome]:
    """All connections of a case, at the same time. ``pieces`` are the case's, built before."""
    return await asyncio.gather(*(_send_one(case, pieces, port) for _ in range(case.at_once)))


async def _send_one(case: Case, pieces: Sequence[bytes], port: int) -> Outcome:
    outcome, began_at = Outcome(), time.monotonic()
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.settimeout(0)
    sending = asyncio.ensure_future(_write(case, pieces, connection))
    try:
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(case.leaves_after_s):
                if case.reads:
                    await (
                        _read(connection, outcome)
                        if case.answers == 1
                        else _read_all(connection, outcome, case.answers)
                    )
                else:
                    await asyncio.Event().wait()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        connection.close()
        outcome.took_s = time.monotonic() - began_at
    return outcome


async def _write(case: Case, pieces: Sequence[bytes], connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            await loop.sock_sendall(connection, piece)
            if case.pause_s:
                await asyncio.sleep(case.pause_s)


async def _read(connection: socket.socket, outcome: Outcome) -> None:
    """The first answer to its end. Of the body only the tail is kept."""
    loop = asyncio.get_running_loop()
    head, tail, left = b"", b"", -1
    try:
        while not outcome.ended:
            data = await loop.sock_recv(connection, _READ_BYTES)
            if not data:
                outcome.ended = True
                return
            outcome.received_bytes += len(data)
            if b"\r\n\r\n" not in head:
                head += data
                if b"\r\n\r\n" not in head:
                    continue
                if status := _STATUS.match(head):
                    outcome.status = int(status[1])
                head, _, data = head.partition(b"\r\n\r\n")
                head += b"\r\n\r\n"
                length = _LENGTH.search(head)
                left = int(length[1]) if length else -1
            tail = (tail + data)[-7:]
            if left >= 0:
                left -= len(data)
            outcome.ended = left == 0 or (left < 0 and tail.endswith(b"0\r\n\r\n"))
    except ConnectionError:
        outcome.ended = True
        raise


async def _read_all(connection: socket.socket, outcome: Outcome, answers: int) -> None:
    """So many answers, by their status lines."""
    loop = asyncio.get_running_loop()
    seen, tail = 0, b""
    while seen < answers:
        data = await loop.sock_recv(connection, _READ_BYTES)
        if not data:
            break
        outcome.received_bytes += len(data)
        found = _STATUS.findall(tail + data)
        tail = (tail + data)[-len(b"HTTP/1.1 20") :]
        seen += len(found)
        outcome.status = int(found[0]) if found else outcome.status
    outcome.ended = True
