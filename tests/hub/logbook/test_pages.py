"""The logbook's pages, downloads and calls over HTTP."""

from __future__ import annotations

import csv
import io
import logging
import time
from datetime import UTC, date, datetime
from typing import Any

import pytest

from hub.logbook import days, handler
from hub.logbook.handler import Lines
from hub.logbook.model import Entry
from hub.store import logbook_rows as rows
from hub.store.logbook_rows import Query
from hub.web.access import needs
from hub.web.audit import Audit
from tests.hub.logbook.conftest import Hub
from tests.hub.web.lab import Client, events
from tests.waiting import until

HOSTILE = """<script>window.hit=1</script><img src=x onerror="window.hit=2">'"&"""
DAY_US = 86_400_000_000


def now_us() -> int:
    return time.time_ns() // 1000


def put(hub: Hub, *entries: Entry) -> list[int | None]:
    with hub.service.db.writing():
        return [hub.service.hall.logbook.add(entry) for entry in entries]


def said(text: str, t_us: int | None = None, **more: Any) -> Entry:
    return Entry(t_us or now_us(), **{"machine": "bc-power", "service": "heater", "severity": "warning", "text": text,
                                      "kind": "note", **more})


def test_day_pages_are_days_of_the_house_and_link_to_days_that_have_lines(hub: Hub) -> None:
    zone = hub.web.hut.zone
    assert zone.key == "Europe/Paris"
    late = int(datetime(2025, 11, 25, 22, 59, 59, tzinfo=UTC).timestamp() * 1e6)  # 23:59:59 of the house
    put(hub, said("before midnight", late), said("after midnight", late + 1_000_000),
        said("long ago", late - 30 * DAY_US))
    viewer = hub.web.login("vera")
    page = viewer.get("/logbook/2025-11-25").text
    assert "before midnight" in page and "after midnight" not in page and "23:59:59" in page
    assert 'href="/logbook/2025-10-26"' in page and 'href="/logbook/2025-11-26"' in page
    assert "after midnight" in viewer.get("/logbook/2025-11-26").text
    assert "before midnight" not in viewer.get("/logbook").text
    for wrong in ("2025-11-31", "nonsense", "2025-1-1", "9999-12-31"):
        assert viewer.get(f"/logbook/{wrong}").status == 404
    for long in (date(2025, 10, 26), date(2025, 3, 30)):
        start, end = days.span(long, zone)
        assert (end - start) // 3_600_000_000 == (25 if long.month == 10 else 23)


def test_filters_stand_in_the_address_and_a_search_goes_over_all_days(hub: Hub) -> None:
    put(hub, said("the pump stands still", now_us() - 40 * DAY_US, machine="bc-water", service="pump"),
        said("the pump runs", severity="info"), said("the boiler is cold", severity="error"))
    viewer = hub.web.login("vera")
    found = viewer.get("/logbook?q=pump").text
    assert "stands still" in found and "pump runs" in found and "boiler is" not in found
    assert "stands still" not in viewer.get("/logbook?machine=bc-power&q=pump").text
    errors = viewer.get("/logbook?severity=error").text
    assert "boiler is cold" in errors and "pump runs" not in errors
    assert "stands still" in viewer.get("/logbook?service=pump&all=1").text
    for wrong in ("severity=loud", "kind=x", "before=x", "before=99999999999999999999"):
        assert viewer.get(f"/logbook?{wrong}").status == 400


def test_ten_thousand_lines_are_pages_of_two_hundred(hub: Hub) -> None:
    t_us = int(datetime(2025, 6, 1, 10, tzinfo=UTC).timestamp() * 1e6)
    put(hub, *(said(f"line number{n}", t_us + n) for n in range(10_000)))
    viewer = hub.web.login("vera")
    began = viewer.get("/logbook/2025-06-01").text
    assert began.count('<li id="l') == 200 and "number9999" in began and "number9800" in began
    older = began.partition("before=")[2].partition('"')[0]
    second = viewer.get(f"/logbook/2025-06-01?before={older}").text
    assert "number9799" in second and "number9800" not in second
    assert len(viewer.get("/api/v1/logbook?day=2025-06-01&limit=5000").json) == 5000
    assert viewer.get("/logbook/download?day=2025-06-01").text.count("\n") == 10_001


