"""The energy page of one meter: kWh, cost and standby by day and month, with its download."""

from __future__ import annotations

from datetime import date

from flask import Blueprint, Response, abort, render_template, request
from markupsafe import Markup

from hub.energy.bill import Bill, Per, csv_lines, last
from hub.energy.report import BadDays, NoMeter, report
from hub.web.access import needs
from hub.web.house import Hut

MIN_BARS = 13
"""Two days are not to look like two walls."""
PERS: tuple[Per, ...] = ("day", "month")


def wanted(hut: Hut) -> Bill:
    """What the query asks for. Raises BadDays, NoMeter, StoreError."""
    per: Per = "month" if request.args.get("per") == "month" else "day"
    if request.args.get("per", per) not in PERS:
        raise BadDays(f"per={request.args['per'][:40]}: day or month")
    energy = hut.settings.energy
    start, end = last(per, energy.day_of(hut.now_us()))
    try:
        start = date.fromisoformat(request.args.get("start") or start.isoformat())
        end = date.fromisoformat(request.args.get("end") or end.isoformat())
    except ValueError:
        raise BadDays("start and end: days as 2026-11-26") from None
    device, node = request.args.get("device", ""), request.args.get("node", "")
    return report(hut.history.reader, energy, device, node, start, end, per)


def blueprint(hut: Hut) -> Blueprint:
    bp = Blueprint("energy", __name__)

    @bp.get("/energy")
    @needs("viewer")
    def page() -> str:
        try:
            bill = wanted(hut)
        except BadDays as error:
            abort(400, str(error))
        except NoMeter as error:
            abort(404, str(error))
        live = hut.tree.device(bill.device)
        name = live.reported.name if live is not None and live.reported is not None else bill.device
        registers = sorted(bill.total.by_register) if len(bill.total.by_register) > 1 else []
        return render_template("energy.html", bill=bill, device_name=name, registers=registers, pers=PERS,
                               priced=bool(hut.settings.energy.tariffs_of(bill.device, bill.node)),
                               bars=bars_svg([row.import_kwh or 0.0 for row in bill.rows]), number=number)

    return bp


def number(value: float | None, places: int = 2) -> str:
    return "–" if value is None else f"{value:,.{places}f}"


def bars_svg(values: list[float], width: int = 1000, height: int = 160) -> Markup:
    """One bar a row; the highest fills the height. Empty where there is nothing to compare."""
    top = max(values, default=0.0)
    if len(values) < 2 or top <= 0:
        return Markup("")
    step = width / max(len(values), MIN_BARS)
    bars = Markup("").join(
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            at * step + step * 0.1, height - height * value / top, step * 0.8, height * value / top)
        for at, value in enumerate(values))
    svg = Markup('<svg class="bars" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>')
    return svg.format(width, height, bars)


def download(bill: Bill) -> Response:
    """As CSV."""
    name = f"{bill.device}_{bill.node}_energy_by_{bill.per}.csv"
    return Response("".join(csv_lines(bill)), mimetype="text/csv",
                    headers={"Content-Disposition": f'attachment; filename="{name}"'})
