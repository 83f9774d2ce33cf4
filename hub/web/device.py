"""The device page: plugins, values, alerts, log; its event stream; taking it off the fleet."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, g, jsonify, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from hub.fleet.facts import SYS, facts, from_history
from hub.live import LiveDevice, NotConnected
from hub.store.errors import StoreError
from hub.store.logbook_rows import Line, Query, find
from hub.web.access import Gate, needs
from hub.web.audit import Audit
from hub.web.commands import last_commands
from hub.web.device_view import OWN, Viewer, device_view
from hub.web.house import Hut
from hub.web.pages import Parts, iso
from hub.web.sse import Changes
from hub.web.svg import sparkline
from hub.web.values import shown

TEMPLATE = "device_parts.html"
LOG_LINES = 200
COMMANDS = 20
LAST_LINES = 5
SPARK_US = 6 * 3600 * 1_000_000
SPARK_POINTS = 48
FEW_POINTS = 5
YOUNG_US = 20 * 60 * 1_000_000


def blueprint(hut: Hut, parts: Parts, audit: Audit, gate: Gate) -> Blueprint:
    bp = Blueprint("device", __name__)

    def viewer() -> Viewer:
        return Viewer.now(gate.form_token(), hut.zone.key)

    def known(device_id: str) -> LiveDevice:
        device = hut.tree.device(device_id)
        if device is None:
            abort(404, hut.texts("device.not_found", device=device_id[:80]))
        return device

    @bp.get("/device/<device_id>")
    @needs("viewer")
    def device(device_id: str) -> str:
        since = hut.feed.event_id
        live = hut.tree.device(device_id)
        if live is None:
            return from_the_history(device_id)
        return render_template("device.html", view=device_view(hut, live, viewer()), since=since,
                               log=hut.tree.log(device_id), last=last_lines(device_id),
                               commands=last_commands(hut.history.reader, COMMANDS, device_id) if commands() else [],
                               note=hut.notes.get(request.args.get("note", ""), g.caller.name))

    def last_lines(device_id: str) -> list[Line]:
        """Its newest ones in the logbook; none while that cannot be read."""
        try:
            return find(hut.alerts, Query(machine=device_id, commands=commands()), LAST_LINES)
        except StoreError:
            return []

    def commands() -> bool:
        """Who may command may see who commanded."""
        return bool(g.caller.role != "viewer")

    def from_the_history(device_id: str) -> str:
        row = hut.history.overview().devices.get(device_id)
        if row is None:
            abort(404, hut.texts("device.not_found", device=device_id[:80]))
        series = hut.history.reader.series(device_id)
        of = from_history(row.device, row.name, row.last_us, row.agent_version)
        return render_template("device_history.html", facts=of, series=series)

    @bp.get("/events/device/<device_id>")
    @needs("viewer")
    def events(device_id: str) -> Response:
        known(device_id)
        secret = g.session_secret
        since = request.headers.get("Last-Event-ID") or request.args.get("since", "")
        return hut.streams.response(device_id, since, _Stream(hut, parts, device_id, log_n(), viewer()).event,
                                    lambda: hut.accounts.session(secret, active=False) is not None)

    @bp.get("/poll/device/<device_id>")
    @needs("viewer")
    def poll(device_id: str) -> Response:
        known(device_id)
        return jsonify(_Stream(hut, parts, device_id, log_n(), viewer()).event(None))

    def log_n() -> int:
        text = request.args.get("log", "")
        return int(text) if text.isdecimal() and len(text) < 16 else 0

    @bp.get("/device/<device_id>/sparks")
    @needs("viewer")
    def sparks(device_id: str) -> Response:
        """The last hours of each numeric series, drawn: after the page, so that the page itself is quick."""
        now = hut.now_us()
        drawn = {}
        for row in hut.history.series_of(device_id).values():
            if row.t_us > now - SPARK_US and not isinstance(row.value, str | dict | list):
                chart = hut.history.reader.chart(row.id, now - SPARK_US, now, SPARK_POINTS)
                if len(chart.t_us) < FEW_POINTS:  # a young series: its first minutes are worth a line too
                    near = hut.history.reader.chart(row.id, now - YOUNG_US, now, SPARK_POINTS)
                    chart = max(chart, near, key=lambda one: len(one.t_us))
                drawn[str(row.id)] = str(sparkline(chart))
        return jsonify(drawn)

    @bp.post("/device/<device_id>/log")
    @needs("viewer")
    def log(device_id: str) -> tuple[Response, int]:
        """The device's own last lines, by request over MQTT."""
        known(device_id)
        try:
            answer = hut.client.request(device_id, "log_tail", {"lines": LOG_LINES})
        except NotConnected as error:
            return jsonify(error=str(error)), 502
        if answer.status != "ok":
            return jsonify(error=answer.error or answer.status), 502
        lines = answer.data.get("lines") if isinstance(answer.data, dict) else answer.data
        return jsonify(lines=[log_line(line) for line in lines[-LOG_LINES:]] if isinstance(lines, list) else []), 200

    @bp.post("/device/<device_id>/remove")
    @needs("admin")
    def remove(device_id: str) -> BaseResponse:
        live = hut.tree.device(device_id)
        if live is None and device_id not in hut.history.overview().devices:
            abort(404, hut.texts("device.not_found", device=device_id[:80]))
        try:
            if live is not None:
                if live.state in ("ready", "init", "sleeping"):
                    raise NotConnected(hut.texts("device.remove_connected"))
                cleared = hut.client.clear_device(device_id)
            else:
                cleared = 0
        except NotConnected as error:
            audit.note("remove device", device_id, result=f"refused: {error}")
            return redirect(f"/device/{device_id}?note={hut.notes.add(g.caller.name, str(error), ok=False)}", 303)
        hut.accounts.db.remove_device(device_id, hut.now_us())
        audit.note("remove device", device_id, detail=f"{cleared} retained topics cleared")
        return redirect(f"/?removed={_query(device_id)}", 303)

    return bp


