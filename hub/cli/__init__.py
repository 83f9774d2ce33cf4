"""``hutkeeper-hub``: one module per family of commands, imported only when its command runs.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration; each failure is one line on stderr.
"""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

import click

from agent.settings import SettingsError

COMMANDS = {
    "run": "hub.cli.parts",
    "logbook": "hub.cli.logbook",
    "note": "hub.cli.logbook",
    "broker": "hub.cli.parts",
    "ingest": "hub.cli.parts",
    "notify": "hub.cli.parts",
    "mirror": "hub.cli.parts",
    "web": "hub.cli.parts",
    "supervisor-conf": "hub.cli.parts",
    "migrate": "hub.cli.care",
    "backup": "hub.cli.care",
    "restore": "hub.cli.care",
    "verify": "hub.cli.care",
    "ledger": "hub.cli.ledger",
    "export": "hub.cli.export",
    "energy": "hub.cli.energy",
    "messages": "hub.cli.messages",
    "rules": "hub.cli.rules",
    "user": "hub.cli.people",
    "token": "hub.cli.people",
    "pair-code": "hub.cli.house",
    "install": "hub.cli.house",
    "uninstall": "hub.cli.house",
}


class Lazy(click.Group):
    """A group that imports the module of a command when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from agent.settings import near

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"no such command {args[0]!r}{near(args[0], list(COMMANDS))}")
        return super().resolve_command(ctx, args)


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hutkeeper")
def group() -> None:
    """The hub of a house: keeps what the devices report, and shows it."""


def main() -> None:
    """The entry point: our own errors become one line and an exit code."""
    from hub.store.errors import StoreError

    try:
        group(prog_name="hutkeeper-hub", standalone_mode=False)
    except SettingsError as error:
        fail(str(error), 2)
    except StoreError as error:
        fail(str(error), 1)
    except click.ClickException as error:
        if not isinstance(error, click.UsageError):
            fail(error.format_message(), 1)
        if type(error).__name__ == "NoArgsIsHelpError":  # click >= 8.2: the message is the whole help
            click.echo(error.format_message(), err=True)
            sys.exit(2)
        where = f" ({error.ctx.command_path} --help)" if error.ctx is not None else ""
        fail(f"{error.format_message()}{where}", 2)
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.exit(130)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone (`| head`): nothing is wrong
        sys.exit(0)


def fail(text: str, code: int) -> NoReturn:
    """One line on stderr, and out."""
    click.echo(" ".join(text.splitlines()), err=True)
    sys.exit(code)
