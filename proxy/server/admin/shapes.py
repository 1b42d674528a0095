"""What operators see of keys, clients, requests and events, as JSON. Pure; no secret and no digest is in any."""

from dataclasses import asdict
from typing import Any

from proxy.clients.admin import ClientState
from proxy.clients.record import LIMIT_NAMES, ClientRecord
from proxy.keypool.admin import KeyState
from proxy.ledger.streams import StreamEntry
from proxy.outcomes import is_refusal


def key_json(state: KeyState) -> dict[str, Any]:
    """One key."""
    return {**asdict(state), "answered": state.answered, "failed": state.failed, "refused": state.refused}


def client_json(state: ClientState, *, now_ms: int) -> dict[str, Any]:
    """One managed client."""
    record = state.record
    return {
        "id": record.client_id,
        "name": record.name,
        "state": _client_state(record, now_ms),
        "models": list(record.models),
        **{name: getattr(record.limits, name) for name in LIMIT_NAMES},
        "expires_at_ms": record.expires_at_ms,
        "created_at_ms": record.created_at_ms,
        "old_token_until_ms": record.old_until_ms if record.old_until_ms > now_ms else 0,
        "requests_in_minute": state.requests_in_minute,
        "under_way": state.under_way,
        "requests_today": state.requests_today,
        "tokens_today": state.tokens_today,
    }


def stream_entry_json(entry: StreamEntry) -> dict[str, Any]:
    """One entry of the trail or of the events."""
    return {"id": entry.entry_id, "at_ms": entry.at_ms, **entry.facts}


def request_json(entry: StreamEntry) -> dict[str, Any]:
    """One request of the trail, with whether its caller brought its end about."""
    return {**stream_entry_json(entry), "refused": is_refusal(str(entry.facts.get("outcome", "")))}


def _client_state(record: ClientRecord, now_ms: int) -> str:
    if record.disabled:
        return "disabled"
    return "active" if record.is_usable(now_ms=now_ms) else "expired"
