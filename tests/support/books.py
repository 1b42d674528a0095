"""A Redis with a month of books: hundreds of clients, thousands of keys, under the product's own names."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import redis

from proxy.ledger.row import BOUNDS_MS
from proxy.store.keyspace import KeySpace

CLIENTS: Final = 500
MODELS: Final = [f"Bot-{number}" for number in range(60)]
#: Models that one client uses in a day.
_MODELS_A_DAY: Final = 10
DAYS: Final = 31
_DAY_S: Final = 86_400
_METRICS: Final = (
    *("requests", "errors", "left", "prompt_tokens", "completion_tokens", "reasoning_tokens"),
    *("cached_tokens", "cache_write_tokens", "exact"),
    *("duration_ms", "first_texts", "first_text_ms", "error:upstream_error", "error:rate_limit_exceeded"),
    *(f"duration_le:{bound}" for bound in BOUNDS_MS),
    *(f"first_text_le:{bound}" for bound in BOUNDS_MS),
)
_OF_A_CLIENTS_MODEL: Final = _METRICS[:9]


def client_name(number: int) -> str:
    return f"client-{number}"


def write_books(client: Any, keys: KeySpace, *, clients: int = CLIENTS, key_ids: list[str] | None = None) -> None:
    """Writes a month up to today: one day in full, then copies of it, as quick as Redis copies.

    Args:
        client: a Redis client, in the test's own thread.
        keys: the names.
        clients: how many.
        key_ids: of the keys that were used; each is its own account.
    """
    key_ids = key_ids or [f"{number:012x}" for number in range(30)]
    today = datetime.now(UTC)
    template = f"{today - timedelta(days=1):%Y%m%d}"
    shown = random.Random(5)
    kept: dict[str, dict[str, int]] = {
        keys.usage(template, "client"): {
            f"{client_name(number)}|{metric}": shown.randint(1, 9999)
            for number in range(clients)
            for metric in _METRICS
        },
        keys.usage(template, "client_model"): {
            f"{client_name(number)}|{model}|{metric}": shown.randint(1, 9999)
            for number in range(clients)
            for model in shown.sample(MODELS, _MODELS_A_DAY)
            for metric in _OF_A_CLIENTS_MODEL
        },
        keys.usage(template, "model"): {f"{m}|{metric}": shown.randint(1, 9999) for m in MODELS for metric in _METRICS},
        keys.usage(template, "key"): {f"{k}|{metric}": shown.randint(1, 9999) for k in key_ids for metric in _METRICS},
        keys.usage(template, "all"): {metric: shown.randint(1, 9999) for metric in _METRICS},
        keys.points(template): {
            f"{k}|{m}": shown.randint(1, 99) for k in key_ids[:300] for m in shown.sample(MODELS, 5)
        },
    }
    with client.pipeline(transaction=False) as pipeline:
        pipeline.hset(keys.account_of, mapping={key_id: key_id for key_id in key_ids})
        pipeline.expire(keys.account_of, 400 * _DAY_S)
        for name, fields in kept.items():
            pairs = [part for pair in fields.items() for part in pair]
            for first in range(0, len(pairs), 4000):
                pipeline.execute_command("HSET", name, *pairs[first : first + 4000])
            pipeline.expire(name, 400 * _DAY_S)
        pipeline.execute()
        for day in range(DAYS):
            name_of_day = f"{today - timedelta(days=day):%Y%m%d}"
            for name in kept:
                if template in name and name_of_day != template:
                    pipeline.copy(name, name.replace(template, name_of_day))
                    pipeline.expire(name.replace(template, name_of_day), 400 * _DAY_S)
            pipeline.execute()


def announce_keys(client: Any, keys: KeySpace, key_ids: list[str]) -> None:
    """Leaves in Redis what instances with these keys, and some traffic, would have left."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    with client.pipeline(transaction=False) as pipeline:
        for turn, key_id in enumerate(key_ids):
            pipeline.zadd(keys.announced, {key_id: now_ms})
            pipeline.zadd(keys.ring, {key_id: turn})
            facts: dict[str, Any] = {"account": key_id, "answered": turn, "upstream_error": 3, "turn": turn}
            pipeline.hset(f"{keys.prefix}key:{key_id}", mapping=facts)
            pipeline.expire(f"{keys.prefix}key:{key_id}", 7 * _DAY_S)
            pipeline.hset(f"{keys.prefix}account:{key_id}", mapping={"points": turn, "points_at_ms": now_ms})
            pipeline.expire(f"{keys.prefix}account:{key_id}", 7 * _DAY_S)
            pipeline.lpush(f"{keys.prefix}minute:{key_id}", *[now_ms] * 5)
            pipeline.expire(f"{keys.prefix}minute:{key_id}", 61)
        pipeline.execute()


def bytes_sent(client: redis.Redis) -> int:
    """What the server has sent to all its clients so far."""
    info: Any = client.info("stats")
    return int(info["total_net_output_bytes"])
