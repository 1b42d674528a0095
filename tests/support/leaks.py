"""No key of ours may be left in Redis without an end, but those that docs/redis.md says are kept or capped."""

import re
from pathlib import Path
from typing import Any, Final

import redis

_PAGE: Final = (Path(__file__).parents[2] / "docs" / "redis.md").read_text(encoding="utf-8")
#: (pattern of the name, type, how long it is kept) of each row of the page.
ROWS: Final = re.findall(r"^\| `([^`]+)` \| ([a-z ]+) \| .* \| ([^|]+) \|$", _PAGE, re.MULTILINE)
_ENDLESS: Final = re.compile(
    "|".join(
        re.sub(r"<[^>]+>", ".+", pattern) for pattern, _, kept in ROWS if kept.startswith(("for ever", "the newest"))
    )
)
_OURS: Final = re.compile(r"[^:]+:\d+:\{pool\}:(.+)", re.DOTALL)


def leaked(client: Any, pattern: str = "*") -> list[str]:
    """Names of ours, among those like ``pattern``, that would stay in this Redis for ever and should not."""
    names = client.keys(pattern)
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.pttl(name)
        ends = pipeline.execute()
    endless = [
        match[1] for name, end in zip(names, ends, strict=True) if end == -1 and (match := _OURS.fullmatch(name))
    ]
    return sorted(name for name in endless if not _ENDLESS.fullmatch(name))


def refuse_leaks(client: Any, pattern: str = "*") -> None:
    """Fails the test when there are any. A server that does not answer is none of this check's business."""
    try:
        names = leaked(client, pattern)
    except redis.RedisError:
        return
    assert not names, f"keys are left in Redis without an end: {names}; see docs/redis.md"
