"""Looking after the store: migrate, backup, restore, verify."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hub.cli.common import config_option, json_option, print_json, settings_of


@click.command()
@config_option
@json_option
def migrate(config: Path | None, as_json: bool) -> None:
    """Bring the database up to date (ingest does it at its start, too). A copy is kept beside it."""
    from hub.store import connect, schema

    path = settings_of(config).samples_db
    if path.exists():
        connect.refuse_newer(path)
    connection = connect.open_writer(path)
    try:
        done = schema.migrate(connection, path)
        have = schema.version(connection)
    finally:
        connection.close()
    if as_json:
        print_json({"schema": have, "migrations": done})
    else:
        click.echo(f"{path}: schema {have}, " + (f"ran {', '.join(done)}" if done else "nothing to do"))


@click.command()
@config_option
@json_option
@click.argument("target", required=False, type=click.Path(path_type=Path))
def backup(config: Path | None, as_json: bool, target: Path | None) -> None:
    """Copy samples, rules, alerts, logbook, users and keys into the folder TARGET while the hub runs; read it back.

    Without TARGET: <data_dir>/backups/<UTC time>."""
    from hub.store import backup as copies

    made, manifest = copies.backup(settings_of(config).hub.data_dir, target)
    if as_json:
        print_json({"path": str(made), "stored": manifest.stored, "generation": manifest.generation,
                    "upto": manifest.upto})
    else:
        click.echo(f"{made}: {manifest.stored} samples, read back and found good")


@click.command()
@config_option
@json_option
@click.option("--everything", is_flag=True, help="users and the hub's keys, too")
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
def restore(config: Path | None, as_json: bool, everything: bool, source: Path) -> None:
    """Put the backup SOURCE in place. The hub must be stopped; what was there is kept beside it.

    Devices send again what the backup lacks, as far as they still have it (24 h)."""
    from hub.store import backup as copies

    manifest, generation = copies.restore(source, settings_of(config).hub.data_dir, everything)
    if as_json:
        print_json({"stored": manifest.stored, "generation": generation})
    else:
        click.echo(f"restored {manifest.stored} samples; start the hub: it is generation {generation}, so devices "
                   "send again what is missing")


@click.command()
@config_option
@json_option
def verify(config: Path | None, as_json: bool) -> None:
    """Check the store: SQLite's integrity, ledger against samples, every roll-up against its samples."""
    from hub.store.reader import Reader
    from hub.store.verify import verify as check

    report = check(Reader(settings_of(config).samples_db))
    if as_json:
        print_json(report)
    else:
        for line in report.findings:
            click.echo(line, err=True)
        click.echo(f"{report.samples} samples in {report.series} series of {report.devices} devices, "
                   f"daily roll-ups of {report.days} series-days: "
                   + (f"{len(report.findings)} findings" if report.findings else "everything holds"))
    if report.findings:
        sys.exit(1)
