"""The head of a stream is put on the wire in fewer steps than Sanic takes, and comes to the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sanic import HTTPResponse
from sanic.headers import format_http1_response

from proxy.server.http.sse import _Head

VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.integers()


@given(headers=st.dictionaries(st.sampled_from(["x-request-id", "x-why", "retry-after", "vary"]), VALUES))
def test_a_streams_head_is_sanics(headers: dict[str, str]) -> None:
    """Whatever stands in it; line ends above all, which would begin another header."""
    ours, sanics = (kind(headers=dict(headers), content_type="text/event-stream") for kind in (_Head, HTTPResponse))

    assert on_the_wire(ours) == on_the_wire(sanics)


def on_the_wire(head: HTTPResponse) -> list[bytes]:
    return sorted(format_http1_response(200, head.processed_headers).split(b"\r\n"))


@pytest.mark.parametrize("name", ["x-request-id", "x-why"])
def test_nobody_adds_a_header_to_a_streams_head(name: str) -> None:
    lines = on_the_wire(_Head(headers={name: "a\r\nset-cookie: b"}))

    assert not any(line.startswith(b"set-cookie") for line in lines)
    assert not any(b"\r" in line or b"\n" in line for line in lines)
