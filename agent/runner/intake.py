"""From what a plugin yields to samples: declared or refused, checked, stamped, counted. Pure; never raises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from agent.api import QUALITIES, Node, Priority, Property, Reading
from agent.counters import Counter, CounterEvent
from agent.runner.outbox import Sample
from agent.wire.messages import NodeDeclaration
from agent.wire.topics import is_id

MAX_TEXT = 16 * 1024
MAX_JSON_BYTES = 64 * 1024
COUNTER_EVENT = Property(
    name="counter_event", datatype="json", event=True, diagnostic=True, priority=Priority.COUNTER,
    title="Counter event",
)
"""Added to every node with a ``total_increasing`` property: reset, swap, returned, reconciled."""
INT_MAX = (1 << 63) - 1


class Accepted(NamedTuple):
    """One sample and its face for the state plane."""

    sample: Sample
    node: str
    prop: Property


class _Series:
    """One declared property of one node."""

    __slots__ = ("announced", "counter", "last_us", "name", "node", "prio", "prop")

    def __init__(self, node: str, prop: Property, ledger: bool) -> None:
        self.node = node
        self.prop = prop
        self.name = f"{node}/{prop.name}"
        self.announced = not prop.optional
        self.last_us = -1
        total = prop.state_class == "total_increasing" and prop.datatype in ("float", "integer")
        self.counter: Counter | None = Counter(prop) if total and ledger else None
        self.prio = int(max(prop.priority, Priority.COUNTER) if total else prop.priority)


class Intake:
    """Everything one instance has declared, and the gate its readings pass.

    ``problem(message, *args)`` is told of each mistake of the plugin once (undeclared property, wrong type); ``errors``
    counts all. ``grown`` is True after something new is to be announced. ``ledger`` False: totals pass as they are."""

    def __init__(self, instance: str, title: str, properties: tuple[Property, ...],
                 problem: Callable[..., None], *, ledger: bool = True) -> None:
        self.instance = instance
        self.errors = 0
        self.grown = True
        self._problem = problem
        self._ledger = ledger
        self._told: set[str] = set()
        self._titles: dict[str, str] = {}
        self._nodes: dict[str, dict[str, _Series]] = {}
        self._set_node(instance, title, properties)

    # --- declaration ------------------------------------------------------------------------------------------

    def _set_node(self, node_id: str, title: str, properties: tuple[Property, ...]) -> None:
        old = self._nodes.get(node_id, {})
        node: dict[str, _Series] = {}
        for prop in properties:
            series = old.get(prop.name)
            same = series is not None and series.prop == prop
            node[prop.name] = series if series is not None and same else _Series(node_id, prop, self._ledger)
            if series is not None:
                node[prop.name].last_us = max(series.last_us, node[prop.name].last_us)
        if any(series.counter for series in node.values()) and COUNTER_EVENT.name not in node:
            node[COUNTER_EVENT.name] = old.get(COUNTER_EVENT.name) or _Series(node_id, COUNTER_EVENT, False)
        if [s.prop for s in node.values()] != [s.prop for s in old.values()] or self._titles.get(node_id) != title:
            self.grown = True
        self._nodes[node_id] = node
        self._titles[node_id] = title

    def redeclare(self, title: str, properties: tuple[Property, ...]) -> None:
        """The plugin was made anew and may declare otherwise."""
        self._set_node(self.instance, title, properties)

    def add_node(self, node: Node) -> None:
        full = f"{self.instance}-{node.id}"
        if not is_id(node.id) or not is_id(full):
            self._tell(f"node {node.id[:80]!r}: an id is a-z, 0-9 and -, at most 63 characters with the instance's")
            return
        self._set_node(full, node.title, node.properties)

    def nodes(self) -> tuple[NodeDeclaration, ...]:
        """What is announced: optional properties only once they were seen."""
        self.grown = False
        return tuple(
            NodeDeclaration(node_id, self._titles[node_id], tuple(s.prop for s in node.values() if s.announced))
            for node_id, node in self._nodes.items()
        )

    def find(self, node: str, name: str) -> Property | None:
        series = self._nodes.get(node, {}).get(name)
        return series.prop if series else None

    # --- readings ---------------------------------------------------------------------------------------------

    def accept(self, reading: Reading, now_us: int, clock_offset_us: int | None = None) -> list[Accepted]:
        """The samples one reading becomes: none while a counter waits for confirmation, several when it has it."""
        node = self.instance if reading.node is None else f"{self.instance}-{reading.node}"
        series = self._nodes.get(node, {}).get(reading.property)
        if series is None:
            self.errors += 1
            where = f"node {reading.node!r} was not yielded or " if reading.node is not None else ""
            self._tell(f"{node}/{reading.property}: {where}property not declared, its readings are left out")
            return []
        prop = series.prop
        value, quality = self._judge(series, reading.value, reading.quality)
        t_us = now_us if reading.t_us is None else reading.t_us
        if t_us > now_us:
            t_us = now_us  # a stamp ahead of the clock would push every later one forward
        if not series.announced:
            series.announced = self.grown = True
        counter = series.counter
        if counter is None:
            return [self._sample(series, t_us, value, quality)]
        if quality is not None or value is None:
            return [self._sample(series, t_us, None, quality or "bad")]
        booked, events = counter.feed(value, t_us, clock_offset_us)
        accepted = [self._sample(series, t, prop_value(prop, total), None) for t, total in booked]
        return accepted + self._events(node, prop, events, t_us)

    def reconcile(self, node: str, name: str, value: float, now_us: int) -> list[Accepted] | None:
        """A manual reading of a ``total_increasing`` property: what it shows from now on. None: there is no such."""
        series = self._nodes.get(node, {}).get(name)
        if series is None or series.counter is None:
            return None
        events = series.counter.reconcile(value, now_us)
        shown = self._sample(series, now_us, prop_value(series.prop, value), None)
        return [shown, *self._events(node, series.prop, events, now_us)]

    def _events(self, node: str, prop: Property, events: list[CounterEvent], t_us: int) -> list[Accepted]:
        series = self._nodes[node][COUNTER_EVENT.name]
        return [self._sample(series, t_us, {"property": prop.name, **event.as_json()}, None) for event in events]

    def _sample(self, series: _Series, t_us: int, value: Any, quality: str | None) -> Accepted:
        if t_us <= series.last_us:
            t_us = series.last_us + 1  # strictly increasing per series: a tie moves on by 1 us
        series.last_us = t_us
        return Accepted(Sample(series.name, series.prio, t_us, value, quality), series.node, series.prop)

    def _judge(self, series: _Series, value: Any, quality: str | None) -> tuple[Any, str | None]:
        prop = series.prop
        if quality is not None and quality not in QUALITIES:
            self._fault(series, f"quality {quality!r} is none of {', '.join(QUALITIES)}")
            quality = "bad"
        if value is None:
            if quality is None:
                self._fault(series, "no value and no quality that says why")
            return None, quality or "bad"
        value, reason, why = check(prop, value)
        if reason is not None:
            if reason == "not_finite":
                self.errors += 1
                self._problem(f"W_VALUE_NOT_FINITE {series.name} gave %s", why)
            elif reason == "out_of_range":
                self.errors += 1
                self._problem(f"{series.name}: %s", why)
            else:
                self._fault(series, why)
            return value, reason
        return value, quality

    def _fault(self, series: _Series, text: str) -> None:
        """A mistake of the plugin's author: counted each time, told once."""
        self.errors += 1
        self._tell(f"{series.name}: {text}")

    def _tell(self, text: str) -> None:
        if text not in self._told and len(self._told) < 1000:
            self._told.add(text)
            self._problem(text)

    # --- kept state -------------------------------------------------------------------------------------------

    def counters_state(self, clock_offset_us: int | None) -> dict[str, dict[str, Any]]:
        """JSON-able state of every counter that has one, by series name."""
        return {s.name: s.counter.state(clock_offset_us) for node in self._nodes.values() for s in node.values()
                if s.counter is not None and s.counter.anchored}

    def counters(self) -> list[tuple[str, Counter]]:
        return [(s.name, s.counter) for node in self._nodes.values() for s in node.values() if s.counter is not None]


