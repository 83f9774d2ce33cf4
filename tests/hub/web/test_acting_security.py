"""FAULTS C for what acts: tokens, foreign text through MQTT into a real browser, GETs that command nothing."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.testing.broker import Broker
from hub.command.rate import Rate
from hub.web.access import SAFE, needs_of
from tests.hub.web.lab import MODEM, SCHEDULE, SPEECH, Answer, Client, Devices, Obedient, Web, heater
from tests.hub.web.tabs import Tab
from tests.hub.web.test_browser import HOSTILE
from tests.hub.web.test_commands_told import order, told
from tests.waiting import until

ASKING = "do=off&value=off&node=heater&property=mode&profile=frost&service=x&announce=x&msisdn=%2B33612345678&text=x" \
         "&level=forced&to=%2B33612345678&_method=POST"
THERE = (("heat", "heater", "setpoint-c"), ("hall", "voice", "say"), ("watch", "modem", "send"))
SETPOINT = "/api/v1/devices/heat/nodes/heater/properties/setpoint_c"


@pytest.fixture
def ruling(web: Web, devices: Devices) -> Web:
    web.rules(devices)
    heater(devices, "heat")
    devices.device("hall", described=SPEECH, voice__enabled="true", voice__lock_state='{"service": null}')
    devices.device("watch", described=MODEM, modem__state="registered")
    until("all", lambda: all(web.hut.tree.device(one) for one in ("heat", "hall", "watch")))
    return web


@pytest.fixture
def commands(broker: Broker) -> Iterator[list[str]]:
    """Topics of everything that commands a device, as they come."""
    seen: list[str] = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    reads = ("/request/services", "/request/log_tail")
    client.on_message = lambda _, __, message: None if message.topic.endswith(reads) else seen.append(message.topic)
    client.connect("127.0.0.1", broker.port)
    client.subscribe([(topic, SubscribeOptions(1)) for topic in (
        "hutkeeper/1/+/request/#", "homie/5/+/+/+/set", "hutkeeper/1/+/desired")])
    client.loop_start()
    yield seen
    client.disconnect()
    client.loop_stop()


def everything(web: Web) -> str:
    """All of web.db but the sessions, which say when they were last seen, and when a token was last used."""
    with sqlite3.connect(web.settings.web_db) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        rows = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in names if name != "sessions"}
    rows["tokens"] = [row[:-1] for row in rows["tokens"]]
    return hashlib.sha256(repr(sorted(rows.items())).encode()).hexdigest()


def paths(web: Web, methods: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(method, path) of every route, with devices and nodes that there are."""
    for rule in web.app.url_map.iter_rules():
        if rule.endpoint == "static" or "/events/" in rule.rule:
            continue
        for device, node, prop in THERE:
            path = rule.rule.replace("<device_id>", device).replace("<node>", node).replace("<prop>", prop)
            path = re.sub(r"<\w+>", "x", re.sub(r"<int:\w+>", "1", path))
            for method in set(rule.methods or ()) & set(methods):
                yield method, path
            if path == rule.rule:
                break


def test_no_get_and_no_head_commands_anything(ruling: Web, commands: list[str]) -> None:
    anna = ruling.login("anna")
    secret = f"Bearer {ruling.accounts.make_token('automation', 'anna', 30, 'command')}"
    before, seen = everything(ruling), 0
    for method, path in paths(ruling, ("GET", "HEAD")):
        for client, how in ((anna, {}), (Client(ruling.port), {"Authorization": secret})):
            client.request(method, f"{path}?{ASKING}", **how)
            seen += 1
    assert seen > 150 and everything(ruling) == before
    with Obedient(ruling.settings.broker_port, "heat") as device:  # what was sent before this command has come by now
        answer = anna.post("/device/heat/set", {"node": "heater", "property": "mode", "value": "off"},
                           Accept="application/json")
        assert answer.status == 200 and len(device.taken) == 1
    until("this one", lambda: commands)
    assert commands == ["hutkeeper/1/heat/request/set"] and everything(ruling) != before


def test_every_other_method_is_refused_where_a_command_is_a_post(ruling: Web, commands: list[str]) -> None:
    secret = f"Bearer {ruling.accounts.make_token('automation', 'otto', 30, 'command')}"
    client = Client(ruling.port)
    before = everything(ruling)
    for _, path in paths(ruling, ("POST",)):
        for method in ("PUT", "PATCH", "DELETE", "TRACE"):
            answer = client.request(method, f"{path}?{ASKING}", Authorization=secret)
            assert answer.status in (303, 401, 403, 405, 501), f"{method} {path}: {answer.status}"
    for path in ("/set_profile", "/announce", "/send_SMS", "/lock", "/api/v1/set_profile"):
        answer = client.get(f"{path}?{ASKING}", Authorization=secret)
        assert answer.status == 405 and answer.headers["Allow"] == "POST", path
    assert client.get(SETPOINT, Authorization=secret).status == 405
    assert everything(ruling) == before and commands == []


