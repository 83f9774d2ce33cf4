"""The status report, made from what is known here without asking anybody: pure, with the time handed in.

Liveness is progress (DESIGN section 8): the age of the last receipt, sample or tick decides, never "connected" or
"RUNNING". What supervisord says is only believed when it says that something does not run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from agent.wire.messages import Services, ServiceState
from hub.fleet.facts import BACKLOG_S, SYS, DeviceFacts, NodeFacts, facts
from hub.live import LiveDevice
from hub.store.watch_rows import Canary
from hub.watch.figures import figures
from hub.watch.model import Machine, Service, State
from hub.watch.supply import supplies_of as supplies_of

HERE = ("ready", "init", "sleeping")
AGENT = ("uplink", "watchdog")
TOLD_US = 11 * 60 * 1_000_000
"""A device tells of its services every five minutes: what is older says nothing any more."""
RECEIPT_US = 30 * 60 * 1_000_000
"""A device that samples has a receipt by then; ``sys/last-receipt`` is told to the minute."""
FIRST_US = 90_000_000
"""A service may take this long to do its first work."""
STANDING = ("fatal", "stopped", "exited", "unknown", "backoff")
RANK: dict[State, int] = {"failed": 0, "stopped": 1, "slow": 2, "starting": 3, "unknown": 4, "away": 5, "ok": 6}


def device_machine(device: LiveDevice, now_us: int, canary: Canary | None = None, *,
                   of: DeviceFacts | None = None) -> Machine:
    """One device and its services."""
    of = of or facts(device, now_us)
    told = services_of(device)
    here = device.state in HERE
    services = tuple(sorted(_services(device, of, told, here, now_us),
                            key=lambda one: (one.kind == "plugin", one.name)))
    state, words = _machine_state(of, services, here)
    progress_us = max((at for at in (of.last_us, of.receipt_us) if at is not None), default=None)
    return Machine(of.id, of.name, "device", state, words, of.since_us, progress_us, services,
                   figures(device, of), canary, of.version, of.waiting_samples, of.waiting_age_s)


def services_of(device: LiveDevice) -> Services | None:
    """What the device's watchdog last told; None: an older agent, or nobody watches."""
    raw = device.value(SYS, "services")
    if not raw:
        return None
    try:
        told: Services = msgspec.json.decode(raw, type=Services)
    except (msgspec.DecodeError, RecursionError):
        return None
    return told


def _machine_state(of: DeviceFacts, services: Iterable[Service], here: bool) -> tuple[State, str]:
    if not here:
        return "away", ""
    if of.state == "silent":
        return "failed", "connected, but nothing new is measured"
    if of.state == "init":
        return "starting", ""
    bad = [one for one in services if one.state in ("failed", "stopped", "slow")]
    worst: State = min((one.state for one in bad), key=RANK.__getitem__, default="ok")
    return ("slow" if worst in ("failed", "stopped") else worst), ", ".join(one.name for one in bad)


def _services(device: LiveDevice, of: DeviceFacts, told: Services | None, here: bool, now_us: int) -> list[Service]:
    made = [_uplink(of, told, here, now_us)]
    programs = told.services if told is not None else {}
    fresh = told is not None and told.at_us is not None and now_us - told.at_us < TOLD_US
    home = {instance: (name, state) for name, state in programs.items() for instance in state.plugins}
    nodes: dict[str, list[NodeFacts]] = {}
    for node in of.nodes:
        nodes.setdefault(node.plugin, []).append(node)
    declared = set(device.reported.plugins) if device.reported is not None else set()
    for instance in sorted({*declared, *nodes, *home}):
        made.append(_plugin(instance, nodes.get(instance, []), home.get(instance), here, now_us,
                            dict((alert_id, text) for alert_id, text, _ in of.alerts)))
    for name, state in programs.items():
        if name != "uplink" and not state.plugins:
            made.append(_program(name, state, told.at_us if told else None, here, fresh))
    return made


def _uplink(of: DeviceFacts, told: Services | None, here: bool, now_us: int) -> Service:
    """Its progress is the receipt: what it brought to the hub's disk."""
    own = told.services.get("uplink") if told is not None else None
    state: State = "ok"
    words = ""
    if not here:
        state = "away"
    elif of.waiting_age_s > BACKLOG_S:
        state, words = "slow", f"{of.waiting_samples} samples wait, the oldest for {round(of.waiting_age_s)} s"
    elif of.receipt_us is None:
        state = "starting"
    elif of.nodes and now_us - of.receipt_us > RECEIPT_US and (of.last_us or 0) > of.receipt_us + RECEIPT_US // 2:
        state, words = "failed", "samples are measured and none gets a receipt"
    return Service("uplink", "agent", state, own.since_us if own else None, of.receipt_us,
                   own.restarts if own else None, own.last_end if own else "", words, "", "uplink" if own else "",
                   "uplink" if own else "agent")


def _plugin(instance: str, nodes: list[NodeFacts], home: tuple[str, ServiceState] | None, here: bool, now_us: int,
            alerts: Mapping[str, str]) -> Service:
    progress = max((node.last_us for node in nodes if node.last_us is not None), default=None)
    health = next((node.health for node in nodes if node.id == instance), nodes[0].health if nodes else "")
    own = home[1] if home is not None else None
    words = next((alerts[key] for key in (f"crashloop-{instance}", f"hung-{instance}", f"health-{instance}",
                                          f"stale-{instance}") if key in alerts), "")
    state: State
    if not here:
        state = "away"
    elif own is not None and own.state in STANDING:
        state = "stopped" if own.state == "stopped" else "failed"
        words = words or f"does not run ({own.state}{', ' + own.last_end if own.last_end else ''})"
    elif health == "failed" or (nodes and all(node.silent for node in nodes)):
        state = "failed"
    elif health == "disabled":
        state = "stopped"
    elif health == "degraded" or any(node.silent for node in nodes):
        state = "slow"
    elif progress is None:
        young = own is not None and own.since_us is not None and now_us - own.since_us < FIRST_US
        state = "starting" if young or health == "" else "ok" if health == "ok" else "unknown"
    else:
        state = "ok"
    return Service(instance, "plugin", state, own.since_us if own else None, progress, own.restarts if own else None,
                   own.last_end if own else "", words[:300], "", instance if own else "",
                   f"plugin:{instance}" if own else "")


def _program(name: str, own: ServiceState, at_us: int | None, here: bool, fresh: bool) -> Service:
    """A guard or the watchdog: it does its work when its file moves."""
    guard = name.startswith("guard-")
    progress = at_us - round(own.still_s * 1e6) if at_us is not None and own.still_s is not None else None
    words = ""
    state: State
    if not here:
        state = "away"
    elif own.state in STANDING:
        state = "stopped" if own.state == "stopped" else "failed"
        words = f"does not run ({own.state}{', ' + own.last_end if own.last_end else ''})"
    elif not fresh:
        state = "unknown"
    elif own.still_s is None:
        state = "starting" if own.state == "starting" else "unknown"
    elif own.limit_s is not None and own.still_s > own.limit_s:
        state, words = "failed", f"has not moved for {round(own.still_s)} s"
    else:
        state = "ok"
    return Service(name, "guard" if guard else "agent", state, own.since_us, progress, own.restarts, own.last_end,
                   words, "", name, f"guard:{name.removeprefix('guard-')}" if guard else name if name in AGENT else "")


