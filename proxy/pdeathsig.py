"""Processes that end when the one that started them does, however that ended. Linux; elsewhere it does nothing."""

import ctypes
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
#: Loaded here: a child of a process with several threads must not load anything between fork and exec.
_LIBC: Final = ctypes.CDLL(None)


def end_with_parent() -> None:
    """Asks the kernel to send this process SIGTERM when its parent dies, even by SIGKILL.

    Called in the child. The parent's *thread* that started it is what counts: it has to live as long as the child.
    """
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
