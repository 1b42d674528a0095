"""A test that leaves a connection open fails; it does not hang."""

import asyncio
import socket
from pathlib import Path

import pytest

from tests.support.loops import TestLoop


def test_a_loop_closes_and_names_what_was_left_open(tmp_path: Path) -> None:
    loop = TestLoop()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        loop.run_until_complete(loop.create_unix_connection(asyncio.Protocol, str(tmp_path / "s")))

        with pytest.warns(ResourceWarning, match="unclosed resource <UnixTransport"):
            loop.close()

    assert loop.is_closed()


def test_a_loop_that_has_nothing_open_says_nothing() -> None:
    TestLoop().close()
