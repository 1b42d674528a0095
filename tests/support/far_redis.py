"""A Redis behind a pipe, plain or with TLS, for tests and show runs about distance."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.certificates import Certificate
from tests.support.tcp_pipe import TcpPipe, tcp_pipe


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
