"""``hutkeeper-hub energy``: kWh, cost and standby of a meter by day or month."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from hub.cli.common import config_option, json_option, print_json, settings_of, table

DAY = click.DateTime(["%Y-%m-%d"])


@click.command()
@config_option
@json_option
@click.option("--device", help="the device; may be left out where only one has a meter")
@click.option("--node", help="the meter; may be left out where the device has one")
@click.option("--start", type=DAY, help="first day (default: a month ago, or a year by month)")
@click.option("--end", type=DAY, help="first day no longer taken (default: tomorrow)")
@click.option("--per", type=click.Choice(["day", "month"]), default="day", show_default=True)
@click.option("--csv", "as_csv", is_flag=True, help="print CSV")
def energy(config: Path | None, as_json: bool, device: str | None, node: str | None, start: datetime | None,
           end: datetime | None, per: str, as_csv: bool) -> None:
    """kWh, cost and standby of one meter. Prices: [energy] in hub.toml."""
    import time

    from hub.energy import bill as bills
    from hub.energy import report as reports
    from hub.store.reader import Reader

    settings = settings_of(config)
    reader = Reader(settings.samples_db)
    found = [one for one in reports.meters(reader, device) if node is None or one[1] == node]
    if len(found) != 1:
        names = ", ".join(f"--device {one} --node {two}" for one, two in found) or "no meter has counted energy yet"
        raise click.UsageError(f"which meter? {names}" if found else names)
    kind: bills.Per = "month" if per == "month" else "day"
    first, behind = bills.last(kind, settings.energy.day_of(time.time_ns() // 1000))
    try:
        bill = reports.report(reader, settings.energy, *found[0], start.date() if start else first,
                              end.date() if end else behind, kind)
    except reports.BadDays as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        print_json(bill)
        return
    if as_csv:
        for line in bills.csv_lines(bill):
            click.echo(line, nl=False)
        return

    def text(value: float | None, places: int = 2) -> str:
        return "-" if value is None else f"{value:.{places}f}"

    table(("start", "used kWh", "fed in kWh", f"cost {bill.currency}", f"standby {bill.standby_unit}"), (
        (row.start if row is not bill.total else "total", text(row.import_kwh), text(row.export_kwh), text(row.cost),
         text(row.standby, 0)) for row in (*bill.rows, bill.total)))
    if bill.priced_from:
        click.echo(f"no price before {bill.priced_from}: those days, and the sum, have no cost", err=True)
    if bill.unpriced:
        click.echo(f"no price for {', '.join(bill.unpriced)}: add it to [energy] in hub.toml", err=True)
