"""The calls of the older house's services, by their own names: ``/set_profile``, ``/announce``, ``/send_SMS`` ...

They were GETs without a password; here whatever changes something is a POST with a token that may command, and a GET
says so. Parameters come by query, form or JSON. ``OK``, ``ERROR: ...`` or the key, as text, as older programs expect.
With several heaters, announcers or modems: ``device`` and ``node``, else hub.toml's ``[calls]``, else the only one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, g, jsonify, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from hub.command.values import BadValue
from hub.heating.levels import moment_us, rfc3339
from hub.heating.shape import heater, is_heater, profiles_of
from hub.live import LiveDevice, NodeInfo, PropertyInfo
from hub.logbook import days
from hub.logbook.model import SEVERITIES
from hub.notify import asks
from hub.store import logbook_rows
from hub.web.access import needs
from hub.web.command import Desk
from hub.web.desks import speaks, texts
from hub.web.house import Hut
from hub.web.sender import Outcome
from hub.web.speak import Speaker
from hub.web.zones import local

SHAPES: dict[str, Callable[[NodeInfo], bool]] = {"heater": is_heater, "announcer": speaks, "modem": texts}
PREFIXES = ("", "/api/v1")
NONE = ("none", "null", "")
FORCES = {"force_confort": "comfort", "force_comfort": "comfort", "force_eco": "eco"}
MAX_LINES = 10_000
FORCED_US = 2 * 3600 * 1_000_000
"""How long they hold when nobody says."""


class NotFound(ValueError):
    """Which one is meant is not clear, or there is none."""


class Calls:
    def __init__(self, hut: Hut, desk: Desk) -> None:
        self.hut = hut
        self.desk = desk
        self.speaker = Speaker(hut, desk)

    def param(self, name: str, default: str = "") -> str:
        """By query, form or JSON."""
        if name in request.args:
            return request.args[name]
        if name in request.form:
            return request.form[name]
        told = request.get_json(silent=True) if request.is_json else None
        value = told.get(name, default) if isinstance(told, dict) else default
        return value if isinstance(value, str) else "None" if value is None else json.dumps(value)

    def needed(self, name: str) -> str:
        value = self.param(name)
        if not value:
            raise BadValue(self.hut.texts("calls.missing", name=name))
        return value

    def target(self, kind: str) -> tuple[LiveDevice, NodeInfo]:
        """The node that is meant. Raises NotFound naming all of them."""
        fits = SHAPES[kind]
        every = [(device, node) for device in self.hut.tree.devices() if device.description
                 for node in device.description.nodes.values() if fits(node)]
        device, node = self.param("device"), self.param("node")
        wanted = f"{device}/{node}" if device or node else getattr(self.hut.settings.calls, kind) or ""
        device, _, node = wanted.partition("/")
        found = [(d, n) for d, n in every if (not device or d.id == device) and (not node or n.id == node)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(f"device={d.id}&node={n.id}" for d, n in (found or every)[:20])
        text = "calls.several" if found else "calls.none_such" if every else "calls.none"
        raise NotFound(self.hut.texts(text, kind=self.hut.texts(f"calls.{kind}"), names=names, wanted=wanted[:80]))

    def set(self, kind: str, prop: str, make: Callable[[PropertyInfo], Any]) -> Outcome:
        device, node = self.target(kind)
        return self.desk.checked(device.id, node.id, prop, make)

    # --- the calls ----------------------------------------------------------------------------------------

    def set_profile(self) -> Outcome:
        """The base profile; the older ``force_confort`` and ``force_eco`` had no end, here they have one."""
        kind = FORCES.get(self.param("profile"))
        if kind is None:
            return self.set_base_profile()
        device, node = self.target("heater")
        value = heater(device, node).comfort(kind)
        if value is None:
            raise BadValue(self.hut.texts("heating.no_schedule"))
        until = self.expiration() or rfc3339(self.hut.now_us() + FORCED_US)
        return self.set("heater", "levels", lambda _: {"forced": {"setpoint_c": value, "until": until}})

    def set_base_profile(self) -> Outcome:
        return self.set("heater", "levels", lambda _: {"base": {"profile": self.needed("profile")}})

    def set_suppl_profile(self) -> Outcome:
        return self.passing("supplementary")

    def set_except_profile(self) -> Outcome:
        return self.passing("exceptional")

    def passing(self, level: str) -> Outcome:
        def made(_: PropertyInfo) -> dict[str, Any]:
            profile = self.needed("profile")
            if profile.lower() in NONE:
                return {level: None}
            return {level: {"profile": profile, "until": self.expiration()}}

        return self.set("heater", "levels", made)

    def expiration(self) -> str:
        """In UTC; what is no moment as it came, to be refused."""
        text = (self.param("expiration") or self.param("until")).replace(" ", "+")  # a + in a query is a space
        at = moment_us(text)
        return rfc3339(at) if at is not None else text

    def send_sms(self) -> Outcome:
        device, node = self.target("modem")
        return self.speaker.send(device.id, node.id, self.needed("msisdn"), self.needed("text"))

    def announce(self) -> Outcome:
        device, node = self.target("announcer")
        return self.speaker.say(device.id, node.id, self.needed("announce"), service=self.needed("service")[:60],
                                priority=self.param("priority"), volume=self.param("volume"), key=self.param("key"))

    def add_to_logbook(self) -> Outcome:
        """``OK``, or what is missing. Only ALARM wakes somebody; a line too much within an hour is counted."""
        told = {name: self.needed(name) for name in ("machine", "service")}
        severity = (self.param("log_type") or "INFO").lower()
        if severity not in SEVERITIES:
            raise BadValue(self.hut.texts("logbook.post_type", word=severity[:20]))
        try:
            asks.ask(self.hut.settings.hub.run_dir, "log.add",
                     {**told, "severity": severity, "text": self.needed("message")}, who=g.caller.name)
        except asks.Refused as error:
            return Outcome(400, str(error))
        except asks.Away as error:
            return Outcome(503, str(error))
        return Outcome(200, "")

    def lock(self) -> Outcome:
        return self._service("lock")

    def release(self) -> Outcome:
        return self._service("release")

    def _service(self, prop: str) -> Outcome:
        """A text for a property of text, else an object."""
        service = self.needed("service")[:60]
        return self.set("announcer", prop, lambda info: {"service": service} if info.datatype == "json" else service)

    def status(self) -> dict[str, Any]:
        """All profiles and expiries, calendars, both temperatures, relay, mode, aim."""
        device, node = self.target("heater")
        one = heater(device, node)
        above: dict[str, Any] = {level.level: {"profile": level.what, "expiration": rfc3339(level.until_us)
                                               if level.until_us is not None else None} for level in one.overrides}
        return {
            "device": one.device, "node": one.node, "connected": one.here, "mode": one.mode, "profile": one.profile,
            "base_profile": one.base or None, "suppl_profile": above.get("supplementary"),
            "except_profile": above.get("exceptional"), "forced": above.get("forced"),
            "profiles": profiles_of(one.schedule), "temperature": one.room_c, "second_temperature": one.second_c,
            "aimed_temp": one.aim_c, "relay_out": one.relay, "why": one.why,
        }


CHANGING: dict[str, Callable[[Calls], Outcome]] = {
    "/set_profile": Calls.set_profile, "/set_base_profile": Calls.set_base_profile,
    "/set_suppl_profile": Calls.set_suppl_profile, "/set_except_profile": Calls.set_except_profile,
    "/send_SMS": Calls.send_sms, "/announce": Calls.announce, "/lock": Calls.lock, "/release": Calls.release,
    "/add_to_logbook": Calls.add_to_logbook,
}


def blueprint(hut: Hut, desk: Desk) -> Blueprint:
    bp = Blueprint("seeds", __name__)
    calls = Calls(hut, desk)

    def asked() -> str:
        """For the idempotency key: the same call again, or another one with the same key?"""
        told = request.get_json(silent=True) if request.is_json else None
        return json.dumps([sorted(request.args.items()), sorted(request.form.items()), told], sort_keys=True)

    def carry(call: Callable[[Calls], Outcome]) -> Outcome:
        try:
            return call(calls)
        except BadValue as error:
            return Outcome(400, str(error))
        except NotFound as error:
            return Outcome(404, str(error))

    def add(path: str, prefix: str, call: Callable[[Calls], Outcome]) -> None:
        name = path.strip("/") + prefix.replace("/", "_")

        def run() -> Response:
            g.api = True
            outcome = desk.once(asked(), lambda: carry(call))
            return text_answer(path, outcome)

        def look() -> Response:
            response = Response(hut.texts("calls.post", path=path) + "\n", 405, mimetype="text/plain")
            response.headers["Allow"] = "POST"
            return response

        bp.add_url_rule(prefix + path, name, needs("operator", token=True)(run), methods=["POST"])
        bp.add_url_rule(prefix + path, f"{name}_get", needs("open")(look), methods=["GET"])

    for prefix in PREFIXES:
        for path, call in CHANGING.items():
            add(path, prefix, call)

    @needs("viewer", token=True)
    def status() -> Response:
        try:
            return jsonify(calls.status())
        except NotFound as error:
            response = jsonify(error=str(error))
            response.status_code = 404
            return response

    @needs("viewer", token=True)
    def logbook() -> BaseResponse:
        """The current day, newest first; a browser is shown the page."""
        if g.caller.token is None and "text/html" in request.headers.get("Accept", ""):
            return redirect("/logbook", 303)
        start_us, end_us = days.span(days.day_of(hut.now_us(), hut.zone), hut.zone)
        wanted = logbook_rows.Query(start_us, end_us, commands=g.caller.role != "viewer")
        found = logbook_rows.find(hut.alerts, wanted, MAX_LINES)
        return jsonify([{
            "date_time": f"{local(line.n, hut.zone):%Y-%m-%d %H:%M:%S}", "machine": line.machine,
            "service": line.service, "log_type": line.severity.upper(), "message": line.text, "count": line.count,
        } for line in found])

    for prefix in PREFIXES:
        bp.add_url_rule(f"{prefix}/get_logbook", "get_logbook" + prefix.replace("/", "_"), logbook, methods=["GET"])
        bp.add_url_rule(f"{prefix}/status", "status" + prefix.replace("/", "_"), status, methods=["GET"])
    return bp


def text_answer(path: str, outcome: Outcome) -> Response:
    """``OK``, or the key of a lock, or ``ERROR: ...`` with the status that says what kind of error."""
    if not outcome.ok:
        text = outcome.text
        for known in ("already locked by service", "locked by service"):
            if path == "/lock" and known in text:
                text = f"interphone {text[text.index(known):]}"
                break
        body = f"ERROR: {text}"
    elif path == "/lock":
        value = outcome.value.get("key") if isinstance(outcome.value, dict) else outcome.value
        body = str(value) if value else "ERROR: no key came back"
    else:
        body = "OK"
    response = Response(body + "\n", outcome.status, mimetype="text/plain")
    if outcome.status == 429:
        response.headers["Retry-After"] = "2"
    return response
