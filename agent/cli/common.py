"""What the commands share: ``--config``, ``--json`` and plain tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from agent import settings

F = TypeVar("F", bound=Callable[..., Any])


def config_option(function: F) -> F:
    """``--config PATH``, handed to the command as ``config: Path | None``."""
    return click.option("--config", type=click.Path(path_type=Path), default=None, metavar="PATH",
                        help="default: ./agent.toml, else /etc/hutkeeper/agent.toml")(function)


def json_option(function: F) -> F:
    """``--json``, handed to the command as ``as_json: bool``."""
    return click.option("--json", "as_json", is_flag=True, help="print JSON")(function)


def config_path(config: Path | None) -> Path:
    """The agent.toml that a command works on, absolute."""
    return (config or settings.default_path()).absolute()


def print_json(value: Any) -> None:
    """Structs, dicts and lists as indented JSON."""
    click.echo(json.dumps(msgspec.to_builtins(value, enc_hook=str), indent=1, ensure_ascii=False))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A plain table, columns as wide as they need."""
    lines = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[n]) for line in [list(head), *lines]) for n in range(len(head))]
    for line in ([*head], *lines):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
