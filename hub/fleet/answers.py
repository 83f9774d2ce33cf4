"""Is everything all right? What is not, since when, and what to do: the list at the top of the fleet page. Pure.

One root cause, one line: without a broker nothing is said of devices, and of a lost device nothing is said of its
plugins, for that is how they were when it was last heard.
"""

from __future__ import annotations

import hashlib
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
    key: str = ""
    """As :class:`hub.alerts.model.Condition` names it."""
    subject: str = ""
    of_absence: bool = False
    children: int = 0
    """How many others it explains."""

    @property
    def title(self) -> str:
        """With the device that it is about."""
        return f"{self.device_name or self.device}: {self.what}" if self.device else self.what


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
    # a plugin's line may leave out what the code says anyway
    kept, do = (told or (said if said and "{" not in said else "") for told, said in (
        (found["kept"], known.kept if known else ""), (found["do"], known.do if known else "")))
    return Problem(known.severity if known else severity or "warning", what[:500], do[:300], kept[:300], since_us,
                   code=code)


def problems(
    devices: Iterable[DeviceFacts], house: House, differences: Mapping[str, int], events: Iterable[str],
    t: Texts, now_us: int,
) -> list[Problem]:
    """What needs somebody, the gravest first. ``differences``: device -> ledger difference in samples;
    ``events``: lines of the hub's own open faults."""
    events = list(events)
    if not house.broker_up:
        return [broker_down(t, house.broker_since_us), *(of_hub(line) for line in events)]
    found: list[Problem] = []
    if house.hub is None or house.hub.state != "ready":
        found.append(ingest_down(t, house.hub_since_us))
    if house.rival is not None and not any(line.startswith("E_SECOND_HUB") for line in events):
        who = t("command.rival", term=house.rival.term, generation=house.rival.generation[:20])
        found.append(of_hub(faults.line("E_SECOND_HUB", who=who)))
    if house.store_error:
        found.append(store_damaged(house.store_error))
    found.extend(of_hub(line) for line in events)
    for device in devices:
        found.extend(of_device(device, differences.get(device.id, 0), t, now_us))
    rank = {severity: place for place, severity in enumerate(ORDER)}
    return sorted(found, key=lambda problem: rank.get(problem.severity, 9))


# --- the hub ------------------------------------------------------------------------------------------------


def broker_down(t: Texts, since_us: int | None) -> Problem:
    line = faults.line("E_BROKER_DOWN", where=t("answers.of_the_hub"))
    return replace(from_line(line, since_us=since_us), key="hub:broker", subject="broker", of_absence=True)


def ingest_down(t: Texts, since_us: int | None) -> Problem:
    return Problem("error", t("answers.ingest_down"), t("answers.ingest_down_do"), t("answers.kept_on_devices"),
                   since_us, key="hub:ingest", subject="hub", of_absence=True)


def store_damaged(line: str) -> Problem:
    return replace(from_line(line, severity="error"), key="hub:store", subject="hub")


def of_hub(line: str) -> Problem:
    """A fault of the hub's own."""
    problem = from_line(line)
    mark = problem.code or hashlib.sha256(line.encode()).hexdigest()[:8]
    return replace(problem, key=f"hub:{mark}", subject="hub")


# --- a device -----------------------------------------------------------------------------------------------


def of_device(device: DeviceFacts, difference: int, t: Texts, now_us: int) -> list[Problem]:
    """All that is wrong with it."""
    return [replace(problem, device=device.id, device_name=device.name, key=problem.key or f"device:{device.id}",
                    subject=problem.subject or f"device:{device.id}")
            for problem in _of_device(device, difference, t, now_us)]


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


