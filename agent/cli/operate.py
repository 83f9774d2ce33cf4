"""Commands that start, stop and install: ``run``, ``supervisor-conf``, ``install``, ``uninstall``, ``forget``."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli.common import config_option, config_path, json_option, print_json


@click.command()
@config_option
def run(config: Path | None) -> int:
    """Run everything of this device in the foreground, until Ctrl-C."""
    from agent.supervision.foreground import Foreground

    return Foreground(config_path(config), lambda line: click.echo(line, err=False)).run()


@click.command()
@config_option
@click.option("--write", is_flag=True, help="write it into the run directory and print its path")
def supervisor_conf(config: Path | None, write: bool) -> int:
    """Print supervisord's file as rendered from agent.toml. Exit 1: agent.toml is refused, the last good one counts."""
    from agent.supervision import conf, prepare

    path = config_path(config)
    if write:
        prepared, written = prepare.prepare_and_write(path)
        click.echo(written)
    else:
        prepared = prepare.prepare(path)
        click.echo(conf.render(prepared.settings, prepared.plan), nl=False)
    for problem in prepared.problems:
        click.echo(problem, err=True)
    return 1 if prepared.problems else 0


def _root_option(function: click.decorators.FC) -> click.decorators.FC:
    return click.option("--root", type=click.Path(path_type=Path, file_okay=False), default=Path("/"), metavar="DIR",
                        help="install below DIR instead of / (images, tests): commands are shown and not run"
                        )(function)


@click.command()
@config_option
@_root_option
def install(config: Path | None, root: Path) -> int:
    """As root: make the user, the directories and the systemd unit, and start the agent at every boot."""
    from agent.supervision.install import install

    return install(config, root, click.echo)


@click.command()
@_root_option
@click.option("--purge", is_flag=True, help="also remove agent.toml and everything that was recorded")
def uninstall(root: Path, purge: bool) -> int:
    """As root: remove what install made, and this device from its broker. agent.toml and the recorded data stay,
    unless --purge."""
    from agent.supervision.install import uninstall

    return uninstall(root, click.echo, purge=purge)


@click.command()
@config_option
@json_option
def forget(config: Path | None, as_json: bool) -> None:
    """Take this device off its broker: its Homie tree and its entities in Home Assistant.

    For a device that is taken out of service, while its agent is stopped. What the hub has recorded stays there."""
    from agent import settings
    from agent.uplink.forget import forget

    gone = forget(settings.load(config_path(config)))
    if as_json:
        print_json(gone)
        return
    for topic in gone.cleared:
        click.echo(f"cleared {topic}")
    click.echo(f"{gone.device}: {len(gone.cleared)} retained topics cleared on {gone.broker}")


def _service(name: str, words: str, text: str) -> click.Command:
    """Help only: agent.cli.services starts these before click is imported."""
    command = click.Command(name, help=text, callback=lambda **_: None,
                            params=[click.Option(["--config"], help="default: ./agent.toml, else /etc/hutkeeper/...")])
    if words:
        command.params.insert(0, click.Argument([words.lower()], nargs=-1, required=True))
    return command


plugin = _service("plugin", "ID", "One process with the plugin instance ID of agent.toml (started by supervisord).")
guard = _service("guard", "ID", "The process that holds the relay of instance ID (started by supervisord).")
uplink = _service("uplink", "", "The process that holds bus, spool and MQTT link (started by supervisord).")
rules = _service("rules", "", "The process that evaluates the rules of this device (started while it has some).")
watchdog = _service("watchdog", "", "supervisord's event listener that restarts what hangs or loops.")
