"""What the commands share: ``--config``, ``--json`` and tables."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

F = TypeVar("F", bound=Callable[..., Any])


def config_option(function: F) -> F:
    """``--config PATH``, handed to the command as ``config: Path | None``."""
    return click.option("--config", type=click.Path(path_type=Path, dir_okay=False), default=None,
                        help="hub.toml (default: ./hub.toml, else /etc/hutkeeper/hub.toml)")(function)


def json_option(function: F) -> F:
    """``--json``, handed to the command as ``as_json: bool``."""
    return click.option("--json", "as_json", is_flag=True, help="print JSON")(function)


def settings_of(config: Path | None) -> Any:
    """The settings a command runs with; a missing default file is the default hub."""
    from hub import settings

    return settings.load(config or settings.default_path())


def become_owner(folder: Path) -> None:
    """As root, go on as the owner of the hub's data: what we write there must stay readable for the hub."""
    if os.geteuid() != 0 or not folder.exists():
        return
    status = folder.stat()
    if status.st_uid != 0:
        os.setgroups([])
        os.setgid(status.st_gid)
        os.setuid(status.st_uid)


def print_json(value: Any) -> None:
    """Structs, dicts and lists as indented JSON."""
    click.echo(json.dumps(msgspec.to_builtins(value, order="deterministic"), indent=1, ensure_ascii=False))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A plain table; numbers to the right."""
    lines = [[str(cell) for cell in row] for row in rows]
    width = [max(len(head[n]), *(len(line[n]) for line in lines)) if lines else len(head[n]) for n in range(len(head))]
    click.echo("  ".join(name.ljust(width[n]) for n, name in enumerate(head)).rstrip())
    for line in lines:
        cells = [cell.rjust(width[n]) if _number(cell) else cell.ljust(width[n]) for n, cell in enumerate(line)]
        click.echo("  ".join(cells).rstrip())


def _number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()


def clean(text: str) -> str:
    """Text from the network on a terminal: control characters are shown, not obeyed."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def utc(t_us: int | None) -> str:
    """ISO 8601 in UTC to the second, or a dash."""
    from datetime import UTC, datetime

    return "-" if not t_us else f"{datetime.fromtimestamp(t_us / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"
