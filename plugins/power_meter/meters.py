"""One class per protocol: bytes and a time in, believed values out. Codec, plausibility and meaning put together.

Still no port and no clock: ``feed(data, t_s)`` with ``t_s`` in seconds of any clock that never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from agent.api import Node

from .dsmr import DsmrCodec, Telegram
from .dsmr_values import Content, content, shape
from .frames import Garbage, Measured
from .plausibility import Outcomes, Plausibility
from .properties import COUNTERS, GRID_MAX_KWH_PER_H, MBUS_KINDS, child_properties
from .pzem import ANY_ADDRESS, PzemCodec, Sample
from .sml import SmlCodec, ValueList
from .sml_values import content as sml_content
from .teleinfo import Frame, Mode, TeleinfoCodec
from .teleinfo_values import derived, known, measure, totals

#: The largest Linky subscription is 36 kVA.
TELEINFO_MAX_W = 40_000.0
#: An M-Bus reading that does not change is told again after this long.
CHILD_REPEAT_S = 300.0
#: An M-Bus meter tells up to a day's consumption in one step, m3 or GJ.
CHILD_STEP = 50.0
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
        self._plausible = Plausibility(self.outcomes, fair=8, rate_per_s=TELEINFO_MAX_W / 3600)
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
            counter = value.property in COUNTERS
            believed = self._plausible.accept(
                group.label, int(group.data) if counter else value.value, t_s, counter=counter
            )
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


class DsmrMeter:
    """P1 of every version. With a CRC a telegram is believed as it is, without one it must look like the last ones."""

    protocol = "dsmr"

    def __init__(self) -> None:
        self.codec = DsmrCodec()
        self.outcomes = Outcomes(64)
        self.unknown: dict[str, int] = {}
        self._plausible = Plausibility(
            self.outcomes, fair=0, rate_per_s=GRID_MAX_KWH_PER_H / 3600, slack=0.01, strict=True, repeat_s=60.0
        )
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
                t_value = t_s
                if not event.crc:
                    believed = self._plausible.accept(
                        value.property, value.value, t_s, counter=value.property in COUNTERS)
                    if believed is None:
                        continue
                    t_value = believed
                yield Believed(t_value, value)
            yield from self._nodes(found, t_s, event.crc)

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
            if not crc:
                believed = self._plausible.accept(
                    f"{node} {counter.name}", value, t_s, counter=True, slack=CHILD_STEP)
                if believed is None:
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
    """SML. A list out of a damaged file is believed if it is from the meter that we know."""

    protocol = "sml"

    def __init__(self) -> None:
        self.codec = SmlCodec()
        self.outcomes = Outcomes(64)
        self.unknown: dict[str, int] = {}
        self._server: bytes | None = None

    def reset(self) -> None:
        self.codec.reset()

    def feed(self, data: bytes, t_s: float) -> Iterator[Found]:
        yield from self._events(self.codec.feed(data), t_s)

    def finish(self, t_s: float) -> Iterator[Found]:
        yield from self._events(self.codec.finish(), t_s)

    def _events(self, events: Iterable[ValueList | Garbage], t_s: float) -> Iterator[Found]:
        for event in events:
            if isinstance(event, Garbage):
                # What comes before the first file is our coming late, not the line's fault.
                if event.reason != "no file" or self.outcomes.good_total:
                    self.outcomes.record(False)
                continue
            if event.whole:
                self._server = event.server_id
                self.outcomes.record(True)
            elif self._server is None:
                # a capture that begins in the middle of a file: its message is whole, and nothing contradicts it
                self._server = event.server_id
            elif event.server_id != self._server:
                continue
            values, unknown = sml_content(event)
            _count(self.unknown, unknown)
            for value in values:
                yield Believed(t_s, value)


class PzemMeter:
    """PZEM-004T: what is in range is believed, with a counter that runs back or too fast only when it comes again."""

    protocol = "pzem"

    def __init__(self, address: int = ANY_ADDRESS) -> None:
        self.codec = PzemCodec(address)
        self.outcomes = Outcomes(64)
        self.unknown: dict[str, int] = {}
        self._plausible = Plausibility(self.outcomes, fair=64, rate_per_s=PZEM_MAX_W / 3600, slack=2.0)

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
            if self._plausible.accept(f"energy {event.address}", event.energy_wh, t_s, counter=True) is None:
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
