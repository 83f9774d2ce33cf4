"""The hub's processes: one by one, or all of them in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from hub.cli.common import config_option, settings_of


@click.command()
@config_option
def run(config: Path | None) -> None:
    """Run the whole hub in the foreground: broker (when embedded), ingest, notify, web. Ctrl-C ends all of it."""
    from hub import supervision

    supervision.run(settings_of(config))


@click.command()
@config_option
def broker(config: Path | None) -> None:
    """Run the embedded broker in the foreground."""
    import hub.broker

    hub.broker.main(settings_of(config))


@click.command()
@config_option
def ingest(config: Path | None) -> None:
    """Run the store's writer in the foreground: takes records, sends receipts."""
    import hub.ingest

    hub.ingest.main(settings_of(config))


@click.command()
@config_option
def notify(config: Path | None) -> None:
    """Run rules, alerts, logbook and messages in the foreground."""
    import hub.notify

    hub.notify.main(settings_of(config))


@click.command()
@config_option
def mirror(config: Path | None) -> None:
    """Run the Homie 4 mirror in the foreground ([mirror] homie4 = true makes `run` start it)."""
    import hub.mirror

    hub.mirror.main(settings_of(config))


@click.command()
@config_option
def web(config: Path | None) -> None:
    """Run the pages in the foreground."""
    import hub.web

    hub.web.main(settings_of(config))


@click.command("supervisor-conf")
@config_option
def supervisor_conf(config: Path | None) -> None:
    """Print the supervisord configuration that `run` and the system service use."""
    from hub import supervision

    click.echo(supervision.render(settings_of(config)), nl=False)
