"""The status report: all machines and services by their progress, as a page and as JSON; restarts; a canary on demand.

Made in this process from the live tree and from small files, so that it also says when notify or ingest stand still.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
from flask import Blueprint, Response, abort, g, jsonify, render_template, request
from msgspec import Struct
from werkzeug.wrappers import Response as BaseResponse

from hub.live import LiveDevice, NotConnected
from hub.notify.asks import Away, Refused
from hub.store import watch_rows
from hub.store.errors import StoreError
from hub.store.watch_rows import Canary, DiskPoint
from hub.watch import hub_side
from hub.watch.forecast import per_day
from hub.watch.model import Machine, Report, Service
from hub.watch.report import HERE, device_machine
from hub.watch.supply import held_by, supplies_of
from hub.web.access import needs
from hub.web.audit import Audit
from hub.web.command import Desk
from hub.web.house import Hut
from hub.web.pages import Parts
from hub.web.sender import Outcome

TEMPLATE = "machines_parts.html"
NOW_S = 3.0
RESTARTS = ("agent", "host")


class Kept(Struct, frozen=True):
    """What notify keeps; '' while it can be read."""

    canaries: dict[str, Canary]
    points: list[DiskPoint]
    staged: int
    error: str = ""


class Look:
    """The report of this moment."""

    def __init__(self, hut: Hut) -> None:
        self.hut = hut

    def kept(self) -> Kept:
        try:
            rows = self.hut.alerts
            return Kept(watch_rows.canaries(rows), watch_rows.disk_points(rows), len(watch_rows.staged(rows)))
        except StoreError as error:
            return Kept({}, [], 0, str(error))

    def report(self) -> Report:
        hut, kept, now_us = self.hut, self.kept(), self.hut.now_us()
        devices = hut.tree.devices()
        of = {one.id: one for one in hut.fleet().devices}
        hub = hub_side.hub_machine(hut.settings, now_us, kept.points, broker=hut.client.connected)
        machines = [device_machine(device, now_us, kept.canaries.get(device.id), of=of.get(device.id))
                    for device in devices]
        machines.sort(key=lambda one: (rank(one), one.name.lower(), one.id))
        return Report(now_us, (hub, *machines), supplies_of(devices, hut.history.reader), kept.staged)

    def one(self, device: LiveDevice) -> Machine:
        return device_machine(device, self.hut.now_us(), self.kept().canaries.get(device.id))

    def growth(self) -> float | None:
        """Bytes a day by which the hub's own data grow."""
        return per_day(self.kept().points, "used_bytes")


def rank(machine: Machine) -> int:
    """Those first that need somebody."""
    return {"failed": 0, "slow": 1, "starting": 2, "unknown": 3, "away": 0, "ok": 4}.get(machine.state, 3)


