"""The logbook's pages: a day of the house or a search over all of them, one line with its trace, notes, downloads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, abort, g, jsonify, redirect, render_template, request
from msgspec import Struct
from msgspec.structs import replace
from werkzeug.wrappers import Response as BaseResponse

from hub.logbook import days
from hub.logbook.model import SEVERITIES
from hub.store import logbook_rows as rows
from hub.store.logbook_rows import Line, Query
from hub.web.access import needs
from hub.web.audit import Audit
from hub.web.export import FORMULA
from hub.web.house import Hut
from hub.web.pages import Parts, iso
from hub.web.ranges import BadRange, moment_us
from hub.web.sse import Changes

SCOPE = "+logbook"
"""Of the feed: device ids have no ``+``."""
TEMPLATE = "logbook_parts.html"
ROWS = 200
MOST_ROWS = 5_000
KINDS = ("start", "reboot", "command", "alert", "log", "note", "crash", "change")
PAUSE_S = 0.5
FILTERS = ("q", "machine", "service", "severity", "kind")


class Asked(Struct, frozen=True):
    """What the address asks for."""

    query: Query
    day: date | None
    """None: all days."""
    today: bool
    kept: dict[str, str]
    """The filters, for the links."""

    def link(self, path: str, **more: object) -> str:
        told = {**self.kept, **{key: str(value) for key, value in more.items()}}
        return path + (f"?{urlencode(told)}" if told else "")

    def for_day(self, day: date) -> str:
        return self.link(f"/logbook/{day}")

    @property
    def live(self) -> bool:
        """The page on which new lines appear."""
        return self.query.before == rows.MAX_US and (self.today or self.day is None)


def asked(hut: Hut, args: Mapping[str, str], day: date | None = None) -> Asked:
    """Raises BadRange. Words or ``all`` without a day: all days; nothing: today."""
    kept = {name: args[name].strip()[:200] for name in FILTERS if args.get(name, "").strip()}
    severity, kind = kept.get("severity", "debug"), kept.get("kind", "")
    if severity not in SEVERITIES:
        raise BadRange(f"severity={severity[:40]}: one of {', '.join(SEVERITIES)}")
    if kind and kind not in KINDS:
        raise BadRange(f"kind={kind[:40]}: one of {', '.join(KINDS)}")
    before = args.get("before", "")
    if before and not (before.isdecimal() and len(before) < 19):
        raise BadRange(f"before={before[:40]}: the number of a line")
    now = days.day_of(hut.now_us(), hut.zone)
    if day is None and not kept.get("q") and not args.get("all"):
        day = now
    if args.get("all") and day is None:
        kept["all"] = "1"
    start_us, end_us = days.span(day, hut.zone) if day is not None else (0, rows.MAX_US)
    return Asked(Query(start_us, end_us, int(before) if before else rows.MAX_US, kept.get("q", ""),
                       kept.get("machine", ""), kept.get("service", ""), severity, kind, g.caller.role != "viewer"),
                 day, day == now, kept)


def blueprint(hut: Hut, parts: Parts, audit: Audit) -> Blueprint:
    bp = Blueprint("logbook", __name__)

    @bp.errorhandler(BadRange)
    def bad_range(error: BadRange) -> BaseResponse:
        if g.get("api"):
            return Response(msgspec.json.encode({"error": str(error)}), 400, mimetype="application/json")
        return Response(render_template("error.html", status=400, text=str(error)), 400)

    def show(what: Asked) -> str:
        since = hut.feed.event_id
        found = rows.find(hut.alerts, what.query, ROWS + 1)
        older = found[ROWS - 1].n if len(found) > ROWS else None
        places = rows.sources(hut.alerts)
        earlier = later = None
        if what.day is not None:
            before, after = rows.neighbours(hut.alerts, what.query.start_us, what.query.end_us)
            earlier = days.day_of(before, hut.zone) if before else None
            later = days.day_of(after, hut.zone) if after else None
        return render_template(
            "logbook.html", lines=found[:ROWS], what=what, older=older, earlier=earlier, later=later, since=since,
            machines=sorted({one.machine for one in places}), zone=hut.zone.key,
            services=sorted({one.service for one in places
                             if what.query.machine in ("", one.machine)}),
            severities=SEVERITIES, kinds=KINDS, dated=what.day is None, path=_here(what),
            note=hut.notes.get(request.args.get("note", ""), g.caller.name))

    @bp.get("/logbook")
    @needs("viewer")
    def now() -> str:
        return show(asked(hut, request.args))

    @bp.get("/logbook/<day>")
    @needs("viewer")
    def of_day(day: str) -> str:
        found = days.parse(day)
        if found is None:
            abort(404, hut.texts("logbook.no_day", day=day[:40]))
        return show(asked(hut, request.args, found))

    @bp.get("/logbook/<int:n>")
    @needs("viewer")
    def one(n: int) -> str:
        line = rows.line(hut.alerts, n) if n < rows.MAX_US else None
        if line is None or (line.kind == "command" and g.caller.role == "viewer"):
            abort(404, hut.texts("logbook.no_line"))
        return render_template("logbook_line.html", line=line, day=days.day_of(line.n, hut.zone))

    @bp.post("/logbook/note")
    @needs("operator")
    def note() -> BaseResponse:
        text, machine = request.form.get("text", "").strip(), request.form.get("machine", "").strip()
        if not text:
            key = hut.notes.add(g.caller.name, hut.texts("logbook.note_empty"), ok=False)
        else:
            hut.ask("note.add", {"text": text, "machine": machine, "key": request.form.get("key", "")[:60]})
            audit.note("note", machine, text)
            key = hut.notes.add(g.caller.name, hut.texts("logbook.noted"), ok=True)
        return redirect(f"/logbook?note={key}", 303)

    @bp.get("/logbook/download")
    @needs("viewer")
    def download() -> Response:
        day = days.parse(request.args.get("day", ""))
        return exported(asked(hut, request.args, day).query, request.args.get("format", "csv"))

    def exported(query: Query, kind: str) -> Response:
        if kind not in ("json", "csv"):
            raise BadRange(f"format={kind[:40]}: json or csv")
        pages = rows.pages(hut.alerts, query)
        body: Iterable[str] | Iterable[bytes] = csv_lines(pages) if kind == "csv" else json_lines(pages)
        return Response(body, mimetype="text/csv" if kind == "csv" else "application/json",
                        headers={"Content-Disposition": f'attachment; filename="logbook.{kind}"'})

    @bp.get("/api/v1/logbook")
    @needs("viewer", token=True)
    def api() -> Response:
        args = request.args
        day = days.parse(args.get("day", ""))
        if args.get("day") and day is None:
            raise BadRange(f"day={args['day'][:40]}: 2026-11-25")
        query = asked(hut, args, day).query
        if day is None:
            query = replace(query, start_us=moment_us(args["start"], "start") if args.get("start") else 0,
                            end_us=moment_us(args["end"], "end") if args.get("end") else rows.MAX_US)
        limit = args.get("limit", "") or str(ROWS)
        if not limit.isdecimal() or not 1 <= int(limit[:9]) <= MOST_ROWS:
            raise BadRange(f"limit={limit[:40]}: a whole number from 1 to {MOST_ROWS}")
        if args.get("format", "json") != "json":
            return exported(query, args["format"])
        return Response(msgspec.json.encode(rows.find(hut.alerts, query, int(limit))), mimetype="application/json")

    @bp.get("/crashes")
    @needs("viewer")
    def crashes() -> str:
        return render_template("crashes.html", crashes=rows.crashes(hut.alerts))

    @bp.get("/crashes/<fingerprint>")
    @needs("viewer")
    def crash(fingerprint: str) -> str:
        found = rows.crash(hut.alerts, fingerprint)
        if found is None:
            abort(404, hut.texts("logbook.no_crash"))
        return render_template("crash.html", crash=found, counts=rows.crash_counts(hut.alerts, fingerprint))

    # --- live -----------------------------------------------------------------------------------------------

    @bp.get("/events/logbook")
    @needs("viewer")
    def events() -> Response:
        secret = g.session_secret
        since = request.headers.get("Last-Event-ID") or request.args.get("since", "")
        return hut.streams.response(SCOPE, since, _Stream(hut, parts, asked(hut, request.args)).event,
                                    lambda: hut.accounts.session(secret, active=False) is not None, PAUSE_S)

    @bp.get("/poll/logbook")
    @needs("viewer")
    def poll() -> Response:
        return jsonify(_Stream(hut, parts, asked(hut, request.args)).event(None))

    return bp


def _here(what: Asked) -> str:
    return f"/logbook/{what.day}" if what.day is not None and not what.today else "/logbook"


class _Stream:
    """What an open page is told: lines that are new or have another count, if they are among those it asked for."""

    def __init__(self, hut: Hut, parts: Parts, what: Asked) -> None:
        self._hut = hut
        self._parts = parts
        self._what = what

    def event(self, changes: Changes | None) -> dict[str, Any] | None:
        query = self._what.query
        if changes is None:
            found = rows.find(self._hut.alerts, query, ROWS)
        else:
            numbers = {key[1] for key in changes if key[0] == "line" and isinstance(key[1], int)}
            if not numbers:
                return None
            near = replace(query, start_us=max(query.start_us, min(numbers)), end_us=max(numbers) + 1)
            found = [line for line in rows.find(self._hut.alerts, near, 2 * ROWS) if line.n in numbers]
        if not found:
            return None
        return {"lines": [[str(line.n), self._parts.macro(TEMPLATE, "line", line, self._what.day is None)]
                          for line in found]}


def csv_lines(pages: Iterable[list[Line]]) -> Iterator[str]:
    yield _csv(["time", "last", "count", "machine", "service", "severity", "kind", "who", "text", "detail"])
    for page in pages:
        yield "".join(_csv([iso(line.n), iso(line.last_us), line.count, line.machine, line.service, line.severity,
                            line.kind, line.who, line.text, line.detail]) for line in page)


def _csv(cells: list[object]) -> str:
    out = io.StringIO()
    # a spreadsheet runs a text that begins like a formula
    csv.writer(out).writerow([f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
                              for cell in cells])
    return out.getvalue()


def json_lines(pages: Iterable[list[Line]]) -> Iterator[bytes]:
    first = True
    yield b"["
    for page in pages:
        body = b",\n".join(msgspec.json.encode(line) for line in page)
        yield body if first else b",\n" + body
        first = False
    yield b"]\n"


