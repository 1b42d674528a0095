"""``python -m proxy check``: is this configuration sound, does Redis work, and does Poe accept the keys?"""

import asyncio
import sys
from dataclasses import dataclass

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from proxy.cli.configuration import settings_or_exit
from proxy.cli.probe import PROMPT_TOKENS, REQUESTS, Finding, Prober
from proxy.cli.shared_state import open_reports
from proxy.core.failures import PoeError, StoreUnavailable
from proxy.credentials import PoeKey
from proxy.server.process.startup import outbound_of, warnings_of
from proxy.settings import Settings
from proxy.upstreams.poe.asking import Timeouts
from proxy.upstreams.poe_bot.client import PoeClient


@dataclass(frozen=True, slots=True)
class _KeyReport:
    key: PoeKey
    points: int | None
    problem: str


@click.command()
@click.option("--probe", is_flag=True, help="Ask Poe, for some points, what only a real key can tell about it.")
@click.option("--yes", is_flag=True, help="Do not ask before points are spent.")
def check(*, probe: bool, yes: bool) -> None:
    """Check the settings, Redis, and each Poe key (by its id): accepted or not, and its points. Spends none.

    With --probe it asks Poe what nobody could establish without a key: which models cache prompts over which API, who
    shares a cache, which limits there are. That takes some points of the first key's account.

    Exits with 2 when the settings cannot be used, with 1 when Redis does not work or refuses, or when Poe does not
    accept a key or cannot be asked.
    """
    settings = settings_or_exit()
    reports, (redis, redis_works) = asyncio.run(_ask_all(settings))
    console = Console()
    console.print("Settings: [green]ok[/green]")
    for warning in warnings_of(settings):
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}", soft_wrap=True, highlight=False)
    console.print(f"Outbound proxy: {outbound_of(settings)}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"Redis: {redis}", soft_wrap=True, highlight=False)
    if reports:
        console.print(_table(reports))
    else:
        console.print("No Poe keys: callers bring their own.")
    if not redis_works or any(report.problem for report in reports):
        sys.exit(1)
    if probe:
        _probe(settings, console, yes=yes)


def _probe(settings: Settings, console: Console, *, yes: bool) -> None:
    if not settings.poe_api_keys:
        raise click.UsageError("--probe needs a key: set POE_API_KEYS.")
    console.print(
        f"--probe makes up to {REQUESTS} requests, most of some {PROMPT_TOKENS:,} tokens, to the cheapest models that "
        "Poe serves over REST, with your keys.",
        soft_wrap=True,
    )
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("--probe spends points: add --yes, or run it in a terminal.")
        click.confirm("Go on?", abort=True)
    try:
        findings = asyncio.run(_ask_probing(settings))
    except PoeError as error:
        console.print(f"[red]Poe could not be asked:[/red] {escape(error.message)}", soft_wrap=True)
        sys.exit(1)
    for finding in findings:
        console.print(f"{finding.question}\n  {finding.answer}", markup=False, highlight=False, soft_wrap=True)
        if finding.advice:
            console.print(f"  -> {finding.advice}", markup=False, highlight=False, soft_wrap=True)


async def _ask_probing(settings: Settings) -> list[Finding]:
    timeouts = Timeouts(connect_s=settings.connect_timeout_s, first_event_s=120, idle_s=120, total_s=180)
    async with PoeClient(settings.poe_base_url, timeouts, settings.outbound) as poe:
        return await Prober(poe, settings.poe_api_keys).run()


async def _ask_all(settings: Settings) -> tuple[list[_KeyReport], tuple[str, bool]]:
    return await asyncio.gather(_ask_poe(settings), _ask_redis(settings))


async def _ask_redis(settings: Settings) -> tuple[str, bool]:
    """What to say of Redis, and whether it works."""
    if settings.redis_url == "embedded":
        return "embedded; `serve` starts it", True
    redis = open_reports(settings)
    try:
        return f"[green]ok[/green], {await redis.check() * 1000:.1f} ms away", True
    except StoreUnavailable as error:
        return f"[red]{escape(error.reason or str(error))}[/red]", False
    finally:
        await redis.close()


async def _ask_poe(settings: Settings) -> list[_KeyReport]:
    timeouts = Timeouts(connect_s=settings.connect_timeout_s, first_event_s=20, idle_s=20, total_s=20)
    async with PoeClient(settings.poe_base_url, timeouts, settings.outbound) as poe:
        return await asyncio.gather(*(_report(poe, key) for key in settings.poe_api_keys))


async def _report(poe: PoeClient, key: PoeKey) -> _KeyReport:
    try:
        return _KeyReport(key, await poe.fetch_balance(key.secret), "")
    except PoeError as error:
        return _KeyReport(key, None, error.message)


def _table(reports: list[_KeyReport]) -> Table:
    table = Table(Column("key", no_wrap=True), "account", "Poe says", Column("points", justify="right", no_wrap=True))
    for report in reports:
        verdict = f"[red]{escape(report.problem)}[/red]" if report.problem else "[green]accepted[/green]"
        points = "" if report.points is None else f"{report.points:,}"
        table.add_row(report.key.key_id, report.key.account_id, verdict, points)
    return table
