"""What the live tree says is wrong, as conditions: devices, plugins, ``$alert``, mains and internet.

In the words of the fleet page (``hub.fleet.answers``). A device is looked at again when something of it changed or a
time has come, so that a thousand quiet ones cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, cast

from msgspec import Struct
from msgspec.structs import replace

from agent.wire.faults import Severity
from hub.alerts import graph
from hub.alerts.book import Book
from hub.alerts.graph import device_of
from hub.alerts.model import Condition
from hub.fleet import answers
from hub.fleet.answers import Problem
from hub.fleet.causes import house_of
from hub.fleet.facts import AHEAD_US, LINES, DeviceFacts, facts
from hub.live import LiveDevice
from hub.notify.part import Hall, Part
from hub.store.errors import StoreError
from hub.web.texts import Texts

AGAIN_US = 5_000_000
"""Values alone change what is wrong at most so often; they come every second."""
SOURCES = ("lost:", "silent:", "unknown:", "starting:", "ahead:", "unsynced:", "backlog:", "ledger:", "alert:",
           "plugin:", "mains:", "internet:")
"""Keys of the conditions that come from the tree."""
HEARD = ("silent:", "ahead:", "unsynced:", "backlog:", "ledger:", "alert:", "plugin:", "mains:", "internet:")
"""Those that only the device itself can end."""


class OfRule(NamedTuple):
    """What a rule says of its alert; on the wire of a device there is only its sentence."""

    severity: Severity
    kept: str = ""
    do: str = ""
    of_absence: bool = False


class _Seen(Struct):
    device: LiveDevice
    facts: DeviceFacts
    difference: int
    conditions: list[Condition]
    looked_us: int
    due_us: int
    """When time alone may change something."""


class Devices(Part):
    def __init__(self, hall: Hall, book: Book) -> None:
        super().__init__(hall)
        self.of_rule: Callable[[str], OfRule | None] = lambda rule: None
        """Of a rule that a device evaluates, by its id; None: unknown here."""
        self.differences: Mapping[str, int] = {}
        """Ledger difference by device; :class:`hub.alerts.hub_side.HubSide` keeps it."""
        self.known: Mapping[str, DeviceFacts] = {}
        """Devices that the history knows and the tree may not; from there too."""
        self._book = book
        self._texts = Texts()
        self._seen: dict[str, _Seen] = {}
        self._first_us: dict[str, int] = {}
        self._house: object = None
        book.blind["devices"] = self._blind

    @property
    def seeing(self) -> bool:
        """The tree is whole and the broker there."""
        return self.hall.client.connected[0] and self.hall.tree.whole

    def jumped(self, by_us: int, now_us: int) -> None:
        self._first_us = {key: first_us + by_us for key, first_us in self._first_us.items()}
        for seen in self._seen.values():
            seen.due_us = now_us

    def conditions(self, now_us: int) -> Iterable[Condition]:
        if not self.seeing:
            # no news is not bad news: what was wrong stays so (blind), nothing new is made up
            return [one for seen in self._seen.values() for one in seen.conditions]
        devices = self.hall.tree.devices()
        changed = False
        found: list[Condition] = []
        for device in devices:
            seen = self._seen.get(device.id)
            difference = self.differences.get(device.id, 0)
            if seen is None or self._is_due(seen, device, difference, now_us):
                before = seen
                seen = self._seen[device.id] = self._look(device, difference, now_us, before)
                changed = changed or before is None or _shape(before.facts) != _shape(seen.facts)
            found += seen.conditions
        if len(self._seen) > len(devices):
            there = {device.id for device in devices}
            self._seen = {key: seen for key, seen in self._seen.items() if key in there}
            changed = True
        for key, of in self.known.items():
            if key not in self._seen:
                found += self._made(answers.of_device(of, 0, self._texts, now_us), now_us, ())
        if changed or self._house is None:
            self._house = self._book.house = house_of((seen.facts for seen in self._seen.values()), self.hall.settings)
        keys = {one.key for one in found}
        self._first_us = {key: first_us for key, first_us in self._first_us.items() if key in keys}
        return found

    def _is_due(self, seen: _Seen, device: LiveDevice, difference: int, now_us: int) -> bool:
        old = seen.device
        if difference != seen.difference or now_us >= seen.due_us:
            return True
        if old is device:
            return False
        if (old.state, old.alerts) != (device.state, device.alerts) or old.description is not device.description \
                or old.reported is not device.reported:
            return True
        if any(device.values.get((node, prop)) == "false" for node, prop in _lines(seen.facts)) != bool(
                seen.facts.outages):
            return True
        return not 0 <= now_us - seen.looked_us < AGAIN_US

    def _look(self, device: LiveDevice, difference: int, now_us: int, before: _Seen | None) -> _Seen:
        of = facts(device, now_us)
        made = self._made(answers.of_device(of, difference, self._texts, now_us), now_us,
                          before.conditions if before is not None else ())
        return _Seen(device, of, difference, made, now_us, _due_us(of, now_us))

    def _made(self, problems: Iterable[Problem], now_us: int, before: Iterable[Condition]) -> list[Condition]:
        """The same object for what is the same: the book then sees at a glance that nothing changed."""
        same = {one.key: one for one in before}
        made = {}
        for problem in problems:
            one = condition(self._ruled(problem), self._since_us(problem, now_us))
            old = same.get(one.key)
            made[one.key] = old if old == one else one
        return list(made.values())

    def _ruled(self, problem: Problem) -> Problem:
        name = problem.key.partition(":")[2].partition(":")[2]
        if problem.key.startswith("alert:") and name.startswith("rule-"):
            own = self.of_rule(name[len("rule-"):])
            if own is not None:
                return replace(problem, severity=own.severity, kept=own.kept or problem.kept, do=own.do or problem.do,
                               of_absence=own.of_absence)
        return problem

    def _since_us(self, problem: Problem, now_us: int) -> int:
        if problem.since_us is not None:
            return problem.since_us
        if problem.key not in self._first_us:
            found = self._outage_us(problem) if problem.subject in (graph.MAINS, graph.INTERNET) else None
            self._first_us[problem.key] = found if found is not None else now_us
        return self._first_us[problem.key]

    def _outage_us(self, problem: Problem) -> int | None:
        """When it began, from the history: after a start nobody else knows."""
        node = problem.key.rpartition("/")[2]
        try:
            for row in self.hall.reader.series(problem.device):
                if (row.node, row.property, row.value) == (node, f"{problem.subject}_event", "lost"):
                    return row.t_us or None
        except StoreError:
            pass
        return None

    def _blind(self, key: str, subject: str) -> bool:
        if not key.startswith(SOURCES):
            return False
        if not self.seeing:
            return True
        device = self.hall.tree.device(device_of(subject) or key.partition(":")[2].partition("/")[0])
        if device is None:
            return False  # somebody took it away
        if device.state == "lost":
            return key.startswith(HEARD)
        return device.state in ("init", "disconnected", "sleeping") and key.startswith(("alert:", "plugin:", "mains:",
                                                                                       "internet:"))


def condition(problem: Problem, since_us: int) -> Condition:
    return Condition(problem.key, problem.subject, cast(Severity, problem.severity), problem.title[:300], since_us,
                     problem.code, problem.kept, problem.do, problem.of_absence)


def _shape(of: DeviceFacts) -> tuple[object, ...]:
    """What the graph of causes is made of."""
    return of.on_ups, of.address, tuple((node.id, node.plugin) for node in of.nodes)


def _lines(of: DeviceFacts) -> list[tuple[str, str]]:
    return [(node.id, prop) for node in of.nodes for prop in LINES]


def _due_us(of: DeviceFacts, now_us: int) -> int:
    """The next moment at which a silence begins or a clock that is ahead is right."""
    times = [now_us + 60_000_000]
    if of.state == "init" and of.since_us is not None:
        times.append(of.since_us + answers.STARTING_US + 1)
    for node in of.nodes:
        if node.last_us is not None:
            times += [node.last_us + node.max_age_us + 1, node.last_us - AHEAD_US]
    return min((t_us for t_us in times if t_us > now_us), default=now_us)
