"""What a client sees of a stream, to its last byte: a raw reader, where an SDK would stop early or try again."""

import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx


@dataclass
class Seen:
    """One answer as it arrived. ``cut`` says that the connection broke before HTTP's own end of the body."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    cut: bool = False

    @property
    def text(self) -> str:
        """All content deltas, joined."""
        return "".join(
            choice["delta"].get("content") or "" for chunk in self._chunks() for choice in chunk.get("choices", [])
        )

    @property
    def is_whole(self) -> bool:
        """Whether it ended as a complete answer does."""
        return self.status == 200 and not self.cut and self.events[-1:] == ["[DONE]"] and self.error is None

    @property
    def error(self) -> dict[str, Any] | None:
        """The error event it ended with."""
        chunks = self._chunks()
        return chunks[-1].get("error") if chunks else None

    def _chunks(self) -> list[dict[str, Any]]:
        return [json.loads(event) for event in self.events if event != "[DONE]"]


async def read_stream(response: aiohttp.ClientResponse) -> Seen:
    """Reads the answer to its end, however that comes."""
    seen = Seen(response.status, {name.lower(): value for name, value in response.headers.items()})
    try:
        async for line in response.content:
            if line.startswith(b"data: "):
                seen.events.append(line.removeprefix(b"data: ").strip().decode())
    except aiohttp.ClientError:
        seen.cut = True
    return seen


async def post(client: httpx.AsyncClient, body: dict[str, Any]) -> tuple[httpx.Response, bool]:
    """A chat's answer as far as it came, and whether it broke off before HTTP's own end of the body."""
    read, breaks_off = b"", False
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        try:
            async for piece in response.aiter_bytes():
                read += piece
        except httpx.RemoteProtocolError:
            breaks_off = True
    return httpx.Response(response.status_code, headers=response.headers, content=read), breaks_off
