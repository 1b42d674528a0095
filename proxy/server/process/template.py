"""What the template process loads, which all workers are forked from; see ``supervision.py``.

Kept apart because it must not be loaded in the main process, which gets by with half of the memory.
"""

import gc
import os
import signal
import socket
from multiprocessing.connection import Connection

from proxy.answer.token_counts import load_encoding
from proxy.server.observability.metrics import WorkerFiles
from proxy.server.process.worker import serve_worker
from proxy.settings import Settings

# Service managers send these to every process at once. They are not for the template, and a worker sees to them itself.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
signal.signal(signal.SIGHUP, signal.SIG_IGN)

# 42 MB that workers would otherwise each have, and a sixth of a second in which nothing else happens there.
load_encoding()

# Collecting garbage in a worker would otherwise touch, and so copy, every page that it shares with the template.
gc.collect()
gc.freeze()


def work(settings: Settings, listener: socket.socket, files: WorkerFiles | None, supervisor: Connection) -> None:
    """A worker, from its first moment to its last."""
    os.setpgid(0, 0)  # a Ctrl-C is for the main process, which tells the workers
    serve_worker(settings, listener, files=files, supervisor=supervisor)
