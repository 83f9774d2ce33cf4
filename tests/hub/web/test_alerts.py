"""The page of alerts and its API: a real notify service, a real web process, a real alerts.db."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.wire import faults
from tests.hub.alerts.house import Desk, House
from tests.hub.web.lab import Web

EVIL = "<script>alert(1)</script>'\"&{{7*7}}"


@pytest.fixture
def house(web: Web, tmp_path: Path) -> Iterator[House]:
    with House(tmp_path, settings=web.settings) as house:
        yield house


@pytest.fixture(autouse=True)
def desk(house: House) -> Iterator[Desk]:
    with Desk(house) as desk:
        yield desk


def cut(house: House) -> None:
    house.device("power", {"mains": ("mains_present",)})
    house.device("pi0")
    house.device("pi1")
    house.run(70)
    house.say("homie/5/power/mains/mains-present", "false")
    house.run(3)
    house.lose("pi0", "pi1")
    house.run(10)


def test_before_the_first_alert_the_page_is_calm(web: Web) -> None:
    page = web.login("vera").get("/alerts")
    assert page.status == 200 and "Nothing is wrong" in page.text and 'class="count' not in page.text


def test_a_cause_is_listed_with_what_follows_from_it(web: Web, house: House) -> None:
    cut(house)
    client = web.login("vera")
    page = client.get("/alerts").text
    assert "1 thing needs somebody" in page and "2 others follow from it" in page
    assert "Power: the mains is gone" in page and "samples are kept, heaters are off" in page
    assert '<span class="count critical">1</span>' in client.get("/").text
    child = next(row for row in house.open().values() if row.key == "lost:pi0")
    one = client.get(f"/alerts/{child.id}").text
    assert "It follows from" in one and "explained by: Power: the mains is gone" in one
    assert "told by what it follows from" in one
    root = client.get(f"/alerts/{child.cause_id}").text
    assert "Pi0: no longer connected" in root and "given to the channels (critical)" in root


def test_an_operator_acknowledges_and_a_viewer_cannot(web: Web, house: House) -> None:
    cut(house)
    vera, otto = web.login("vera"), web.login("otto")
    assert "I have seen it" not in vera.get("/alerts").text
    assert vera.post("/alerts/1/acknowledge", page="/account").status == 403
    root = next(row for row in house.open().values() if row.key.startswith("mains:"))
    answer = otto.post(f"/alerts/{root.id}/acknowledge", page="/alerts")
    assert answer.status == 303 and answer.headers["Location"].startswith("/alerts?note=")
    assert "you have seen it" in otto.get(answer.headers["Location"]).text
    page = otto.get("/alerts").text
    assert "Nothing needs somebody" in page and "otto has seen it" in page
    assert house.run(1) == [("acknowledged", root.key, 2)]
    rows = web.accounts.db.audit_rows(10)
    assert [(row.who, row.action, row.target) for row in rows if row.action == "acknowledge"] == [
        ("otto", "acknowledge", f"alert {root.id}")]
    assert otto.post("/alerts/9999/acknowledge", page="/alerts").status == 404


def test_what_is_over_already_is_refused_with_a_line(web: Web, house: House) -> None:
    cut(house)
    root = next(row for row in house.open().values() if row.key.startswith("mains:"))
    house.say("homie/5/power/mains/mains-present", "true")
    house.run(20)
    answer = web.login("otto").post(f"/alerts/{root.id}/acknowledge", page="/alerts")
    assert answer.status == 409 and "over already" in answer.text
    history = web.login("vera").get("/alerts").text
    assert "lasted" in history.partition('id="history"')[2]
    assert "the mains is gone" in web.login("vera").get("/alerts?find=MAINS").text.partition('id="history"')[2]
    assert "the mains is gone" not in web.login("vera").get("/alerts?find=water").text.partition('id="history"')[2]


def test_a_maintenance_silence_is_made_shown_and_ended(web: Web, house: House) -> None:
    house.device("pi0")
    house.run(60)
    otto, vera = web.login("otto"), web.login("vera")
    form = {"match": "pi0", "minutes": "30", "why": "new card"}
    assert vera.post("/alerts/silence", form, page="/account").status == 403
    answer = otto.post("/alerts/silence", form, page="/alerts")
    assert answer.status == 303
    house.lose("pi0")
    assert house.run(60) == []
    page = vera.get("/alerts").text
    assert "by otto: new card" in page and "Silenced" in page
    assert otto.post("/alerts/silences/1/end", page="/alerts").status == 303
    assert house.run(10) == [("opened", "lost:pi0", 0)]
    web.ahead_us = house.now_us - house.start_us
    assert otto.post("/alerts/silences/1/end", page="/alerts").status == 404
    for wrong, status in (({"minutes": "x"}, 400), ({"minutes": "99999"}, 400), ({"why": ""}, 409),
                          ({"match": ""}, 409)):
        assert otto.post("/alerts/silence", form | wrong, page="/alerts").status == status


def test_without_notify_nothing_is_done_and_a_line_says_so(web: Web, house: House, desk: Desk) -> None:
    cut(house)
    root = next(row for row in house.open().values() if row.key.startswith("mains:"))
    desk.end()
    house.service.desk.socket.close()
    answer = web.login("otto").post(f"/alerts/{root.id}/acknowledge", page="/alerts")
    assert answer.status == 503 and "notify" in answer.text
    assert web.login("vera").get("/alerts").status == 200, "reading needs nobody"


def test_no_alert_injects_html(web: Web, house: House) -> None:
    house.device("pi0")
    house.run(60)
    house.say("hutkeeper/1/pi0/reported", json.dumps(
        {"name": EVIL, "agent_version": EVIL, "plugins": {}}))
    house.alert("pi0", "leak", f"{EVIL}; kept: {EVIL}; do: {EVIL}")
    house.alert("pi0", EVIL.replace("/", ""), f"E_SERIAL {EVIL}; kept: {EVIL}; do: {EVIL}")
    house.service.book.silence("<b>*", 60, EVIL, EVIL, house.now_us)
    house.run(10)
    client = web.login("otto")
    pages = [client.get(path).text for path in (
        "/alerts", *(f"/alerts/{row.id}" for row in house.open().values()), "/alerts?match=" + "%22%3E%3Cscript%3E")]
    assert len(pages) == 4
    for page in pages:
        assert "<script>alert" not in page and '"><script>' not in page and "<b>*" not in page and ">49<" not in page
    assert "&lt;script&gt;alert(1)" in pages[0]


def test_the_poll_sends_the_board_only_when_something_changed(web: Web, house: House) -> None:
    cut(house)
    client = web.login("vera")
    first = client.get("/poll/alerts").json
    assert "the mains is gone" in first["board"]
    assert "board" not in client.get(f"/poll/alerts?version={first['version']}").json
    house.lose("power")
    house.run(10)
    assert "board" in client.get(f"/poll/alerts?version={first['version']}").json


def test_the_api_lists_and_acknowledges_by_token(web: Web, house: House) -> None:
    cut(house)
    reads = {"Authorization": f"Bearer {web.accounts.make_token('reader', 'anna', 1)}"}
    commands = {"Authorization": f"Bearer {web.accounts.make_token('home', 'anna', 1, 'command')}"}
    client = web.login("vera")
    client.cookies.clear()
    told = client.request("GET", "/api/v1/alerts", **reads).json
    root = next(one for one in told["alerts"] if one["key"].startswith("mains:"))
    assert root["listed"] == 2 and root["severity"] == "critical" and root["state"] == "open" and root["told_us"]
    assert all(one["cause_id"] == root["id"] for one in told["alerts"] if one is not root)
    path = f"/api/v1/alerts/{root['id']}"
    assert client.request("POST", f"{path}/acknowledge", **reads).status == 403
    assert client.request("POST", f"{path}/acknowledge", **commands).json == {"acknowledged": root["id"]}
    assert client.request("GET", path, **reads).json["acknowledged_by"] == "token:home"
    assert client.request("GET", "/api/v1/alerts?state=resolved", **reads).json["alerts"] == []
    assert client.request("GET", "/api/v1/alerts?state=all", **reads).status == 400
    assert client.request("GET", "/api/v1/alerts/99999999999999999999", **reads).status == 404
    metrics = client.request("GET", "/metrics", **reads).text
    assert 'hutkeeper_alerts{severity="critical",state="acknowledged"} 1.0' in metrics
    assert 'hutkeeper_alerts{severity="error",state="child"} 2.0' in metrics


def test_the_fleet_page_says_it_in_the_same_words_under_the_same_cause(web: Web, house: House) -> None:
    """What the devices say reaches both processes by the broker; here the same messages are applied to both trees."""
    cut(house)
    house.alert("power", "frozen", faults.line("E_SENSOR_FROZEN", sensor="t1", evidence="21.0 for 9 h"))
    house.run(10)
    for topic, payload in house.retained.items():
        web.hut.tree.apply(topic, payload, retained=False, now_us=house.now_us)
    web.ahead_us = house.now_us - house.start_us
    told = {problem.key: (problem.title, problem.severity, problem.children)
            for problem in web.hut.fleet().problems if problem.key != "hub:ingest"}
    rows = {row.key: row for row in house.open().values() if row.cause_id is None}
    assert told == {key: (row.title, row.severity, len(house.listed(key))) for key, row in rows.items()}
    assert len(told) == 2


def test_who_was_told_stands_with_the_alert_and_no_number_of_theirs(web: Web, house: House) -> None:
    cut(house)
    root = next(row for row in house.open().values() if row.key.startswith("mains:"))
    with house.service.db.writing() as db:
        db.execute("INSERT INTO messages (id, key, channel, recipient, kind, severity, n, title, text, ack, state, "
                   "made_us, next_us, ended_us) VALUES (1, 'k', 'text', '+33123456', 'alert', 'critical', 1, 't', 't', "
                   "0, 'sent', 1, 1, 2)")
        db.execute("INSERT INTO notices (channel, recipient, alert_id, alert_key, what, severity, t_us, due_us, alert, "
                   "state, message_id) VALUES ('text', '+33123456', ?, 'k', 'opened', 'critical', 1, 1, x'', 'taken', "
                   "1)", (root.id,))
    page = web.login("vera").get(f"/alerts/{root.id}").text.partition("Who was told")[2]
    assert "<b>text</b>: told (opened)" in page and "33123456" not in page
