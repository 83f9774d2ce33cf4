"""Rules over samples and time: which fires, since when, in one sentence.

Deterministic: the same samples and ticks in the same order give the same outcomes, restarts (:meth:`Engine.kept`,
:meth:`Engine.restore`) in between or not. Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import tzinfo
from itertools import count
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
from msgspec import Struct

from agent.rules.declared import Declared
from agent.rules.hold import FAR_US, Standing
from agent.rules.model import AllOf, Leaf, NoData, Rule, pattern_of
from agent.rules.subject import Part, Subject
from agent.rules.words import duration

GOOD = (None, "good", "uncertain", "estimated")
KEPT_VERSION = 2
MAX_SUBJECTS = 200_000
MAX_CHANGES = 10_000
CLAIM_US = 900_000_000
"""What was kept of a series that is not known yet waits for it for so long."""
Series = tuple[str, str, str]
"""(device, node, property)"""


class Sample(NamedTuple):
    device: str
    node: str
    property: str
    t_us: int
    value: Any
    quality: str | None = None


class Outcome(Struct, frozen=True):
    """How one rule stands for one of its subjects."""

    rule: str
    subject: str
    """``<device>/<node>/<property>``; '' of a combination, and of a rule that no series matches."""
    standing: Standing
    since_us: int
    text: str
    """One clear sentence."""


class Change(Struct, frozen=True):
    """A rule began to fire for a subject, or stopped."""

    rule: str
    subject: str
    fires: bool
    t_us: int
    """When: the hold, or the calm after it, was over."""
    since_us: int
    """When it began to be so, or well again."""
    text: str


class Line:
    """One series: who waits for its samples."""

    __slots__ = ("declared", "engine", "last_us", "waiting")

    def __init__(self, engine: Engine, declared: Declared) -> None:
        self.engine = engine
        self.declared = declared
        self.waiting: list[tuple[Subject, Part]] = []
        self.last_us = 0

    def feed(self, t_us: int, value: Any, quality: str | None = None) -> None:
        """As :meth:`Engine.feed`."""
        if t_us <= self.last_us or value is None or quality not in GOOD:
            return
        self.last_us = t_us
        for subject, part in self.waiting:
            last_us = part.cell.last_us
            if last_us is not None and t_us <= last_us:
                continue  # seen before a restart
            subject.feed(part, t_us, value)
            if subject.due_us < subject.scheduled_us or subject.hold.news:
                self.engine.noticed(subject)


class Engine:
    """Rules of one home. Memory per series is bounded (a few hundred numbers at most)."""

    def __init__(self, rules: Iterable[Rule], declarations: Iterable[Declared], zone: tzinfo) -> None:
        """``rules``: those of this home that are on; who calls has left out the others."""
        self.zone = zone
        self.rules = {rule.id: rule for rule in rules if rule.enabled}
        self.subjects: dict[tuple[str, str], Subject] = {}
        self.firing: dict[tuple[str, str], Subject] = {}
        self._lines: dict[Series, Line] = {}
        self._patterns = [(rule, n, leaf, pattern_of(leaf.of)) for rule in self.rules.values()
                          for n, leaf in enumerate(rule.leaves)]
        self._at_node = self._by_level()
        self._due: list[tuple[int, int, Subject]] = []
        self._order = count()
        self._changes: list[Change] = []
        self._new: list[Subject] = []
        self.now_us = 0
        self.resumed_us = 0
        self._unclaimed: dict[tuple[str, str], tuple[int, list[Any]]] = {}
        self._claims_end_us = FAR_US
        for rule in self.rules.values():
            if rule.kind in ("all", "any"):
                self._new.append(self._subject(rule, ""))
        self.declare(declarations)

    # --- what there is ----------------------------------------------------------------------------------------

    def declare(self, declarations: Iterable[Declared]) -> None:
        """Series that are known now, or declared otherwise than before: what was seen of them stays."""
        for declared in declarations:
            line = self._lines.get(declared.key)
            if line is None:
                self.line(declared)
            elif line.declared != declared:
                self._again(line, declared)

    def _again(self, line: Line, declared: Declared) -> None:
        line.declared = declared
        before = {(subject.rule.id, part.n): (subject, part) for subject, part in line.waiting}
        line.waiting = []
        for rule, n, leaf in self._watching(declared):
            if (known := before.pop((rule.id, n), None)) is None:
                self._wait(line, rule, n, leaf)
                continue
            subject, part = known
            subject.renew(part, declared)
            self._new.append(subject)
            line.waiting.append(known)
        for subject, part in before.values():  # its silence says nothing any more
            subject.parts.remove(part)
            if not subject.parts:
                self.subjects.pop((subject.rule.id, subject.name), None)
                self.firing.pop((subject.rule.id, subject.name), None)
                subject.gone = True

    def line(self, declared: Declared) -> Line:
        """The way in for one series; made on first use."""
        series = declared.key
        found = self._lines.get(series)
        if found is not None:
            return found
        line = self._lines[series] = Line(self, declared)
        for rule, n, leaf in self._watching(declared):
            self._wait(line, rule, n, leaf)
        return line

    def _watching(self, declared: Declared) -> Iterator[tuple[Rule, int, Leaf]]:
        for rule, n, leaf, pattern in self._candidates(declared):
            if pattern.match(declared.subject) is None or len(self.subjects) >= MAX_SUBJECTS:
                continue
            if isinstance(leaf, NoData) and leaf.after_s is None and (
                    declared.max_age_s is None or declared.comes_and_goes):
                continue  # its silence says nothing
            yield rule, n, leaf

    def _wait(self, line: Line, rule: Rule, n: int, leaf: Leaf) -> None:
        subject = self._subject(rule, "" if rule.kind in ("all", "any") else line.declared.subject)
        part = subject.add(leaf, line.declared, n)
        line.waiting.append((subject, part))
        self._new.append(subject)
        if self._unclaimed:
            self._claim(subject, part)

    def watches(self, declared: Declared) -> bool:
        """Whether any rule looks at it."""
        return bool(self.line(declared).waiting)

    def _by_level(self) -> dict[str, list[tuple[Rule, int, Any, re.Pattern[str]]]]:
        """Rules by their property where it is a plain name: most series then match a few patterns instead of all."""
        found: dict[str, list[tuple[Rule, int, Any, re.Pattern[str]]]] = {"": []}
        for one in self._patterns:
            prop = one[2].of.split("/")[2].replace("-", "_")
            found.setdefault("" if "*" in prop or "?" in prop else prop, []).append(one)
        return found

    def _candidates(self, declared: Declared) -> list[tuple[Rule, int, Any, re.Pattern[str]]]:
        return self._at_node[""] + (self._at_node.get(declared.property, []) if declared.property else [])

    def _subject(self, rule: Rule, name: str) -> Subject:
        key = (rule.id, name)
        subject = self.subjects.get(key)
        if subject is None:
            subject = self.subjects[key] = Subject(rule, name, self.zone)
        return subject

    # --- what happens -----------------------------------------------------------------------------------------

    def feed(self, sample: Sample) -> None:
        """A sample; one that is older than the newest of its series changes nothing, nor does one of bad quality."""
        line = self._lines.get((sample.device, sample.node, sample.property))
        if line is None:
            line = self.line(Declared(sample.device, sample.node, sample.property.replace("-", "_")))
        line.feed(sample.t_us, sample.value, sample.quality)

    def tick(self, now_us: int) -> None:
        """Time goes on: about once a second."""
        self.now_us = max(self.now_us, now_us)
        if self._unclaimed:
            self._claims_end_us = min(self._claims_end_us, now_us + CLAIM_US)
            if now_us > self._claims_end_us:
                self._unclaimed.clear()
        if self._new:
            for subject in dict.fromkeys(self._new):
                if subject.gone:
                    continue
                subject.begin(now_us)
                subject.changed = True
                subject.due_us = 0
                self._run(subject, now_us)
            self._new = []
        due = self._due
        while due and due[0][0] <= now_us:
            _, _, subject = heapq.heappop(due)
            subject.scheduled_us = FAR_US
            if subject.gone:
                continue
            self._run(subject, now_us)

    def _run(self, subject: Subject, t_us: int) -> None:
        subject.run(t_us)
        if not subject.hold.since_us:
            subject.hold.since_us = t_us
        self.noticed(subject)

    def noticed(self, subject: Subject) -> None:
        """For :class:`Line`: the subject's next moment is another one, or it began or stopped to fire."""
        if subject.due_us < subject.scheduled_us:
            subject.scheduled_us = subject.due_us
            heapq.heappush(self._due, (subject.due_us, next(self._order), subject))
        if not subject.hold.news:
            return
        key, text = (subject.rule.id, subject.name), self.text(subject)
        for fires, at_us, since_us in subject.hold.news:
            if fires:
                self.firing[key] = subject
                subject.said = text
            else:
                self.firing.pop(key, None)
            if len(self._changes) < MAX_CHANGES:
                self._changes.append(Change(*key, fires, at_us, since_us, text))
        subject.hold.news.clear()

    # --- what is so -------------------------------------------------------------------------------------------

    def changes(self) -> list[Change]:
        """What began and stopped to fire since the last call, in order of time."""
        found, self._changes = self._changes, []
        return sorted(found, key=lambda one: (one.t_us, one.rule, one.subject))

    def outcome(self, subject: Subject) -> Outcome:
        return Outcome(subject.rule.id, subject.name, subject.hold.standing, subject.hold.since_us, self.text(subject))

    def outcomes(self) -> list[Outcome]:
        """All rules and subjects as they are after the last sample or tick."""
        found = [self.outcome(subject) for subject in self.subjects.values()]
        seen = {rule for rule, _ in self.subjects}
        found += [Outcome(id_, "", "no_data", self.now_us, f"no series is {rule.leaves[0].of}")
                  for id_, rule in self.rules.items() if id_ not in seen]
        return found

    def text(self, subject: Subject) -> str:
        """``The cellar is damp: Humidity (cellar/air/humidity_pct) is 83 %, above 80 %``."""
        title = subject.rule.title
        if subject.said and subject.hold.standing == "firing" and all(
                part.cell.truth is False for part in subject.parts):
            return subject.said  # in its calm time it still stands: "is well" would be the opposite of what is told
        if not subject.several:
            part = subject.parts[0]
            name = part.declared.name
            said = f"{name} {part.cell.text(part.declared.unit)}" if part.cell.truth is not None \
                else self._unknown(part)
        elif not subject.parts:
            said = f"no series is {' or '.join(leaf.of for leaf in subject.rule.leaves)}"
        else:
            true = [part for part in subject.parts if part.cell.truth]
            chosen = true if true and (isinstance(subject.rule.when, AllOf) or subject.hold.standing == "firing") \
                else subject.parts
            said = "; ".join(f"{part.declared.name} {part.cell.text(part.declared.unit)}" if part.cell.truth is not None
                             else self._unknown(part) for part in chosen[:3])
            if len(chosen) > 3:
                said += f"; and {len(chosen) - 3} more"
        return f"{title}: {said}" if title else said

    def _unknown(self, part: Part) -> str:
        last_us = part.cell.last_us
        if last_us is None:
            return f"{part.declared.name} has given no good value yet"
        if part.cell.memory and self.now_us - last_us < 600_000_000:
            return f"{part.declared.name} {part.cell.text(part.declared.unit)}"
        return (f"{part.declared.name} gives no good value any more, the newest is "
                f"{duration(max(0, self.now_us - last_us) / 1e6)} old")

    # --- kept -------------------------------------------------------------------------------------------------

    def resume(self, now_us: int) -> None:
        """After :meth:`restore` by who was away: what did not come meanwhile was not asked for, so silence that has
        not fired yet counts from now on. What comes late, from the spools, is no news of it."""
        self.resumed_us = now_us
        for subject in self.subjects.values():
            subject.resume(now_us)

    def kept(self) -> bytes:
        """All that is needed to go on after a restart."""
        return msgspec.msgpack.encode([KEPT_VERSION, [
            *([rule, name, print_, state] for (rule, name), (print_, state) in self._unclaimed.items()
              if name or not self.subjects[rule, name].hold.since_us),
            *([rule, name, fingerprint(subject.rule), subject.kept()]
              for (rule, name), subject in self.subjects.items() if subject.hold.since_us)]])

    def take_kept(self, *, memory: bool) -> list[tuple[str, str, bytes]]:
        """(rule, subject, state) of those that stand otherwise since the last call; with ``memory`` also of those that
        remember more than the newest sample and got one. Each state is for :meth:`restore_one`."""
        found = []
        for key, subject in self.subjects.items():
            if subject.changed or (memory and subject.moved and any(part.cell.memory for part in subject.parts)):
                found.append((*key, msgspec.msgpack.encode([fingerprint(subject.rule), subject.kept()])))
                subject.changed = False
                subject.moved = subject.moved and not memory
        return found

    def restore(self, kept: bytes, *, later: bool = False) -> str | None:
        """Take over what :meth:`kept` gave, for rules that are still the same; one line where it was unreadable.

        ``later``: series get known only now and then; theirs is kept for them."""
        try:
            version, rows = msgspec.msgpack.decode(kept)
            if version != KEPT_VERSION:
                return f"the rules' kept state is of version {version}, not {KEPT_VERSION}: they begin anew"
            for rule, name, print_, state in rows:
                if later and rule in self.rules and print_ == fingerprint(self.rules[rule]):
                    self._unclaimed[rule, name] = print_, state
                self._restore(rule, name, print_, state)
        except (msgspec.DecodeError, ValueError, TypeError, LookupError) as error:
            return f"the rules' kept state cannot be read, they begin anew: {error}"
        return None

    def restore_one(self, rule: str, name: str, kept: bytes) -> bool:
        """The same for one of :meth:`take_kept`; False: it could not be used."""
        try:
            print_, state = msgspec.msgpack.decode(kept)
            return self._restore(rule, name, print_, state)
        except (msgspec.DecodeError, ValueError, TypeError, LookupError):
            return False

    def _restore(self, rule: str, name: str, print_: int, state: list[Any]) -> bool:
        subject = self.subjects.get((rule, name))
        if subject is None or print_ != fingerprint(subject.rule):
            return False
        subject.restore(state)
        subject.changed = False
        if subject.hold.standing == "firing":
            self.firing[rule, name] = subject
        if not subject.several:
            self._unclaimed.pop((rule, name), None)
        return True

    def _claim(self, subject: Subject, part: Part) -> None:
        """What was kept of a series that has just got known."""
        key = subject.rule.id, subject.name
        if key not in self._unclaimed:
            return
        print_, state = self._unclaimed[key]
        if subject.several:
            subject.restore_part(part, state)
        else:
            self._restore(*key, print_, state)
        if self.resumed_us:
            subject.resume(self.resumed_us)

    @property
    def lines(self) -> Mapping[Series, Line]:
        return self._lines


def fingerprint(rule: Rule) -> int:
    """Another one when what it says may be another one: words and orders do not count."""
    return crc32(msgspec.json.encode([rule.between, rule.when]))


__all__ = ["Change", "Declared", "Engine", "Line", "Outcome", "Sample", "fingerprint"]
