"""The reading half of ``/api/v1``: JSON, by session or bearer token, told by ``/api/v1/openapi.json``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Blueprint, Response, abort, request

from hub.energy.report import BadDays, NoMeter
from hub.fleet.facts import facts
from hub.store.errors import StoreError
from hub.store.reader import Sample, SeriesRow
from hub.web import energy
from hub.web.access import needs
from hub.web.export import csv_lines, json_lines
from hub.web.house import Hut
from hub.web.openapi import DeviceOut, NodeOut, QuarantineOut, document
from hub.web.ranges import BadRange, moment_us, span

PAGE = 10_000
MAX_POINTS = 10_000
MAX_LIMIT = 100_000
MAX_IDS = 1000


def answer(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, mimetype="application/json")


def blueprint(hut: Hut) -> Blueprint:
    bp = Blueprint("api", __name__, url_prefix="/api/v1")
    reader = hut.history.reader

    @bp.errorhandler(BadRange)
    def bad_range(error: BadRange) -> Response:
        return answer({"error": str(error)}, 400)

    @bp.errorhandler(StoreError)
    def store(error: StoreError) -> Response:
        return answer({"error": str(error)}, 503)

    def series_or_404(series_id: int) -> SeriesRow:
        row = reader.series_by_id(series_id)
        if row is None:
            abort(404, f"there is no series {series_id}: see /api/v1/series")
        return row

    def number(name: str, default: int, highest: int) -> int:
        text = request.args.get(name, "")
        if not text:
            return default
        if not text.isdecimal() or not 1 <= int(text[:12]) <= highest:
            raise BadRange(f"{name}={text[:40]}: a whole number from 1 to {highest}")
        return int(text)

    @bp.get("/openapi.json")
    @needs("viewer", token=True)
    def openapi() -> Response:
        return answer(document(hut.settings.hub.name))

    @bp.get("/devices")
    @needs("viewer", token=True)
    def devices() -> Response:
        fleet = hut.fleet()
        return answer([device_out(hut, device.id) for device in fleet.devices])

    @bp.get("/devices/<device_id>")
    @needs("viewer", token=True)
    def device(device_id: str) -> Response:
        found = device_out(hut, device_id)
        if found is None:
            abort(404, hut.texts("device.not_found", device=device_id[:80]))
        return answer(found)

    @bp.get("/series")
    @needs("viewer", token=True)
    def series() -> Response:
        return answer(reader.series(request.args.get("device")))

    @bp.get("/series/<int:series_id>")
    @needs("viewer", token=True)
    def one_series(series_id: int) -> Response:
        return answer(series_or_404(series_id))

    @bp.get("/series/<int:series_id>/chart")
    @needs("viewer", token=True)
    def chart(series_id: int) -> Response:
        series_or_404(series_id)
        wanted = span(request.args, hut.now_us())
        return answer(reader.chart(series_id, wanted.start_us, wanted.end_us, number("points", 1000, MAX_POINTS)))

    @bp.get("/series/<int:series_id>/samples")
    @needs("viewer", token=True)
    def samples(series_id: int) -> Response:
        row = series_or_404(series_id)
        wanted = span(request.args, hut.now_us())
        kind = request.args.get("format", "json")
        if kind not in ("json", "csv"):
            raise BadRange(f"format={kind[:40]}: json or csv")
        limit = number("limit", 0, MAX_LIMIT)
        if limit:
            rows = reader.samples(series_id, wanted.start_us, wanted.end_us, limit)
            if kind == "json":
                return answer(rows)
            return Response("".join(csv_lines(row, [rows])), mimetype="text/csv")
        # all of it: page by page, so that a year of seconds takes no memory and no long read (B19)
        pages = _pages(hut, series_id, wanted.start_us, wanted.end_us)
        name = f"{row.device}_{row.node}_{row.property}.{kind}"
        lines = csv_lines(row, pages) if kind == "csv" else json_lines(pages)
        return Response(lines, mimetype="text/csv" if kind == "csv" else "application/json",
                        headers={"Content-Disposition": f'attachment; filename="{name}"'})

    @bp.get("/latest")
    @needs("viewer", token=True)
    def latest() -> Response:
        ids = [part for part in request.args.get("series", "").split(",") if part]
        if not ids or len(ids) > MAX_IDS or not all(part.isdecimal() and len(part) < 19 for part in ids):
            raise BadRange(f"series=1,2,…: up to {MAX_IDS} ids from /api/v1/series")
        found = reader.latest(int(part) for part in ids)
        return answer({str(series_id): sample for series_id, sample in found.items()})

    @bp.get("/energy")
    @needs("viewer", token=True)
    def energy_() -> Response:
        kind = request.args.get("format", "json")
        if kind not in ("json", "csv"):
            raise BadRange(f"format={kind[:40]}: json or csv")
        try:
            bill = energy.wanted(hut)
        except BadDays as error:
            raise BadRange(str(error)) from None
        except NoMeter as error:
            abort(404, str(error))
        return answer(bill) if kind == "json" else energy.download(bill)

    @bp.get("/ledger")
    @needs("viewer", token=True)
    def ledger() -> Response:
        return answer(reader.ledger(request.args.get("device")))

    @bp.get("/events")
    @needs("viewer", token=True)
    def events() -> Response:
        since = request.args.get("since", "")
        return answer(reader.events(request.args.get("device"), moment_us(since, "since") if since else 0,
                                    number("limit", 200, MAX_LIMIT)))

    @bp.get("/quarantine")
    @needs("viewer", token=True)
    def quarantine() -> Response:
        rows = reader.quarantine(number("limit", 100, MAX_LIMIT), request.args.get("device"))
        return answer([
            QuarantineOut(row.id, row.device, row.topic, row.code, row.reason, repr(row.prefix)[2:-1], row.sha256,
                          row.bytes, row.n, row.count, row.first_us, row.last_us)
            for row in rows
        ])

    return bp


def _pages(hut: Hut, series_id: int, start_us: int, end_us: int) -> Iterator[list[Sample]]:
    while start_us < end_us:
        rows = hut.history.reader.samples(series_id, start_us, end_us, PAGE)
        if rows:
            yield rows
        if len(rows) < PAGE:
            return
        start_us = rows[-1].t_us + 1


def device_out(hut: Hut, device_id: str) -> DeviceOut | None:
    """A device as the API shows it, from the live tree or else from the history."""
    live = hut.tree.device(device_id)
    overview = hut.history.overview()
    row = overview.devices.get(device_id)
    if live is None:
        return None if row is None else DeviceOut(device_id, row.name, "unknown", last_us=row.last_us or None,
                                                  version=row.agent_version)
    of = facts(live, hut.now_us())
    values: dict[str, dict[str, str]] = {}
    for (node, prop), value in live.values.items():
        values.setdefault(node, {})[prop] = value
    nodes = {
        node.id: NodeOut(node.name, node.health, node.last_us, node.silent, node.errors, values.pop(node.id, {}))
        for node in of.nodes
    }
    if "sys" in values:
        nodes["sys"] = NodeOut("sys", "", None, False, 0, values["sys"])
    return DeviceOut(
        of.id, of.name, of.state, of.since_us, of.last_us, of.ahead_us, of.clock, of.waiting_samples, of.waiting_age_s,
        overview.differences.get(of.id, 0), of.version, {alert: text for alert, text, _ in of.alerts}, nodes,
    )
