"""Commands that look and change nothing: ``check``, ``status``, ``plugins``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from agent import settings
from agent.cli.common import config_option, config_path, json_option, print_json, table

MARKS = {"ok": "ok  ", "info": "    ", "problem": "!!  "}


@click.command()
@config_option
@json_option
@click.option("--config-only", is_flag=True, help="do not look at ports, broker, disk and clock")
def check(config: Path | None, as_json: bool, config_only: bool) -> int:
    """Is agent.toml right, and is this machine as it says? Exit 1 when something is to do."""
    from agent import check

    findings = check.check(config_path(config), hardware=not config_only)
    problems = [finding for finding in findings if finding.level == "problem"]
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            subject = "" if finding.subject in ("config", "processes") else f"{finding.subject}: "
            click.echo(f"{MARKS[finding.level]}{subject}{finding.message}")
        click.echo(f"{len(problems)} to do" if problems else "Everything is right.")
    return 1 if problems else 0


@click.command()
@config_option
@json_option
def status(config: Path | None, as_json: bool) -> int:
    """Ledger, spool, plugin health and processes. Needs no hub. Exit 1 when nothing runs here."""
    from agent import status

    found = status.read(settings.load_good(config_path(config)).settings)
    if as_json:
        print_json(found)
    else:
        _print_status(found)
    return 0 if found["processes"] or found["source"] == "uplink" else 1


def _print_status(found: dict[str, Any]) -> None:
    source = {"uplink": f"as uplink said {found.get('age_s', 0):.0f} s ago", "spool": "from the spool's file, uplink "
              "does not answer"}.get(found["source"], "nothing was recorded yet")
    click.echo(f"{found['device']}: {source}")
    ledger = found.get("ledger")
    if isinstance(ledger, dict):
        dropped = sum(ledger.get("dropped", {}).values())
        produced, receipted, spooled, in_flight = (
            ledger.get(key, 0) for key in ("produced", "receipted", "spooled", "in_flight"))
        click.echo(f"  produced {produced} = receipted {receipted} + dropped {dropped} + spooled {spooled}"
                   f" + in flight {in_flight}   (epoch {ledger.get('epoch', '?')})")
    plugins = found.get("plugins")
    if isinstance(plugins, dict) and plugins:
        rows = [(name, item.get("state", "?"), item.get("errors", 0), item.get("reason", ""))
                if isinstance(item, dict) else (name, item, "", "") for name, item in plugins.items()]
        table(("PLUGIN", "HEALTH", "ERRORS", "REASON"), rows)
    rules = found.get("rules")
    if isinstance(rules, dict):
        click.echo(f"  rules: version {rules.get('version')} of the hub")
        table(("RULE", "STATE", "WHAT"), [
            *((name, "fires" if item["firing"] else ", ".join(item["standing"]) or "ok", item["text"] or item["title"])
              for name, item in rules.get("rules", {}).items()),
            *((name, "refused", line) for name, line in rules.get("refused", {}).items())])
    if found["processes"]:
        table(("PROCESS", "STATE", "PID", "UP s"),
              [(item["name"], item["state"], item["pid"] or "", item["up_s"]) for item in found["processes"]])
    else:
        click.echo("  no supervisord runs here: hutkeeper-agent run, or systemctl start hutkeeper-agent")


@click.command()
@click.argument("name", required=False)
@json_option
def plugins(name: str | None, as_json: bool) -> int:
    """List the installed plugins, or describe plugin NAME: its settings and its readings."""
    from agent import loader
    from agent.api import ConfigError
    from agent.cli.describe import describe, print_description

    installed = loader.found()
    if name is not None:
        description = describe(loader.load(name))
        if as_json:
            print_json(description)
        else:
            print_description(description)
        return 0
    found: list[dict[str, Any]] = []
    for entry in installed.values():
        row: dict[str, Any] = {"name": entry.name, "distribution": entry.distribution}
        try:
            row |= describe(loader.load_found(entry))
        except ConfigError as error:
            row["error"] = str(error)
        found.append(row)
    if as_json:
        print_json(found)
    else:
        table(("PLUGIN", "READINGS", "WHAT IT IS"),
              [(row["name"], len(row.get("readings", ())), row.get("error") or row.get("title", "")) for row in found])
    return 0