def test_hostile_text_is_text_everywhere(hub: Hub) -> None:
    [n] = put(hub, said(HOSTILE, machine=HOSTILE[:80], service="=cmd()", detail=HOSTILE, who=HOSTILE[:80]))
    hub.service.parts[-1].crashes.add(  # type: ignore[attr-defined]
        HOSTILE[:80], "<b>x</b>", "<i>1</i>", 'Traceback (most recent call last):\n  File "/hub/<u>.py", line 1, '
        f"in <s>\nValueError: {HOSTILE}", now_us())
    operator = hub.web.login("otto")
    mark = rows.crashes(hub.web.hut.alerts)[0].fingerprint
    for path in ("/logbook", f"/logbook/{n}", "/logbook?q=window.hit", "/crashes", f"/crashes/{mark}",
                 "/logbook?machine=%3Cscript%3E&q=%22%3E%3Cb%3E"):
        page = operator.get(path)
        assert page.status == 200, path
        for bad in ("<script>window", "<img src=x", "<b>x", "<i>1", "<u>", "<s>", '"><b>'):
            assert bad not in page.text, (path, bad)
    assert "<script>window" not in operator.get("/poll/logbook").json["lines"][0][1]
    table = list(csv.reader(io.StringIO(operator.get("/logbook/download").text)))
    assert [row[4] for row in table if "cmd" in row[4]] == ["'=cmd()"]


def test_a_note_is_by_who_wrote_it_once_and_not_by_a_viewer(hub: Hub) -> None:
    operator = hub.web.login("otto")
    for _ in range(2):  # the form sent twice
        answer = operator.post("/logbook/note", {"text": "boiler serviced", "machine": "bc-power", "key": "k1"},
                               page="/logbook")
        assert answer.status == 303
    assert "It is written down" in operator.get(answer.headers["Location"]).text
    [line] = rows.find(hub.web.hut.alerts, Query(words="serviced"), 10)
    assert (line.who, line.machine, line.kind) == ("otto", "bc-power", "note")
    viewer = hub.web.login("vera")
    assert "Write a note" not in viewer.get("/logbook").text
    assert viewer.post("/logbook/note", {"text": "x"}, page="/logbook").status == 403
    assert "was empty" in operator.get(operator.post("/logbook/note", {"text": " "}, page="/logbook")
                                       .headers["Location"]).text


def test_commands_are_seen_by_those_who_may_command(hub: Hub) -> None:
    [n] = put(hub, said("heater/mode = off: done", kind="command", who="anna"))
    assert "heater/mode" in hub.web.login("otto").get("/logbook").text
    viewer = hub.web.login("vera")
    for path in ("/logbook", "/logbook?q=mode", "/api/v1/logbook?q=mode", "/get_logbook", "/logbook/download?q=mode"):
        assert "heater/mode" not in viewer.get(path).text, path
    assert viewer.get(f"/logbook/{n}").status == 404


