"""The log of any service, from the hub: read on the device when it is asked for, followed by a cursor (row 49).

A device that is away cannot be asked: then what the hub heard of it last is shown, and said to be that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flask import Blueprint, Response, abort, g, jsonify, render_template, request
from msgspec import Struct

from agent.wire import logfiles
from hub import parts_log, supervision
from hub.live import LiveDevice, NotConnected
from hub.store import logbook_rows
from hub.store.errors import StoreError
from hub.store.logbook_rows import Query
from hub.watch import loglines
from hub.watch.loglines import LEVELS, LogLine
from hub.watch.report import HERE, device_machine, services_of
from hub.web.access import needs
from hub.web.house import Hut
from hub.web.pages import iso

LINES = 200
ASK_S = 4.0
DOWNLOAD_PIECES = 64
"""Of at most 48 KiB each: more than the two files of a service hold."""
REMEMBERED = 100
AGENT = ("uplink", "watchdog", "supervisord")


class Shown(Struct, frozen=True):
    lines: list[LogLine]
    cursor: str = ""
    more: bool = False
    error: str = ""
    old: bool = False
    """They are what the hub heard last, not what the service writes now."""


Fetch = Callable[[int, str], Shown]
"""(how many lines, after which cursor)"""


def blueprint(hut: Hut) -> Blueprint:
    bp = Blueprint("logs", __name__)
    t = hut.texts

    def device_of(device_id: str) -> LiveDevice:
        device = hut.tree.device(device_id)
        if device is None:
            abort(404, t("device.not_found", device=device_id[:80]))
        return device

    def of_device(device: LiveDevice, service: str) -> Fetch:
        def fetch(lines: int, after: str) -> Shown:
            if device.state not in HERE or not hut.client.connected[0]:
                return Shown(remembered(device.id, service), error=t("logs.away"), old=True)
            try:
                answer = hut.client.request(device.id, "log_tail",
                                            {"service": service, "lines": lines, "after": after}, ASK_S)
            except NotConnected as error:
                return Shown(remembered(device.id, service), error=str(error), old=True)
            data = answer.data if isinstance(answer.data, dict) else {}
            if answer.status != "ok":
                return Shown([], error=answer.error or answer.status)
            told = data.get("lines")
            return Shown(loglines.parsed(told if isinstance(told, list) else []), str(data.get("cursor", "")),
                         bool(data.get("more")))

        return fetch

    def remembered(device_id: str, service: str) -> list[LogLine]:
        """What the logbook has of it: lines from warning up, starts, alerts; of the agent itself: of the device."""
        of = Query(machine=device_id, service="" if service in AGENT else service, commands=g.caller.role != "viewer")
        try:
            lines = logbook_rows.find(hut.alerts, of, REMEMBERED)
        except StoreError:
            return []
        return [LogLine(iso(line.last_us), "error" if line.severity == "alarm" else line.severity,
                        line.text if line.service == service else f"{line.service}: {line.text}")
                for line in reversed(lines)]

    def of_hub(part: str) -> Fetch:
        path = parts_log.file_of(hut.settings.hub.data_dir, part)

        def fetch(lines: int, after: str) -> Shown:
            try:
                piece = logfiles.read(path, lines, after)
            except (OSError, logfiles.BadCursor) as error:
                return Shown([], error=t("logs.no_file", path=path, error=getattr(error, "strerror", None) or error))
            return Shown(loglines.parsed(piece.lines), piece.cursor, piece.more)

        return fetch

    def page(fetch: Fetch, machine: str, service: str, here: str, others: list[tuple[str, str]]) -> str:
        level = request.args.get("level", "")
        shown = fetch(LINES, "")
        return render_template("logs.html", shown=shown, lines=loglines.from_level(shown.lines, level), level=level,
                               levels=LEVELS, machine=machine, service=service, here=here, others=others)

    def more(fetch: Fetch) -> Response:
        shown = fetch(LINES, request.args.get("after", "")[:60])
        return jsonify(lines=[[line.t, line.level, line.text] for line in shown.lines], cursor=shown.cursor,
                       more=shown.more, error=shown.error, old=shown.old)

    def download(fetch: Fetch, name: str) -> Response:
        def pieces() -> Iterator[str]:
            after = "start"
            for _ in range(DOWNLOAD_PIECES):
                shown = fetch(500, after)
                for line in shown.lines:
                    yield " ".join(filter(None, (line.t, line.level.upper(), line.text))) + "\n"
                if shown.error or not shown.more:
                    if shown.error:
                        yield f"# {shown.error}\n"
                    return
                after = shown.cursor

        response = Response(pieces(), mimetype="text/plain")
        response.headers["Content-Disposition"] = f'attachment; filename="{name}.log"'
        return response

    def services(device: LiveDevice) -> list[str]:
        names = [one.log for one in device_machine(device, hut.now_us()).services if one.log]
        return [*names, "supervisord"] if services_of(device) is not None else names

    def known(device_id: str, service: str) -> LiveDevice:
        device = device_of(device_id)
        if service not in services(device):
            abort(404, t("logs.unknown", service=service[:60], names=", ".join(services(device)) or "–"))
        return device

    def part_of(part: str) -> str:
        if part not in supervision.parts(hut.settings):
            abort(404, t("logs.unknown", service=part[:60], names=", ".join(supervision.parts(hut.settings))))
        return part

    @bp.get("/device/<device_id>/logs/<service>")
    @needs("viewer")
    def device_log(device_id: str, service: str) -> str:
        device = known(device_id, service)
        return page(of_device(device, service), device_id, service, f"/device/{device_id}/logs/{service}",
                    [(name, f"/device/{device_id}/logs/{name}") for name in services(device)])

    @bp.get("/device/<device_id>/logs/<service>/more")
    @needs("viewer")
    def device_more(device_id: str, service: str) -> Response:
        return more(of_device(known(device_id, service), service))

    @bp.get("/device/<device_id>/logs/<service>/download")
    @needs("viewer")
    def device_download(device_id: str, service: str) -> Response:
        return download(of_device(known(device_id, service), service), f"{device_id}-{service}")

    @bp.get("/machines/hub/logs/<part>")
    @needs("operator")
    def hub_log(part: str) -> str:
        return page(of_hub(part_of(part)), "hub", part, f"/machines/hub/logs/{part}",
                    [(name, f"/machines/hub/logs/{name}") for name in supervision.parts(hut.settings)])

    @bp.get("/machines/hub/logs/<part>/more")
    @needs("operator")
    def hub_more(part: str) -> Response:
        return more(of_hub(part_of(part)))

    @bp.get("/machines/hub/logs/<part>/download")
    @needs("operator")
    def hub_download(part: str) -> Response:
        return download(of_hub(part_of(part)), f"hub-{part}")

    return bp


