"""Hints for caching, in core's terms. Pure."""

from collections.abc import Mapping
from typing import Any

from proxy.core.chat_request import CacheTime


def cache_time(block: Mapping[str, Any]) -> CacheTime:
    """How long the prompt up to this block or tool is to be kept. A hint that makes no sense says nothing."""
    control = block.get("cache_control")
    if not isinstance(control, Mapping) or control.get("type") != "ephemeral":
        return ""
    return "1h" if control.get("ttl") == "1h" else "5m"
