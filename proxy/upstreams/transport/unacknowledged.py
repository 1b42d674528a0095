"""Tells whether a server has taken all that was sent to it."""

import asyncio
import fcntl
import termios
from array import array


def has_unacknowledged(transport: asyncio.Transport) -> bool:
    """Whether a part of what was sent is still here, or not acknowledged by the server's system."""
    waiting = array("i", [0])
    fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, waiting)
    return transport.get_write_buffer_size() > 0 or waiting[0] > 0
