"""Values and times in sentences."""

from __future__ import annotations

from typing import Any


def number(value: Any, unit: str = "") -> str:
    """``21.5 °C``; at most six digits, and none that are not needed."""
    if isinstance(value, bool) or not isinstance(value, float | int):
        return shown(value, unit)
    text = f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
    return f"{text} {unit}" if unit else text


def shown(value: Any, unit: str = "") -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | int):
        return number(value, unit)
    return str(value)[:80]


def duration(seconds: float) -> str:
    """``90 s``, ``15 min``, ``26 h``, ``9 days``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def days(count: float) -> str:
    return f"{count:.1f} days" if count < 3 else f"{count:.0f} days"
