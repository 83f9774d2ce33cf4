"""The click group: a command's module is imported when the command is asked for."""

from __future__ import annotations

import importlib
import sys

import click

from agent.api import PluginError
from agent.cli import one_line
from agent.settings import SettingsError, near

COMMANDS = {
    "run": "agent.cli.operate",
    "check": "agent.cli.inspect",
    "status": "agent.cli.inspect",
    "plugins": "agent.cli.inspect",
    "replay": "agent.cli.develop",
    "new-plugin": "agent.cli.develop",
    "pair": "agent.cli.pairing",
    "install": "agent.cli.operate",
    "uninstall": "agent.cli.operate",
    "forget": "agent.cli.operate",
    "supervisor-conf": "agent.cli.operate",
    "plugin": "agent.cli.operate",
    "guard": "agent.cli.operate",
    "uplink": "agent.cli.operate",
    "rules": "agent.cli.operate",
    "watchdog": "agent.cli.operate",
}


class Lazy(click.Group):
    """Names are known, modules are not yet imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"no such command {args[0]!r}{near(args[0], list(COMMANDS))}")
        return super().resolve_command(ctx, args)


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hutkeeper")
def group() -> None:
    """The agent of one machine: its sensors and actuators, and the way of their samples to the hub."""


def run_group(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    try:
        result: object = group.main(args=arguments, prog_name="hutkeeper-agent", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except SettingsError as error:
        return _fail(str(error), 2)
    except PluginError as error:
        return _fail(str(error), 1)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "hutkeeper-agent"
        return _fail(f"{error.format_message()} (see {command} --help)", 2)
    except click.ClickException as error:
        return _fail(error.format_message(), 1)
    except click.exceptions.Exit as ended:
        return int(ended.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # the reader of our output is gone (`| head`): nothing is wrong
        sys.stderr.close()
        return 0


def _fail(text: str, code: int) -> int:
    click.echo(one_line(text), err=True)
    return code
