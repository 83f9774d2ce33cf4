"""One class per protocol: bytes and a time in, believed values out. Codec, plausibility and meaning put together.

Still no port and no clock: ``feed(data, t_s)`` with ``t_s`` in seconds of any clock that never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple, Protocol

from agent.api import Node

from .dsmr import DsmrCodec, Telegram
from .dsmr_values import Content, content, shape
from .frames import Garbage, Measured
from .plausibility import Outcomes, Plausibility
from .properties import BY_NAME, COUNTERS, GRID_MAX_KWH_PER_H, MBUS_KINDS, child_properties
from .pzem import ANY_ADDRESS, PzemCodec, Sample
from .sml import SmlCodec, ValueList
from .sml_values import content as sml_content
from .teleinfo import Frame, Group, Mode, TeleinfoCodec
from .teleinfo_values import derived, known, measure, totals

#: The largest Linky subscription is 36 kVA.
TELEINFO_MAX_W = 40_000.0
#: An M-Bus reading that does not change is told again after this long.
CHILD_REPEAT_S = 300.0
#: By how much a quantity moves at once without being looked at twice (a fifth of it is allowed anyway), by unit.
SMALL = {"W": 150.0, "VA": 150.0, "var": 150.0, "A": 2.0, "V": 5.0}
PZEM_MAX_W = 26_000.0


class Believed(NamedTuple):
    """A value and the time that it belongs to."""

    t_s: float
    measured: Measured


Found = Believed | Node


class Meter(Protocol):
    """What plugin and detection need of a protocol."""

    protocol: str
    outcomes: Outcomes
    unknown: dict[str, int]

    def feed(self, data: bytes, t_s: float) -> Iterator[Found]: ...
    def finish(self, t_s: float) -> Iterator[Found]: ...
    def reset(self) -> None: ...


def _unit(value: Measured) -> str:
    return BY_NAME[value.property].unit or ""


def _count(unknown: dict[str, int], names: Iterable[str]) -> None:
    for name in names:
        if name in unknown or len(unknown) < 64:
            unknown[name] = unknown.get(name, 0) + 1


class TeleinfoMeter:
    """Historic and standard mode. A group is what is good or bad; a frame is one moment."""

    protocol = "teleinfo"

    def __init__(self, mode: Mode = "auto") -> None:
        self.codec = TeleinfoCodec(mode)
        self.outcomes = Outcomes(256)
        self.unknown: dict[str, int] = {}
        self._plausible = Plausibility(self.outcomes, fair=8)
        self._meter_id: str | None = None

    def reset(self) -> None:
        self.codec.reset()

    def feed(self, data: bytes, t_s: float) -> Iterator[Found]:
        yield from self._events(self.codec.feed(data, t_s), t_s)

    def finish(self, t_s: float) -> Iterator[Found]:
        yield from self._events(self.codec.finish(), t_s)

    def _events(self, events: Iterable[Frame | Garbage], t_s: float) -> Iterator[Found]:
        for event in events:
            if isinstance(event, Garbage):
                self.outcomes.record(False)
            else:
                yield from self._frame(event, t_s)

    def _frame(self, frame: Frame, end_s: float) -> Iterator[Found]:
        now: set[str] = set()
        for group in frame.groups:
            # A whole frame is one moment. One that lost its ends may hold groups of two: each has its own time then.
            t_s = end_s if frame.whole else group.at
            self.outcomes.record(True)
            if known(group) is None:
                _count(self.unknown, (group.label,))
                continue
            value = measure(group)
            if value is None:
                continue
            believed = self._believe(group, value, t_s)
            if believed is None:
                continue
            if value.property == "meter_id" and value.value != self._meter_id:
                if self._meter_id is not None:
                    self._plausible.forget()
                self._meter_id = str(value.value)
            if believed == t_s:
                now.add(group.label)
            yield Believed(believed, value)
            for more in derived(group):
                yield Believed(believed, more)
        total = totals(frame, now)
        if total is not None and frame.whole:
            yield Believed(end_s, total)


    def _believe(self, group: Group, value: Measured, t_s: float) -> float | None:
        if value.property in COUNTERS:
            return self._plausible.counter(
                group.label, int(group.data), t_s, rate_per_s=TELEINFO_MAX_W / 3600, slack=1.0)
        if value.property == "meter_time":
            clock_s = datetime.fromisoformat(str(value.value)).timestamp()
            return self._plausible.counter(group.label, clock_s, t_s, rate_per_s=1.0, slack=5.0)
        if isinstance(value.value, float):
            return self._plausible.quantity(group.label, value.value, t_s, small=SMALL.get(_unit(value), 1.0))
        return self._plausible.word(group.label, value.value, t_s)


class DsmrMeter:
    """P1 of every version. With a CRC a telegram is believed as it is, without one it must look like the last ones."""

    protocol = "dsmr"

    def __init__(self) -> None:
        self.codec = DsmrCodec()
        self.outcomes = Outcomes(64)
        self.unknown: dict[str, int] = {}
        self._plausible = Plausibility(self.outcomes, fair=0, strict=True, repeat_s=60.0)
        self._powers: dict[str, float] = {}
        self._shape: str | None = None
        self._candidate: str | None = None
        self._children: dict[str, tuple[float, str, float]] = {}

    def reset(self) -> None:
        self.codec.reset()

    def feed(self, data: bytes, t_s: float) -> Iterator[Found]:
        yield from self._events(self.codec.feed(data), t_s)

    def finish(self, t_s: float) -> Iterator[Found]:
        yield from self._events(self.codec.finish(), t_s)

    def _events(self, events: Iterable[Telegram | Garbage], t_s: float) -> Iterator[Found]:
        for event in events:
            if isinstance(event, Garbage):
                self.outcomes.record(False)
                continue
            found = content(event)
            good = event.crc or self._looks_right(event, found)
            self.outcomes.record(good)
            if not good:
                continue
            _count(self.unknown, (*found.unknown, *found.malformed))
            for value in found.values:
                t_value = t_s if event.crc else self._believe(value, t_s)
                if t_value is not None:
                    yield Believed(t_value, value)
            yield from self._nodes(found, t_s, event.crc)

    def _believe(self, value: Measured, t_s: float) -> float | None:
        """Only for telegrams without a CRC. A counter may grow by what the power of the last telegrams explains."""
        number = value.value
        power_w = max(self._powers.values(), default=GRID_MAX_KWH_PER_H * 1000)
        if value.property in COUNTERS and isinstance(number, (int, float)):
            return self._plausible.counter(
                value.property, number, t_s, rate_per_s=(1.5 * power_w + 1000) / 3.6e6, slack=0.002)
        if isinstance(number, float):
            believed = self._plausible.quantity(value.property, number, t_s, small=SMALL.get(_unit(value), 1.0))
            if believed is not None and value.property in ("active_power_import_w", "active_power_export_w"):
                self._powers = {**self._powers, value.property: number}
            return believed
        return self._plausible.word(value.property, number, t_s)

    def _looks_right(self, telegram: Telegram, found: Content) -> bool:
        """A telegram without a CRC: every line known and well formed, and the same shape as before; a new shape
        (another meter, a text that came) is taken when it was seen twice, the first of all at once."""
        shown = shape(telegram)
        if shown == self._shape:
            return not found.malformed
        first = self._shape is None and not found.unknown and not found.malformed
        if first or shown == self._candidate:
            self._shape, self._candidate = shown, None
            return not found.malformed
        self._candidate = shown
        return False

    def _nodes(self, found: Content, t_s: float, crc: bool) -> Iterator[Found]:
        for child in found.children.values():
            node, counter = child.node, MBUS_KINDS[child.kind][2]
            value = child.value
            if value is None:
                continue
            if not crc and None in (
                # these stand still for five minutes to an hour: a new one is read twice before it is believed
                self._plausible.word(f"{node} {counter.name}", value, t_s),
                self._plausible.word(f"{node} meter_id", child.serial, t_s),
                self._plausible.word(f"{node} measured_at", child.measured_at, t_s),
            ):
                continue
            told = self._children.get(node)
            if told is None:
                yield Node(id=node, title=f"{MBUS_KINDS[child.kind][1]} {child.channel}",
                           properties=child_properties(child.kind))
            elif told[:2] == (value, child.measured_at) and t_s - told[2] < CHILD_REPEAT_S:
                continue
            self._children[node] = (value, child.measured_at, t_s)
            yield Believed(t_s, Measured(counter.name, value, node))
            if child.serial:
                yield Believed(t_s, Measured("meter_id", child.serial, node))
            yield Believed(t_s, Measured("measured_at", child.measured_at, node))


class SmlMeter:
    """SML. A list out of a damaged file has one CRC-16 only, and noise is tried at every byte: it is believed if it is
    the list of the meter that we know, entry for entry, with counters that can be."""

    protocol = "sml"

    def __init__(self) -> None:
        self.codec = SmlCodec()
        self.outcomes = Outcomes(64)
        self.unknown: dict[str, int] = {}
        self._counters: dict[str, tuple[float, float]] = {}
        self._form: tuple[object, ...] | None = None
        self._stray: ValueList | None = None

    def reset(self) -> None:
        self.codec.reset()

    def feed(self, data: bytes, t_s: float) -> Iterator[Found]:
        yield from self._events(self.codec.feed(data, t_s))

    def finish(self, t_s: float) -> Iterator[Found]:
        yield from self._events(self.codec.finish())

    def _events(self, events: Iterable[ValueList | Garbage]) -> Iterator[Found]:
        for event in events:
            if isinstance(event, Garbage):
                # What comes before the first file is our coming late, not the line's fault.
                if event.reason != "no file" or self.outcomes.good_total:
                    self.outcomes.record(False)
                continue
            if event.whole:
                self.outcomes.record(True)
            if not self._known_form(event):
                self._stray = event
                continue
            if self._stray is not None:
                stray, self._stray = self._stray, None
                if _form(stray) == self._form and not self._counters:
                    # The capture began in the middle of this file: now we know that it was the same meter's.
                    yield from (Believed(stray.at, value) for value in sml_content(stray)[0])
            values, unknown = sml_content(event)
            _count(self.unknown, unknown)
            counters = {v.property: v.value for v in values if v.property in COUNTERS and isinstance(v.value, float)}
            if not event.whole and not all(self._possible(name, value, event.at) for name, value in counters.items()):
                continue
            self._counters = {**self._counters, **{name: (value, event.at) for name, value in counters.items()}}
            for value in values:
                yield Believed(event.at, value)

    def _known_form(self, found: ValueList) -> bool:
        """Whether the list has the codes, units and texts of the last whole one; two equal strays will do at first
        (a capture of damaged files only)."""
        form = _form(found)
        if found.whole or (self._form is None and self._stray is not None and form == _form(self._stray)):
            self._form = form
        return form == self._form

    def _possible(self, name: str, value: float, t_s: float) -> bool:
        before = self._counters.get(name)
        return before is None or 0 <= value - before[0] <= GRID_MAX_KWH_PER_H * (t_s - before[1]) / 3600 + 0.01


def _form(found: ValueList) -> tuple[object, ...]:
    """What stays the same from list to list: whose it is, codes, units, texts."""
    return found.server_id, *(
        (e.obis, e.unit, e.scaler, e.value if isinstance(e.value, bytes) else None) for e in found.entries)


class PzemMeter:
    """PZEM-004T: what is in range is believed, with a counter that runs back or too fast only when it comes again."""

    protocol = "pzem"

    def __init__(self, address: int = ANY_ADDRESS) -> None:
        self.codec = PzemCodec(address)
        self.outcomes = Outcomes(64)
        self.unknown: dict[str, int] = {}
        self._plausible = Plausibility(self.outcomes, fair=64)

    def reset(self) -> None:
        self.codec.reset()

    def feed(self, data: bytes, t_s: float) -> Iterator[Found]:
        yield from self._events(self.codec.feed(data), t_s)

    def finish(self, t_s: float) -> Iterator[Found]:
        yield from self._events(self.codec.finish(), t_s)

    def _events(self, events: Iterable[Sample | Garbage], t_s: float) -> Iterator[Found]:
        for event in events:
            if isinstance(event, Garbage):
                self.outcomes.record(False)
                continue
            self.outcomes.record(True)
            if self._plausible.counter(
                f"energy {event.address}", event.energy_wh, t_s, rate_per_s=PZEM_MAX_W / 3600, slack=2.0
            ) is None:
                continue  # a sample is one CRC: with a counter that cannot be, nothing of it is believed
            for value in event.measured():
                yield Believed(t_s, value)


PROTOCOLS = ("teleinfo", "dsmr", "sml", "pzem")


def make_meter(protocol: str, *, mode: Mode = "auto", address: int = ANY_ADDRESS) -> Meter:
    """The meter class of a protocol's name."""
    if protocol == "teleinfo":
        return TeleinfoMeter(mode)
    if protocol == "dsmr":
        return DsmrMeter()
    return SmlMeter() if protocol == "sml" else PzemMeter(address)
