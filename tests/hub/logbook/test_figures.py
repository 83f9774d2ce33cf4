"""The short form of the figures: every question is answered from an index, whatever the number of lines."""

from __future__ import annotations

from pathlib import Path

from hub.store.alerts_db import AlertsReader
from hub.store.logbook_rows import Query, expression
from tests.hub.logbook.figures import fill, measure


def test_no_question_reads_or_sorts_the_whole_table(tmp_path: Path) -> None:
    path = tmp_path / "alerts.db"
    fill(path, 3_000)
    assert len(measure(path, 3_000)) == 15
    reader = AlertsReader(path)
    for query in (Query(), Query(words="sensor"), Query(machine="device-7", severity="error")):
        wanted = expression(query)
        sql = ("SELECT l.id FROM logbook_words w JOIN logbook l ON l.id = w.rowid WHERE logbook_words MATCH ? AND "
               "w.rowid >= ? AND w.rowid < ? ORDER BY w.rowid DESC LIMIT 9") if wanted else \
            "SELECT id FROM logbook l WHERE l.id >= ? AND l.id < ? ORDER BY l.id DESC LIMIT 9"
        plan = " ".join(str(row["detail"]) for row in reader.rows(
            f"EXPLAIN QUERY PLAN {sql}", *((wanted,) if wanted else ()), 0, 1 << 62))
        assert "TEMP B-TREE" not in plan and "SCAN l" not in plan, plan
    reader.close()
