"""The page of rules: how they stand, one as TOML with what it did, and a try over the stored samples before it is kept.

Everybody reads; an admin writes, by notify, which alone keeps them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from urllib.parse import urlencode

from flask import Blueprint, abort, make_response, redirect, render_template, request
from msgspec import Struct
from werkzeug.wrappers import Response

from agent.rules.dryrun import DryRun
from agent.rules.model import HUB, parse
from agent.settings import SettingsError
from hub.notify import asks
from hub.rules import dry, templates
from hub.rules.catalog import Entry, catalog, declarations
from hub.rules.zones import house_zone
from hub.store import rules_rows
from hub.store.errors import StoreError
from hub.web.access import needs
from hub.web.audit import Audit
from hub.web.house import Hut
from hub.web.zones import local

TRY_S = 10.0
"""A request's thread works for so long; then it says how far it got."""
DAYS = (1, 7, 30)
DEFAULT_DAYS = 30
SHOWN_SUBJECTS = 200
SHOWN_SERIES = 5000
DONE = ("saved", "removed", "on", "off")


class Line(Struct, frozen=True):
    """One rule in the list."""

    entry: Entry
    where: str
    counts: dict[str, int]
    last_us: int
    device: str
    """What its device says of it, one line; '' on the hub."""

    @property
    def dot(self) -> str:
        if self.entry.rule is None:
            return "bad"
        if not self.entry.enabled or not self.counts:
            return "calm"
        return next((dot for standing, dot in (("firing", "bad"), ("pending", "warn"), ("no_data", "warn"))
                     if self.counts.get(standing)), "good")


class Fault(Struct, frozen=True):
    text: str
    line: int | None = None
    source: str = ""
    """That line as it was written."""


