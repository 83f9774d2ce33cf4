"""The part of notify that keeps the rules and evaluates those whose home is the hub.

What the engine knows is kept in the same transaction as what follows from it: a kill between two seconds neither loses
a firing nor makes a second one. What only the newest samples say is not kept, the store has it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import msgspec

from agent.rules.declared import Declared
from agent.rules.engine import Engine, Line, Outcome
from agent.rules.model import HUB, Rule
from agent.rules.subject import Subject
from agent.wire.messages import Reported
from hub.alerts.model import Condition
from hub.notify.part import Hall, Part
from hub.rules import desk
from hub.rules.catalog import Entry, catalog, declarations, of_row
from hub.rules.desired import DeviceRules
from hub.rules.intake import Hints, Intake
from hub.rules.orders import Orders
from hub.rules.zones import house_zone
from hub.store import rules_rows
from hub.store.errors import StoreError
from hub.store.reader import SeriesRow

log = logging.getLogger(__name__)

US = 1_000_000
LOOK_US = 5 * US
"""How often the declarations are looked at."""
SETTLE_US = 10 * US
"""At the start the live tree fills; without a broker the store alone says what there is."""
CURSORS_US = 300 * US
CATCH_UP_US = 60 * US
"""So long the clock of the rules waits at the start for what the store has."""
CURSORS = "rules.cursors"


class Rules(Part):
    def __init__(self, hall: Hall) -> None:
        super().__init__(hall)
        self.entries: list[Entry] = []
        self.engine: Engine | None = None
        self.hints = Hints(hall.settings)
        self.orders = Orders(hall)
        self.devices = DeviceRules(hall)
        self.intake = Intake(hall.reader, {})
        self.zone = house_zone(hall.settings)
        self.fault: tuple[str, int] | None = None
        self._declared: dict[tuple[str, str, str], Declared] = {}
        self._general: set[str] = set()
        """Defaults of which a plugin may know more."""
        self._reported: dict[str, Reported | None] = {}
        self._rows: dict[int, SeriesRow] = {}
        self._began_us = 0
        self._looked_us = 0
        self._saved_us = 0
        self._caught_up = False
        self._changed = True
        self._resumed = False

    def begin(self) -> None:
        self._began_us = self._saved_us = self.hall.now_us()
        self._read_cursors()
        self.orders.begin()
        self.devices.begin()
        self.hall.desk.handlers.update(desk.handlers(self))
        self.hints.start()

    def _read_cursors(self) -> None:
        kept = self.hall.db.meta(CURSORS)
        try:
            self.intake.cursors = {} if kept is None else msgspec.msgpack.decode(kept, type=dict[int, int])
        except msgspec.DecodeError as error:
            log.warning("the rules' cursors cannot be read, the newest samples stand in: %s", error)

    # --- a second ---------------------------------------------------------------------------------------------

    def step(self, now_us: int) -> None:
        self.orders.step(now_us)
        try:
            self._look(now_us)
            if self.engine is None:
                return
            read_all = self.intake.step(self._hinted(), now_us)
            self.fault = None
        except StoreError as error:
            # of samples.db; one of alerts.db comes from below and goes up
            self.fault = (str(error), self.fault[1] if self.fault else now_us)
            return
        try:
            self._judge(now_us, read_all)
        except StoreError:
            raise
        except Exception:
            self.store_failed("")  # what was judged is not what was kept: from what was kept, once more
            raise

    def _judge(self, now_us: int, read_all: bool) -> None:
        assert self.engine is not None
        self._caught_up = self._caught_up or read_all or now_us - self._began_us > CATCH_UP_US
        if self._caught_up:
            self._hear_sys(now_us)
            self.engine.tick(now_us)
        self.orders.record(self.engine.changes(), self.engine.rules, now_us)
        self._keep(now_us)
        self.devices.step(self.entries)

    def after(self, now_us: int) -> None:
        self.orders.send()
        self.devices.send()

    def store_failed(self, error: str) -> None:
        """Nothing of this second was kept: go on from what was."""
        self.orders.undo()
        self.engine, self._changed = None, True
        try:
            self._read_cursors()
            self.devices.begin()
        except StoreError:
            self.intake.cursors = {}

    def close(self) -> None:
        self.hints.stop()
        if self.engine is not None:
            try:
                with self.hall.db.writing():
                    self._keep(self.hall.now_us(), all_of_it=True)
            except StoreError as error:
                log.warning("the rules' state could not be kept: %s", error)
        self.hints.join(2)

    def _hinted(self) -> set[int]:
        hinted = self.hints.take()
        if hinted - self._rows.keys():
            self._looked_us = 0  # a new series: looked at with the next step
        return hinted

    def _look(self, now_us: int) -> None:
        """See whether rules or what devices declare have changed, and make the engine anew if so."""
        if now_us - self._looked_us < LOOK_US and not self._changed:
            return
        connected = self.hall.client.connected[0]
        if self.engine is None and not connected and now_us - self._began_us < SETTLE_US:
            return
        reported = {device.id: device.reported for device in self.hall.tree.devices() if device.domain == "homie"}
        rows = {row.id: row for row in self.hall.reader.series()} if self._looked_us == 0 or self._changed else None
        self._looked_us = now_us
        same = reported.keys() == self._reported.keys() and all(
            _plugins(told) == _plugins(self._reported[device]) for device, told in reported.items()
            if told is not self._reported[device])
        if same and not self._changed and (rows is None or rows.keys() == self._rows.keys()):
            return
        self._reported = reported
        self._rows = rows if rows is not None else {row.id: row for row in self.hall.reader.series()}
        self._build(now_us)
        self._changed = False

    def _build(self, now_us: int) -> None:
        self._declared = declarations(self._reported, self._rows.values())
        self.entries = catalog(rules_rows.rules(self.hall.db), self._declared.values())
        old = self.engine
        kept = None
        if old is not None:
            kept = old.kept()
            self.orders.record(old.changes(), old.rules, now_us)
        engine = Engine([one.rule for one in self.entries if one.rule is not None and one.rule.on(HUB)],
                        self._declared.values(), self.zone)
        stored = {(rule, subject): state for rule, subject, state in rules_rows.kept_states(self.hall.db)}
        if kept is not None:
            engine.restore(kept)
        else:
            for (rule, subject), state in stored.items():
                engine.restore_one(rule, subject, state)
            if not self._resumed:  # while this process was away nobody looked: silence counts from now on
                engine.resume(now_us)
                self._resumed = True
        gone = [key for key in stored if key not in engine.subjects]
        rules_rows.forget_states(self.hall.db, gone)
        for firing in rules_rows.open_firings(self.hall.db):
            if (firing.rule, firing.subject) not in engine.firing:  # the rule is another one now, or off
                rules_rows.end_firing(self.hall.db, firing.rule, firing.subject, now_us)
        self.engine = engine
        self._general = {one.id for one in self.entries if one.origin == "default" and one.rule is not None
                         and one.rule.kind in ("state", "override", "never_zero")}
        # what a device has declared no more (its plugin was removed) is only history
        self.intake.watch(engine, [row for row in self._rows.values() if row.node == "sys" or of_name(row) in
                                   self._declared or self._reported.get(row.device) is None], self._line, now_us)

    def _line(self, row: SeriesRow) -> Line:
        assert self.engine is not None
        return self.engine.line(self._declared.get(of_name(row)) or of_row(row))

    def _hear_sys(self, now_us: int) -> None:
        """What agents publish of themselves and do not record."""
        if self.engine is None or now_us // US % 10:
            return
        for device in self.hall.tree.devices():
            value = device.values.get(("sys", "clock-quality")) if device.state == "ready" else None
            line = self.engine.lines.get((device.id, "sys", "clock_quality"))
            if value is not None and line is not None:
                line.feed(now_us, value)

    def _keep(self, now_us: int, all_of_it: bool = False) -> None:
        if self.engine is None:
            return
        late = all_of_it or now_us - self._saved_us >= CURSORS_US
        rows: list[tuple[str, str, str, int, str, bytes]] = []
        for rule, name, state in self.engine.take_kept(memory=late):
            now = self.engine.outcome(self.engine.subjects[rule, name])
            rows.append((rule, name, now.standing, now.since_us, now.text, state))
        if rows:
            rules_rows.put_states(self.hall.db, rows)
        if late:
            self._saved_us = now_us
            self.hall.db.set_meta(CURSORS, msgspec.msgpack.encode(self.intake.cursors))

    # --- what is so -------------------------------------------------------------------------------------------

    def conditions(self, now_us: int) -> Iterable[Condition]:
        if self.fault is not None:
            yield Condition("hub:rules", "hub", "error", f"the rules cannot read the samples: {self.fault[0]}",
                            self.fault[1], do="look at the hub's disk and the log of ingest")
        if self.engine is None:
            return
        silent: dict[tuple[str, str, str], list[Subject]] = {}
        for (id_, name), subject in self.engine.firing.items():
            rule = self.engine.rules[id_]
            if rule.kind == "no_data":
                device, node, _ = name.split("/")
                silent.setdefault((id_, device, node), []).append(subject)
            elif id_ not in self._general or not self._said_itself(id_, subject):
                yield self._condition(rule, self.engine.outcome(subject))
        for (id_, device, node), subjects in silent.items():
            one = self._silence(self.engine.rules[id_], device, node, subjects)
            if one is not None:
                yield one

    def _said_itself(self, id_: str, subject: Subject) -> bool:
        """Whether the plugin raises an alert of its own: then a default rule, which knows less, says nothing more."""
        declared = subject.parts[0].declared
        live = self.hall.tree.device(declared.device)
        if live is None or live.state != "ready":
            return False
        words = {declared.plugin, declared.property.replace("_", "-")} - {""}
        return any(f"-{word}-" in f"-{alert}-" for alert in live.alerts for word in words
                   if not alert.startswith(("rule-", "stale-", "health-"))) or id_.split("-")[0] in live.alerts

    def _condition(self, rule: Rule, now: Outcome) -> Condition:
        subject = f"property:{now.subject}" if now.subject else _of_all(rule)
        code = "W_OVERRIDE_FORGOTTEN" if rule.kind == "override" else ""
        return Condition(f"rule:{rule.id}:{now.subject}", subject, rule.severity, now.text, now.since_us, code,
                         rule.kept, rule.do)

    def _silence(self, rule: Rule, device: str, node: str, subjects: list[Subject]) -> Condition | None:
        """One for a node, however many of its values are silent; none where the device says so itself."""
        live = self.hall.tree.device(device)
        plugin = subjects[0].parts[0].declared.plugin
        if live is not None and live.state == "ready":
            told = (f"stale-{node}", f"health-{plugin}")
            if any(alert == told[0] or alert.startswith(told[0] + "-") or alert == told[1] for alert in live.alerts):
                return None
        since_us = min(subject.hold.since_us for subject in subjects)
        if len(subjects) == 1:
            assert self.engine is not None
            text, where = self.engine.text(subjects[0]), f"property:{subjects[0].name}"
        else:
            names = sorted(subject.name.rpartition("/")[2] for subject in subjects)
            told_names = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            text = f"{rule.title or 'No data'}: {device}/{node} gives no good value any more ({told_names})"
            where = f"plugin:{device}/{node}"
        return Condition(f"rule:{rule.id}:{device}/{node}", where, rule.severity, text, since_us, "", rule.kept,
                         rule.do, of_absence=True)

    def rules_changed(self) -> None:
        """For the desk: somebody wrote, removed or switched one."""
        self._changed = True

    def entry(self, id_: str) -> Entry | None:
        """As it is kept now."""
        found = catalog(rules_rows.rules(self.hall.db), self._declared.values())
        return next((one for one in found if one.id == id_), None)

    def standing(self) -> dict[str, Any]:
        """For the desk: how far behind the samples it is."""
        return {"behind": len(self.intake.behind), "samples": self.intake.samples, "caught_up": self._caught_up}


def of_name(row: SeriesRow) -> tuple[str, str, str]:
    """The key of its declaration."""
    return row.device, row.node, row.property.replace("-", "_")


def _plugins(told: Reported | None) -> object:
    return None if told is None else told.plugins


def _of_all(rule: Rule) -> str:
    """Where a combination stands: at its device, if it is one."""
    devices = {leaf.of.split("/")[0] for leaf in rule.leaves}
    one = next(iter(devices)) if len(devices) == 1 else ""
    return f"device:{one}" if one and not set("*?") & set(one) else "hub"
