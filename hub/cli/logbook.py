"""``logbook`` and ``note``: the logbook from the command line."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import click

from hub.cli.common import clean, config_option, json_option, print_json, settings_of, table


@click.command()
@config_option
@click.option("--day", default="", help="a day of the house, 2026-11-25 (default: today)")
@click.option("--search", "words", default="", help="words that must stand in a line, over all days")
@click.option("--machine", default="", help="of this one only")
@click.option("--service", default="", help="of this one only")
@click.option("--severity", default="debug", show_default=True, help="at least: debug, info, warning, error, alarm")
@click.option("--limit", type=click.IntRange(1, 100_000), default=200, show_default=True)
@json_option
def logbook(config: Path | None, day: str, words: str, machine: str, service: str, severity: str, limit: int,
            as_json: bool) -> None:
    """What happened, newest first: starts, reboots, commands, alerts, warnings, notes."""
    from datetime import UTC, datetime

    from hub.logbook import days
    from hub.logbook.model import SEVERITIES
    from hub.store.alerts_db import AlertsReader
    from hub.store.logbook_rows import MAX_US, Query, find

    settings = settings_of(config)
    found = days.parse(day)
    if day and found is None:
        raise click.ClickException(f"--day {day}: write it as 2026-11-25")
    if severity not in SEVERITIES:
        raise click.ClickException(f"--severity {severity}: one of {', '.join(SEVERITIES)}")
    zone = _zone(settings)
    if found is None and not words:
        found = datetime.now(zone).date()
    start_us, end_us = days.span(found, zone) if found is not None else (0, MAX_US)
    reader = AlertsReader(settings.alerts_db)
    try:
        lines = find(reader, Query(start_us, end_us, words=words, machine=machine, service=service,
                                   severity=severity), limit)
    finally:
        reader.close()
    if as_json:
        print_json(lines)
        return
    table(("time", "severity", "machine", "service", "text"), (
        (f"{datetime.fromtimestamp(line.n / 1e6, UTC).astimezone(zone):%Y-%m-%d %H:%M:%S}", line.severity,
         clean(line.machine), clean(line.service),
         clean(line.text) + (f" ({line.count} times)" if line.count > 1 else "")
         + (f" by {clean(line.who)}" if line.who else "")) for line in lines))


@click.command()
@config_option
@click.option("--machine", default="", help="what it is about (default: the hub)")
@click.argument("text")
def note(config: Path | None, machine: str, text: str) -> None:
    """Write a note into the logbook."""
    from hub.notify.asks import Away, Refused, ask

    settings = settings_of(config)
    try:
        ask(settings.hub.run_dir, "note.add", {"text": text, "machine": machine}, who=f"{getpass.getuser()} (console)")
    except (Away, Refused) as error:
        raise click.ClickException(str(error)) from None


def _zone(settings: Any) -> Any:
    from zoneinfo import ZoneInfo

    from hub.web.zones import machine_zone

    name = settings.energy.timezone
    return ZoneInfo(name) if name else machine_zone()
