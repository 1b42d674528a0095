"""aiohttp's failures in the transport's terms."""

import aiohttp
import pytest

from proxy.upstreams.transport.failures import ConnectionCut, TransportError
from proxy.upstreams.transport.sessions import failure_of


def all_subclasses(of: type[aiohttp.ClientError]) -> set[type[aiohttp.ClientError]]:
    return {of}.union(*(all_subclasses(one) for one in of.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(all_subclasses(aiohttp.ClientError), key=str))
def test_every_failure_of_the_http_library_has_a_name_of_ours(kind: type[aiohttp.ClientError]) -> None:
    """Only what happens on a connection that stood can have cut an answer."""
    error = failure_of(kind.__new__(kind))

    assert isinstance(error, TransportError)
    assert error.detail == kind.__name__
    assert not (isinstance(error, ConnectionCut) and issubclass(kind, aiohttp.ClientConnectorError))


@pytest.mark.parametrize("kind", [aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError])
def test_a_connection_that_breaks_is_a_cut_stream(kind: type[aiohttp.ClientError]) -> None:
    assert isinstance(failure_of(kind()), ConnectionCut)
