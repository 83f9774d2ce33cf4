"""Devices for the report, as an agent tells of them: through the real live tree."""

from __future__ import annotations

import json
from typing import Any

from agent.api import Property
from agent.wire import messages, topics
from agent.wire.messages import NodeDeclaration, PluginDeclaration, Reported, Services, ServiceState
from hub.live import Feed, LiveTree
from hub.watch.supply import LINE, POWER
from hub.web.pages import iso

NOW_US = 1_795_000_000_000_000
S = 1_000_000
HOST = {"memory-used-percent": "41.5", "memory-available-bytes": "2400000000", "soc-temperature-c": "51.2",
        "uptime-s": "86400", "under-voltage": "false", "under-voltage-since-boot": "true", "emmc-wear-percent": "10"}
DISK = {"free-bytes": "2000000000", "total-bytes": "32000000000", "fill-trend": "filling", "days-until-full": "9.4",
        "read-only": "false"}


def running(at_us: int, **changes: ServiceState) -> dict[str, ServiceState]:
    since = at_us - 3600 * S
    found = {"uplink": ServiceState("running", since, pid=10),
             "watchdog": ServiceState("running", since, still_s=3.0, limit_s=30.0, pid=11),
             "plugin-heater": ServiceState("running", since, still_s=4.0, limit_s=30.0, plugins=("heater",), pid=12),
             "guard-heater": ServiceState("running", since, still_s=0.4, limit_s=15.0, pid=13),
             "plugin-host": ServiceState("running", since, 2, "killed by SIGKILL", 9.0, 30.0, ("host",), 14)}
    return found | {name.replace("_", "-"): one for name, one in changes.items()}


class Trees:
    """One live tree; ``device`` says all that a device of ours says."""

    def __init__(self, now_us: int = NOW_US) -> None:
        self.now_us = now_us
        self.tree = LiveTree(Feed())

    def send(self, topic: str, payload: str | bytes) -> None:
        self.tree.apply(topic, payload.encode() if isinstance(payload, str) else payload, retained=True,
                        now_us=self.now_us)

    def device(self, device: str = "attic", *, state: str = "ready", ago_s: float = 2.0, receipt_s: float = 5.0,
               told_s: float = 10.0, services: dict[str, ServiceState] | None = None, supply: bool | None = None,
               **values: str) -> None:
        now = self.now_us
        nodes: dict[str, Any] = {name: {"name": name.title(), "properties": {
            "health": {"datatype": "enum"}, "last-update": {"datatype": "datetime"}}} for name in ("heater", "host")}
        nodes["disk-root"] = {"name": "Disk /", "properties": {name: {"datatype": "float"} for name in DISK}}
        if supply is not None:
            nodes["power"] = {"name": "Mains and UPS", "properties": {POWER: {"datatype": "boolean"}}}
        self.send(topics.state(device), "init")
        self.send(topics.description(device), json.dumps({"homie": "5.0", "version": 1, "name": device.title(),
                                                          "nodes": nodes}))
        told = running(now - round(told_s * S)) if services is None else services
        sent = {
            "heater/health": "ok", "heater/last-update": iso(now - round(ago_s * S)), "host/health": "ok",
            "disk-root/last-update": iso(now - round(ago_s * S)),
            "host/last-update": iso(now - round(ago_s * S)), "sys/last-receipt": iso(now - round(receipt_s * S)),
            "sys/outbox-oldest-age-s": "0.5", "sys/outbox-samples": "3", "sys/clock-quality": "synced",
            "sys/version": "0.1", "sys/services": messages.encode(Services(now - round(told_s * S), told)).decode(),
            **{f"host/{name}": value for name, value in HOST.items()},
            **{f"disk-root/{name}": value for name, value in DISK.items()},
        }
        if supply is not None:
            sent |= {f"power/{POWER}": str(supply).lower(), f"power/{LINE}": "true"}
        sent |= {key.replace("__", "/").replace("_", "-"): value for key, value in values.items()}
        for topic, value in sent.items():
            self.send(f"{topics.homie(device)}/{topic}", value)
        prop = Property(name="x", datatype="float", max_age_s=60.0)
        self.send(topics.reported(device), messages.encode(Reported(device.title(), "0.1", {
            name: PluginDeclaration(name, name, name.title(), 10.0, tuple(
                NodeDeclaration(node, node.title(), (prop,)) for node in of))
            for name, of in (("heater", ("heater",)), ("host", ("host", "disk-root")))})))
        self.send(topics.state(device), state)