def test_a_token_never_does_more_than_its_scope_and_its_owner(ruling: Web, commands: list[str]) -> None:
    """Each POST of the whole map with each kind of token: nothing but 401 and 403, and nothing leaves."""
    accounts, month = ruling.accounts, 30
    read = accounts.make_token("reader", "anna", month)
    revoked = accounts.make_token("revoked", "anna", month, "command")
    demoted = accounts.make_token("demoted", "otto", month, "command")
    orphan_owner = "olga"
    accounts.add_user(orphan_owner, "operator", "quiet harbour 88 lamps")
    orphan = accounts.make_token("orphan", orphan_owner, month, "command")
    assert accounts.db.end_token(next(one.id for one in accounts.db.tokens() if one.name == "revoked"))
    accounts.set_role("otto", "viewer")
    accounts.remove_user(orphan_owner)
    before, seen = everything(ruling), 0
    for _, path in paths(ruling, ("POST",)):
        if path.startswith(("/pair", "/login")):
            continue
        for secret in (read, revoked, demoted, orphan, "hut_nonsense", ""):
            answer = Client(ruling.port).request(
                "POST", f"{path}?{ASKING}", json.dumps({"value": 20}), Authorization=f"Bearer {secret}",
                Content_Type="application/json")
            # a link in a message needs no login, but the word of its own page, as every form does
            refused = (400,) if path.startswith("/a/") else (401, 403)
            assert answer.status in refused, f"{path}: {answer.status}"
            seen += 1
    assert seen > 200 and everything(ruling) == before and commands == []
    # and one that may command opens no page: not people, not devices' removal, whoever its owner is
    secret = accounts.make_token("of an admin", "anna", month, "command")
    for rule in ruling.app.url_map.iter_rules():
        needs = needs_of(ruling.app, rule.endpoint)
        if needs is not None and needs.level == "admin":
            for method in set(rule.methods or ()) - {"OPTIONS"}:
                path = re.sub(r"<[^>]+>", "1", rule.rule)
                answer = Client(ruling.port).request(method, path, Authorization=f"Bearer {secret}")
                assert answer.status in (401, 403) or (method in SAFE and answer.status == 303), f"{method} {path}"


def test_a_key_and_a_limit_belong_to_one_token_and_not_to_its_name(ruling: Web, broker: Broker) -> None:
    clock_s = 0.0
    ruling.hut.rate = Rate(lambda: clock_s, burst=2, per_s=1.0)
    make = ruling.accounts.make_token
    ottos, annas = (f"Bearer {make('automation', who, 30, 'command')}" for who in ("otto", "anna"))

    def call(secret: str, **headers: str) -> Answer:
        return Client(ruling.port).request("POST", SETPOINT, json.dumps({"value": 19}), Authorization=secret,
                                           Content_Type="application/json", **headers)

    with Obedient(broker.port, "heat") as device:
        assert [call(one, Idempotency_Key="k").status for one in (ottos, annas, ottos)] == [200, 200, 200]
        assert len(device.taken) == 2  # each its own, and otto's second was answered from the first
        assert call(ottos).status == 200 and call(ottos).status == 429 and call(annas).status == 200


def test_forms_are_slowed_down_too_and_say_so(ruling: Web, broker: Broker) -> None:
    ruling.hut.rate = Rate(lambda: 0.0, burst=2, per_s=1.0)
    otto = ruling.login("otto")
    with Obedient(broker.port, "heat") as heat, Obedient(broker.port, "watch") as watch:
        form = {"node": "modem", "to": "+33612345678", "text": "x"}
        answers = [otto.post(*how, Accept="application/json") for how in (
            ("/device/watch/send", form), ("/heating/heat/heater/do", {"do": "off"}), ("/device/watch/send", form),
            ("/heating/heat/heater/do", {"do": "auto"}))]
        assert [one.status for one in answers] == [200, 200, 429, 429] and "wait" in answers[-1].json["error"]
        assert len(heat.taken) == len(watch.taken) == 1