def blueprint(hut: Hut, audit: Audit) -> Blueprint:
    bp = Blueprint("rules", __name__)
    t = hut.texts
    trying = threading.Lock()

    def entries() -> list[Entry]:
        try:
            stored = hut.history.reader.series()
        except StoreError:
            stored = []
        reported = {device.id: device.reported for device in hut.tree.devices() if device.domain == "homie"}
        return catalog(rules_rows.rules(hut.alerts), declarations(reported, stored).values())

    def on_device(entry: Entry, wanted: dict[str, tuple[int, bytes]]) -> str:
        if entry.rule is None or entry.rule.where == HUB or not entry.enabled:
            return ""
        device = hut.tree.device(entry.rule.where)
        if device is None:
            return t("rules.device_unknown")
        told = device.reported
        have, want = (told.rules_version if told else 0), wanted.get(entry.rule.where, (0, b""))[0]
        if told is not None and entry.id in told.rules_refused:
            return t("rules.device_refused", why=told.rules_refused[entry.id])
        return t("rules.device_has", have=have) if have == want else t("rules.device_waits", have=have, want=want)

    def found(id_: str) -> Entry:
        entry = next((one for one in entries() if one.id == id_), None)
        if entry is None:
            abort(404, t("rules.gone", id=id_[:63]))
        return entry

    def line_of(entry: Entry, counts: dict[str, dict[str, int]], last: dict[str, int],
                wanted: dict[str, tuple[int, bytes]]) -> Line:
        where = entry.rule.where if entry.rule is not None else ""
        return Line(entry, t("rules.hub") if where == HUB else where,
                    counts.get(entry.id, {}) if entry.enabled else {}, last.get(entry.id, 0), on_device(entry, wanted))

    @bp.get("/rules")
    @needs("viewer")
    def listed() -> str:
        counts, last = rules_rows.counts(hut.alerts), rules_rows.last_firings(hut.alerts)
        wanted = rules_rows.desired(hut.alerts)
        lines = [line_of(entry, counts, last, wanted) for entry in entries()]
        order = {"bad": 0, "warn": 1, "good": 2, "calm": 3}
        lines.sort(key=lambda line: (order[line.dot], line.entry.id))
        done, id_ = request.args.get("done", ""), request.args.get("id", "")[:63]
        return render_template("rules.html", lines=lines,
                               note=t(f"rules.done_{done}", id=id_) if done in DONE else "")

    @bp.get("/rule/<rule_id>")
    @needs("viewer")
    def one(rule_id: str) -> Response:
        entry = found(rule_id)
        return page(entry.toml, entry, fault=_fault(entry.toml) if entry.rule is None else None)

    @bp.get("/rules/new")
    @needs("admin")
    def new() -> Response:
        return page(templates.text(request.args.get("series", ""), request.args.get("kind", ""),
                                   request.args.get("limit", "")), None)

    def page(text: str, entry: Entry | None, *, status: int = 200, fault: Fault | None = None,
             tried: DryRun | None = None, days: int = DEFAULT_DAYS) -> Response:
        id_ = entry.id if entry is not None else ""
        series = []
        if entry is None:
            try:
                series = [f"{row.device}/{row.node}/{row.property}" for row in hut.history.reader.series()]
            except StoreError:
                series = []
        wanted = rules_rows.desired(hut.alerts)
        return make_response(render_template(
            "rule.html", moment=moment, entry=entry, text=text, fault=fault, tried=tried, days=days, choices=DAYS,
            states=rules_rows.states(hut.alerts, id_, SHOWN_SUBJECTS) if id_ else [],
            firings=rules_rows.firings(hut.alerts, id_) if id_ else [],
            orders=rules_rows.orders(hut.alerts, id_) if id_ else [], device=on_device(entry, wanted) if entry else "",
            series=series[:SHOWN_SERIES], kinds=templates.KINDS, chosen=request.args), status)

    def moment(t_us: int) -> str:
        return f"{local(t_us, hut.zone):%Y-%m-%d %H:%M}"

    def current() -> Entry | None:
        id_ = request.form.get("id", "")
        return found(id_) if id_ else None

    def text_of() -> str:
        return request.form.get("toml", "").replace("\r\n", "\n")

    @bp.post("/rules/try")
    @needs("admin")
    def attempt() -> Response:
        entry, text = current(), text_of()
        given = request.form.get("days", "")
        days = int(given) if given in {str(choice) for choice in DAYS} else DEFAULT_DAYS
        if (fault := _fault(text)) is not None:
            return page(text, entry, status=400, fault=fault, days=days)
        if not trying.acquire(blocking=False):
            return page(text, entry, status=503, fault=Fault(t("rules.busy")), days=days)
        try:
            reported = {device.id: device.reported for device in hut.tree.devices() if device.domain == "homie"}
            rows = hut.history.reader.series()
            tried = dry.run(hut.history.reader, parse(text), declarations(reported, rows).values(), rows,
                            house_zone(hut.settings), now_us=hut.now_us(), days=days, seconds=TRY_S)
        except StoreError as error:
            return page(text, entry, status=503, fault=Fault(t("rules.unreadable", why=error)), days=days)
        except SettingsError as error:
            return page(text, entry, status=400, fault=Fault(str(error)), days=days)
        finally:
            trying.release()
        return page(text, entry, tried=tried, days=days)

    @bp.post("/rules/save")
    @needs("admin")
    def save() -> Response:
        entry, text = current(), text_of()
        if (fault := _fault(text)) is not None:
            return page(text, entry, status=400, fault=fault)
        before = entry.toml if entry is not None else "-"
        return acted("rule.put", {"id": entry.id if entry else "", "toml": text}, "saved", parse(text).id,
                     f"was {before[:200]!r}, is {text[:200]!r}", lambda why: page(text, entry, status=409,
                                                                               fault=Fault(why)))

    @bp.post("/rules/remove")
    @needs("admin")
    def remove() -> Response:
        entry = found(request.form.get("id", ""))
        return acted("rule.remove", {"id": entry.id}, "removed", entry.id, f"was {entry.toml[:400]!r}", refuse)

    @bp.post("/rules/enable")
    @needs("admin")
    def enable() -> Response:
        entry, on = found(request.form.get("id", "")), request.form.get("on") == "1"
        return acted("rule.enable", {"id": entry.id, "on": on}, "on" if on else "off", entry.id, "", refuse)

    def refuse(why: str) -> Response:
        abort(409, why)

    def acted(name: str, args: dict[str, object], done: str, id_: str, detail: str,
              refused: Callable[[str], Response]) -> Response:
        try:
            hut.ask(name, args)
        except asks.Refused as error:
            audit.note(name, id_, detail, f"refused: {error}")
            return refused(str(error))
        except asks.Away as error:
            audit.note(name, id_, detail, f"refused: {error}")
            abort(503, str(error))
        audit.note(name, id_, detail)
        return redirect(f"/rules?{urlencode({'done': done, 'id': id_})}", 303)

    return bp


def _fault(text: str) -> Fault | None:
    """What is wrong with a text, at its line."""
    try:
        parse(text)
    except SettingsError as error:
        lines = text.split("\n")
        n = error.line
        return Fault(str(error), n, lines[n - 1][:200] if n is not None and 0 < n <= len(lines) else "")
    return None
