"""The page of alerts: open, acknowledged, silenced, history; one alert with its cause, what follows from it and who was
told. Reads alerts.db; what changes something is asked of the notify process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import msgspec
from flask import Blueprint, Response, abort, g, jsonify, redirect, render_template, request
from msgspec import Struct
from werkzeug.wrappers import Response as BaseResponse

from hub.alerts.graph import device_of
from hub.alerts.silence import MAX_MATCH, MAX_MINUTES, MAX_WHY
from hub.alerts.telling import RANK
from hub.store import alert_rows
from hub.store.alert_rows import Row, Silence, Step, Told
from hub.store.errors import StoreError
from hub.web.access import Gate, needs
from hub.web.audit import Audit
from hub.web.house import Hut
from hub.web.openapi import AcknowledgedOut, AlertOut, AlertsOut, SilenceOut
from hub.web.pages import Parts

TEMPLATE = "alerts_parts.html"
CHILDREN = 12
HISTORY = 50
MINUTES = (30, 60, 240, 720, 1440, 4320, 10080)
MAX_ID = 1 << 62


class Card(Struct, frozen=True):
    """An alert and what follows from it."""

    row: Row
    children: tuple[Row, ...]
    """The first ones directly under it."""
    listed: int
    """All of them, at any depth."""

    @property
    def device(self) -> str:
        return device_of(self.row.subject)

    @property
    def silence_match(self) -> str:
        """What somebody who works on it would silence: its plugin, its device, or itself."""
        kind, _, rest = self.row.subject.partition(":")
        if kind in ("plugin", "property"):
            return "/".join(rest.split("/")[:2])
        return rest if kind == "device" else self.row.key


class Board(Struct, frozen=True):
    """All that is not over."""

    open: tuple[Card, ...] = ()
    acknowledged: tuple[Card, ...] = ()
    silenced: tuple[Card, ...] = ()
    silences: tuple[Silence, ...] = ()

    @property
    def severity(self) -> str:
        """The gravest one that needs somebody."""
        return self.open[0].row.severity if self.open else "fine"


class Alerting(Struct, frozen=True):
    """For the menu."""

    open: int
    severity: str


class View(Struct, frozen=True):
    """One alert with everything."""

    card: Card
    cause: Row | None
    children: tuple[Row, ...]
    steps: tuple[Step, ...]
    told: tuple[Told, ...]


def alerting(hut: Hut) -> Alerting | None:
    """What needs somebody; None when it cannot be read."""
    try:
        counts = alert_rows.counts(hut.alerts)
    except StoreError:
        return None
    found = {severity: n for (severity, how), n in counts.items() if how == "open" and n}
    return Alerting(sum(found.values()), max(found, key=lambda severity: RANK.get(severity, 0), default="fine"))


def board(hut: Hut) -> Board:
    rows = alert_rows.open_alerts(hut.alerts)
    below = _below(rows)
    cards = [card_of(row, below) for row in rows if row.cause_id is None]
    cards.sort(key=lambda card: (-RANK.get(card.row.severity, 0), -card.row.since_us))
    silenced = [card for card in cards if card.row.silenced_until_us is not None]
    loud = [card for card in cards if card.row.silenced_until_us is None]
    return Board(tuple(card for card in loud if card.row.state == "open"),
                 tuple(card for card in loud if card.row.state == "acknowledged"), tuple(silenced),
                 tuple(alert_rows.silences(hut.alerts, hut.now_us())))


def card_of(row: Row, below: dict[int, list[Row]]) -> Card:
    direct = below.get(row.id, [])
    return Card(row, tuple(direct[:CHILDREN]), _listed(direct, below))


def _listed(direct: Iterable[Row], below: dict[int, list[Row]]) -> int:
    return sum(1 + _listed(below.get(row.id, ()), below) for row in direct)


def blueprint(hut: Hut, parts: Parts, audit: Audit, gate: Gate) -> Blueprint:
    bp = Blueprint("alerts", __name__)
    t = hut.texts

    def acts() -> bool:
        return g.caller.role in ("operator", "admin")

    def known(alert_id: int) -> Row:
        row = alert_rows.one(hut.alerts, alert_id) if alert_id < MAX_ID else None
        if row is None:
            missing(alert_id)
        return row

    def missing(alert_id: int) -> NoReturn:
        abort(404, t("alerts.not_found", id=str(alert_id)[:20]))

    def back(where: str, text: str) -> BaseResponse:
        return redirect(f"{where}?note={hut.notes.add(g.caller.name, text, ok=True)}", 303)

    def targets() -> list[str]:
        """What a silence may be for, for the field's list."""
        found: list[str] = []
        for device in hut.fleet().devices:
            found += [device.id, *(f"{device.id}/{plugin}" for plugin in device.plugins)]
        return found[:2000]

    @bp.get("/alerts")
    @needs("viewer")
    def page() -> str:
        version = alert_rows.version(hut.alerts)
        find = request.args.get("find", "").strip()[:100]
        before = request.args.get("before", "")
        ended, _, last = before.partition("-")
        paged = ended.isdecimal() and last.isdecimal() and len(before) < 40
        history = alert_rows.history(hut.alerts, (int(ended[:18]), int(last[:18])) if paged else alert_rows.LATEST,
                                     HISTORY, find)
        older = f"{history[-1].resolved_us}-{history[-1].id}" if len(history) == HISTORY else ""
        return render_template(
            "alerts.html", board=board(hut), history=history, find=find, older=older, paged=paged, version=version,
            acts=acts(), minutes=MINUTES, match=request.args.get("match", "")[:MAX_MATCH],
            targets=targets() if acts() else [], max_match=MAX_MATCH, max_why=MAX_WHY,
            note=hut.notes.get(request.args.get("note", ""), g.caller.name))

    @bp.get("/poll/alerts")
    @needs("viewer")
    def poll() -> Response:
        version = alert_rows.version(hut.alerts)
        told: dict[str, Any] = {"now": hut.now_us(), "version": version}
        if request.args.get("version") != str(version):
            told["board"] = parts.macro(TEMPLATE, "board", board(hut), acts(), gate.form_token())
        return jsonify(told)

    @bp.get("/alerts/<int:alert_id>")
    @needs("viewer")
    def one(alert_id: int) -> str:
        row = known(alert_id)
        children = alert_rows.children(hut.alerts, row.id)
        cause = alert_rows.one(hut.alerts, row.under_id) if row.under_id is not None else None
        card = Card(row, tuple(children[:CHILDREN]), len(children))
        try:
            told = alert_rows.told(hut.alerts, row.id)
        except StoreError:
            told = []  # an outbox that is not there yet
        return render_template(
            "alert.html", view=View(card, cause, tuple(children), tuple(alert_rows.steps(hut.alerts, row.id)),
                                    tuple(told)),
            acts=acts(), minutes=MINUTES, max_why=MAX_WHY, known=hut.tree.device(card.device) is not None,
            note=hut.notes.get(request.args.get("note", ""), g.caller.name))

    @bp.post("/alerts/<int:alert_id>/acknowledge")
    @needs("operator")
    def acknowledge(alert_id: int) -> BaseResponse:
        row = known(alert_id)
        hut.ask("alert.acknowledge", {"id": row.id})
        audit.note("acknowledge", f"alert {row.id}", row.title)
        return back(f"/alerts/{row.id}" if request.form.get("one") else "/alerts", t("alerts.acknowledged_done"))

    @bp.post("/alerts/silence")
    @needs("operator")
    def silence() -> BaseResponse:
        match, why = request.form.get("match", "").strip(), request.form.get("why", "").strip()
        given = request.form.get("minutes", "")
        if not given.isdecimal() or not 1 <= int(given[:6]) <= MAX_MINUTES:
            abort(400, t("alerts.bad_minutes"))
        hut.ask("alert.silence", {"match": match, "minutes": int(given), "why": why})
        audit.note("silence", match, f"{given} minutes: {why}")
        return back("/alerts", t("alerts.silence_done", match=match, time=t.duration(int(given) * 60)))

    @bp.post("/alerts/silences/<int:silence_id>/end")
    @needs("operator")
    def unsilence(silence_id: int) -> BaseResponse:
        found = [one for one in alert_rows.silences(hut.alerts, hut.now_us()) if one.id == silence_id]
        if not found:
            abort(404, t("alerts.silence_gone"))
        hut.ask("alert.unsilence", {"id": silence_id})
        audit.note("end silence", found[0].match, found[0].why)
        return back("/alerts", t("alerts.silence_ended"))

    # --- the API ----------------------------------------------------------------------------------------------

    @bp.get("/api/v1/alerts")
    @needs("viewer", token=True)
    def api_all() -> Response:
        state, limit = request.args.get("state", "open"), request.args.get("limit", "200")
        if state not in ("open", "resolved") or not limit.isdecimal() or not 1 <= int(limit[:9]) <= 10_000:
            return _json({"error": "state: open or resolved; limit: 1 to 10000"}, 400)
        if state == "resolved":
            rows, below = alert_rows.history(hut.alerts, alert_rows.LATEST, int(limit), all_=True), {}
        else:
            rows = alert_rows.open_alerts(hut.alerts)
            below = _below(rows)
        silences = alert_rows.silences(hut.alerts, hut.now_us())
        return _json(AlertsOut([_out(row, _listed(below.get(row.id, ()), below)) for row in rows],
                               [SilenceOut(*msgspec.structs.astuple(one)) for one in silences]))

    @bp.get("/api/v1/alerts/<int:alert_id>")
    @needs("viewer", token=True)
    def api_one(alert_id: int) -> Response:
        row = known(alert_id)
        below = _below(alert_rows.open_alerts(hut.alerts))
        return _json(_out(row, _listed(below.get(row.id, ()), below)))

    @bp.post("/api/v1/alerts/<int:alert_id>/acknowledge")
    @needs("operator", token=True)
    def api_acknowledge(alert_id: int) -> Response:
        row = known(alert_id)
        hut.ask("alert.acknowledge", {"id": row.id})
        audit.note("acknowledge", f"alert {row.id}", row.title)
        return _json(AcknowledgedOut(row.id))

    return bp


def _below(rows: Iterable[Row]) -> dict[int, list[Row]]:
    below: dict[int, list[Row]] = {}
    for row in rows:
        if row.cause_id is not None:
            below.setdefault(row.cause_id, []).append(row)
    return below


def _out(row: Row, listed: int) -> AlertOut:
    fields = {name: getattr(row, name) for name in AlertOut.__struct_fields__ if name != "listed"}
    return AlertOut(listed=listed, **fields)


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, mimetype="application/json")
