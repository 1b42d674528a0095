"""Reads the settings for a command, and says what is wrong with them in the operator's words."""

import sys

import click

from proxy.settings import Settings, SettingsError, load_settings


def settings_or_exit() -> Settings:
    """The settings in the environment; on any problem names them all on standard error and exits with 2."""
    try:
        return load_settings()
    except SettingsError as error:
        report("The configuration cannot be used:", error.problems)
        sys.exit(2)


def report(headline: str, problems: list[str]) -> None:
    """A headline and one line a problem, on standard error."""
    click.echo(headline, err=True)
    for problem in problems:
        click.echo(f"  - {problem}", err=True)
