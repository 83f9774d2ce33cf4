"""The same thing in many places at once is one alert with the list of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hub.alerts.graph import device_of
from hub.store.alert_rows import Row

LEAST = 4
"""As many as three are still told one by one, as on the fleet page."""
JOIN_US = 60_000_000
"""What comes so soon after a group was told belongs to it; what comes later is news."""
PREFIX = "group:"
SUBJECT = "group"


def kind_of(row: Row) -> tuple[str, str, str]:
    """What alerts that are told together have in common; a group that is open is known by the same."""
    if row.key.startswith(PREFIX):
        _, what, code, _ = row.key.split(":", 3)
        return what, code, row.severity
    source, _, rest = row.key.partition(":")
    if source == "rule":
        return f"rule-{rest.partition(':')[0]}", row.code, row.severity
    if source == "alert":
        name = rest.partition(":")[2]
        if not name.startswith("rule-"):
            name = row.code or name.partition("-")[0]  # stale-heater-power-w, health-heater: the agent's own words
        return f"alert-{name}", row.code, row.severity
    if source in ("lost", "silent", "unknown", "starting", "ahead", "unsynced", "backlog", "ledger", "plugin"):
        return source, row.code, row.severity
    return row.key, row.code, row.severity  # there is one of it


def key_of(kind: tuple[str, str, str], group_id: int) -> str:
    return f"{PREFIX}{kind[0].replace(':', '-')}:{kind[1].replace(':', '-')}:{group_id}"


def title_of(members: Sequence[Row]) -> str:
    """``7 devices: no longer connected``"""
    devices = {device_of(row.subject) for row in members}
    of = "devices" if len(devices) == len(members) and "" not in devices else "places"
    whats = {row.title.partition(": ")[2] or row.title for row in members[:50]}
    more = "" if len(whats) == 1 else ", and the like"
    first = members[0].title
    return f"{len(members)} {of}: {first.partition(': ')[2] or first}{more}"
