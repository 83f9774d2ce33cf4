"""``hutkeeper-hub rules``: list, show, add, remove, dry-run."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import Any

import click

from hub.cli.common import config_option, json_option, print_json, settings_of, table


@click.group()
def rules() -> None:
    """What is watched, and what follows. Rules are written as TOML, one rule in a file."""


def _entries(settings: Any) -> list[Any]:
    """As the hub has them. Without the broker the store alone says which defaults there are."""
    from hub.rules.catalog import catalog, declarations
    from hub.store import rules_rows
    from hub.store.alerts_db import AlertsReader
    from hub.store.errors import StoreError
    from hub.store.reader import Reader

    reader, alerts = Reader(settings.samples_db), AlertsReader(settings.alerts_db)
    try:
        try:
            stored = reader.series()
        except StoreError:
            stored = []  # nothing is stored yet
        return catalog(rules_rows.rules(alerts), declarations({}, stored).values())
    finally:
        reader.close()
        alerts.close()


def _one(settings: Any, id_: str) -> Any:
    entries = _entries(settings)
    found = next((one for one in entries if one.id == id_), None)
    if found is None:
        from agent.settings import near

        raise click.ClickException(f"there is no rule {id_}{near(id_, [one.id for one in entries])}")
    return found


def _ask(settings: Any, name: str, **args: Any) -> Any:
    from hub.notify import asks

    try:
        return asks.ask(settings.hub.run_dir, name, args, who=f"{getpass.getuser()} (console)")
    except (asks.Refused, asks.Away) as error:
        raise click.ClickException(str(error)) from None


@rules.command("list")
@config_option
@json_option
def list_(config: Path | None, as_json: bool) -> None:
    """All rules, and how they stand."""
    from hub.store import rules_rows
    from hub.store.alerts_db import AlertsReader

    settings = settings_of(config)
    entries, alerts = _entries(settings), AlertsReader(settings.alerts_db)
    counts, last = rules_rows.counts(alerts), rules_rows.last_firings(alerts)
    alerts.close()
    found = [{"id": one.id, "kind": one.rule.kind if one.rule else "?", "where": one.rule.where if one.rule else "?",
              "origin": one.origin, "on": one.enabled, "standing": counts.get(one.id, {}),
              "last_us": last.get(one.id), "error": one.error} for one in entries]
    if as_json:
        print_json(found)
        return
    table(("rule", "kind", "where", "from", "on", "now", "last fired (UTC)"), (
        (one["id"], one["kind"], one["where"], one["origin"], "yes" if one["on"] else "no",
         one["error"] or ", ".join(f"{n} {word}" for word, n in sorted(one["standing"].items())) or "-",
         time.strftime("%Y-%m-%d %H:%M", time.gmtime(one["last_us"] / 1e6)) if one["last_us"] else "-")
        for one in found))


@rules.command()
@click.argument("rule_id")
@config_option
@json_option
def show(rule_id: str, config: Path | None, as_json: bool) -> None:
    """A rule's text, how it stands and when it fired last."""
    from hub.store import rules_rows
    from hub.store.alerts_db import AlertsReader

    settings = settings_of(config)
    entry, alerts = _one(settings, rule_id), AlertsReader(settings.alerts_db)
    states, firings = rules_rows.states(alerts, rule_id), rules_rows.firings(alerts, rule_id, 10)
    orders = rules_rows.orders(alerts, rule_id, 10)
    alerts.close()
    if as_json:
        print_json({"id": entry.id, "toml": entry.toml, "on": entry.enabled, "origin": entry.origin,
                    "error": entry.error, "states": states, "firings": firings, "orders": orders})
        return
    click.echo(entry.toml)
    for state in states:
        click.echo(f"# {state.standing}: {state.text}")
    for firing in firings:
        click.echo(f"# fired {time.strftime('%Y-%m-%d %H:%M', time.gmtime(firing.from_us / 1e6))} UTC: {firing.text}")


@rules.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@config_option
@json_option
def add(file: Path, config: Path | None, as_json: bool) -> None:
    """Keep the rule in FILE; one with the same id is replaced."""
    text, _ = _read(file)
    done = _ask(settings_of(config), "rule.put", toml=text)
    if as_json:
        print_json(done)
        return
    click.echo(f"the rule {done['id']} is kept" + (f": {done['note']}" if done["note"] else ""))


@rules.command()
@click.argument("rule_id")
@config_option
@json_option
def remove(rule_id: str, config: Path | None, as_json: bool) -> None:
    """Forget a rule; under a default's id the default is back."""
    done = _ask(settings_of(config), "rule.remove", id=rule_id)
    if as_json:
        print_json(done)
        return
    click.echo(f"{rule_id} is the default again (to switch it off: the page of rules)" if done["default"]
               else f"the rule {rule_id} is removed")


@rules.command("dry-run")
@click.argument("file_or_id")
@click.option("--days", type=click.FloatRange(0.01, 366), default=30.0, show_default=True, help="how far back")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=120.0, show_default=True, help="at most this long")
@config_option
@json_option
def dry_run(file_or_id: str, days: float, seconds: float, config: Path | None, as_json: bool) -> None:
    """When a rule would have fired over what is stored. Changes nothing."""
    from hub.rules import dry
    from hub.rules.catalog import declarations
    from hub.rules.zones import house_zone
    from hub.store.reader import Reader

    settings = settings_of(config)
    if Path(file_or_id).is_file():
        _, rule = _read(Path(file_or_id))
    else:
        entry = _one(settings, file_or_id)
        if entry.rule is None:
            raise click.ClickException(entry.error)
        rule = entry.rule
    reader = Reader(settings.samples_db)
    rows = reader.series()
    done = dry.run(reader, rule, declarations({}, rows).values(), rows, house_zone(settings),
                   now_us=time.time_ns() // 1000, days=days, seconds=seconds)
    reader.close()
    if as_json:
        print_json(done)
        return
    click.echo(f"{rule.id} {done.text}")
    click.echo(f"({done.samples} samples{', ' + done.note if done.note else ''}"
               f"{', the time was over before all was seen: --seconds' if done.cut else ''})")
    for one in done.firings:
        end = time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.to_us / 1e6)) if one.to_us else "still"
        click.echo(f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime(one.from_us / 1e6))} - {end} UTC  {one.text}")


def _read(file: Path) -> tuple[str, Any]:
    """The text of a rule and the rule. Raises SettingsError."""
    from agent.rules.model import parse
    from agent.settings import SettingsError

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from None
    return text, parse(text, file.name)
