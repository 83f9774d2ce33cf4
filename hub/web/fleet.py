"""The fleet page and its event stream."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, jsonify, render_template, request
from msgspec.structs import replace

from hub.fleet.answers import ORDER
from hub.fleet.facts import DeviceFacts
from hub.live import FLEET
from hub.web.access import needs
from hub.web.house import Fleet, Hut
from hub.web.pages import Parts
from hub.web.sse import Changes

TEMPLATE = "parts.html"
PAUSE_S = 0.25
"""The first change goes out at once; then four looks a second at a whole fleet are enough, and 500 devices cost."""


def blueprint(hut: Hut, parts: Parts) -> Blueprint:
    bp = Blueprint("fleet", __name__)

    @bp.get("/")
    @needs("viewer")
    def fleet() -> str:
        since = hut.feed.event_id
        seen = hut.fleet()
        return render_template("fleet.html", fleet=seen, bad=ordered(seen), removed=request.args.get("removed", ""),
                               since=since)

    @bp.get("/events/fleet")
    @needs("viewer")
    def events() -> Response:
        secret = g.session_secret
        since = request.headers.get("Last-Event-ID") or request.args.get("since", "")
        return hut.streams.response(
            FLEET, since, FleetView(hut, parts).event,
            lambda: hut.accounts.session(secret, active=False) is not None, PAUSE_S,
        )

    @bp.get("/poll/fleet")
    @needs("viewer")
    def poll() -> Response:
        """The same as an event, for a page that got no stream."""
        return jsonify(FleetView(hut, parts).event(None))

    return bp


def ordered(fleet: Fleet) -> list[DeviceFacts]:
    """Devices that need somebody first, the gravest before the others, then by name."""
    rank: dict[str, int] = {}
    for problem in fleet.problems:
        rank.setdefault(problem.device, ORDER.index(problem.severity) if problem.severity in ORDER else len(ORDER))
    return sorted(fleet.devices, key=lambda device: rank.get(device.id, len(ORDER) + 1))


def shown(device: DeviceFacts) -> DeviceFacts:
    """Without what the row does not show: it must not be sent again for that."""
    return replace(device, receipt_us=None, ledger=None, address="")


class FleetView:
    """What one open fleet page was told, so that it is told only what is new."""

    def __init__(self, hut: Hut, parts: Parts) -> None:
        self._hut = hut
        self._parts = parts
        self._rows: dict[str, object] = {}
        self._top = ""
        self._going_on = False

    def event(self, changes: Changes | None) -> dict[str, Any] | None:
        """Changed rows and the answer at the top. Everything is compared each time: a device also goes silent
        without a message, and comparing facts is cheap where drawing them is not."""
        fleet = self._hut.fleet()
        now = {device.id: (shown(device), fleet.differences.get(device.id, 0)) for device in fleet.devices}
        gone = [device for device in self._rows if device not in now]
        if changes is not None and not self._rows and not self._going_on:
            # the page was drawn a moment ago: what changed since then comes with the first changes
            self._going_on = True
            wanted: set[str] = set()
        else:
            wanted = {key for key, seen in now.items() if self._rows.get(key) != seen}
            if self._going_on and changes:
                self._going_on = False
                wanted |= {key for kind, key, *_ in changes if kind == "d" and key in now}
                gone += [key for kind, key, *_ in changes if kind == "gone" and key not in now]
        self._rows = dict(now)
        event: dict[str, Any] = {}
        if wanted:
            event["rows"] = {key: self._parts.macro(TEMPLATE, "row", *now[key]) for key in sorted(wanted)}
        if gone:
            event["gone"] = gone
        if changes is None:
            event["all"] = sorted(now)
        top = self._parts.macro(TEMPLATE, "top", fleet)
        if top != self._top:
            self._top = event["top"] = top
        if event:
            event["now"] = self._hut.now_us()
        return event or None