def blueprint(hut: Hut, parts: Parts, desk: Desk, audit: Audit) -> Blueprint:
    bp = Blueprint("machines", __name__)
    look = Look(hut)
    t = hut.texts

    def known(device_id: str) -> LiveDevice:
        device = hut.tree.device(device_id)
        if device is None:
            abort(404, t("device.not_found", device=device_id[:80]))
        return device

    def commands() -> bool:
        return bool(g.caller.role != "viewer")

    @bp.get("/machines")
    @needs("viewer")
    def page() -> str:
        return render_template("machines.html", report=look.report(), growth=look.growth(), commands=commands(),
                               note=hut.notes.get(request.args.get("note", ""), g.caller.name))

    @bp.get("/poll/machines")
    @needs("viewer")
    def poll() -> Response:
        return jsonify(body=parts.macro(TEMPLATE, "body", look.report(), look.growth(), commands()), now=hut.now_us())

    @bp.get("/machines/<device_id>")
    @needs("viewer")
    def machine(device_id: str) -> str:
        return render_template("machine.html", machine=look.one(known(device_id)), commands=commands(),
                               held=held_by(hut.tree.devices()),
                               note=hut.notes.get(request.args.get("note", ""), g.caller.name))

    @bp.get("/machines/<device_id>/now")
    @needs("viewer")
    def now(device_id: str) -> tuple[Response, int]:
        """What only the device knows at this moment: memory of each service."""
        known(device_id)
        try:
            answer = hut.client.request(device_id, "services", {}, NOW_S)
        except NotConnected as error:
            return jsonify(error=str(error)), 503
        told = answer.data.get("services") if isinstance(answer.data, dict) else None
        if answer.status != "ok" or not isinstance(told, dict):
            return jsonify(error=answer.error or t("machines.older")), 502
        memory: dict[str, int] = {}
        for name, one in told.items():
            size = one.get("memory_bytes", 0) if isinstance(one, dict) else 0
            for service in (one.get("plugins") or [name]) if isinstance(one, dict) else []:
                if isinstance(size, int) and isinstance(service, str):
                    memory[service] = size
        return jsonify(memory={name: t.megabytes(size) for name, size in memory.items() if size}), 200

    @bp.get("/status_report")
    @needs("viewer", token=True)
    def report() -> Response:
        """By machine, as the older house's watchdog was to tell it."""
        return jsonify(as_json(look.report()))

    @bp.post("/machines/<device_id>/restart")
    @needs("operator")
    def restart(device_id: str) -> BaseResponse:
        device, what = known(device_id), request.form.get("what", "")
        wait_s = hut.rate.wait_s(g.caller.key)
        if wait_s > 0:
            return desk.answer(Outcome(429, t("command.wait", seconds=math.ceil(wait_s))), f"/machines/{device_id}")
        allowed = {one.restart for one in look.one(device).services if one.restart} | set(RESTARTS)
        if what not in allowed:
            abort(400)
        if what == "host" and g.caller.role != "admin":
            abort(403)
        outcome = ordered(device, what)
        audit.note("restart", f"{device_id}/{what}", result="done" if outcome.ok else f"refused: {outcome.text}")
        return desk.answer(outcome, f"/machines/{device_id}")

    def ordered(device: LiveDevice, what: str) -> Outcome:
        refused = desk.commands.refusal()
        if refused is not None:
            return refused
        holder = held_by(hut.tree.devices())
        if holder:
            try:
                hut.ask("watch.restart", {"machine": device.id, "what": what})
            except Refused as error:
                return Outcome(409, str(error))
            except Away as error:
                return Outcome(503, t("machines.held_away", holder=holder, error=str(error)))
            return Outcome(200, t("machines.waits", what=what, holder=holder))
        if device.state not in HERE:
            return Outcome(503, t("command.not_connected", device=device.id))
        try:
            answer = hut.client.request(device.id, "restart", {"what": what}, hut.command_s)
        except NotConnected as error:
            return Outcome(504, t("command.no_answer", error=str(error)), sent=True)
        if answer.status != "ok":
            return Outcome(409, answer.error or answer.status, sent=True)
        return Outcome(200, t("machines.restarting", what=what), sent=True)

    @bp.post("/machines/<device_id>/canary")
    @needs("operator")
    def canary(device_id: str) -> BaseResponse:
        known(device_id)
        try:
            answer = hut.client.request(device_id, "canary", {}, NOW_S)
            outcome = Outcome(200, t("machines.canary_sent"), sent=True) if answer.status == "ok" else \
                Outcome(409, answer.error or answer.status, sent=True)
        except NotConnected as error:
            outcome = Outcome(504, t("command.no_answer", error=str(error)), sent=True)
        audit.note("canary", device_id, result="done" if outcome.ok else f"refused: {outcome.text}")
        return desk.answer(outcome, f"/machines/{device_id}")

    return bp


def as_json(report: Report) -> dict[str, Any]:
    """One object for each machine; times are microseconds since 1970 UTC."""
    return {machine.id: {
        "name": machine.name, "kind": machine.kind, "state": machine.state, "words": machine.words,
        "since_us": machine.since_us, "progress_us": machine.progress_us, "version": machine.version,
        "waiting_samples": machine.waiting_samples,
        "services": {one.name: _service(one) for one in machine.services},
        "figures": msgspec.to_builtins(machine.figures),
        "canary": msgspec.to_builtins(machine.canary),
        "supplies": [msgspec.to_builtins(one) for one in report.supplies if one.device == machine.id],
    } for machine in report.machines}


def _service(one: Service) -> dict[str, Any]:
    return {"kind": one.kind, "state": one.state, "since_us": one.since_us, "progress_us": one.progress_us,
            "restarts": one.restarts, "last_end": one.last_end, "words": one.words}
