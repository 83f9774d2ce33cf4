"""``hutkeeper-hub export``: samples as CSV or JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from hub.cli.common import config_option, json_option, print_json, settings_of, table, utc


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """A day or a time in ISO 8601; UTC unless it says otherwise."""
    from hub.store.export import from_iso

    if value is None:
        return None
    try:
        return from_iso(value)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r} is not a time: write 2026-11-22 or 2026-11-22T03:04:05Z") from None


@click.command()
@config_option
@json_option
@click.option("--device", help="only this device")
@click.option("--series", "patterns", multiple=True, help="<node>/<property>, * and ? allowed; may be repeated")
@click.option("--start", callback=moment, help="first time, UTC unless it says otherwise")
@click.option("--end", callback=moment, help="first time that is no longer taken")
@click.option("--format", "kind", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False, writable=True), help="file (default: screen)")
@click.option("--list", "listing", is_flag=True, help="list the series instead")
def export(config: Path | None, as_json: bool, device: str | None, patterns: tuple[str, ...], start: int | None,
           end: int | None, kind: str, output: Path | None, listing: bool) -> None:
    """Samples of one, some or all series, in UTC, with their units and qualities."""
    from hub.store import export as out
    from hub.store.reader import Reader

    reader = Reader(settings_of(config).samples_db)
    if listing:
        found = reader.series(device)
        if as_json:
            print_json(found)
            return
        table(("device", "series", "unit", "samples", "newest", "value"), (
            (row.device, f"{row.node}/{row.property}", row.unit or "", row.samples, utc(row.t_us), row.value)
            for row in found))
        return
    rows = out.choose(reader, device, patterns)
    span = (start or 0, 1 << 62 if end is None else end)
    chunks: Iterator[bytes]
    if as_json or kind == "json":
        chunks = out.json_chunks(reader, rows, *span)
    else:
        chunks = (text.encode() for text in out.csv_lines(reader, rows, *span))
    if output is None:
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    scratch = output.with_name(f".{output.name}.part")
    try:
        with scratch.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        scratch.replace(output)
    except OSError as error:
        raise click.ClickException(f"{output}: {error}: choose another file") from None
    finally:
        scratch.unlink(missing_ok=True)
