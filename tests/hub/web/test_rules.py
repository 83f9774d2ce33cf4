"""The page of rules with a real notify behind it: written, tried over what is stored, switched, and in Chromium."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.api import Property
from agent.testing.broker import Broker
from agent.wire.messages import Desired, NodeDeclaration, PluginDeclaration, Reported
from hub.notify.asks import Refused, ask
from hub.notify.service import Service
from hub.rules.keeper import Rules
from hub.store.batch import Declared
from hub.store.writer import Writer
from tests.hub.rules.lab import AIR
from tests.hub.store.lab import batch
from tests.hub.web.lab import Devices, Web
from tests.hub.web.tabs import Tab, opening
from tests.waiting import until

RULE = """\
id = "stuffy"
title = "Stuffy"
kind = "threshold"
of = "hut/air/co2_ppm"
above = 1000
hold_s = 300
"""
DAY_US = 86_400_000_000
SLOW = Reported("Hut", "1", {"air": PluginDeclaration("air", "air", "Air", 300.0, (NodeDeclaration("air", "Air", (
    Property(name="co2_ppm", datatype="float", unit="ppm", title="CO2"),)),))})


@pytest.fixture
def filled(web: Web) -> Web:
    """Ten days of air every five minutes, stuffy for an hour on three of them."""
    now = web.now_us()
    boot = now - 10 * DAY_US
    with Writer(web.settings.samples_db) as writer:
        writer.commit([Declared("hut", now, SLOW)])
        for day in range(10):
            points = [(day * DAY_US + m * 60_000_000, 1400.0 if day in (2, 4, 7) and 600 <= m < 660 else 700.0)
                      for m in range(0, 1440, 5)]
            writer.commit([batch(day + 1, {AIR: points}, device="hut", received_us=now, offset_us=boot)])
    return web


@pytest.fixture
def notify(filled: Web) -> Iterator[Service]:
    service = Service(filled.settings, lambda hall, book: [Rules(hall)])
    stopping = threading.Event()
    thread = threading.Thread(target=service.run, args=(stopping,))
    thread.start()
    until("notify", lambda: "no rule" in refused(filled), timeout_s=20)
    yield service
    stopping.set()
    thread.join(20)
    assert service.faults == {}


def refused(web: Web) -> str:
    try:
        ask(web.settings.hub.run_dir, "rule.enable", {"id": "none", "on": True}, who="test", timeout_s=5)
    except Refused as error:
        return str(error)
    return ""


def test_a_rule_is_tried_before_it_is_kept_and_then_switched_and_removed(notify: Service, filled: Web) -> None:
    anna = filled.login("anna")
    tried = anna.post("/rules/try", {"id": "", "toml": RULE, "days": "30"}, page="/rules/new")
    assert tried.status == 200
    assert "Would have fired 3 times in the last 30 days" in tried.text and "for 56 min" in tried.text
    assert "there is no rule stuffy" in str(refused(filled)).replace("none", "stuffy"), "trying keeps nothing"
    kept = anna.post("/rules/save", {"id": "", "toml": RULE}, page="/rules/new")
    assert (kept.status, kept.headers["location"]) == (303, "/rules?done=saved&id=stuffy")
    until("it stands", lambda: "CO2 (hut/air/co2_ppm)" in anna.get("/rule/stuffy").text, timeout_s=20)
    assert anna.post("/rules/enable", {"id": "stuffy", "on": "0"}, page="/rules").status == 303
    assert "Switch on: stuffy" in anna.get("/rules").text
    assert anna.post("/rules/remove", {"id": "stuffy"}, page="/rule/stuffy").status == 303
    assert anna.get("/rule/stuffy").status == 404
    actions = [row.action for row in filled.accounts.db.audit_rows(10, None)]
    assert actions[:3] == ["rule.remove", "rule.enable", "rule.put"]


def test_a_fault_is_shown_at_its_line_and_nothing_is_kept(notify: Service, filled: Web) -> None:
    anna = filled.login("anna")
    for path in ("/rules/try", "/rules/save"):
        answer = anna.post(path, {"id": "", "toml": RULE.replace("above", "abov")}, page="/rules/new")
        assert answer.status == 400
        assert "unknown key, did you mean above?" in answer.text and "Line 5" in answer.text
        assert "<code>abov = 1000</code>" in answer.text
    other = anna.post("/rules/save", {"id": "no-data", "toml": RULE}, page="/rule/no-data")
    assert other.status == 409 and "make them the same" in other.text and "Stuffy" in other.text


def test_others_read_and_the_page_lives_without_notify(filled: Web) -> None:
    vera = filled.login("vera")
    page = vera.get("/rule/no-data")
    assert page.status == 200 and "<textarea" not in page.text and 'kind = &#34;no_data&#34;' in page.text
    assert "no-data" in vera.get("/rules").text
    anna = filled.login("anna")
    answer = anna.post("/rules/save", {"id": "", "toml": RULE}, page="/rules/new")
    assert answer.status == 503 and "notify is not running" in answer.text


def test_a_new_rule_begins_from_a_series(filled: Web) -> None:
    text = filled.login("anna").get("/rules/new?series=hut/air/co2_ppm&kind=is_not&limit=open").text
    assert "is_not = &#34;open&#34;" in text and "of = &#34;hut/air/co2_ppm&#34;" in text
    assert '<option value="hut/air/co2_ppm">' in text


def test_a_device_rule_is_retained_on_the_broker_and_shown_by_what_the_device_says(
        notify: Service, filled: Web, devices: Devices) -> None:
    devices.device("hut", "Hut")
    filled.login("anna").post("/rules/save", {"id": "", "toml": RULE + 'where = "hut"\n'}, page="/rules/new")
    found: list[bytes] = []
    notify.hall.client._client.message_callback_add(
        "hutkeeper/1/hut/desired", lambda client, userdata, message: found.append(message.payload))
    until("connected", lambda: notify.hall.client.connected[0], timeout_s=20)
    notify.hall.client._client.subscribe("hutkeeper/1/hut/desired", 1)
    until("desired", lambda: found, timeout_s=20)
    desired = msgspec.json.decode(found[-1], type=Desired)
    assert desired.version == 1 and list(desired.rules) == ["stuffy"] and 'where = "hut"' in desired.rules["stuffy"]
    anna = filled.login("anna")
    told = msgspec.structs.replace(SLOW, rules_version=1)
    devices.send("hutkeeper/1/hut/reported", msgspec.json.encode(told))
    until("taken", lambda: "in force on the device (version 1)" in anna.get("/rules").text, timeout_s=20)
    told = msgspec.structs.replace(told, rules_refused={"stuffy": "no series is hut/air/co2_ppm"})
    devices.send("hutkeeper/1/hut/reported", msgspec.json.encode(told))
    until("refused", lambda: "refused by the device" in anna.get("/rule/stuffy").text, timeout_s=20)


@pytest.fixture
def open_tab(chromium: Any, filled: Web) -> Iterator[Callable[..., Tab]]:
    with opening(chromium, filled.url, "anna") as open_:
        yield open_


def test_shots_of_rules_have_no_barrier_and_fit_a_phone(
        notify: Service, filled: Web, open_tab: Callable[..., Tab], broker: Broker, tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    folder = Path(os.environ.get("HUTKEEPER_SHOTS") or tmp_path / "shots").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    until("rules stand", lambda: notify.parts and "no-data" in filled.login("anna").get("/rules").text, timeout_s=20)
    many = "HUTKEEPER_SHOTS" in os.environ
    for n in range(12 if many else 2):
        ask(filled.settings.hub.run_dir, "rule.put", {"toml": RULE.replace("stuffy", f"stuffy-{n}").replace(
            "1000", str(500 + 100 * n)).replace("Stuffy", f"Stuffy {n}: the air of a room with a long name").replace(
            "hold_s = 300", "hold_s = 0")}, who="anna")
    anna = filled.login("anna")
    until("it fires", lambda: "1 firing" in anna.get("/rules").text, timeout_s=20)
    for size, scheme in (("desktop", "light"), ("phone", "dark")):
        tab = open_tab(size, scheme, java_script_enabled=True)
        for name, path in (("rules", "/rules"), ("rule", "/rule/stuffy-0"), ("new", "/rules/new")):
            tab.page.goto(f"{filled.url}{path}")
            if name == "new":
                tab.page.locator("textarea").fill(RULE)
                tab.page.get_by_role("button", name="Try it").click()
                tab.page.get_by_text("Would have fired 3 times").wait_for()
            tab.page.screenshot(path=str(folder / f"{name}-{size}-{scheme}.png"), full_page=True)
            wide = tab.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, (name, size, wide)
            found = Axe().run(tab.page)
            assert found.violations_count == 0, (name, size, found.generate_report())


def test_the_form_works_without_scripts(notify: Service, filled: Web, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab("phone", "light", java_script_enabled=False)
    tab.page.goto(f"{filled.url}/rules/new")
    tab.page.locator("textarea").fill(RULE)
    tab.page.get_by_role("button", name="Keep it").click()
    assert "/rules?done=saved" in tab.page.url
