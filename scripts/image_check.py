"""``python -m scripts.image_check``: the part of scripts/image-check that needs an image already built."""

import sys
from pathlib import Path

import click

from scripts.image_archive import describe_sizes, find_problems, load_config, load_image
from scripts.image_run import TrialError, try_image


@click.group()
def main() -> None:
    """Look through an image, and try it."""


@main.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--base-layers", type=int, required=True, help="Layers of the base image.")
@click.option("--label", "labels", multiple=True, help="name=value that the build was given; may be repeated.")
def look(archive: Path, base_layers: int, labels: tuple[str, ...]) -> None:
    """Print the sizes of an image, and what is wrong with it."""
    image = load_image(archive, base_layers)
    for line in describe_sizes(image):
        _say("size", line)
    given = {name: value for name, _, value in (label.partition("=") for label in labels)}
    problems = list(find_problems(image, given))
    for problem in problems:
        _say("FAILED", problem)
    if problems:
        sys.exit(1)
    _say("ok", "user, command, health check, labels, files and their owners")


@main.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("root", type=click.Path(path_type=Path))
@click.argument("work", type=click.Path(path_type=Path))
def run(archive: Path, root: Path, work: Path) -> None:
    """Run an image whose files are at ROOT; WORK is for files of the trial."""
    try:
        for finding in try_image(load_config(archive), root, work):
            _say("ok", finding)
    except TrialError as problem:
        _say("FAILED", str(problem))
        sys.exit(1)


def _say(mark: str, words: str) -> None:
    click.echo(f"{mark:<8}{words}")


if __name__ == "__main__":
    main()
