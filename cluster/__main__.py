"""``python -m cluster``: runs the cluster until Ctrl-C or SIGTERM, and says what it is."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Final

import click

from cluster.processes import MissingProgramError, NotStartedError
from cluster.running import running_cluster
from cluster.welcome import build_welcome
from proxy.cli.configuration import settings_or_exit
from proxy.settings import SECRET_NAMES, SETTING_NAMES
from proxy.store.embedded import EmbeddedError

#: What each instance has of its own, or has from the options below.
_NOT_SHARED: Final = {"HOST", "PORT", "WORKERS", "METRICS_PORT", "DATA_DIR"}


@click.command()
@click.option(
    "--port", default=10_000, show_default=True, help="Port to serve on, at 127.0.0.1.", type=click.IntRange(1, 65_535)
)
@click.option("--instances", default=3, show_default=True, help="How many instances.", type=click.IntRange(min=1))
@click.option("--workers", default=2, show_default=True, help="Workers of each.", type=click.IntRange(min=1))
@click.option("--home", default="data/cluster", show_default=True, help="For logs and Redis's file.", type=Path)
def main(port: int, instances: int, workers: int, home: Path) -> None:
    """Run several instances behind nginx on one Redis, as docker compose would, and print what to try.

    With POE_API_KEYS in the environment they use Poe itself, with all other settings that are there. Without, a local
    Poe that costs nothing.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        environment = {**_settings_in_environment(), "PORT": str(port)}
        asyncio.run(_run(home / str(port), instances, workers, environment))
    except (MissingProgramError, NotStartedError, EmbeddedError) as error:
        click.echo(f"The cluster cannot start: {error}", err=True)
        sys.exit(2)


def _settings_in_environment() -> dict[str, str]:
    """What an instance reads of our environment; nothing of it when there is no key, since a local Poe then plays."""
    if not any(os.environ.get(name) for name in ("POE_API_KEYS", "POE_API_KEYS_FILE", "POE_API_KEY")):
        return {}
    settings_or_exit()
    names = SETTING_NAMES | {f"{name}_FILE" for name in SECRET_NAMES}
    return {name: value for name, value in os.environ.items() if name.upper() in names - _NOT_SHARED and value}


async def _run(home: Path, instances: int, workers: int, environment: dict[str, str]) -> None:
    """Until the first signal. Later ones change nothing: the drain has its end."""
    running, asked = asyncio.current_task(), asyncio.Event()

    def end() -> None:
        if running is not None and not asked.is_set():
            asked.set()
            running.cancel()
            with contextlib.suppress(OSError):  # nobody may be reading any more
                click.echo("\nEnding: the instances finish their streams.")

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    try:
        async with running_cluster(home, instances=instances, workers=workers, **environment) as cluster:
            click.echo(build_welcome(cluster))
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            click.echo("Ended.")


if __name__ == "__main__":
    main(prog_name="python -m cluster")
