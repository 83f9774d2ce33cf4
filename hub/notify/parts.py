"""All parts of the notify process, in the order of their turn within a second."""

from __future__ import annotations

from hub.alerts.book import Book
from hub.alerts.devices import Devices, OfRule
from hub.alerts.hub_side import HubSide
from hub.logbook.gather import Gather
from hub.notify.notifier import Notifier
from hub.notify.part import Hall, Part
from hub.rules.keeper import Rules
from hub.watch.part import Watch


def make_parts(hall: Hall, book: Book) -> list[Part]:
    devices, rules = Devices(hall, book), Rules(hall)

    def of_rule(id_: str) -> OfRule | None:
        entry = rules.entry(id_)
        rule = entry.rule if entry is not None else None
        return OfRule(rule.severity, rule.kept, rule.do, rule.kind == "no_data") if rule is not None else None

    devices.of_rule = of_rule
    return [devices, HubSide(hall, devices), Watch(hall), rules, Gather(hall), Notifier(hall)]
