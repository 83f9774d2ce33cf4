"""The process is killed between any two statements; what the file then says goes on without a loss or a double."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

from tests.hub.alerts.desk import T0, Bench, S, condition

ALL = "HUTKEEPER_ALL_KILLS" in os.environ
"""Every statement, about two minutes; else every 31st."""
EVENTS = "CREATE TABLE IF NOT EXISTS told (what TEXT, key TEXT, children INTEGER, severity TEXT)"


def play(bench: Bench, second: int) -> None:
    """An evening in forty seconds: a cause with children, a flapping pump, an acknowledge, a silence, a group."""
    if second == 1:
        bench.set(*(condition(f"lost:d{n}", f"device:d{n}", absent=True) for n in range(3)),
                  condition("leak", severity="critical"), condition("pump", severity="warning"))
    if second == 3:
        bench.set(condition("mains", "mains"))
    if second in (4, 9):
        bench.clear("pump")
    if second == 6:
        bench.set(condition("pump", severity="error"))
    if second == 8:
        bench.set(*(condition(f"unsynced:e{n}", f"device:e{n}", "warning") for n in range(6)))
    if second == 12:
        bench.clear("leak")
    if second == 20:
        bench.clear(*(f"unsynced:e{n}" for n in range(6)), "mains")
    bench.wrong = dict(bench.wrong)


def asked(bench: Bench, second: int) -> None:
    """By a person, outside the second's transaction; asked again if no answer came."""
    with bench.db.writing() as db:
        done = db.execute("SELECT count(*) FROM asked WHERE second = ?", (second,)).fetchone()[0]
        if second == 5 and not done:
            bench.book.acknowledge(next(row.id for row in bench.book._current(bench.now_us).open.values()
                                        if row.key == "leak"), "lena", bench.now_us)
        if second == 7 and not done:
            bench.book.silence("d2", 10, "work", "lena", bench.now_us)
        if not done:
            db.execute("INSERT INTO asked VALUES (?)", (second,))


def evening(folder: Path, kill_at: int | None) -> int:
    """Play it on; returns how many statements there were. ``kill_at``: die by SIGKILL before that statement."""
    bench = Bench(folder)
    count = 0

    def traced(_: str) -> None:
        nonlocal count
        count += 1
        if kill_at is not None and count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    db = bench.db._db
    with bench.db.writing():
        db.execute(EVENTS)
        db.execute("CREATE TABLE IF NOT EXISTS asked (second INTEGER)")
        db.execute("CREATE TABLE IF NOT EXISTS played (second INTEGER)")
    done = int(db.execute("SELECT coalesce(max(second), 0) FROM played").fetchone()[0])
    bench.book.began_us = T0 - 1000 * S
    for second in range(1, done + 1):
        play(bench, second)
    bench.now_us = T0 + done * S
    db.set_trace_callback(traced)
    for second in range(done + 1, 41):
        play(bench, second)
        bench.now_us = T0 + second * S
        asked(bench, second)
        with bench.db.writing():
            for event in bench.book.update(dict(bench.wrong), bench.now_us):
                db.execute("INSERT INTO told VALUES (?, ?, ?, ?)",
                           (event.what, event.alert.key, event.children, event.alert.severity))
            db.execute("INSERT INTO played VALUES (?)", (second,))
    db.set_trace_callback(None)
    bench.db.close()
    return count


def outcome(folder: Path) -> tuple[list[tuple[object, ...]], ...]:
    with sqlite3.connect(folder / "alerts.db") as db:
        return tuple(db.execute(sql).fetchall() for sql in (
            "SELECT * FROM told", "SELECT * FROM alerts ORDER BY id", "SELECT id, match, until_us FROM silences",
            "SELECT alert_id, t_us, what, who, text FROM alert_steps ORDER BY id"))


def test_B66_a_kill_between_any_two_statements_changes_nothing(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    statements = evening(whole, None)
    wanted = outcome(whole)
    assert statements > 150 and len(wanted[0]) >= 6
    assert {row[0] for row in wanted[0]} >= {"opened", "acknowledged", "resolved"}
    for place in range(1, statements, 1 if ALL else 31):
        folder = tmp_path / f"k{place}"
        pid = os.fork()
        if pid == 0:
            try:
                evening(folder, place)
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), place
        evening(folder, None)
        assert outcome(folder) == wanted, place
