"""Is everything all right? What is not, since when, and what to do: the list at the top of the fleet page. Pure.

One root cause, one line: without a broker nothing is said of devices, and of a lost device nothing is said of its
plugins, for that is how they were when it was last heard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from agent.wire import faults
from agent.wire.messages import HubState
from hub.fleet.facts import DeviceFacts, NodeFacts, stamp_us
from hub.web.texts import Texts

ORDER = ("critical", "error", "warning", "info")
FAULT_LINE = re.compile(
    r"(?P<code>[EW]_[A-Z_]{3,40}) (?P<what>.*?)(?:; kept: (?P<kept>.*?))?(?:; do: (?P<do>.*))?", re.S
)
SINCE = re.compile(r" since (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\Z")
STARTING_US = 120_000_000


class Problem(Struct, frozen=True):
    severity: str
    what: str
    do: str
    kept: str = ""
    since_us: int | None = None
    device: str = ""
    device_name: str = ""
    code: str = ""


class House(Struct, frozen=True):
    """The hub's own condition."""

    broker_up: bool
    broker_since_us: int | None
    hub: HubState | None
    hub_since_us: int | None
    store_error: str = ""
    """What reading the history said, one line, or ''."""
    rival: HubState | None = None
    """Another hub that rules on the broker (B13)."""


def from_line(line: str, *, severity: str = "", since_us: int | None = None) -> Problem:
    """A problem from a fault's one line (``agent.wire.faults.line``), or from any other text."""
    found = FAULT_LINE.fullmatch(line.strip())
    if found is None:
        return Problem(severity or "warning", line[:500], "", since_us=since_us)
    code, what = found["code"], found["what"]
    since = SINCE.search(what)
    if since is not None:
        what = what[: since.start()]
        since_us = stamp_us(since[1])
    known = faults.FAULTS.get(code)
    return Problem(known.severity if known else severity or "warning", what[:500], (found["do"] or "")[:300],
                   (found["kept"] or "")[:300], since_us, code=code)


def problems(
    devices: Iterable[DeviceFacts], house: House, differences: Mapping[str, int], events: Iterable[str],
    t: Texts, now_us: int,
) -> list[Problem]:
    """What needs somebody, the gravest first. ``differences``: device -> ledger difference in samples;
    ``events``: lines of the hub's own open faults."""
    found: list[Problem] = []
    if not house.broker_up:
        broker = from_line(faults.line("E_BROKER_DOWN", where=t("answers.of_the_hub")), since_us=house.broker_since_us)
        return [broker, *(from_line(line) for line in events)]
    if house.hub is None or house.hub.state != "ready":
        found.append(Problem("error", t("answers.ingest_down"), t("answers.ingest_down_do"),
                             t("answers.kept_on_devices"), house.hub_since_us))
    events = list(events)
    if house.rival is not None and not any(line.startswith("E_SECOND_HUB") for line in events):
        who = t("command.rival", term=house.rival.term, generation=house.rival.generation[:20])
        found.append(from_line(faults.line("E_SECOND_HUB", who=who)))
    if house.store_error:
        found.append(from_line(house.store_error, severity="error"))
    found.extend(from_line(line) for line in events)
    for device in devices:
        of_device = list(_of_device(device, differences.get(device.id, 0), t, now_us))
        found.extend(_named(problem, device) for problem in of_device)
    rank = {severity: place for place, severity in enumerate(ORDER)}
    return sorted(found, key=lambda problem: rank.get(problem.severity, 9))


class Group(Struct, frozen=True):
    """One line for the eye: a problem, and the devices that have it in the very same words."""

    problem: Problem
    devices: tuple[tuple[str, str], ...]
    """(id, name)"""


TOGETHER = 3
"""As many devices with the same problem are still told one by one."""


def grouped(found: Iterable[Problem]) -> list[Group]:
    """Ten devices without power are one thing to see to, not ten. Keeps the order; the oldest ``since`` counts."""
    alike: dict[tuple[str, str, str], list[Problem]] = {}
    for problem in found:
        alike.setdefault((problem.severity, problem.what, problem.do), []).append(problem)
    groups = []
    for same in alike.values():
        if len(same) <= TOGETHER or not all(problem.device for problem in same):
            groups += [Group(problem, ((problem.device, problem.device_name),) if problem.device else ())
                       for problem in same]
            continue
        since = [problem.since_us for problem in same if problem.since_us is not None]
        devices = tuple(dict.fromkeys((problem.device, problem.device_name) for problem in same))
        groups.append(Group(replace(same[0], since_us=min(since, default=None)), devices))
    return groups


def _named(problem: Problem, device: DeviceFacts) -> Problem:
    return Problem(problem.severity, problem.what, problem.do, problem.kept, problem.since_us, device.id, device.name,
                   problem.code)


def _of_device(device: DeviceFacts, difference: int, t: Texts, now_us: int) -> Iterable[Problem]:
    if device.state == "lost":
        yield Problem("error", t("answers.lost"), t("answers.lost_do"), t("answers.kept_on_device"),
                      device.since_us or device.last_us)
        return
    if device.state == "unknown":
        yield Problem("warning", t("answers.unknown"), t("answers.unknown_do"), "", device.last_us)
        return
    if device.state == "disconnected":
        return
    if device.state == "ahead":
        yield from_line(faults.line("E_TS_FUTURE", device=device.name, ahead=t.duration(device.ahead_us / 1e6)))
    elif device.clock == "unsynced":
        yield from_line(faults.line("W_CLOCK_UNSYNCED"))
    if device.state == "silent":
        yield Problem("error", t("answers.silent"), t("answers.silent_do"), "", device.last_us)
    if device.state == "init" and device.since_us is not None and now_us - device.since_us > STARTING_US:
        yield Problem("warning", t("answers.starting"), t("answers.starting_do"), "", device.since_us)
    told = set()
    for _, text, since_us in device.alerts:
        problem = from_line(text, since_us=since_us)
        told.add(problem.code)
        yield problem
    for node in device.bad_nodes:
        unwell = _of_node(node, device, t)
        if unwell is not None:
            yield unwell
    if device.backlog and "E_NO_RECEIPT" not in told:
        yield Problem("warning", t("answers.backlog", samples=t.count(device.waiting_samples),
                                   age=t.duration(device.waiting_age_s)),
                      t("answers.backlog_do"), t("answers.kept_on_device"), now_us - round(device.waiting_age_s * 1e6))
    if difference:
        yield Problem("error", t("answers.ledger", n=t.count(difference)), t("answers.ledger_do"))


def _of_node(node: NodeFacts, device: DeviceFacts, t: Texts) -> Problem | None:
    if node.health in ("failed", "degraded"):
        severity = "error" if node.health == "failed" else "warning"
        return Problem(severity, t(f"answers.plugin_{node.health}", name=node.name), t("answers.plugin_do", id=node.id),
                       "", node.last_us if node.health == "failed" else None)
    if node.silent and device.state != "silent":
        return Problem("warning", t("answers.plugin_silent", name=node.name), t("answers.plugin_do", id=node.id), "",
                       node.last_us)
    return None
