"""Devices and the machine itself: ``pair-code``, ``install``, ``uninstall``."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import click

from hub.cli.common import become_owner, config_option, json_option, print_json, settings_of


def page_url(settings: Any) -> str:
    """The address of the hub's page as a device would type it."""
    from agent.settings import is_loopback

    if settings.web.public_url:
        return str(settings.web.public_url).rstrip("/")
    if is_loopback(settings.web.host):
        scheme = "https" if settings.web.https else "http"
        return f"{scheme}://{settings.web.host}:{settings.web.port}"
    host = settings.web.host
    if host in ("0.0.0.0", "::"):
        host = f"{socket.gethostname().split('.')[0]}.local"
    return f"https://{host}:{settings.web.port}"


@click.command()
@click.option("--device", metavar="ID", default=None, help="only for the device of this id")
@click.option("--replace", is_flag=True, help="the id is paired already: its old certificate becomes void")
@config_option
@json_option
def pair_code(device: str | None, replace: bool, config: Path | None, as_json: bool) -> None:
    """Make a code with which one device gets its certificate: single use, 15 minutes, 5 tries."""
    from hub.pairing import PairingError, Registry

    settings = settings_of(config)
    become_owner(settings.hub.data_dir)
    try:
        issued = Registry(settings.hub.data_dir).new_code(device, replace=replace)
    except PairingError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or settings.hub.data_dir}: {error.strerror}: run it as the user of"
                                   " the hub, or with sudo") from None
    url = page_url(settings)
    command = f"sudo hutkeeper-agent pair {url} {issued.code}"
    if as_json:
        print_json({"code": issued.code, "expires_us": int(issued.expires_s * 1e6), "device": issued.device, "url": url,
                    "command": command})
        return
    until = time.strftime("%H:%M", time.localtime(issued.expires_s))
    click.echo(f"Code  {issued.code}   for {issued.device or 'one device'}, valid until {until}")
    click.echo(f"Type on the device:  {command}")


_root = click.option("--root", type=click.Path(path_type=Path, file_okay=False), default=Path("/"), metavar="DIR",
                     help="write below DIR instead of / and only show the commands (images, tests)")


@click.command()
@click.option("--name", default="Hutkeeper", help="the house's name, for a new hub.toml")
@_root
def install(root: Path, name: str) -> None:
    """As root: make the user, the folders, hub.toml and the systemd unit, and start the hub at every boot."""
    from hub import install as work

    try:
        work.install(root, click.echo, name)
    except (work.InstallError, OSError) as error:
        raise click.ClickException(str(error)) from None


@click.command()
@click.option("--purge", is_flag=True, help="also remove hub.toml and everything that was stored")
@_root
def uninstall(root: Path, purge: bool) -> None:
    """As root: remove what install made. hub.toml and the stored data stay, unless --purge."""
    from hub import install as work

    try:
        work.uninstall(root, click.echo, purge=purge)
    except (work.InstallError, OSError) as error:
        raise click.ClickException(str(error)) from None
