"""The heater's levels: base, supplementary, exceptional, forced. What is above the base always has an end (B51)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hub.command.values import BadValue

PASSING = ("supplementary", "exceptional", "forced")
"""The highest one last: exceptional beats supplementary, forced beats all."""
LEVELS = ("base", *PASSING)
FORCED_US = 12 * 3600 * 1_000_000
SLACK_US = 60_000_000
"""A form that says 12 h takes a moment to arrive."""


def check_levels(value: Any, now_us: int) -> None:
    """Raises BadValue for what no heater takes: a passing level without an end, an end that is over or too far."""
    if not isinstance(value, dict) or not value:
        raise BadValue('levels: an object such as {"supplementary": {"profile": "holiday", "until": "..."}}')
    for name, level in value.items():
        if name not in LEVELS:
            raise BadValue(f"levels: {str(name)[:40]!r}: one of {', '.join(LEVELS)}")
        if level is None and name != "base":
            continue
        if not isinstance(level, dict):
            raise BadValue(f"levels.{name}: an object" + ("" if name == "base" else ", or null to end it"))
        if name != "base":
            _check_end(name, level.get("until"), now_us)


def _check_end(name: str, until: Any, now_us: int) -> None:
    if not isinstance(until, str) or not until:
        raise BadValue(f"levels.{name}: until is missing: say when it ends, as 2026-11-26T22:00:00+01:00")
    at = moment_us(until)
    if at is None:
        raise BadValue(f"levels.{name}: until {until[:40]!r}: a moment with its zone, as 2026-11-26T22:00:00+01:00")
    if at <= now_us:
        raise BadValue(f"levels.{name}: until {until[:40]} is over already")
    if name == "forced" and at > now_us + FORCED_US + SLACK_US:
        raise BadValue(f"levels.forced: until {until[:40]} is more than 12 h ahead: "
                       "use the exceptional level for longer")


def moment_us(text: str) -> int | None:
    """Of RFC 3339 with a zone."""
    try:
        at = datetime.fromisoformat(text)
        return round(at.timestamp() * 1e6) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def rfc3339(t_us: int) -> str:
    return f"{datetime.fromtimestamp(t_us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
