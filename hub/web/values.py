"""How one Homie value reads on a page: pure text, foreign and therefore escaped by whoever puts it into HTML."""

from __future__ import annotations

import json

from msgspec import Struct

from hub.fleet.facts import number, stamp_us
from hub.live import PropertyInfo
from hub.web.pages import iso, plain
from hub.web.texts import Texts

MAX_SHOWN = 300
BYTES = (("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40))
LONG_S = 120


class Shown(Struct, frozen=True):
    text: str
    unit: str
    words: bool
    """True for text, which is set smaller than a number."""


def shown(raw: str | None, prop: PropertyInfo, t: Texts) -> Shown:
    """``raw`` as published; None: never published."""
    if raw is None:
        return Shown("–", "", False)
    unit = prop.unit
    if prop.datatype in ("float", "integer"):
        value = number(raw)
        if value is None:
            return Shown(raw[:MAX_SHOWN], unit, True)
        return _number(value, unit, t)
    if prop.datatype == "boolean":
        labels = prop.format.split(",") if prop.format.count(",") == 1 else [t("units.no"), t("units.yes")]
        return Shown(labels[raw == "true"] if raw in ("true", "false") else raw[:MAX_SHOWN], "", True)
    if prop.datatype == "datetime":
        at = stamp_us(raw)
        return Shown(iso(at).replace("T", " ") if at is not None else raw[:MAX_SHOWN], "", True)
    if prop.datatype == "json":
        raw = _flat(raw)
    return Shown(raw[:MAX_SHOWN] + ("…" if len(raw) > MAX_SHOWN else ""), unit, True)


def _flat(raw: str) -> str:
    """JSON as a person reads it: ``name value, name value``, what lies deeper in brackets."""
    try:
        return _words(json.loads(raw))
    except (ValueError, RecursionError):
        return raw


def _words(value: object, deep: bool = False) -> str:
    if isinstance(value, dict):
        text = ", ".join(f"{key.replace('_', ' ')} {_words(item, True)}" for key, item in value.items())
    elif isinstance(value, list):
        text = ", ".join(_words(item, True) for item in value)
    elif isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    else:
        return plain(value) if isinstance(value, int | float) else str(value)
    return f"({text})" if deep else text


def _number(value: float, unit: str, t: Texts) -> Shown:
    if unit == "B" and abs(value) >= 1024:
        name, size = next((name, size) for name, size in reversed(BYTES) if abs(value) >= size)
        return Shown(f"{value / size:.3g}" if abs(value) < 1000 * size else str(round(value / size)), name, False)
    if unit == "s" and value >= LONG_S:
        return Shown(t.duration(value), "", False)
    return Shown(plain(value), unit, False)