def prop_value(prop: Property, total: float) -> float | int:
    """A booked total in the declared type."""
    return round(total) if prop.datatype == "integer" else total


def check(prop: Property, value: Any) -> tuple[Any, str | None, str]:
    """``(value, quality or None, why)``: the value as it may be stored, by the declared datatype."""
    kind = prop.datatype
    if kind == "float" or kind == "integer":
        return _number(prop, value)
    if kind == "boolean":
        return (value, None, "") if type(value) is bool else _wrong(value, "true or false")
    if kind == "json":
        return _json(value)
    if not isinstance(value, str):
        return _wrong(value, f"a text ({kind})")
    if kind == "enum":
        if value in prop.options:
            return value, None, ""
        return _wrong(value, f"one of {', '.join(prop.options)}")
    if len(value) > MAX_TEXT:
        return None, "bad", f"text of {len(value)} characters, at most {MAX_TEXT}"
    try:
        value.encode()
    except UnicodeEncodeError:
        return _wrong(value, "text that UTF-8 can carry")
    if kind == "datetime":
        return (value, None, "") if is_datetime(value) else _wrong(value, "an ISO 8601 date and time")
    if kind == "duration":
        return (value, None, "") if is_duration(value) else _wrong(value, "an ISO 8601 duration (PT5M)")
    return value, None, ""


def _wrong(value: Any, expected: str) -> tuple[None, str, str]:
    return None, "bad", f"{str(value)[:80]!r} ({type(value).__name__}): expected {expected}"


def _number(prop: Property, value: Any) -> tuple[Any, str | None, str]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _wrong(value, "a number")
    try:
        number = float(value)
    except OverflowError:
        return None, "not_finite", "a number beyond the largest float"
    if not math.isfinite(number):
        return None, "not_finite", str(number)
    if prop.datatype == "integer":
        if not number.is_integer():
            return _wrong(value, "a whole number")
        value = int(value)
        if abs(value) > INT_MAX:
            return None, "out_of_range", f"{value} needs more than 63 bits"
    else:
        value = number + 0.0  # -0.0 becomes 0.0
    if (prop.minimum is not None and value < prop.minimum) or (prop.maximum is not None and value > prop.maximum):
        low = "" if prop.minimum is None else f"{prop.minimum:g}"
        high = "" if prop.maximum is None else f"{prop.maximum:g}"
        return value, "out_of_range", f"{value:g} is outside {low}..{high}"
    return value, None, ""


def _json(value: Any) -> tuple[Any, str | None, str]:
    try:
        size = len(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        return None, "bad", f"{type(value).__name__} is no JSON: {error}"
    if size > MAX_JSON_BYTES:
        return None, "bad", f"JSON of {size} bytes, at most {MAX_JSON_BYTES}"
    if not _finite(value):
        return None, "not_finite", "NaN or infinity inside"
    return value, None, ""


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_finite(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_finite(item) for item in value)
    return True


def is_datetime(text: str) -> bool:
    from datetime import datetime

    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return "T" in text


def is_duration(text: str) -> bool:
    import re

    return re.fullmatch(r"P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?", text) is not None
