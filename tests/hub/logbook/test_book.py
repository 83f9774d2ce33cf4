"""The logbook as it is written and searched."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.logbook.book import DAY_US, LIMIT
from hub.logbook.model import Entry
from hub.store import logbook_rows as rows
from hub.store.logbook_rows import Query
from tests.hub.logbook.hall import HOUR_US, NOON_US, SECOND_US, Clock, notify


def entry(text: str, t_us: int = NOON_US, **more: str) -> Entry:
    return Entry(t_us, **{"machine": "bc-power", "service": "heater", "severity": "warning", "text": text,
                          **more})  # type: ignore[arg-type]


def test_the_same_key_is_the_same_line_also_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    for _ in range(2):
        with notify(tmp_path, clock) as service:
            first = service.hall.logbook.add(entry("rebooted", key="sample:x", kind="reboot"))
            assert service.hall.logbook.add(entry("other words", key="sample:x", kind="reboot")) == first
            assert [line.text for line in rows.find(service.db, Query(kind="reboot"), 10)] == ["rebooted"]


def test_lines_of_the_same_moment_are_two_lines_in_their_order(tmp_path: Path) -> None:
    with notify(tmp_path, Clock()) as service:
        for text in ("one", "two", "three"):
            service.hall.logbook.add(entry(text, kind="note"))
        found = rows.find(service.db, Query(kind="note"), 10)
        assert [line.text for line in found] == ["three", "two", "one"]
        assert len({line.n for line in found}) == 3


def test_B24_a_flood_is_one_line_with_its_exact_count(tmp_path: Path) -> None:
    clock = Clock()
    with notify(tmp_path, clock) as service:
        for _ in range(3000):
            clock.now_us += 1000
            service.hall.logbook.add(entry("no answer from the sensor", clock.now_us))
        [line] = rows.find(service.db, Query(machine="bc-power"), 10)
        assert (line.count, line.last_us) == (3000, clock.now_us)


def test_B24_what_is_held_back_is_counted_exactly_over_a_restart_and_errors_have_room(tmp_path: Path) -> None:
    clock = Clock()
    said = 0
    for _ in range(3):
        with notify(tmp_path, clock) as service:
            for _ in range(200):
                said += 1
                service.hall.logbook.add(entry(f"value {said} is strange", clock.now_us))
    with notify(tmp_path, clock) as service:
        service.hall.logbook.add(entry("it burns", clock.now_us, severity="error"))
        clock.now_us += HOUR_US
        service.hall.logbook.add(entry("another hour", clock.now_us))
        found = rows.find(service.db, Query(machine="bc-power"), 1000)
    held = [line for line in found if "counted here" in line.text]
    written = [line for line in found if line.text.startswith("value")]
    assert len(written) == LIMIT and sum(line.count for line in held) == 600 - LIMIT
    assert {"it burns", "another hour"} <= {line.text for line in found}


def test_notes_commands_and_alerts_are_never_held_back(tmp_path: Path) -> None:
    with notify(tmp_path, Clock()) as service:
        for n in range(LIMIT * 2):
            service.hall.logbook.add(entry(f"note {n}", kind="note"))
        assert len(rows.find(service.db, Query(kind="note"), 1000)) == LIMIT * 2


def test_old_lines_go_and_their_words_with_them(tmp_path: Path) -> None:
    clock = Clock()
    with notify(tmp_path, clock, "[retention]\nlogbook_days = 10\n") as service:
        service.hall.logbook.add(entry("walnut", clock.now_us))
        clock.now_us += 9 * DAY_US
        service.step()
        assert rows.find(service.db, Query(words="walnut"), 10)
        clock.now_us += 2 * DAY_US
        service.step()
        assert not rows.find(service.db, Query(words="walnut"), 10)
        assert "bc-power" not in [source.machine for source in rows.sources(service.db)]
        service.db.rows("INSERT INTO logbook_words (logbook_words) VALUES ('integrity-check')")


@pytest.mark.parametrize("text", ['"', "*", "NEAR(", "a AND", "OR OR", "tags:x", "{tags} : v3", "-x", "^a", "''", "—",
                                  "\0", "\ud800", "x" * 5000, "(" * 50, 'a" OR "b', "col:umn", "%_"])
def test_no_search_text_is_an_operator_or_an_error(tmp_path: Path, text: str) -> None:
    with notify(tmp_path, Clock()) as service:
        service.hall.logbook.add(entry("quite another line"))
        assert rows.find(service.db, Query(words=f"zebra {text}"), 10) == []
        service.hall.logbook.add(entry(f"strange {text} end"))
        assert rows.find(service.db, Query(words="strange"), 10)[0].text.startswith("strange")


WORD = st.one_of(
    st.text("abcdefghijklmnopqrstuvwxyzäéßñøABCXYZ0123456789", min_size=1, max_size=12),
    st.text("ab-_.:/'\"()<>&*é1", min_size=1, max_size=10).filter(lambda word: any(c.isalnum() for c in word)))
LINES = st.lists(st.tuples(
    st.lists(WORD, min_size=1, max_size=6), st.sampled_from(["bc-power", "bc-water", "hub", "Küche 2"]),
    st.sampled_from(["heater", "agent", "web"]), st.sampled_from(["debug", "info", "warning", "error", "alarm"]),
    st.integers(0, 5 * DAY_US)), min_size=1, max_size=12)


@given(LINES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_added_is_found_by_each_of_its_words_by_day_machine_service_and_severity(
        tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[list[str], str, str, str, int]]) -> None:
    with notify(tmp_path_factory.mktemp("book"), Clock(NOON_US + 6 * DAY_US)) as service:
        for words, machine, of, severity, t_us in lines:
            n = service.hall.logbook.add(Entry(NOON_US + t_us, machine, of, severity, " ".join(words),  # type: ignore[arg-type]
                                               "note"))
            assert n is not None
            day = (NOON_US + t_us) // DAY_US * DAY_US
            for query in (*(Query(words=word) for word in words), *(Query(words=word[:4]) for word in words
                                                                    if word[:4].isalnum()),
                          Query(words=" ".join(words), machine=machine, start_us=day, end_us=day + DAY_US + 100),
                          Query(machine=machine, service=of), Query(severity=severity), Query(kind="note"),  # type: ignore[arg-type]
                          Query(start_us=day, end_us=day + DAY_US + 100)):
                assert n in [line.n for line in rows.find(service.db, query, 1000)], query
            assert n not in [line.n for line in rows.find(service.db, Query(machine=machine + "x"), 1000)]
        one_by_one = []
        before = rows.MAX_US
        while page := rows.find(service.db, Query(kind="note", before=before), 2):
            one_by_one += [line.n for line in page]
            before = page[-1].n
        assert len(one_by_one) == len(lines) and one_by_one == sorted(one_by_one, reverse=True)


def test_a_line_of_the_future_is_of_now_and_one_of_long_ago_stays(tmp_path: Path) -> None:
    with notify(tmp_path, Clock()) as service:
        assert service.hall.logbook.add(entry("a", NOON_US + DAY_US, kind="note")) == NOON_US
        assert service.hall.logbook.add(entry("b", NOON_US - DAY_US, kind="note")) == NOON_US - DAY_US


def test_the_rest_of_a_long_text_is_below_it(tmp_path: Path) -> None:
    with notify(tmp_path, Clock()) as service:
        service.hall.logbook.add(entry("first\x1b[31m line\nsecond\nthird", kind="note"))
        [line] = rows.find(service.db, Query(words="third"), 10)
        assert (line.text, line.detail) == ("first [31m line", "second\nthird")


def test_a_full_database_costs_no_line(tmp_path: Path) -> None:
    """B18: what this second could not keep, the next one does."""
    from tests.hub.logbook.hall import log_line, synced

    clock = Clock()
    with notify(tmp_path, clock) as service:
        tree = service.hall.tree
        synced(tree, "bc-power", now_us=clock.now_us)
        service.step()
        service.db._db.execute("PRAGMA max_page_count = 1")  # SQLITE_FULL from here on, as the kernel would say it
        for n in range(300):
            log_line(tree, "bc-power", "warn", f"heater: {n} " + "x" * 4000, clock.now_us)
        clock.now_us += SECOND_US
        service.step()
        assert not rows.find(service.db, Query(words="heater", kind="log"), 10)
        service.db._db.execute("PRAGMA max_page_count = 1073741823")
        clock.now_us += SECOND_US
        service.step()
        found = rows.find(service.db, Query(machine="bc-power", kind="log"), 1000)
        assert sum(line.count for line in found) == 300
