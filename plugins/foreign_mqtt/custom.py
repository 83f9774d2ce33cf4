"""Declared maps: topic, place in the payload, name, unit. For whatever has no preset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.api import Property, Value

from .config import Map
from .findings import MAX_BYTES, MAX_TEXT, BadMessage, Finding, Online, Seen, as_json, as_number, as_text, plain
from .quantities import LASTING_S, TAKEN


class Custom:
    name = "maps"
    silent_after_s: float | None = None

    def __init__(self, maps: tuple[Map, ...]) -> None:
        self._maps = tuple((one, one.topic.split("/"), _property(one)) for one in maps)
        self._by_name = {one.property: one for one in maps}

    def filters(self, own_broker: bool) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.topic for one, _, _ in self._maps))

    def limit(self, topic: str) -> int:
        return MAX_BYTES

    def read(self, topic: str, payload: bytes) -> Iterator[Finding]:
        levels = topic.split("/")
        parsed: Any = None  # once for all maps of the topic
        for one, parts, prop in self._maps:
            raw = _node(one, parts, levels)
            if raw is None or not payload:
                continue
            if one.path:
                parsed = as_json(payload) if parsed is None else parsed
                value, there = _at(parsed, one.path)
                if not there or value is None:
                    continue
            else:
                value = as_text(payload)
            yield _finding(one, prop, raw, value)

    def command(self, raw: str, key: str, prop: Property, value: Value) -> tuple[str, str]:
        one = self._by_name[key]
        if isinstance(value, bool):
            said = one.on if value else one.off
        elif isinstance(value, int | float):
            said = plain(round((value - one.offset) / one.scale, 9))
        else:
            said = str(value)
        return one.command_topic.replace("{node}", raw), one.command.replace("{value}", said)


def _property(one: Map) -> Property:
    return Property(
        name=one.property, datatype=one.datatype, unit=one.unit, title=one.title, minimum=one.minimum,
        maximum=one.maximum, step=one.step if one.command_topic else None, options=one.options,
        settable=bool(one.command_topic), device_class=one.device_class, state_class=one.state_class,
        max_age_s=one.max_age_s or LASTING_S)


def _node(one: Map, parts: list[str], levels: list[str]) -> str | None:
    """The node's id where the topic fits the filter."""
    found = one.node
    for at, part in enumerate(parts):
        if part == "#":
            return found or None
        if at >= len(levels) or part not in ("+", levels[at]):
            return None
        if part == "+" and not found:
            found = levels[at]
    return (found or None) if len(parts) == len(levels) else None


def _at(found: Any, path: str) -> tuple[Any, bool]:
    """What is at ``/a/0/b`` (RFC 6901) or ``a.0.b``, and whether it is there."""
    if path.startswith("/"):
        steps = [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]
    else:
        steps = path.split(".")
    for step in steps:
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdecimal() and len(step) < 6 and int(step) < len(found):
            found = found[int(step)]
        else:
            return None, False
    return found, True


def _finding(one: Map, prop: Property, raw: str, value: Any) -> Finding:
    if one.datatype in ("float", "integer"):
        number, quality = as_number(value)
        if number is not None:
            number = number * one.scale + one.offset if (one.scale, one.offset) != (1, 0) else number
            number = round(number, 9)
            if one.datatype == "integer" and number.is_integer():
                return Seen(raw, one.property, prop, int(number))
        return Seen(raw, one.property, prop, number, quality)
    said = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    if one.datatype == "boolean":
        if said.strip() not in (one.on, one.off):
            raise BadMessage(f"{said[:40]!r} is neither {one.on!r} nor {one.off!r}")
        truth = said.strip() == one.on
        return Online(raw, truth) if one.property in TAKEN else Seen(raw, one.property, prop, truth)
    if one.datatype == "enum" and said not in one.options:
        raise BadMessage(f"{said[:40]!r} is none of {', '.join(one.options)}"[:200])
    if isinstance(value, dict | list) or len(said) > MAX_TEXT:
        raise BadMessage(f"no text of at most {MAX_TEXT} characters")
    return Seen(raw, one.property, prop, said)