def log_line(line: Any) -> list[str]:
    """(when, level, text) of a line as the agent tells it: an object ``{t, level, logger, message}`` or plain text."""
    if not isinstance(line, dict):
        return ["", "", str(line)[:2000]]
    level = str(line.get("level", ""))
    where = f"{line['logger']}: " if line.get("logger") else ""
    return [str(line.get("t", ""))[:40], {"warning": "warn", "critical": "fatal"}.get(level, level)[:10],
            f"{where}{line.get('message', '')}"[:2000]]


def _query(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


class _Stream:
    """What one open device page was told."""

    def __init__(self, hut: Hut, parts: Parts, device_id: str, log_n: int, by: Viewer) -> None:
        """``log_n``: number of the last log line that the page has."""
        self._by = by
        self._hut = hut
        self._parts = parts
        self._id = device_id
        self._seen: tuple[object, ...] = ()
        self._log_n = log_n

    def event(self, changes: Changes | None) -> dict[str, Any] | None:
        device = self._hut.tree.device(self._id)
        if device is None:
            return {"gone": True}
        event: dict[str, Any] = {}
        # a value needs no look at the rest: this is the way from the sensor to the eye
        values = [(key[1], key[2]) for key in changes or () if key[0] == "v"]
        plain = {key for key in values if key[1] not in OWN and key[0] != SYS}
        if changes is None or len(plain) < len(changes) or not changes:
            event = self._rest(device, changes)
        shown_values = plain | {key for key in values if key[0] == SYS}
        if shown_values:
            event["values"] = self._values(device, shown_values)
        return event or None

    def _values(self, device: LiveDevice, keys: set[tuple[str, str]]) -> dict[str, list[str]]:
        made = {}
        for node_id, prop_id in keys:
            node = device.description.nodes.get(node_id) if device.description else None
            prop = node.properties.get(prop_id) if node else None
            if prop is not None:
                value = shown(device.value(node_id, prop_id), prop, self._hut.texts)
                made[f"v-{node_id}-{prop_id}"] = [value.text, value.unit]
        return made

    def _rest(self, device: LiveDevice, changes: Changes | None) -> dict[str, Any]:
        event: dict[str, Any] = {}
        kinds = {key[0] for key in changes or ()}
        of = facts(device, self._hut.now_us())
        ages = {node.id: node.last_us for node in of.nodes if node.last_us is not None}
        # stamps alone move every second: they are told as ages; anything else draws the page's body anew
        still = (of.state, of.since_us, of.clock, bool(of.ahead_us), of.backlog, of.version, of.alerts,
                 [(node.id, node.health, node.silent, node.ahead, node.errors) for node in of.nodes])
        if changes is None or "device" in kinds or (self._seen and still != self._seen):
            view = device_view(self._hut, device, self._by)
            event["body"] = self._parts.macro(TEMPLATE, "body", view)
        elif changes:
            event["ages"] = ages
        self._seen = still
        lines = self._hut.tree.log(self._id, self._log_n)
        if lines:
            self._log_n = lines[-1].n
            event["log"] = [[line.n, iso(line.t_us), line.level, line.text] for line in lines]
        if "s" in kinds:
            event["stored"] = sorted(str(key[1]) for key in changes or () if key[0] == "s")
        return event
