"""What is left to read on a connection."""

import socket

from proxy.server.process.listener import has_unread


def test_bytes_that_nobody_has_read_are_seen() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = has_unread(ours)
        theirs.sendall(b"GET ")

        assert (before, has_unread(ours)) == (False, True)

        ours.recv(4)

        assert not has_unread(ours)


def test_a_connection_that_is_closed_has_none() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b"GET ")
        ours.close()

        assert not has_unread(ours)
