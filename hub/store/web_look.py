"""What the notify process has to know of web.db, read-only. Times are microseconds since 1970 UTC."""

from __future__ import annotations

from hub.store.alerts_db import AlertsReader


def attacks(web: AlertsReader, since_us: int, limit: int = 50) -> list[tuple[str, int, str]]:
    """(what was tried, when it was told, its line), the newest first. Raises StoreError."""
    return [(row["target"], int(row["t_us"]), row["result"]) for row in web.rows(
        "SELECT target, t_us, result FROM audit WHERE action = 'login attack' AND t_us >= ? ORDER BY n DESC LIMIT ?",
        since_us, limit)]


def removed(web: AlertsReader) -> set[str]:
    """Devices that somebody took off the fleet. Raises StoreError."""
    return {row["device"] for row in web.rows("SELECT device FROM removed_devices")}
