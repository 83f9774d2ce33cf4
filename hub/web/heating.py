"""The heating page: every heater as it is now, why, its overrides with their end; one heater with its week and its day.

What is asked for goes to the device as a command (``heating_forms``); nothing of a heater is kept here."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, g, jsonify, render_template, request
from msgspec import Struct
from msgspec.structs import replace
from werkzeug.wrappers import Response as BaseResponse

from hub.heating import week as weeks
from hub.heating.chart import Day, on_times, picture
from hub.heating.levels import rfc3339
from hub.heating.shape import Heater, heater, heaters, is_heater, profiles_of
from hub.live import HEATING
from hub.store.errors import StoreError
from hub.store.reader import Chart
from hub.web.access import Gate, needs
from hub.web.device_view import Viewer
from hub.web.house import Hut
from hub.web.pages import Parts
from hub.web.sse import Changes
from hub.web.zones import field

TEMPLATE = "heating_parts.html"
LEAST_US = 20 * 60 * 1_000_000
DAY_US = 24 * 3600 * 1_000_000
POINTS = 288
MAX_SAMPLES = 100_000
ROUND_US = 900_000_000
AHEAD_US = 2 * 3600 * 1_000_000
SERIES = ("room-temperature-c", "setpoint-c", "relay")
PAUSE_S = 0.25


class Editor(Struct):
    """The week of one profile as the form shows it."""

    profile: str
    comfort_c: str
    eco_c: str
    week: weeks.Week
    base: str
    """Of which schedule it was made: a change meanwhile is not to be overwritten."""
    error: str = ""


class Detail(Struct, frozen=True):
    heater: Heater
    editor: Editor | None
    chart: Any
    on_s: float


def find(hut: Hut, device_id: str, node_id: str) -> Heater | None:
    device = hut.tree.device(device_id)
    node = device.description.nodes.get(node_id) if device is not None and device.description else None
    return heater(device, node) if device is not None and node is not None and is_heater(node) else None


def editor_of(one: Heater, profile: str) -> Editor | None:
    profiles = profiles_of(one.schedule)
    name = profile if profile in profiles else one.profile if one.profile in profiles else next(iter(profiles), "")
    told = profiles.get(name)
    if not isinstance(told, dict):
        return None
    return Editor(name, _degrees(told.get("comfort_c")), _degrees(told.get("eco_c")),
                  weeks.of_calendar(told.get("calendar")), mark(told))


def mark(profile: Any) -> str:
    """Tells one content of a profile from another."""
    import hashlib
    import json

    return hashlib.sha256(json.dumps(profile, sort_keys=True).encode()).hexdigest()[:16]


def _degrees(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else ""


class Pages:
    """Draws; shared by the routes that show and those that change."""

    def __init__(self, hut: Hut, parts: Parts, gate: Gate) -> None:
        self.hut = hut
        self.parts = parts
        self._gate = gate

    def viewer(self) -> Viewer:
        return Viewer.now(self._gate.form_token(), self.hut.zone.key)

    def page(self, chosen: Heater | None = None, *, editor: Editor | None = None, status: int = 200) -> BaseResponse:
        """All heaters; one alone, or the chosen one, with everything."""
        since = self.hut.feed.event_id
        every = heaters(self.hut.tree.devices())
        one = chosen or (every[0] if len(every) == 1 else None)
        shown = [chosen] if chosen is not None else every
        body = render_template(
            "heating.html", heaters=shown, every=every, demand=[each for each in every if each.demand], since=since,
            detail=self.detail(one, editor) if one is not None else None, by=self.viewer(), until=self.until(),
            clock=weeks.clock, bars=weeks.bars, days=range(weeks.DAYS), one=chosen is not None,
            note=self.hut.notes.get(request.args.get("note", ""), g.caller.name))
        return Response(body, status, mimetype="text/html")

    def until(self) -> tuple[int, str]:
        """What an end is set to at first: in two hours, at a round quarter."""
        at = -(-(self.hut.now_us() + AHEAD_US) // ROUND_US) * ROUND_US
        return at, field(at, self.hut.zone)

    def detail(self, one: Heater, editor: Editor | None = None) -> Detail:
        day = self.day(one)
        title = self.hut.texts("heating.chart_title", name=one.name)
        return Detail(one, editor or editor_of(one, request.args.get("profile", "")),
                      picture(day, self.hut.zone, title) if day is not None else "", day.on_s if day is not None else 0)

    def day(self, one: Heater) -> Day | None:
        """The last 24 hours from the history, or None."""
        now = self.hut.now_us()
        rows = self.hut.history.series_of(one.device)
        found: dict[str, list[tuple[int, float]]] = {}
        try:
            for prop in SERIES:
                row = rows.get((one.node, prop))
                if row is None:
                    continue
                if prop == "room-temperature-c":
                    found[prop] = _points(self.hut.history.reader.chart(row.id, now - DAY_US, now, POINTS))
                else:
                    rows_of = self.hut.history.reader.samples(row.id, now - DAY_US, now, MAX_SAMPLES)
                    found[prop] = [(one.t_us, float(one.value)) for one in rows_of
                                   if isinstance(one.value, bool | int | float)]
        except StoreError:
            return None
        if not found:
            return None
        first = min((points[0][0] for points in found.values() if points), default=now)
        # a young series: its first minutes are worth a picture too
        start = max(now - DAY_US, min(first, now - LEAST_US))
        return Day(start, now, found.get(SERIES[0], []), _changes(found.get(SERIES[1], [])),
                   on_times(found.get(SERIES[2], []), now))


def _points(chart: Chart) -> list[tuple[int, float]]:
    return [(t, float(mean)) for t, mean in zip(chart.t_us, chart.mean, strict=True) if mean is not None]


def _changes(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    return [point for n, point in enumerate(points) if n == 0 or points[n - 1][1] != point[1]]


def blueprint(pages: Pages) -> Blueprint:
    bp = Blueprint("heating", __name__)
    hut = pages.hut

    def known(device_id: str, node_id: str) -> Heater:
        found = find(hut, device_id, node_id)
        if found is None:
            abort(404, hut.texts("heating.not_found", node=node_id[:60], device=device_id[:60]))
        return found

    @bp.get("/heating")
    @needs("viewer")
    def page() -> BaseResponse:
        return pages.page()

    @bp.get("/heating/<device_id>/<node>")
    @needs("viewer")
    def one(device_id: str, node: str) -> BaseResponse:
        return pages.page(known(device_id, node))

    @bp.get("/heating/<device_id>/<node>/day")
    @needs("viewer")
    def day(device_id: str, node: str) -> Response:
        found = pages.detail(known(device_id, node))
        return jsonify(svg=str(found.chart))

    @bp.get("/events/heating")
    @needs("viewer")
    def events() -> Response:
        secret = g.session_secret
        since = request.headers.get("Last-Event-ID") or request.args.get("since", "")
        return hut.streams.response(HEATING, since, _Stream(pages).event,
                                    lambda: hut.accounts.session(secret, active=False) is not None, PAUSE_S)

    @bp.get("/poll/heating")
    @needs("viewer")
    def poll() -> Response:
        return jsonify(_Stream(pages).event(None))

    return bp


class _Stream:
    """What one open page was told: a heater is drawn anew when something of it changed."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._by = pages.viewer()
        self._told: dict[str, Heater] = {}
        self._keys: list[str] | None = None

    def event(self, changes: Changes | None) -> dict[str, Any] | None:
        every = heaters(self._pages.hut.tree.devices())
        touched = None if changes is None else {key[1] for key in changes}
        drawn, ages = {}, {}
        for one in every:
            if touched is not None and one.device not in touched:
                continue
            still = replace(one, last_us=None)  # a stamp alone moves all the time: it is told as an age
            if self._told.get(one.key) != still:
                self._told[one.key] = still
                drawn[one.key] = self._pages.parts.macro(TEMPLATE, "card", one, self._by, self._pages.until())
            elif one.last_us is not None:
                ages[one.key] = one.last_us
        event: dict[str, Any] = {"ages": ages} if ages else {}
        if drawn:
            event["cards"] = drawn
            event["demand"] = self._pages.parts.macro(TEMPLATE, "demand", [one for one in every if one.demand], every)
        keys = [one.key for one in every]
        if touched is None or keys != self._keys:  # one came or went: the page is laid anew
            event["all"] = keys
        self._keys = keys
        return event or None


__all__ = ["Editor", "Pages", "blueprint", "editor_of", "find", "mark", "rfc3339"]
