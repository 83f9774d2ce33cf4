"""Commands from the device page and the API: a real broker, and an MQTT client as the device."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.api import Property
from agent.homie.values import Illegal, parse_set
from agent.testing.broker import Broker
from agent.uplink.orders import as_payload
from agent.wire import messages, topics
from agent.wire.messages import MAX_SET_BYTES
from hub.command.rate import Rate
from hub.command.values import BadValue, control, from_json, from_text
from hub.live import PropertyInfo
from hub.store import web_once
from hub.store.web_db import TABLES, WebDb
from hub.web.accounts import Refused
from hub.web.zones import zone_of
from tests.hub.web.lab import Answer, Client, Devices, Obedient, Web, heater, stamp
from tests.waiting import until

SETPOINT = "/api/v1/devices/heat/nodes/heater/properties/setpoint_c"


@pytest.fixture
def ruling(web: Web, devices: Devices) -> Web:
    web.rules(devices)
    heater(devices, "heat")
    until("the heater", lambda: web.hut.tree.device("heat"))
    return web


@pytest.fixture
def device(broker: Broker) -> Iterator[Obedient]:
    with Obedient(broker.port, "heat") as device:
        yield device


def bearer(web: Web, scope: str = "command", owner: str = "otto") -> str:
    return f"Bearer {web.accounts.make_token('automation', owner, 30, scope)}"


def post(web: Web, path: str, body: Any, secret: str, **headers: str) -> Answer:
    return Client(web.port).request("POST", path, json.dumps(body), Authorization=secret,
                                    Content_Type="application/json", **headers)


# --- what a property takes -----------------------------------------------------------------------------------


def prop(datatype: str, format_: str = "") -> PropertyInfo:
    return PropertyInfo("p", "Power", datatype, "", format_, True)


@pytest.mark.parametrize(("info", "text", "value"), [
    (prop("boolean"), "true", True),
    (prop("float", "5:30:0.1"), "20,5", 20.5),
    (prop("integer", "0:100"), " 30 ", 30),
    (prop("enum", "off,auto"), "auto", "auto"),
    (prop("string"), "one\r\ntwo", "one\ntwo"),
    (prop("json"), '{"a": [1, null]}', {"a": [1, None]}),
    (prop("datetime"), "2026-07-01T22:00", "2026-07-01T22:00:00+02:00"),
    (prop("datetime"), "2026-07-01T22:00:00Z", "2026-07-01T22:00:00+00:00"),
])
def test_a_form_field_becomes_a_typed_value(info: PropertyInfo, text: str, value: Any) -> None:
    made = from_text(info, text, zone_of("Europe/Paris"))
    assert made == value and type(made) is type(value)


@pytest.mark.parametrize(("info", "value"), [
    (prop("boolean"), "true"), (prop("boolean"), 1), (prop("float", "5:30"), 30.5), (prop("float", "5:"), 4),
    (prop("float"), True), (prop("float"), float("nan")), (prop("float"), "12"), (prop("integer"), 1.5),
    (prop("enum", "off,auto"), "on"), (prop("enum", "off,auto"), 1), (prop("string"), ""), (prop("string"), "x" * 3000),
    (prop("json"), "text"), (prop("json"), {"a": "x" * MAX_SET_BYTES}), (prop("datetime"), "tomorrow"),
    (prop("datetime"), "2026-07-01T22:00"), (prop("datetime"), 5),
])
def test_what_does_not_fit_is_said_in_one_line(info: PropertyInfo, value: Any) -> None:
    with pytest.raises(BadValue) as said:
        from_json(info, value)
    assert len(str(said.value).splitlines()) == 1


def test_the_largest_command_is_the_agents_own_limit() -> None:
    """What this hub lets through no agent refuses for its size, and what it refuses no agent takes."""
    largest = {"ä": "x" * (MAX_SET_BYTES - len('{"ä":""}'.encode()))}
    declared = Property(name="p", datatype="json", settable=True)
    assert from_json(prop("json"), largest) == largest
    assert parse_set(declared, as_payload(largest)) == largest
    larger = {"ä": largest["ä"] + "x"}
    with pytest.raises(BadValue, match=str(MAX_SET_BYTES)):
        from_json(prop("json"), larger)
    with pytest.raises(Illegal):
        parse_set(declared, as_payload(larger))


def test_a_control_fits_its_datatype() -> None:
    assert control(prop("float", "5:30:0.1"), "20").minimum == 5
    assert control(prop("integer"), "1").step == 1
    assert control(prop("float", "::"), None).maximum is None
    assert control(prop("boolean", "closed,open"), "true").options == ("closed", "open")
    assert control(prop("boolean"), "true", ("Off", "On")).options == ("Off", "On")
    assert control(prop("color", "rgb"), "1,2,3").kind == "text"


# --- from the page -------------------------------------------------------------------------------------------


def test_a_form_sets_a_property_and_the_audit_says_who_and_what(ruling: Web, device: Obedient) -> None:
    otto = ruling.login("otto")
    page = otto.get("/device/heat").text
    assert 'min="5" max="30"' in page and "Set as JSON" not in page
    answer = otto.post("/device/heat/set", {"node": "heater", "property": "setpoint-c", "value": "21.5"})
    assert answer.status == 303
    told = otto.get(answer.headers["Location"].partition("#")[0]).text
    assert "Done: Set point is now 21.5 °C" in told
    assert device.asked == [("heater", "setpoint-c", 21.5)]
    (one,) = device.taken
    assert one.args["who"] == "otto (web)" and 0 < one.ttl_s <= 60 and one.term == ruling.hut.own_term()
    row = ruling.accounts.db.audit_rows(1)[0]
    assert (row.who, row.action, row.target, row.result) == ("otto", "set", "heat/heater/setpoint-c", "done")
    assert row.detail == "20.5 -> 21.5" and row.address == "127.0.0.1"
    # what came of it is told to whom it concerns, and to nobody else
    assert "Done: Set point" not in ruling.login("anna").get(answer.headers["Location"].partition("#")[0]).text


def test_the_script_of_the_page_gets_json(ruling: Web, device: Obedient) -> None:
    otto = ruling.login("otto")
    form = {"node": "heater", "property": "mode", "value": "off"}
    answer = otto.post("/device/heat/set", form, Accept="application/json")
    assert answer.status == 200 and answer.json["value"] == "off" and answer.json["before"] == "auto"
    device.refuse = "mode: the installer has locked this heater"
    answer = otto.post("/device/heat/set", form, Accept="application/json")
    assert answer.status == 409 and answer.json["error"] == device.refuse
    assert ruling.accounts.db.audit_rows(1)[0].result == f"refused: {device.refuse}"


def test_a_switch_is_answered_with_its_own_words_and_what_is_done_once_has_one_button(
    ruling: Web, devices: Devices, broker: Broker
) -> None:
    told = {"homie": "5.0", "version": 1, "name": "x", "nodes": {"n": {"name": "N", "type": "t", "properties": {
        "v": {"name": "Valve", "datatype": "boolean", "settable": True, "format": "closed,open"},
        "list": {"name": "List them now", "datatype": "boolean", "settable": True, "retained": False},
        "ask": {"name": "Ask the network", "datatype": "string", "settable": True, "retained": False}}}}}
    devices.device("lamp", described=told, n__v="true")
    until("the device", lambda: ruling.hut.tree.device("lamp"))
    otto = ruling.login("otto")
    page = otto.get("/device/lamp").text
    assert page.count('aria-label="List them now"') == 1 and ">Do it</button>" in page and ">Send</button>" in page
    with Obedient(broker.port, "lamp") as lamp:
        form = {"node": "n", "property": "v", "value": "false"}
        answer = otto.post("/device/lamp/set", form, Accept="application/json")
        assert answer.json["text"] == "Done: Valve is now closed." and lamp.asked == [("n", "v", False)]


def test_without_a_connection_nothing_is_sent_and_it_is_said(ruling: Web, devices: Devices, device: Obedient) -> None:
    otto = ruling.login("otto")
    devices.send("homie/5/heat/$state", "lost")
    until("lost", lambda: ruling.hut.tree.device("heat").state == "lost")
    form = {"node": "heater", "property": "mode", "value": "off"}
    answer = otto.post("/device/heat/set", form, Accept="application/json")
    assert answer.status == 503 and "not connected" in answer.json["error"]
    assert device.taken == []


def test_a_device_that_does_not_answer(ruling: Web, device: Obedient) -> None:
    device.mute = True
    ruling.hut.command_s = 0.3
    otto = ruling.login("otto")
    form = {"node": "heater", "property": "mode", "value": "off"}
    answer = otto.post("/device/heat/set", form, Accept="application/json")
    assert answer.status == 504 and "void" in answer.json["error"]
    assert len(device.taken) == 1 and device.taken[0].ttl_s == pytest.approx(0.3)


def test_a_viewer_has_no_controls_and_json_is_for_admins(ruling: Web, devices: Devices, device: Obedient) -> None:
    told = {"homie": "5.0", "version": 1, "name": "x", "nodes": {"n": {"name": "N", "type": "t", "properties": {
        "j": {"name": "Rules", "datatype": "json", "settable": True},
        "b": {"name": "Lamp", "datatype": "boolean", "settable": True, "format": "out,lit"}}}}}
    devices.device("lamp", described=told, n__b="true", n__j="{}")
    until("the lamp", lambda: ruling.hut.tree.device("lamp"))
    assert "/device/lamp/set" not in ruling.login("vera").get("/device/lamp").text
    otto, anna = ruling.login("otto"), ruling.login("anna")
    page = otto.get("/device/lamp").text
    assert ">lit</button>" in page and "Set as JSON" not in page
    assert "Set as JSON" in anna.get("/device/lamp").text
    form = {"node": "n", "property": "j", "value": "{}"}
    assert otto.post("/device/lamp/set", form, Accept="application/json").status == 400
    assert "admin" in otto.post("/device/lamp/set", form, Accept="application/json").json["error"]
    assert device.taken == []


# --- from the API --------------------------------------------------------------------------------------------


def test_a_token_that_may_command_sets_and_one_that_reads_does_not(ruling: Web, device: Obedient) -> None:
    secret = bearer(ruling)
    answer = post(ruling, SETPOINT, {"value": 19}, secret)
    assert answer.status == 200 and answer.json == {"text": "Done: Set point is now 19 °C.", "value": 19,
                                                    "before": "20.5"}
    assert device.taken[0].args["who"] == "token:automation (api)"
    refused = post(ruling, SETPOINT, {"value": 19}, bearer(ruling, "read"))
    assert refused.status == 403 and "may only read" in refused.json["error"]
    assert post(ruling, SETPOINT, {"value": 19}, "Bearer hut_nonsense").status == 401
    assert Client(ruling.port).get("/api/v1/devices", Authorization=secret).status == 200
    ruling.accounts.set_role("otto", "viewer")  # its owner may no longer
    assert post(ruling, SETPOINT, {"value": 19}, secret).status == 403
    assert len(device.taken) == 1


@pytest.mark.parametrize(("path", "body", "status"), [
    (SETPOINT, {"value": 99}, 400), (SETPOINT, {"value": "20"}, 400), (SETPOINT, {}, 400), (SETPOINT, [1], 400),
    (SETPOINT, {"value": 20, "when": 1}, 400), (SETPOINT.replace("heat/", "no/"), {"value": 1}, 404),
    (SETPOINT.replace("setpoint_c", "nothing"), {"value": 1}, 404),
    (SETPOINT.replace("setpoint_c", "room-temperature-c"), {"value": 1}, 409),
])
def test_a_bad_call_is_answered_and_not_sent(ruling: Web, device: Obedient, path: str, body: Any, status: int) -> None:
    answer = post(ruling, path, body, bearer(ruling))
    assert answer.status == status and len(answer.json["error"].splitlines()) == 1
    assert device.taken == []


def test_b51_no_override_without_an_end(ruling: Web, device: Obedient) -> None:
    """B51: an API call without end is a 400; so is one that is over, too far, or without its zone."""
    secret, path = bearer(ruling), SETPOINT.replace("setpoint_c", "levels")
    for level in ({"forced": {"setpoint_c": 22}}, {"exceptional": {"profile": "frost", "until": None}},
                  {"supplementary": {"profile": "frost", "until": "2026-11-26T22:00"}},
                  {"supplementary": {"profile": "frost", "until": stamp(60)}},
                  {"forced": {"setpoint_c": 22, "until": stamp(-13 * 3600)}}, {"for_ever": {}}, {"base": None}):
        answer = post(ruling, path, {"value": level}, secret)
        assert answer.status == 400 and "levels" in answer.json["error"], level
    assert device.taken == []
    good = {"forced": {"setpoint_c": 22, "until": stamp(-11.9 * 3600)}, "supplementary": None}
    assert post(ruling, path, {"value": good}, secret).status == 200
    assert device.asked == [("heater", "levels", good)]


def test_a_retried_call_with_its_key_is_carried_out_once(ruling: Web, device: Obedient) -> None:
    secret = bearer(ruling)
    first = post(ruling, SETPOINT, {"value": 19}, secret, Idempotency_Key="a1")
    again = post(ruling, SETPOINT, {"value": 19}, secret, Idempotency_Key="a1")
    assert (first.status, first.json) == (again.status, again.json) == (200, first.json)
    assert len(device.taken) == 1
    other = post(ruling, SETPOINT, {"value": 20}, secret, Idempotency_Key="a1")
    assert other.status == 422 and len(device.taken) == 1
    assert post(ruling, SETPOINT, {"value": 20}, secret, Idempotency_Key="x" * 101).status == 400
    device.refuse = "no"
    assert post(ruling, SETPOINT, {"value": 21}, secret, Idempotency_Key="b").status == 409
    device.refuse = ""
    assert post(ruling, SETPOINT, {"value": 21}, secret, Idempotency_Key="b").status == 409  # as the first was
    assert len(device.taken) == 2
    # what was never sent may be tried again with the same key
    assert post(ruling, SETPOINT, {"value": 99}, secret, Idempotency_Key="c").status == 400
    assert post(ruling, SETPOINT, {"value": 99}, secret, Idempotency_Key="c").status == 400


def test_a_key_that_was_begun_before_the_hub_was_stopped_is_not_carried_out_again(
    ruling: Web, device: Obedient
) -> None:
    secret = bearer(ruling)
    device.mute = True
    ruling.hut.command_s = 5.0
    thread = threading.Thread(target=lambda: post(ruling, SETPOINT, {"value": 19}, secret, Idempotency_Key="k"))
    thread.start()
    until("the request", lambda: len(device.taken) == 1)
    again = post(ruling, SETPOINT, {"value": 19}, secret, Idempotency_Key="k")
    assert again.status == 409 and "its end is not known" in again.json["error"] and len(device.taken) == 1
    thread.join(30)
    # after a day the key is forgotten, and with it its answer
    ruling.ahead_us = 25 * 3600 * 1_000_000
    db = ruling.accounts.db
    assert web_once.begin(db, "other", "x", ruling.now_us()) is None
    with db.writing() as connection:
        assert connection.execute("SELECT count(*) FROM commands").fetchone()[0] == 1


def test_ten_at_once_with_one_key_are_carried_out_once(ruling: Web, device: Obedient) -> None:
    secret = bearer(ruling)
    statuses: list[int] = []

    def call() -> None:
        statuses.append(post(ruling, SETPOINT, {"value": 19}, secret, Idempotency_Key="k").status)

    threads = [threading.Thread(target=call) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(device.taken) == 1 and set(statuses) <= {200, 409} and 200 in statuses


def test_a_caller_is_slowed_down_and_others_are_not(ruling: Web, device: Obedient) -> None:
    clock_s = 0.0
    ruling.hut.rate = Rate(lambda: clock_s, burst=3, per_s=1.0)
    secret = bearer(ruling)
    statuses = [post(ruling, SETPOINT, {"value": 19 + n}, secret).status for n in range(4)]
    assert statuses == [200, 200, 200, 429] and len(device.taken) == 3
    assert post(ruling, SETPOINT, {"value": 18}, secret).headers["Retry-After"]
    form = {"node": "heater", "property": "mode", "value": "off"}
    assert ruling.login("otto").post("/device/heat/set", form, Accept="application/json").status == 200
    clock_s = 2.0
    assert post(ruling, SETPOINT, {"value": 18}, secret).status == 200


def test_b13_where_another_hub_rules_this_one_commands_nothing(ruling: Web, devices: Devices, device: Obedient) -> None:
    """B13: our own term is the store's; a higher one on the broker is another hub's."""
    rival = messages.HubState("ready", 99, "elsewhere")
    devices.send(topics.HUB_STATE, messages.encode(rival))
    until("the rival", lambda: ruling.hut.tree.hub_state[0] == rival)
    answer = post(ruling, SETPOINT, {"value": 19}, bearer(ruling))
    assert answer.status == 409 and answer.json["error"].startswith("E_SECOND_HUB")
    assert device.taken == [] and ruling.accounts.db.audit_rows(1)[0].result.startswith("refused: E_SECOND_HUB")
    page = ruling.login("otto").get("/").text
    assert "another hub is active: term 99 of generation elsewhere" in page
    assert "This one only shows" in ruling.login("otto").get("/device/heat").text
    # it is gone, and our ingest has begun a new term above
    ruling.rules(devices)
    assert ruling.hut.own_term() is not None and ruling.hut.rival() is None
    assert post(ruling, SETPOINT, {"value": 19}, bearer(ruling)).status == 200


def test_a_hub_whose_ingest_never_ran_commands_nothing(web: Web, devices: Devices, device: Obedient) -> None:
    heater(devices, "heat")
    until("the heater", lambda: web.hut.tree.device("heat"))
    answer = post(web, SETPOINT, {"value": 19}, bearer(web))
    assert answer.status == 503 and "ingest" in answer.json["error"] and device.taken == []


# --- the tokens' scope and an older web.db --------------------------------------------------------------------


def test_an_older_web_db_keeps_its_tokens_as_readers(tmp_path: Path) -> None:
    path = tmp_path / "web.db"
    with sqlite3.connect(path) as db:
        db.executescript(TABLES + "PRAGMA user_version = 1;")
        db.execute("INSERT INTO users VALUES ('anna', 'admin', 'x', 1, 1)")
        db.execute("INSERT INTO tokens VALUES (1, 'h', 'grafana', 'read', 'anna', 1, 9000000000000000, NULL)")
    web = WebDb(path)
    assert [(one.name, one.scope) for one in web.tokens()] == [("grafana", "read")]
    web.close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == 2
        assert db.execute("SELECT count(*) FROM commands").fetchone()[0] == 0
    WebDb(path).close()  # and once more: nothing to do


def test_the_page_makes_a_token_that_commands(ruling: Web) -> None:
    page = ruling.login("anna").post("/people/token", {"name": "nodered", "days": "30", "scope": "command"}).text
    assert "hut_" in page and "read and command" in page
    assert ruling.accounts.db.tokens()[-1].scope == "command"
    refused = ruling.login("anna").post("/people/token", {"name": "x", "days": "30", "scope": "everything"})
    assert refused.status == 400
    with pytest.raises(Refused, match="may not command"):
        ruling.accounts.make_token("x", "vera", 30, "command")
