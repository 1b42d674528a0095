"""A Redis behind a pipe, plain or with TLS, for tests and show runs about distance."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.certificates import Certificate
from tests.support.tcp_pipe import TcpPipe, tcp_pipe

_ROOT: Final = Path(__file__).parents[2]
#: Says its port, and ends when its standard input closes.
_PIPE: Final = """
import sys
from tests.support.tcp_pipe import tcp_pipe

with tcp_pipe(sys.argv[1], round_trip_ms=float(sys.argv[2])) as pipe:
    print(pipe.port, flush=True)
    sys.stdin.read()
"""


class FarRedis(NamedTuple):
    """The pipe, and the URL by which Redis is used through it."""

    pipe: TcpPipe
    url: str


@contextlib.contextmanager
def far_redis(
    redis_url: str, *, certificate: Certificate | None = None, round_trip_ms: float = 0.0, jitter: float = 0.0
) -> Iterator[FarRedis]:
    """A way to the server at ``redis_url``; with a certificate one that speaks TLS, handshake and all delayed."""
    with contextlib.ExitStack() as stack:
        target, scheme, query = redis_url, "redis", ""
        if certificate is not None:
            speaks_tls = stack.enter_context(tcp_pipe(redis_url, tls=certificate.server_context()))
            target, scheme = speaks_tls.url("tcp"), "rediss"
            query = f"/0?ssl_ca_certs={certificate.certificate}"
        pipe = stack.enter_context(tcp_pipe(target, round_trip_ms=round_trip_ms, jitter=jitter))
        yield FarRedis(pipe, pipe.url(scheme) + query)


@contextlib.contextmanager
def redis_at_a_distance(redis_url: str, *, round_trip_ms: float) -> Iterator[str]:
    """A URL by which the server is so far away.

    The pipe is a process of its own: in a test's, which also asks and plays Poe, its answers come later than a worker
    waits for Redis. Without a distance there is none.
    """
    if not round_trip_ms:
        yield redis_url
        return
    command = [sys.executable, "-c", _PIPE, redis_url, str(round_trip_ms)]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as pipe:
        assert pipe.stdout is not None
        yield f"redis://127.0.0.1:{pipe.stdout.readline().strip()}"
        pipe.communicate()