def test_the_older_houses_calls_answer_as_they_did(hub: Hub) -> None:
    token = {"Authorization": "Bearer " + hub.web.accounts.make_token("sensor", "otto", 30, "command")}
    reading = {"Authorization": "Bearer " + hub.web.accounts.make_token("reader", "vera", 30)}
    client = Client(hub.web.port)
    add = "/add_to_logbook?machine=bc-ui&service=display&message=hello%20world"
    assert (client.request("POST", add, **token).text, client.request("POST", add, **token).status) == ("OK\n", 200)
    assert client.request("POST", add + "&log_type=ERROR", **token).text == "OK\n"
    for field in ("machine", "service", "message"):
        missing = client.request("POST", add.replace(f"{field}=", f"{field}x="), **token)
        assert (missing.status, missing.text) == (400, f"ERROR: the parameter {field} is missing\n")
    wrong = client.request("POST", add + "&log_type=LOUD", **token)
    assert wrong.status == 400 and wrong.text.startswith("ERROR: log_type loud is none of DEBUG")
    told = client.get(add, **token)
    assert told.status == 405 and told.text.startswith("ERROR: /add_to_logbook changes something")
    assert client.request("POST", add, **reading).status == 403 and client.request("POST", add).status == 401
    found = [one for one in client.get("/get_logbook", **reading).json if one["machine"] == "bc-ui"]
    assert [(one["log_type"], one["message"], one["count"]) for one in found] == [
        ("ERROR", "hello world", 1), ("INFO", "hello world", 2)]
    assert client.get("/api/v1/get_logbook", **reading).status == 200
    page = hub.web.login("vera").get("/get_logbook", Accept="text/html")
    assert (page.status, page.headers["Location"]) == (303, "/logbook")


def test_without_notify_the_pages_are_there_and_a_note_says_what_is_wrong(hub: Hub) -> None:
    put(hub, said("kept"))
    operator = hub.web.login("otto")
    hub.stopping.set()
    hub.notify.join(20)
    assert "kept" in operator.get("/logbook").text
    answer = operator.post("/logbook/note", {"text": "x"}, page="/logbook")
    assert answer.status == 503 and "notify" in answer.text


def test_a_page_that_fails_is_one_program_fault_with_its_trace_and_the_next_page_works(hub: Hub) -> None:
    def breaks() -> str:
        return {}["the drawer"]  # type: ignore[no-any-return, misc]

    lines = Lines(hub.web.settings.hub.run_dir, "web")
    logging.getLogger().addHandler(lines)
    try:
        app = hub.web.app
        app._got_first_request = False
        app.add_url_rule("/breaks", "breaks", needs("viewer")(breaks))
        viewer = hub.web.login("vera")
        for _ in range(20):
            assert viewer.get("/breaks").status == 500
        until("all of them", lambda: sum(one.count for one in rows.crashes(hub.web.hut.alerts)) == 20)
    finally:
        logging.getLogger().removeHandler(lines)
        lines.close()
    [crash] = rows.crashes(hub.web.hut.alerts)
    assert crash.type == "KeyError" and "breaks" in crash.place
    page = viewer.get(f"/crashes/{crash.fingerprint}").text
    assert "in breaks" in page and "Traceback" in page and ">20<" in page
    assert len(rows.find(hub.web.hut.alerts, Query(kind="crash"), 10)) == 1
    found = list(hub.service.parts[-1].conditions(now_us()))
    assert [one.key for one in found] == [f"crash:{crash.fingerprint}"]


def test_a_new_user_is_a_line_by_who_made_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines(hub.web.settings.hub.run_dir, "web")
    monkeypatch.setattr(handler, "_installed", [lines])
    try:
        audit = Audit(hub.web.hut)
        audit.note("add user", "zoe", who="anna")
        audit.note("add user", "max", result="refused: there is one", who="anna")
        audit.note("set", "heater", who="anna")
        until("the line", lambda: rows.find(hub.web.hut.alerts, Query(kind="change"), 10))
    finally:
        lines.close()
    [line] = rows.find(hub.web.hut.alerts, Query(kind="change"), 10)
    assert (line.text, line.who, line.service) == ("add user: zoe", "anna", "web")


def test_an_open_page_is_told_of_new_lines_that_it_asked_for(hub: Hub) -> None:
    viewer = hub.web.login("vera")
    with viewer.stream("/events/logbook?severity=error") as stream:
        until("the stream", lambda: hub.web.hut.feed.readers == 1)
        hub.service.desk.handlers["log.add"]({"machine": "m", "service": "s", "severity": "info", "text": "quiet"}, "x")
        hub.service.desk.handlers["log.add"]({"machine": "m", "service": "s", "severity": "error", "text": "loud"}, "x")
        for event in events(stream):
            if "loud" in str(event):
                assert "quiet" not in str(event)
                break
