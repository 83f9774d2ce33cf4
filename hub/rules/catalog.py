"""Which rules there are: people's own, and the defaults that the declarations call for; one id, one rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from agent.rules.declared import Declared, of_reported
from agent.rules.defaults import defaults
from agent.rules.model import Rule, parse
from agent.settings import SettingsError
from agent.wire.messages import Reported
from hub.store.reader import SeriesRow
from hub.store.rules_rows import RuleRow

SYS = ("clock_quality",)
"""What of ``sys`` rules may watch: the agents publish it, and do not record it."""


class Entry(Struct, frozen=True):
    """One rule as it is kept."""

    id: str
    toml: str
    enabled: bool
    origin: str
    """``own``, ``default``, ``changed`` (a default under whose id somebody wrote another one)."""
    rule: Rule | None
    """None: its text is not a rule (any more)."""
    error: str = ""
    changed_us: int = 0
    who: str = ""


def catalog(rows: Iterable[RuleRow], declared: Iterable[Declared]) -> list[Entry]:
    """All of them, by id."""
    own = {row.id: row for row in rows}
    given = defaults(declared)
    found = []
    for id_ in sorted({*own, *given}):
        row = own.get(id_)
        text = row.toml if row is not None and row.toml is not None else given.get(id_)
        if text is None:
            continue  # a default that was switched off, of a plugin that is no more
        origin = "own" if id_ not in given else "changed" if row is not None and row.toml is not None else "default"
        rule, error = None, ""
        try:
            rule = parse(text, id_)
        except SettingsError as refused:
            error = str(refused)
        enabled = (row is None or row.enabled) and (rule is None or rule.enabled)
        if rule is not None and rule.enabled is not enabled:
            rule = replace(rule, enabled=enabled)
        found.append(Entry(id_, text, enabled, origin, rule, error, row.changed_us if row else 0,
                           row.who if row else ""))
    return found


def declarations(reported: Mapping[str, Reported | None], stored: Iterable[SeriesRow]) -> dict[tuple[str, str, str],
                                                                                                Declared]:
    """Series -> what is known of it: as its device declares it, else as it was stored."""
    found: dict[tuple[str, str, str], Declared] = {}
    for device, told in reported.items():
        if told is not None:
            found.update((one.key, one) for one in of_reported(device, told))
        for name in SYS:
            one = Declared(device, "sys", name, title="Clock", datatype="enum", diagnostic=True)
            found[one.key] = one
    for row in stored:
        one = of_row(row)
        if one.key not in found and reported.get(row.device) is None:
            found[one.key] = one
    return found


def of_row(row: SeriesRow) -> Declared:
    """A series that nobody declares now: it may have come by HTTP, or its device is not there."""
    return Declared(row.device, row.node, row.property.replace("-", "_"), row.title, row.unit or "", row.datatype or "",
                    row.device_class or "", (), row.is_counter(), row.event, row.max_age_s, diagnostic=row.diagnostic)
