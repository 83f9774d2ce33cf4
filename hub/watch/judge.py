"""From machines and services to conditions: what is wrong, what is safe, what to do. Pure.

What a device says itself of a plugin (``$alert``, ``health``) is the business of others; here is what it cannot say: a
guard or watchdog that does not work, a part of the hub that stands still, a canary that does not come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from agent.wire.faults import Severity
from hub.alerts.model import Condition
from hub.store.watch_rows import DiskPoint
from hub.watch.canaries import EVERY_US, LATE_US
from hub.watch.forecast import days_until_full, per_day
from hub.watch.hub_side import BAD_INGEST, HUB
from hub.watch.model import Machine, Service

OVERDUE_US = EVERY_US + LATE_US
HOLD_US = 15_000_000
"""A part or service that is restarted is down for a moment: nothing is said of that."""
ECHO_LATE_S = 45.0
DISK_FULL_SOON_DAYS = 7.0
DISK_LOW, DISK_LEAST = 0.10, 0.03
DISK_LEAST_BYTES = 300 << 20
DEADMAN_US = 5 * 60 * 1_000_000
ELSEWHERE = ("broker", "ingest")
"""``hub.alerts.hub_side`` tells of ingest and of a broker that is away."""
KEPT = "the devices go on and keep their samples"
DO_PART = "look at its log on the page Status report; hutkeeper-hub run starts it again by itself"


class Since:
    """Since when each condition holds, and only those that have held for a while."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}

    def held(self, found: Iterable[Condition], now_us: int) -> list[Condition]:
        """Those that stand for HOLD_US; ``since_us`` is when they were first seen, if they do not know it."""
        now = {one.key: one for one in found}
        self._first = {key: min(self._first.get(key, now_us), now_us) for key in now}
        return [replace(one, since_us=one.since_us or self._first[key]) for key, one in now.items()
                if now_us - self._first[key] >= HOLD_US]


def hub(machine: Machine, now_us: int, *, echo_s: float, connected: bool,
        points: Sequence[DiskPoint] = ()) -> Iterable[Condition]:
    for service in machine.services:
        if service.state == "failed" and service.name not in ELSEWHERE:
            yield Condition(f"hub:{service.name}", "hub", "error",
                            f"the hub's {service.name} makes no progress: {service.words}"[:200],
                            service.progress_us or 0, kept=KEPT, do=DO_PART, of_absence=True)
    if echo_s > ECHO_LATE_S and connected:
        yield Condition("hub:broker", "broker", "error",
                        "the broker brings nothing back: it stands still, or this machine has too much to do",
                        now_us - round(echo_s * 1e6), kept=KEPT, do=DO_PART, of_absence=True)
    yield from _disk(machine, points)


def trouble(found: Iterable[Condition], machine: Machine) -> str:
    """What somebody outside has to hear of at once: critical trouble of the hub itself, in one line without names."""
    for one in found:
        if one.severity == "critical" and one.key in ("hub:disk", "hub:outbox"):
            return one.title
    ingest = next((one for one in machine.services if one.name == "ingest"), None)
    return f"ingest: {BAD_INGEST[ingest.fault]}" if ingest is not None and ingest.fault in BAD_INGEST else ""


def _disk(machine: Machine, points: Sequence[DiskPoint]) -> Iterable[Condition]:
    for disk in machine.figures.disks:
        if not disk.total_bytes or disk.free_bytes is None:
            continue
        part = disk.free_bytes / disk.total_bytes
        least = part < DISK_LEAST or disk.free_bytes < DISK_LEAST_BYTES
        days = days_until_full(points, disk.free_bytes)
        soon = days is not None and days < DISK_FULL_SOON_DAYS
        if least or part < DISK_LOW or soon:
            growth = per_day(points, "used_bytes")
            own = f", the hub's own data grow by {_mib(growth)} a day" if growth and growth > 0 else ""
            when = f", full in {days:.0f} days" if days is not None and soon else ""
            yield Condition("hub:disk", "hub", "critical" if least else "warning",
                            f"the hub's disk has {_mib(disk.free_bytes)} free ({100 * part:.0f} %){when}{own}", 0,
                            kept="all that is stored; when it is full, devices keep their samples",
                            do="free some space, or keep less in hub.toml [retention]")


def _mib(size: float) -> str:
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.0f} MiB"


def services(machine: Machine) -> Iterable[Condition]:
    """What its own device cannot tell: guard, watchdog, uplink."""
    if machine.state == "away":
        return
    for one in machine.services:
        if one.kind != "plugin" and one.state in ("failed", "stopped"):
            grave: Severity = "critical" if one.kind == "guard" else "error"
            yield Condition(f"service:{machine.id}/{one.name}", f"device:{machine.id}", grave,
                            f"{machine.name}: {one.name} makes no progress: {one.words}"[:200], one.progress_us or 0,
                            kept=_kept(one), do="restart it on the page Status report; look at its log there",
                            of_absence=True)


def _kept(service: Service) -> str:
    if service.kind == "guard":
        return "without its guard an actuator is off"
    return "samples are kept on the device" if service.name == "uplink" else "plugins go on"


def canary(machine: Machine, here_since_us: int | None, now_us: int) -> Iterable[Condition]:
    """``here_since_us``: since when the device is connected, as notify saw it; None: it is not."""
    if here_since_us is None or not any(service.log for service in machine.services):
        return  # away, or an agent without canaries
    last_us = machine.canary.t_us if machine.canary is not None else 0
    due_us = max(last_us, here_since_us) + EVERY_US
    if now_us > due_us + LATE_US:
        last = "has never come" if machine.canary is None else "is overdue"
        yield Condition(f"canary:{machine.id}", f"device:{machine.id}", "error",
                        f"{machine.name}: the hourly canary {last}: samples may not reach the hub's rules", due_us,
                        kept="samples that have no receipt are kept on the device",
                        do="look at uplink of the device and at ingest on the page Status report", of_absence=True)


def deadman(fault: str, failing_since_us: int | None, error: str, now_us: int, began_us: int) -> Iterable[Condition]:
    if fault:
        yield Condition("hub:heartbeat", HUB, "error", f"the outside heartbeat is not sent: {fault}"[:200], began_us,
                        kept="everything else works; nobody outside would notice a dead hub",
                        do="correct [heartbeat] in hub.toml and restart the hub's notify")
    elif failing_since_us is not None and now_us - failing_since_us > DEADMAN_US:
        yield Condition("hub:heartbeat", HUB, "warning", f"the outside heartbeat is not taken: {error}"[:200],
                        failing_since_us, kept="everything else works; the one outside may say that this hub is dead",
                        do="check the internet and the URL in [heartbeat]", of_absence=True)


__all__ = ["HUB", "OVERDUE_US", "Since", "canary", "deadman", "hub", "services"]
