"""``hutkeeper-hub ledger``: both sides of the books, and what was set aside."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from hub.cli.common import clean, config_option, json_option, print_json, settings_of, table, utc


@click.command()
@config_option
@json_option
@click.option("--device", help="only this device")
@click.option("--quarantine", is_flag=True, help="show the batches that were set aside instead")
@click.option("--events", is_flag=True, help="show what the hub noticed instead")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.option("--replay-future", is_flag=True, help="store batches of a newer version that can be read by now")
def ledger(config: Path | None, as_json: bool, device: str | None, quarantine: bool, events: bool, limit: int,
           replay_future: bool) -> None:
    """produced = stored + quarantined + dropped + spooled + in flight, per device and epoch, in samples."""
    from hub.store.reader import Reader

    settings = settings_of(config)
    if replay_future:
        _replay(settings.samples_db, as_json)
        return
    reader = Reader(settings.samples_db)
    if quarantine:
        held = reader.quarantine(limit, device)
        if as_json:
            print_json([msgspec.structs.asdict(row) | {"prefix": row.prefix.decode("ascii", "backslashreplace")}
                        for row in held])
            return
        table(("device", "code", "samples", "bytes", "times", "last seen", "reason", "begins with"), (
            (row.device, row.code, row.n, row.bytes, row.count, utc(row.last_us), clean(row.reason),
             clean(row.prefix[:40].decode("ascii", "backslashreplace"))) for row in held))
        return
    if events:
        noticed = reader.events(device, limit=limit)
        if as_json:
            print_json(noticed)
            return
        table(("last seen", "times", "device", "what"),
              ((utc(row.last_us), row.count, row.device, clean(row.text)) for row in noticed))
        return
    rows = reader.ledger(device)
    if as_json:
        print_json(rows)
        return
    table(("device", "epoch", "produced", "stored", "quarantined", "dropped", "spooled", "in flight", "difference",
           "duplicates", "last batch"),
          ((row.device, row.epoch, _told(row.produced), row.stored, row.quarantined,
            " ".join(f"{reason}:{n}" for reason, n in sorted(row.dropped.items())) or 0, _told(row.spooled),
            _told(row.in_flight), _told(row.difference), row.duplicates, utc(row.last_us)) for row in rows))


def _told(value: int | None) -> object:
    return "?" if value is None else value


def _replay(path: Path, as_json: bool) -> None:
    """Ingest does this at each start; by hand only while it does not run (it holds the lock)."""
    from hub.ingest.decode import records_of
    from hub.store import future
    from hub.store.writer import Writer

    with Writer(path) as writer:
        stored, waiting = future.replay(writer, records_of)
    if as_json:
        print_json({"stored": stored, "waiting": waiting})
    else:
        click.echo(f"{stored} batches stored, {waiting} wait for a newer hub")
