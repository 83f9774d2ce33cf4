"""The series page: one series over a range, as a chart, a table and a download."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from flask import Blueprint, abort, render_template, request

from hub.store.reader import Chart, Sample, SeriesRow
from hub.web.access import needs
from hub.web.house import Hut
from hub.web.pages import iso, plain
from hub.web.ranges import RANGES, BadRange, span
from hub.web.svg import chart_svg

BUILT = Path(__file__).parent / "static" / "built"
LIBRARY = ("uPlot.iife.min.js", "uPlot.min.css")
TABLE_ROWS = 200
POINTS = 1000


def has_library() -> bool:
    """True when ``make assets`` has built the chart library."""
    return all((BUILT / name).is_file() for name in LIBRARY)


def blueprint(hut: Hut) -> Blueprint:
    bp = Blueprint("series", __name__)

    @bp.get("/series/<int:series_id>")
    @needs("viewer")
    def series(series_id: int) -> str:
        reader = hut.history.reader
        row = reader.series_by_id(series_id)
        if row is None:
            abort(404, hut.texts("series.not_found", series=series_id))
        try:
            wanted = span(request.args, hut.now_us())
        except BadRange as error:
            abort(400, str(error))
        numeric = _numeric(row)
        chart = reader.chart(series_id, wanted.start_us, wanted.end_us, POINTS) if numeric else None
        words: list[Sample] = []
        if chart is None or not chart.t_us:
            words = reader.samples(series_id, wanted.start_us, wanted.end_us, TABLE_ROWS)
        live = hut.tree.device(row.device)
        name = live.reported.name if live is not None and live.reported is not None else row.device
        return render_template(
            "series.html", s=row, device_name=name, wanted=wanted, ranges=RANGES, chart=chart, words=words,
            rows=_table(chart), svg=chart_svg(chart, row.title) if chart is not None else "", library=has_library(),
            query=f"start={iso(wanted.start_us)}&end={iso(wanted.end_us)}" if wanted.name == "custom"
            else f"range={wanted.name}",
            local=_local, low=_extreme(chart, min), high=_extreme(chart, max),
            level=hut.texts.get(f"series.level_{chart.level}", hut.texts("series.level_samples")) if chart else "",
        )

    return bp


def _numeric(row: SeriesRow) -> bool:
    return row.datatype in ("float", "integer", "boolean", None) and not isinstance(row.value, str | dict | list)


def _local(t_us: int) -> str:
    """For ``<input type=datetime-local>``, in UTC as the page says."""
    return f"{datetime.fromtimestamp(t_us / 1e6, UTC):%Y-%m-%dT%H:%M}"


def _extreme(chart: Chart | None, pick: object) -> str:
    if chart is None:
        return ""
    values = [value for value in (chart.min if pick is min else chart.max) if value is not None]
    if not values:
        return ""
    return plain(min(values) if pick is min else max(values))


def _table(chart: Chart | None) -> list[tuple[int, float, float, float]]:
    """The newest rows first, evenly thinned to what a person reads."""
    if chart is None:
        return []
    rows = [
        (t, mean, low, high)
        for t, mean, low, high in zip(chart.t_us, chart.mean, chart.min, chart.max, strict=True)
        if mean is not None and low is not None and high is not None
    ]
    step = -(-len(rows) // TABLE_ROWS) or 1
    return rows[::-step]
