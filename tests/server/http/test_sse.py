"""The head of a stream costs fewer steps than Sanic takes and comes to the same; its end has all that waits."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sanic import HTTPResponse
from sanic.headers import format_http1_response

from proxy.core.deltas import Batch, ContentDelta, Finish
from proxy.dialects.openai_chat.response import ChunkWriter
from proxy.server.http.sse import EventStream, _Head

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


class Request:
    """As much of Sanic's request as a stream needs, whose client has read nothing before the answer ends."""

    version, stream = "1.1", None
    app = SimpleNamespace(ctx=SimpleNamespace(worker=SimpleNamespace(drain=SimpleNamespace(begun=False))))

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, bool]] = []

    async def respond(self, _head: HTTPResponse) -> Any:
        return self

    async def send(self, data: bytes, last: bool) -> None:
        self.sent.append((data, last))


async def test_a_large_batch_that_waits_behind_others_is_sent_to_its_end() -> None:
    """It is cut when it is sent, and what is cut off is sent before the end of the body."""
    request: Any = Request()
    writer = ChunkWriter(completion_id="c", created=1, model="Echo", include_usage=False)
    with EventStream(request, writer, hold_s=60, heartbeat_s=60) as stream:
        stream.write(Batch(0, [ContentDelta("begin ")]))
        stream.write(Batch(0, [ContentDelta("x" * 1_000_000), Finish("stop")]))
        await stream.end()

    chunks = [json.loads(line[6:]) for line in b"".join(data for data, _ in request.sent).splitlines() if line]
    said = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert said == "begin " + "x" * 1_000_000
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert [last for _, last in request.sent] == [False] * (len(request.sent) - 1) + [True]
