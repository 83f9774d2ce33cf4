"""``hutkeeper-hub messages``: what people were told, in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hub.cli.common import clean, config_option, json_option, print_json, settings_of, utc


@click.command()
@config_option
@json_option
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.option("--state", type=click.Choice(["sent", "ready", "sending", "given_up", "dropped"]), default="sent",
              show_default=True)
def messages(config: Path | None, as_json: bool, limit: int, state: str) -> None:
    """The messages that people got, oldest first; telephone numbers are shortened."""
    from hub.store import outbox_rows
    from hub.store.alerts_db import AlertsReader

    settings = settings_of(config)
    reader = AlertsReader(settings.alerts_db)
    try:
        found = outbox_rows.messages(reader, limit, state=state)
    finally:
        reader.close()
    if as_json:
        print_json([shown(one) for one in found])
        return
    for one in found:
        said = shown(one)
        way = f"{one.channel} {said['recipient']}".strip()
        again = f" (perhaps twice: {one.unsure} unsure)" if one.unsure else ""
        click.echo(f"{utc(one.ended_us or one.made_us)}  {way}  {one.kind}{again}")
        for line in (one.title, *one.text.splitlines()):
            if line:
                click.echo(f"    {clean(line)}")
        if one.ack:
            click.echo("    [with a way to acknowledge]")
        if one.error:
            click.echo(f"    {clean(one.error)}")


def shown(one: Any) -> dict[str, Any]:
    return {"t_us": one.ended_us or one.made_us, "channel": one.channel, "recipient": short(one.recipient),
            "kind": one.kind, "severity": one.severity, "n": one.n, "title": one.title, "text": one.text,
            "ack": one.ack, "state": one.state, "made_us": one.made_us, "tries": one.tries, "unsure": one.unsure,
            "error": one.error}


def short(number: str) -> str:
    """``+336...78``: enough to know one's own."""
    return f"{number[:4]}...{number[-2:]}" if len(number) > 7 else number
