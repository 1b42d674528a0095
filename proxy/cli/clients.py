"""``python -m proxy clients``: hand out tokens with limits, look at their use, change and revoke them."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import click
from rich.markup import escape
from rich.table import Table

from proxy.cli.configuration import report, settings_or_exit
from proxy.cli.numbers import SecondsRange
from proxy.cli.shared_state import on_redis, print_json
from proxy.cli.tables import print_table, whole_column
from proxy.clients.admin import GRACE_S, MAX_LIMIT, ClientAdmin, ClientState
from proxy.clients.record import LIMIT_NAMES, ClientRecord, Token
from proxy.core.failures import InvalidRequest

_LIMIT = click.IntRange(0, MAX_LIMIT)
_LIMITS = (
    click.option("--requests-per-minute", type=_LIMIT, help="Requests in any minute; 0 = no limit."),
    click.option("--streams", type=_LIMIT, help="Requests under way at once; 0 = no limit."),
    click.option("--requests-per-day", type=_LIMIT, help="Requests a day (UTC); 0 = no limit."),
    click.option("--tokens-per-day", type=_LIMIT, help="Tokens a day (UTC); 0 = no limit."),
    click.option("--models", help="Bots it may use, comma list of glob patterns, any case."),
    click.option(
        "--expires", help="When the token ends: a date (2026-12-31, its end) or days from now (30d); 'never'."
    ),
)


def _with_limits(command: Any) -> Any:
    for option in reversed(_LIMITS):
        command = option(command)
    return command


@click.group()
def clients() -> None:
    """Make, look at, change and revoke the tokens of managed clients."""


@clients.command()
@click.argument("name")
@_with_limits
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create(name: str, *, as_json: bool, **given: Any) -> None:
    """Make a client called NAME and print its token, which is shown this once."""
    record, token = _run(lambda admin: admin.create(name, _fields(given)))
    _print_token(record.name, token, as_json=as_json)


@clients.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_clients(*, as_json: bool) -> None:
    """Every client: its limits and what it is using of them."""
    states = _run(lambda admin: admin.describe())
    if as_json:
        print_json([facts_of(state) for state in states])
    else:
        print_table(_table(states))


@clients.command()
@click.argument("name_or_id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name_or_id: str, *, as_json: bool) -> None:
    """Everything known of one client; nobody knows its secret."""
    state = _run(lambda admin: admin.find(name_or_id))
    if state is None:
        _unknown(name_or_id)
    if as_json:
        print_json(facts_of(state))
        return
    for name, value in facts_of(state).items():
        click.echo(f"{name:>20}  {value}")


@clients.command("set")
@click.argument("name_or_id")
@_with_limits
@click.option("--name", help="Another name.")
@click.option("--disable/--enable", "disabled", default=None, help="Refuse the token for now, or take it again.")
def set_fields(name_or_id: str, **given: Any) -> None:
    """Change a client; what is not named stays. Every worker goes by it within a second."""
    fields = _fields(given)
    if not fields:
        raise click.UsageError("name something to change")
    if _run(lambda admin: admin.change(name_or_id, fields)) is None:
        _unknown(name_or_id)
    click.echo(f"{name_or_id}: changed")


@clients.command()
@click.argument("name_or_id")
@click.option("--grace", type=SecondsRange(0, 31_536_000), default=GRACE_S, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rotate(name_or_id: str, *, grace: float, as_json: bool) -> None:
    """Print a new token for a client; the old one works for so many seconds more."""
    token = _run(lambda admin: admin.rotate(name_or_id, grace_s=grace))
    if token is None:
        _unknown(name_or_id)
    _print_token(name_or_id, token, as_json=as_json)


@clients.command()
@click.argument("name_or_id")
def revoke(name_or_id: str) -> None:
    """Remove a client: within a second its token is refused everywhere."""
    if not _run(lambda admin: admin.revoke(name_or_id)):
        _unknown(name_or_id)
    click.echo(f"{name_or_id}: revoked")


def facts_of(state: ClientState) -> dict[str, object]:
    """What may be seen of a client."""
    record = state.record
    return {
        "id": record.client_id,
        "name": record.name,
        "state": _state_of(record),
        "models": list(record.models),
        **{name: getattr(record.limits, name) for name in LIMIT_NAMES},
        "expires_at": _instant(record.expires_at_ms),
        "created_at": _instant(record.created_at_ms),
        "requests_in_minute": state.requests_in_minute,
        "under_way": state.under_way,
        "requests_today": state.requests_today,
        "tokens_today": state.tokens_today,
    }


def _run(do: Any) -> Any:
    """Runs something on the clients; exits with 1 when a field is wrong."""
    try:
        taken = [token.name for token in settings_or_exit().access_tokens]
        return on_redis(lambda store: do(ClientAdmin(store, taken=taken)))
    except InvalidRequest as error:
        report("Not possible:", [error.message])
        sys.exit(1)


def _fields(given: dict[str, Any]) -> dict[str, Any]:
    """Options as fields; those that were not given are left out."""
    fields = {name: value for name, value in given.items() if value is not None}
    if "models" in fields:
        fields["models"] = [glob.strip() for glob in fields["models"].split(",") if glob.strip()]
    if "expires" in fields:
        fields["expires_at_ms"] = _instant_ms(fields.pop("expires"))
    return fields


def _instant_ms(text: str) -> int:
    """When a token ends. Raises BadParameter, also for what is over: such a token would be dead at birth."""
    if text == "never":
        return 0
    now = datetime.now(UTC)
    try:
        if text.endswith("d"):
            at = now + timedelta(days=float(text[:-1]))
        else:
            at = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise click.BadParameter("'--expires' takes a date such as 2026-12-31, days such as 30d, or 'never'.") from None
    if at <= now:
        raise click.BadParameter(
            f"'--expires {text}' is over already; `clients set NAME --disable` refuses a token now."
        )
    return round(at.timestamp() * 1000)


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds") if at_ms else "never"


def _state_of(record: ClientRecord) -> str:
    if record.disabled:
        return "disabled"
    return "active" if record.is_usable(now_ms=round(datetime.now(UTC).timestamp() * 1000)) else "expired"


def _print_token(name: str, token: Token, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": token.client_id, "name": name, "token": token.text})
        return
    click.echo(token.text)
    click.echo(f"This is {name}'s token. It is shown this once; only a digest of it is kept.", err=True)


def _unknown(name_or_id: str) -> NoReturn:
    report("No such client:", [f"{name_or_id} (they are in `python -m proxy clients list`)"])
    sys.exit(1)


def _table(states: list[ClientState]) -> Table:
    table = Table(
        "client", whole_column("id"), "state", "models", "req/min", "at once", "req/day", "tokens/day", "expires"
    )
    for state in states:
        record, limits = state.record, state.record.limits
        table.add_row(
            escape(record.name),
            record.client_id,
            _state_of(record),
            escape(", ".join(record.models)),
            _of(state.requests_in_minute, limits.requests_per_minute),
            _of(state.under_way, limits.streams),
            _of(state.requests_today, limits.requests_per_day),
            _of(state.tokens_today, limits.tokens_per_day),
            _instant(record.expires_at_ms).partition("T")[0],
        )
    return table


def _of(used: int, limit: int) -> str:
    return f"{used:,} / {limit:,}" if limit else f"{used:,}"