def _of_device(device: DeviceFacts, difference: int, t: Texts, now_us: int) -> Iterable[Problem]:
    def whole(what: str, problem: Problem, of_absence: bool = False) -> Problem:
        return replace(problem, key=f"{what}:{device.id}", of_absence=of_absence)

    alerts = {alert_id: (text, since_us) for alert_id, text, since_us in device.alerts}
    for kind, at in device.outages:
        text, since_us = alerts.pop(at, ("", None))
        yield Problem("critical" if kind == "mains" else "error", text or t(f"answers.lost_{kind}"),
                      t(f"answers.lost_{kind}_do"), t(f"answers.lost_{kind}_kept"), since_us,
                      key=f"{kind}:{device.id}/{at}", subject=kind, of_absence=kind == "internet")
    if device.state == "lost":
        yield whole("lost", Problem("error", t("answers.lost"), t("answers.lost_do"), t("answers.kept_on_device"),
                                    device.since_us or device.last_us), True)
        # what it said last of the rest is how it was; but water on the floor does not go away by itself
        for alert_id, (text, since_us) in alerts.items():
            problem = _of_alert(device, alert_id, text, since_us)
            if problem.severity == "critical" and not problem.of_absence:
                yield problem
        return
    if device.state == "unknown":
        yield whole("unknown", Problem("warning", t("answers.unknown"), t("answers.unknown_do"), "", device.last_us),
                    True)
        return
    if device.state == "disconnected":
        return
    if device.state == "ahead":
        yield whole("ahead", from_line(faults.line("E_TS_FUTURE", device=device.name,
                                                   ahead=t.duration(device.ahead_us / 1e6))))
    elif device.clock == "unsynced":
        yield whole("unsynced", from_line(faults.line("W_CLOCK_UNSYNCED")))
    if device.state == "silent":
        yield whole("silent", Problem("error", t("answers.silent"), t("answers.silent_do"), "", device.last_us), True)
    if device.state == "init" and device.since_us is not None and now_us - device.since_us > STARTING_US:
        yield whole("starting", Problem("warning", t("answers.starting"), t("answers.starting_do"), "",
                                        device.since_us))
    told = set()
    for alert_id, (text, since_us) in alerts.items():
        problem = _of_alert(device, alert_id, text, since_us)
        told.add(problem.code)
        if problem.code != "W_CLOCK_UNSYNCED" or device.clock != "unsynced":
            yield problem
    for node in device.bad_nodes:
        unwell = _of_node(node, device, t)
        if unwell is not None and f"health-{node.plugin}" not in alerts and f"stale-{node.id}" not in alerts:
            yield unwell
    if device.backlog and "E_NO_RECEIPT" not in told:
        yield whole("backlog", Problem(
            "warning", t("answers.backlog", samples=t.count(device.waiting_samples),
                         age=t.duration(device.waiting_age_s)),
            t("answers.backlog_do"), t("answers.kept_on_device"), now_us - round(device.waiting_age_s * 1e6)), True)
    if difference:
        yield whole("ledger", Problem("error", t("answers.ledger", n=t.count(difference)), t("answers.ledger_do")))


ABSENT = ("E_NO_RECEIPT", "E_BROKER_DOWN", "E_BROKER_STALL", "E_SENSOR_ABSENT")
"""Codes that say that something does not come."""


def _of_alert(device: DeviceFacts, alert_id: str, text: str, since_us: int | None) -> Problem:
    """A ``$alert`` of the device; its id says what it is about."""
    word, _, rest = alert_id.partition("-")
    problem = replace(from_line(text, since_us=since_us), key=f"alert:{device.id}:{alert_id}")
    if word == "health" and rest in device.plugins:
        grave = any(node.health == "failed" for node in device.nodes if node.plugin == rest)
        return replace(problem, severity="error" if grave and not problem.code else problem.severity,
                       subject=f"plugin:{device.id}/{rest}", of_absence=True)
    if word == "stale":
        of = max((node for node in device.nodes if rest == node.id or rest.startswith(f"{node.id}-")),
                 key=lambda node: len(node.id), default=None)
        if of is not None:
            prop = rest[len(of.id) + 1 :]
            kind = f"property:{device.id}/{of.id}/{prop}" if prop else f"plugin:{device.id}/{of.id}"
            return replace(problem, subject=kind, of_absence=True)
    if word == "rule":
        return problem
    instance = max((name for name in device.plugins if alert_id == name or alert_id.endswith(f"-{name}")
                    or alert_id.startswith(f"{name}-")), key=len, default="")
    return replace(problem, subject=f"plugin:{device.id}/{instance}" if instance else "",
                   of_absence=problem.code in ABSENT)


def _of_node(node: NodeFacts, device: DeviceFacts, t: Texts) -> Problem | None:
    at = {"key": f"plugin:{device.id}/{node.id}", "subject": f"plugin:{device.id}/{node.id}", "of_absence": True}
    if node.health in ("failed", "degraded"):
        severity = "error" if node.health == "failed" else "warning"
        return Problem(severity, t(f"answers.plugin_{node.health}", name=node.name), t("answers.plugin_do", id=node.id),
                       "", node.last_us if node.health == "failed" else None, **at)  # type: ignore[arg-type]
    if node.silent and device.state != "silent":
        return Problem("warning", t("answers.plugin_silent", name=node.name), t("answers.plugin_do", id=node.id), "",
                       node.last_us, **at)  # type: ignore[arg-type]
    return None
