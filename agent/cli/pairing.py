"""``hutkeeper-agent pair``."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli.common import config_option, config_path, json_option, print_json


@click.command()
@click.argument("hub_url", metavar="HUB_URL")
@click.argument("code")
@click.option("--device", metavar="ID", default=None, help="this device's id, where agent.toml has none yet")
@config_option
@json_option
def pair(hub_url: str, code: str, device: str | None, config: Path | None, as_json: bool) -> None:
    """Get this device's certificate from the hub with the CODE that it shows.

    The key is made here; certificate, key and the hub's CA go to tls/ beside agent.toml, and [mqtt] gets what it
    lacks. HUB_URL is the hub's page, e.g. https://basecamp.local:8080."""
    from agent import pairing

    paired = pairing.pair(config_path(config), hub_url, code, device)
    if as_json:
        print_json(paired)
        return
    click.echo(f"{paired.device} is paired with {paired.hub}; key and certificates: {paired.files['key'].parent}")
    if paired.written:
        click.echo(f"agent.toml: [mqtt] {', '.join(paired.written)} added")
    for hint in paired.hints:
        click.echo(f"note: {hint}")