def test_the_audit_and_the_log_hold_no_secret(
    ruling: Web, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    secret = ruling.accounts.make_token("automation", "otto", 30, "command")
    client = Client(ruling.port)
    hidden = {"+33611223344", "the code is 4711", "opensesame", secret, "#123*4711#"}
    otto, anna = ruling.login("otto"), ruling.login("anna")
    with Obedient(broker.port, "watch") as watch, Obedient(broker.port, "hall") as hall:
        hall.says["lock"] = {"key": "opensesame"}
        form = {"node": "modem", "to": "+33611223344", "text": "the code is 4711"}
        assert otto.post("/device/watch/send", form, Accept="application/json").status == 200
        query = urlencode({"msisdn": "+33611223344", "text": "the code is 4711"})
        assert client.request("POST", f"/send_SMS?{query}", Authorization=f"Bearer {secret}").status == 200
        assert client.request("POST", "/lock?service=s", Authorization=f"Bearer {secret}").text == "opensesame\n"
        query = urlencode({"service": "s", "announce": "x", "key": "opensesame"})
        assert client.request("POST", f"/announce?{query}", Authorization=f"Bearer {secret}").status == 200
        whole = {"node": "modem", "property": "send", "value": json.dumps({"to": "+33611223344", "text": "4711"})}
        assert anna.post("/device/watch/set", whole, Accept="application/json").status == 200
        watch.refuse = "+33611223344 is no number of send_to: 06 11 22 33 44 (the code is 4711)"
        assert otto.post("/device/watch/send", form, Accept="application/json").status == 409
    rows = ruling.accounts.db.audit_rows(100)
    assert sum(row.action == "set" for row in rows) == 6
    text = repr(rows) + caplog.text
    assert [one for one in hidden if one in text] == []
    assert rows[0].result == "refused: … is no number of send_to: … (…)"


def test_foreign_text_runs_nothing_on_the_pages_that_act(
    ruling: Web, chromium: Any, devices: Devices
) -> None:
    """Stored XSS: reason, profiles, levels, holidays, alert, announcement, sender of an SMS, the record of commands; by
    the page and by its stream."""
    context = chromium.new_context()
    tab = Tab(context, ruling.url)
    tab.login("anna")
    hit = "() => window.hit === undefined"

    def clean(what: str) -> None:
        for place in tab.page.locator("main button, main summary").all()[:4]:
            place.hover()
        assert tab.page.evaluate(hit), what
        assert tab.page.locator("main script, main iframe, main img:not([src^='/static'])").count() == 0, what

    for n, text in enumerate(HOSTILE):
        name = f"evil-{n}"
        schedule = {"profiles": {text: SCHEDULE["profiles"]["work_week"], "work_week": {
            **SCHEDULE["profiles"]["frost"], "calendar": [[text, f"{text}-{text}"]] * 7, "comfort_c": text}},
            "holidays": [{"from": text, "to": text, "profile": text}, text, {"from": {}, "to": [text]}]}
        levels = {"base": {"profile": text}, "supplementary": {"profile": text, "until": text},
                  "exceptional": {"profile": text, "until": "2099-01-01T00:00:00Z"}, "forced": text}
        heater(devices, name, text, why=text, profile=text, schedule=json.dumps(schedule), levels=json.dumps(levels),
               action=text, mode=text, next_change=text)
        devices.send(f"homie/5/{name}/$alert/x", text)
    devices.send("homie/5/hall/voice/lock-state", json.dumps({"service": HOSTILE[0], "until": HOSTILE[1]}))
    devices.send("homie/5/watch/modem/state", HOSTILE[2])
    until("the last", lambda: ruling.hut.tree.device(f"evil-{len(HOSTILE) - 1}"))
    told(ruling, "hall", *(order(text, text, text, prop=text) for text in HOSTILE))
    assert tab.goto("/heating").status == 200
    clean("/heating")
    for n, text in enumerate(HOSTILE):
        assert tab.goto(f"/heating/evil-{n}/heater").status == 200, text
        clean(f"the heater, {text}")
        devices.send(f"homie/5/evil-{n}/heater/why", text + " again")
        tab.page.wait_for_selector(".why >> text=again")
        clean(f"its stream, {text}")
    for path in ("/audit", "/device/hall", "/device/watch", "/device/evil-0"):
        assert tab.goto(path).status == 200, path
        clean(path)
    assert [error for error in tab.errors if "Content Security Policy" in error or "dialog" in error] == []
    context.close()


def test_a_refused_form_shows_what_was_typed_as_text(ruling: Web, open_page: Callable[[], Tab]) -> None:
    """Reflected: what a person (or a page that made them) typed comes back in an answer."""
    tab = open_page()
    for text in HOSTILE[:6]:
        tab.goto("/device/watch")
        tab.page.evaluate("document.querySelector('form.desk [name=to]').removeAttribute('pattern')")
        tab.page.fill("form.desk [name=to]", text[:20])
        tab.page.fill("form.desk textarea", text)
        tab.page.click("form.desk button")
        tab.page.wait_for_selector("form.desk output.bad")
        assert tab.page.evaluate("() => window.hit === undefined")
        tab.goto("/heating")
        tab.page.evaluate("document.querySelector('form.week').noValidate = true")
        tab.page.fill("[name=s-0-2]", text[:5])
        tab.page.fill("[name=comfort_c]", "20")
        tab.page.click("text=Save the week")
        tab.page.wait_for_selector(".wrong-text")
        assert tab.page.evaluate("() => window.hit === undefined")


@pytest.fixture
def open_page(chromium: Any, ruling: Web) -> Iterator[Callable[[], Tab]]:
    contexts = []

    def open_() -> Tab:
        contexts.append(chromium.new_context())
        tab = Tab(contexts[-1], ruling.url)
        tab.login("otto")
        return tab

    yield open_
    for context in contexts:
        context.close()
