"""The command line: one module a command, put together here. A module is loaded when its command is asked for."""

from importlib import import_module
from typing import Final

import click

from proxy import __version__

#: Command -> the module that has it, under its own name.
_MODULES: Final = {
    "serve": "proxy.cli.serve",
    "check": "proxy.cli.check",
    "demo": "proxy.cli.demo",
    "keys": "proxy.cli.keys",
    "usage": "proxy.cli.usage",
    "trail": "proxy.cli.streams",
    "events": "proxy.cli.streams",
    "clients": "proxy.cli.clients",
}


class Commands(click.Group):
    """Loads a command's module when the command is asked for: most need no HTTP client, and start in half the time."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Their names, sorted."""
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command, or None when there is none of this name."""
        if cmd_name not in _MODULES:
            return None
        command: click.Command = getattr(import_module(_MODULES[cmd_name]), cmd_name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="poe-proxy")
def main() -> None:
    """One endpoint with OpenAI's and Anthropic's APIs in front of Poe. Settings come from the environment."""
