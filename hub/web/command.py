"""Commands from the device page's forms and from the API (``POST .../properties/<property>``, by token or session)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
from flask import Blueprint, Response, abort, g, jsonify, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from hub.command.values import BadValue, from_json, from_text
from hub.heating.levels import check_levels
from hub.heating.shape import is_heater
from hub.live import LiveDevice, PropertyInfo
from hub.store import web_once
from hub.web.access import needs
from hub.web.house import Hut
from hub.web.openapi import SetIn, SetOut
from hub.web.sender import Commands, Outcome
from hub.web.zones import zone_of

MAX_KEY = 100


class Desk:
    """Where commands of all pages arrive: caller, rate, keys, answers."""

    def __init__(self, hut: Hut, commands: Commands) -> None:
        self.hut = hut
        self.commands = commands

    def caller(self) -> str:
        return f"{g.caller.name} ({'api' if g.api else 'web'})"

    def checked(self, device_id: str, node: str, prop: str, typed: Callable[[PropertyInfo], Any]) -> Outcome:
        """Send what ``typed`` makes for the property."""
        wait = self.hut.rate.wait_s(g.caller.key)
        if wait > 0:
            return Outcome(429, self.hut.texts("command.wait", seconds=math.ceil(wait)))
        found = self.commands.settable(device_id, node, prop)
        if isinstance(found, Outcome):
            return found
        device, info = found
        try:
            value = typed(info)
            self._fits(device, node, info, value)
        except BadValue as error:
            return Outcome(400, str(error))
        return self.commands.send(device, node, info, value, self.caller())

    def _fits(self, device: LiveDevice, node: str, info: PropertyInfo, value: Any) -> None:
        """What a datatype cannot say. Raises BadValue."""
        if info.id == "levels" and device.description is not None and is_heater(device.description.nodes[node]):
            check_levels(value, self.hut.now_us())  # B51: no override without an end

    def answer(self, outcome: Outcome, back: str) -> BaseResponse:
        """For a form: JSON for the page's script, else the page again with what came of it."""
        if request.headers.get("Accept", "").startswith("application/json"):
            return json_answer(outcome)
        note = self.hut.notes.add(g.caller.name, outcome.text, ok=outcome.ok)
        joint = "&" if "?" in back else "?"
        path, hash_, anchor = back.partition("#")
        return redirect(f"{path}{joint}note={note}{hash_}{anchor}", 303)

    def once(self, asked: str, run: Callable[[], Outcome]) -> Outcome:
        """``run``, or the answer that a request with the same ``Idempotency-Key`` had."""
        t, db = self.hut.texts, self.hut.accounts.db
        given = request.headers.get("Idempotency-Key")
        if given is None:
            return run()
        if not 1 <= len(given) <= MAX_KEY or not given.isprintable():
            return Outcome(400, t("command.key_bad"))
        key, what = _hash(g.caller.key, given), _hash(request.path, asked)
        earlier = web_once.begin(db, key, what, self.hut.now_us())
        if earlier is not None:
            if earlier.asked != what:
                return Outcome(422, t("command.key_other"))
            if earlier.status is None or earlier.answer is None:
                return Outcome(409, t("command.key_open"))
            return msgspec.json.decode(earlier.answer, type=Outcome)
        outcome = run()
        if not outcome.sent:  # it may be tried again
            web_once.forget(db, key)
        else:
            web_once.end(db, key, outcome.status, msgspec.json.encode(outcome).decode())
        return outcome


def blueprint(hut: Hut, desk: Desk) -> Blueprint:
    bp = Blueprint("command", __name__)

    @bp.post("/device/<device_id>/set")
    @needs("operator")
    def form(device_id: str) -> BaseResponse:
        node, prop = request.form.get("node", ""), request.form.get("property", "")
        zone = zone_of(request.form.get("zone", "")) or hut.zone

        def typed(info: PropertyInfo) -> Any:
            if info.datatype == "json" and g.caller.role != "admin":
                raise BadValue(hut.texts("command.json_admin"))
            return from_text(info, request.form.get("value", ""), zone)

        return desk.answer(desk.checked(device_id, node, prop, typed), f"/device/{device_id}#n-{node}")

    @bp.post("/api/v1/devices/<device_id>/nodes/<node>/properties/<prop>")
    @needs("operator", token=True)
    def api(device_id: str, node: str, prop: str) -> Response:
        try:
            asked = msgspec.json.decode(request.get_data(), type=SetIn)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            abort(400, hut.texts("command.body", example='{"value": 20.5}'))
        body = json.dumps(msgspec.to_builtins(asked), sort_keys=True)
        return json_answer(desk.once(body, lambda: desk.checked(
            device_id, node, prop, lambda info: from_json(info, asked.value))))

    return bp


def json_answer(outcome: Outcome) -> Response:
    if not outcome.ok:
        response = jsonify(error=outcome.text)
    else:
        out = SetOut(outcome.text, outcome.value, outcome.before)
        response = Response(msgspec.json.encode(out), mimetype="application/json")
    response.status_code = outcome.status
    if outcome.status == 429:
        response.headers["Retry-After"] = "2"
    return response


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
