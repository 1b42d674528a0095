"""``python -m proxy keys``: look at the key pool and step in. Talks to Redis, beside running servers."""

import sys
from dataclasses import asdict
from typing import NoReturn

import click
from rich.table import Table

from proxy.cli.configuration import report
from proxy.cli.numbers import SecondsRange
from proxy.cli.shared_state import on_redis, print_json
from proxy.cli.tables import print_table, whole_column
from proxy.keypool.admin import Action, KeyAdmin, KeyState

_COLORS = {"ready": "green", "cooling": "yellow", "parked": "magenta", "retired": "red"}


@click.group()
def keys() -> None:
    """Look at the keys in the pool, cool, retire, restore or probe one."""


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(*, as_json: bool) -> None:
    """Every key: account, state and why, time left, requests under way and in the last minute, points, results."""
    states = _describe()
    if as_json:
        print_json([_facts(state) for state in states])
    else:
        print_table(_table(states))


@keys.command()
@click.argument("key_id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(key_id: str, *, as_json: bool) -> None:
    """Everything known of one key."""
    states = on_redis(lambda store: KeyAdmin(store).describe([key_id]))
    if not states:
        _unknown(key_id)
    facts = _facts(states[0])
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        click.echo(f"{name:>10}  {value}")


@keys.command()
@click.argument("key_id")
@click.option("--seconds", type=SecondsRange(0.001, 31_536_000), default=300, show_default=True)
def cool(key_id: str, seconds: float) -> None:
    """Let a key cool down for a while."""
    _move(key_id, "cool", cooldown_s=seconds)


@keys.command()
@click.argument("key_id")
def retire(key_id: str) -> None:
    """Take a key out until you restore it."""
    _move(key_id, "retire")


@keys.command()
@click.argument("key_id")
def restore(key_id: str) -> None:
    """End every cooldown, park or retirement of a key."""
    _move(key_id, "restore")


@keys.command()
@click.argument("key_id")
def probe(key_id: str) -> None:
    """Have a running server ask Poe for the key's points now; costs none."""
    _move(key_id, "probe")


def _move(key_id: str, action: Action, *, cooldown_s: float = 0.0) -> None:
    if not on_redis(lambda store: KeyAdmin(store).move(key_id, action, cooldown_s=cooldown_s)):
        _unknown(key_id)
    click.echo(f"{key_id}: {action}")


def _unknown(key_id: str) -> NoReturn:
    report("No such key:", [f"{key_id} (key ids are in `python -m proxy keys list`)"])
    sys.exit(1)


def _describe() -> list[KeyState]:
    return on_redis(lambda store: KeyAdmin(store).describe())


def _facts(state: KeyState) -> dict[str, object]:
    return {**asdict(state), "answered": state.answered, "failed": state.failed, "refused": state.refused}


def _table(states: list[KeyState]) -> Table:
    table = Table(
        whole_column("key"),
        "account",
        whole_column("state"),
        "why",
        "left",
        "in flight",
        "req/min",
        "points",
        "answered",
        "failed",
        "refused",
    )
    for state in states:
        why = f"{state.reason} ({state.basis})" if state.basis else state.reason
        table.add_row(
            state.key_id,
            state.account,
            f"[{_COLORS.get(state.state, 'white')}]{state.state}[/]",
            why,
            _left(state),
            str(state.in_flight),
            str(state.requests),
            "" if state.points is None else f"{state.points:,}",
            str(state.answered),
            str(state.failed),
            str(state.refused),
        )
    return table


def _left(state: KeyState) -> str:
    """How long the state lasts: a time, or until the next look at the balance."""
    if state.left_s:
        return f"{state.left_s:.0f} s"
    if state.state in ("parked", "retired") and state.probe_in_s is not None:
        return f"looked at in {state.probe_in_s:.0f} s"
    return "until restored" if state.state == "retired" else ""
