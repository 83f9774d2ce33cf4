"""One rule for one of its subjects: cells, holds and the time of day put together."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from agent.rules.cells import Cell, NoDataCell, make
from agent.rules.declared import Declared
from agent.rules.hold import FAR_US, Hold
from agent.rules.local_time import Window
from agent.rules.model import AllOf, AnyOf, Leaf, Rule


class Gate:
    """``between`` of a rule."""

    __slots__ = ("inside", "next_us", "window", "zone")

    def __init__(self, rule: Rule, zone: tzinfo) -> None:
        self.window = None if rule.between is None else Window.parse(rule.between)
        self.zone = zone
        self.inside = self.window is None
        self.next_us = FAR_US if self.window is None else 0

    def advance(self, t_us: int) -> None:
        if self.window is not None:
            self.inside, self.next_us = self.window.span(t_us, self.zone)


class Part:
    """A condition on one series."""

    __slots__ = ("cell", "declared", "hold", "n", "when")

    def __init__(self, leaf: Leaf, declared: Declared, n: int) -> None:
        self.when = leaf
        self.cell: Cell = make(leaf, declared)
        self.declared = declared
        self.hold = Hold(leaf.hold_s, leaf.calm_s or 0.0)
        """Of a combination only."""
        self.n = n
        """Which of the rule's conditions."""


class Subject:
    """Feed it samples in order; :meth:`run` lets time go on. After each call ``hold`` is how it stands."""

    __slots__ = ("changed", "due_us", "gate", "gone", "hold", "moved", "name", "parts", "rule", "said",
                 "scheduled_us", "several", "single")

    def __init__(self, rule: Rule, name: str, zone: tzinfo) -> None:
        self.rule = rule
        self.name = name
        self.parts: list[Part] = []
        self.single: Cell | None = None
        self.several = isinstance(rule.when, AllOf | AnyOf)
        self.gate = Gate(rule, zone)
        self.hold = Hold(rule.when.hold_s, rule.calm_s)
        self.due_us = 0
        self.scheduled_us = FAR_US
        self.changed = False
        """Something that has to be kept is other than it was."""
        self.moved = False
        self.gone = False
        self.said = ""
        """Its sentence as it began to fire."""

    def add(self, leaf: Leaf, declared: Declared, n: int) -> Part:
        part = Part(leaf, declared, n)
        self.parts.append(part)
        if not self.several:
            self.single = part.cell
        return part

    def renew(self, part: Part, declared: Declared) -> None:
        """The same series, declared otherwise."""
        kept = part.cell.kept()
        single = self.single is part.cell
        part.declared = declared
        part.cell = make(part.when, declared)
        part.cell.restore(kept)
        if single:
            self.single = part.cell
        self.due_us = 0

    def begin(self, t_us: int) -> None:
        """It is watched from now on."""
        for part in self.parts:
            part.cell.begin(t_us)

    def feed(self, part: Part, t_us: int, value: Any) -> None:
        """Later than the newest of its series."""
        if t_us >= self.due_us:
            self.run(t_us)
        cell = part.cell
        before, first = cell.truth, cell.last_us is None
        cell.feed(t_us, value)
        self.moved = True
        if first or cell.truth is not before or self.gate.next_us == 0:
            self._settle(t_us)

    def run(self, t_us: int) -> None:
        """Let everything happen that is due up to ``t_us``, in order."""
        while True:
            due_us = self._due_us()
            if due_us > t_us:
                break
            at_us = max(due_us, 1) if due_us else t_us
            # what was so all the time up to now counts before it changes now
            self.hold.advance(at_us)
            for part in self.parts:
                if self.several:
                    part.hold.advance(at_us)
                if part.cell.next_us <= at_us:
                    part.cell.advance(at_us)
            if self.gate.next_us <= at_us:
                self.gate.advance(at_us)
            self._settle(at_us)
        self.due_us = due_us

    def _due_us(self) -> int:
        due = min(self.hold.due_us, self.gate.next_us)
        if self.single is not None:
            return min(due, self.single.next_us)
        for part in self.parts:
            due = min(due, part.hold.due_us, part.cell.next_us)
        return due

    def _settle(self, t_us: int) -> None:
        """Truth may be another one: take it in."""
        if self.gate.next_us == 0:
            self.gate.advance(t_us)
        truth = self._truth(t_us) if self.gate.inside else False
        self.hold.apply(truth, t_us)
        self.changed = True
        self.due_us = self._due_us()

    def _truth(self, t_us: int) -> bool | None:
        if self.single is not None:
            return self.single.truth
        groups: dict[int, list[bool | None]] = {n: [] for n in range(len(self.rule.leaves))}
        for part in self.parts:
            hold = part.hold
            if hold.truth is not part.cell.truth or not hold.since_us:
                hold.apply(part.cell.truth, t_us)
            groups[part.n].append({"firing": True, "no_data": None}.get(hold.standing, False))
        found = [True if True in group else None if None in group or not group else False for group in groups.values()]
        if isinstance(self.rule.when, AllOf):
            return False if False in found else None if None in found else True
        return True if True in found else None if None in found or not found else False

    def resume(self, t_us: int) -> None:
        """Nobody looked until now."""
        if self.hold.standing == "firing":
            return
        for part in self.parts:
            if isinstance(part.cell, NoDataCell) and part.hold.standing != "firing":
                part.cell.resume(t_us)
                for hold in (part.hold, self.hold):
                    if hold.standing == "pending":
                        hold.calm(t_us)
                self.changed, self.due_us = True, 0

    # --- kept -----------------------------------------------------------------------------------------------

    def kept(self) -> list[Any]:
        parts = {f"{part.n}:{part.declared.subject}": [part.cell.kept(), part.hold.kept()] for part in self.parts}
        return [self.hold.kept(), parts, self.gate.inside, self.gate.next_us, self.said]

    def restore(self, kept: list[Any]) -> None:
        self.hold.restore(kept[0])
        for part in self.parts:
            self.restore_part(part, kept)
        self.gate.inside, self.gate.next_us, self.said = kept[2:5]
        self.due_us = 0

    def restore_part(self, part: Part, kept: list[Any]) -> None:
        """Of one of its series."""
        of_part = kept[1].get(f"{part.n}:{part.declared.subject}")
        if of_part is not None:
            part.cell.restore(of_part[0])
            part.hold.restore(of_part[1])
