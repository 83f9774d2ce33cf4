"""Commands for whoever writes or debugs a plugin: ``replay`` and ``new-plugin``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("use")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="a key of the plugin's Config")
def replay(use: str, file: Path, assignments: tuple[str, ...]) -> int:
    """Feed a captured FILE through plugin USE on a virtual clock; one JSON object a line."""
    from agent.replay import main

    return main(use, file, list(assignments))


@click.command()
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), default=None, metavar="FOLDER",
              help="default: here")
def new_plugin(name: str, into: Path | None) -> int:
    """Write the smallest good plugin NAME: code, README, example, one transcript; its tests pass at once."""
    from agent.newplugin import main

    return main(name, into or Path.cwd())
