"""The command line: one module a command, put together here."""

import click

from proxy import __version__
from proxy.cli.check import check
from proxy.cli.clients import clients
from proxy.cli.demo import demo
from proxy.cli.keys import keys
from proxy.cli.newest import events, trail
from proxy.cli.serve import serve
from proxy.cli.usage import usage


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="poe-proxy")
def main() -> None:
    """An OpenAI-compatible gateway in front of Poe. Settings come from the environment; see README.md."""


main.add_command(serve)
main.add_command(check)
main.add_command(demo)
main.add_command(keys)
main.add_command(usage)
main.add_command(trail)
main.add_command(events)
main.add_command(clients)
