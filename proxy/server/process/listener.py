"""Closing a port so that nobody who has a connection loses a request.

The kernel makes connections before anybody accepts them, and resets those that wait when the port is closed. Whoever
made one may have sent a request over it, and dares not send it a second time. So the port first turns away those who
knock; then those who are in are taken; then it closes.
"""

import array
import asyncio
import contextlib
import ctypes
import fcntl
import select
import socket
import struct
import sys
import termios
from typing import Final

#: How long a connection that is half made has to be made whole, in seconds: a round trip on a near network.
_HALF_MADE_S: Final = 0.02
_LONGEST_S: Final = 1.0
_LOOK_EVERY_S: Final = 0.001

#: Linux's name for the option; Python has none (asm-generic/socket.h).
_SO_ATTACH_FILTER: Final = 26
#: A classic BPF program over a TCP header: drop what has SYN, which is what begins a connection; let the rest pass
#: (linux/filter.h, struct sock_filter: code, jump if true, jump if false, operand).
_DROP_SYN: Final = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # A = the header's byte of flags
        (0x45, 0, 1, 0x02),  # SYN?
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # pass
    )
)


def refuse_new_connections(listener: socket.socket) -> None:
    """From now on nobody gets a new connection on this port, in whichever process; who knocks tries again after 1 s.

    Where the kernel has no such thing, new ones still come.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(_DROP_SYN)
    with contextlib.suppress(OSError):
        count = len(_DROP_SYN) // 8
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", count, ctypes.addressof(program)))


async def accept_pending(listener: socket.socket) -> None:
    """Waits until whoever serves this port has taken every connection that was made, for a second at most."""
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    now = asyncio.get_running_loop().time
    began_at = now()
    while now() - began_at < (_LONGEST_S if waiting.poll(0) else _HALF_MADE_S):  # noqa: ASYNC110 - an empty queue is no event
        await asyncio.sleep(_LOOK_EVERY_S)


def has_unread(connection: socket.socket) -> bool:
    """Whether the kernel holds bytes of this connection that nobody has read, as on a machine that is busy."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(connection.fileno(), termios.FIONREAD, count)
    except (OSError, ValueError):  # closed already
        return False
    return count[0] > 0
