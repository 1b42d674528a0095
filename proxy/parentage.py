"""Processes that end when the one that started them does, however that ended. Linux; elsewhere it does nothing."""

import ctypes
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent() -> None:
    """Asks the kernel to send this process SIGTERM when its parent dies, even by SIGKILL.

    Called in the child. The parent's *thread* that started it is what counts, so start children from the main thread.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
