"""The heating page and the forms of commands in a real Chromium."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from agent.testing.broker import Broker
from hub.store.writer import Writer
from tests.hub.store import lab as store_lab
from tests.hub.web.lab import MODEM, SPEECH, Devices, Obedient, Web, heater
from tests.hub.web.tabs import SIZES, Tab, opening
from tests.waiting import until

HOUR_US = 3_600_000_000


@pytest.fixture
def ruling(web: Web, devices: Devices) -> Web:
    web.rules(devices)
    return web


@pytest.fixture
def open_tab(chromium: Any, ruling: Web) -> Iterator[Callable[..., Tab]]:
    with opening(chromium, ruling.url) as open_:
        yield open_


def a_day(path: Path, device: str) -> None:
    """24 h of a heated room in the store."""
    now_us = time.time_ns() // 1000
    boot_us = now_us - 30 * HOUR_US
    first = 6 * HOUR_US
    with Writer(path) as writer:
        room, aim, relay = [], [], []
        for minute in range(0, 24 * 60, 2):
            t = first + minute * 60_000_000
            warm = 300 < minute < 420 or 960 < minute < 1290
            aim.append((t, 20.5 if warm else 18.5))
            room.append((t, 19.3 + (0.9 if warm else -0.4) + 0.25 * math.sin(minute / 40)))
            relay.append((t, warm and math.sin(minute / 14) > 0.1))
        for seq, start in enumerate(range(0, len(room), 240), 1):
            part = slice(start, start + 240)
            writer.commit([store_lab.batch(seq, {
                "heater/room_temperature_c": room[part], "heater/setpoint_c": aim[part], "heater/relay": relay[part],
            }, device=device, received_us=now_us, offset_us=boot_us)])


def test_shots_of_heating_have_no_barrier(
    ruling: Web, open_tab: Callable[..., Tab], devices: Devices, tmp_path: Path
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    folder = Path(os.environ.get("HUTKEEPER_SHOTS") or tmp_path / "shots").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    axe, wrong = Axe(), []
    looks = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]
    if not (os.environ.get("HUTKEEPER_SHOTS") or os.environ.get("HUTKEEPER_LONG")):
        looks = [("phone", "dark"), ("desktop", "light")]
    tabs = {look: open_tab(*look, name="anna") for look in looks}
    turns = cycle(tabs.items())

    def everywhere(name: str, path: str, ready: str) -> None:
        for (size, scheme), tab in tabs.items() if len(tabs) == 4 else [next(turns)]:
            tab.goto(path)
            tab.page.wait_for_selector(ready)
            tab.page.wait_for_timeout(100)
            tab.page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)
            found = axe.run(tab.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
            wrong.extend(f"{name}: {v['id']}: {v['nodes'][0]['html'][:150]}" for v in found.response["violations"])
            wide = tab.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if wide > 0:
                wrong.append(f"{name}-{size}: {wide} px wider than the screen")
            wrong.extend(f"{name}: {error}" for error in tab.errors)
            tab.errors.clear()

    everywhere("heating-0", "/heating", "text=No heater yet")
    a_day(ruling.settings.samples_db, "heat-0")
    soon = (datetime.now(UTC) + timedelta(hours=3)).isoformat(timespec="seconds")
    forced = json.dumps({"base": {"profile": "work_week"}, "supplementary": {"profile": "frost", "until": soon},
                         "exceptional": None, "forced": {"setpoint_c": 21.5, "until": soon}})
    heater(devices, "heat-0", levels=forced, mode="forced", second_temperature_c="18.2")
    until("the heater", lambda: ruling.hut.tree.device("heat-0"))
    everywhere("heating-1", "/heating", ".heat-day")
    for n in range(1, 20):
        more = [{}, {"action": "idle", "relay": "false", "contact": "false", "heat_demand": "false"},
                {"window_open": "true", "action": "idle", "relay": "false"}, {"mode": "off", "action": "off"},
                {"failsafe": "true", "relay": "false", "contact": "true"}][n % 5]
        heater(devices, f"heat-{n}", f"Room {n}", state="lost" if n == 7 else "ready", **more)
    until("all heaters", lambda: ruling.hut.tree.device("heat-19"))
    everywhere("heating-20", "/heating", "text=Room 19")
    everywhere("heating-one", "/heating/heat-0/heater", ".heat-day")
    everywhere("device-heater", "/device/heat-3", "text=Heating: why")
    devices.device("hall", described=SPEECH, voice__enabled="true", voice__lock_state='{"service": null}')
    devices.device("watch", described=MODEM, modem__state="registered")
    until("both", lambda: ruling.hut.tree.device("watch"))
    everywhere("device-announcer", "/device/hall", "text=Speak")
    everywhere("device-modem", "/device/watch", "text=Send a text message")
    assert not wrong, "\n".join(wrong)



def test_a_heater_that_comes_or_goes_is_on_an_open_page(
    ruling: Web, open_tab: Callable[..., Tab], devices: Devices
) -> None:
    tab = open_tab()
    tab.goto("/heating")
    tab.page.wait_for_selector("text=No heater yet")
    until("the stream", lambda: ruling.hut.streams.open == 1)
    heater(devices, "attic", "Attic")
    tab.page.wait_for_selector(".heater >> text=Attic")
    heater(devices, "cellar", "Cellar")
    tab.page.wait_for_selector(".heater >> text=Cellar")
    devices.send("homie/5/attic/$state", "")
    tab.page.wait_for_selector(".heater >> text=Attic", state="detached")
    assert tab.errors == []


def test_a_command_is_answered_on_the_page_and_the_card_follows(
    ruling: Web, open_tab: Callable[..., Tab], devices: Devices, broker: Broker
) -> None:
    heater(devices, "heat")
    until("the heater", lambda: ruling.hut.tree.device("heat"))
    tab = open_tab()
    tab.goto("/heating")
    with Obedient(broker.port, "heat") as device:
        tab.page.click("text=+ Warmer")
        tab.page.wait_for_selector("output.good >> text=Set point is now 21 °C")
        tab.page.wait_for_selector(".aim b >> text=21.0")  # by the event stream
        tab.page.click("text=Switch off")
        tab.page.wait_for_selector("text=Back to automatic")
        device.refuse = "mode: locked by the installer"
        tab.page.click("text=Back to automatic")
        tab.page.wait_for_selector("output.bad >> text=locked by the installer")
    devices.send("homie/5/heat/heater/why", "off: the window is open")
    tab.page.wait_for_selector(".why >> text=the window is open")
    devices.send("homie/5/heat/$state", "lost")
    tab.page.wait_for_selector("text=Last known values")
    tab.page.click("text=Back to automatic")
    tab.page.wait_for_selector("output.bad >> text=not connected: nothing was sent")
    assert [error for error in tab.errors if "status of 409" not in error and "status of 503" not in error] == []


def test_an_answer_stands_while_the_card_changes_around_it(
    ruling: Web, open_tab: Callable[..., Tab], devices: Devices, broker: Broker
) -> None:
    """Other buttons, an override that comes and goes: what came of a command is read all the same."""
    soon = (datetime.now(UTC) + timedelta(hours=3)).isoformat(timespec="seconds")
    base = {"base": {"profile": "work_week"}, "supplementary": None, "exceptional": None, "forced": None}
    forced = json.dumps({**base, "forced": {"setpoint_c": 21.5, "until": soon}})
    heater(devices, "heat", mode="forced", levels=forced)
    until("the heater", lambda: ruling.hut.tree.device("heat"))
    tab = open_tab()
    for path in ("/heating", "/heating/heat/heater"):
        tab.goto(path)
        tab.page.wait_for_selector(".overrides >> text=21.5")
        with Obedient(broker.port, "heat"):
            tab.page.click("text=Back to automatic")
            devices.send("homie/5/heat/heater/levels", json.dumps(base))
            tab.page.wait_for_selector(".heater .overrides", state="detached")
            tab.page.wait_for_selector("text=Back to automatic", state="detached")
            devices.send("homie/5/heat/heater/why", f"off: on {path} again")
            tab.page.wait_for_selector(f".why >> text=on {path} again")
            assert "Mode is now auto" in tab.page.inner_text(".actions output >> nth=0")
        devices.send("homie/5/heat/heater/mode", "forced")
        devices.send("homie/5/heat/heater/levels", forced)
        until("it", lambda: ruling.hut.tree.device("heat").value("heater", "levels") == forced)
    assert tab.errors == []


def test_an_end_is_shown_and_meant_in_the_zone_of_the_browser(
    ruling: Web, open_tab: Callable[..., Tab], devices: Devices, broker: Broker
) -> None:
    heater(devices, "heat")
    until("the heater", lambda: ruling.hut.tree.device("heat"))
    tab = open_tab(timezone_id="Asia/Kolkata")
    with Obedient(broker.port, "heat") as device:
        tab.goto("/heating")
        tab.page.click("text=Comfort or eco until")
        field = tab.page.input_value(".actions [name=until]")
        tab.page.click("text=Comfort 20.5°")
        tab.page.wait_for_selector("output.good")
        ends = datetime.fromisoformat(device.asked[0][2]["forced"]["until"])
    assert ends.utcoffset() == timedelta(hours=5, minutes=30) and f"{ends:%Y-%m-%dT%H:%M}" == field
    ahead = ends - datetime.now(UTC)
    assert timedelta(hours=1, minutes=58) < ahead < timedelta(hours=2, minutes=16)
    tab.page.wait_for_selector(f".overrides time.at >> text={ends:%H:%M}")


def test_a_slice_is_drawn_moved_and_removed_by_hand(
    ruling: Web, open_tab: Callable[..., Tab], devices: Devices, broker: Broker
) -> None:
    heater(devices, "heat")
    until("the heater", lambda: ruling.hut.tree.device("heat"))
    tab = open_tab()
    tab.goto("/heating")
    tuesday = tab.page.locator('.day[data-day="1"]')
    bar = tuesday.locator(".day-bar")
    bar.scroll_into_view_if_needed()

    def drag(start_h: float, end_h: float) -> None:
        box = bar.bounding_box()
        assert box is not None
        y = box["y"] + box["height"] / 2
        tab.page.mouse.move(box["x"] + box["width"] * start_h / 24, y)
        tab.page.mouse.down()
        tab.page.mouse.move(box["x"] + box["width"] * (start_h + end_h) / 48, y, steps=4)
        tab.page.mouse.move(box["x"] + box["width"] * end_h / 24, y, steps=4)
        tab.page.mouse.up()

    def slices() -> list[str]:
        values = [one.input_value() for one in tuesday.locator(".slice input").all()]
        return [f"{a}-{b}" for a, b in zip(values[::2], values[1::2], strict=True) if a]

    drag(10, 12)  # a new one
    assert slices() == ["06:00-08:00", "17:00-22:30", "10:00-12:00"]
    drag(11, 13)  # moved as a whole
    assert slices()[2] == "12:00-14:00"
    drag(14, 16)  # its end
    assert slices()[2] == "12:00-16:00"
    drag(14, 20)  # a neighbour is a wall
    assert slices()[2] == "13:00-17:00"
    tuesday.locator(".slice >> nth=0 >> .remove").click()
    assert slices() == ["17:00-22:30", "13:00-17:00"]
    tuesday.locator('.slice input >> nth=0').fill("18:00")
    assert bar.locator("rect.comfort >> nth=0").get_attribute("x") == str(18 * 60)
    with Obedient(broker.port, "heat") as device:
        tab.page.click("text=Save the week")
        tab.page.wait_for_selector("text=Saved: the week of work_week")
        assert device.asked[0][2]["profiles"]["work_week"]["calendar"][1] == ["13:00-17:00", "18:00-22:30"]
    assert tab.errors == []


def test_all_of_it_works_without_a_script(
    ruling: Web, open_tab: Callable[..., Tab], devices: Devices, broker: Broker
) -> None:
    heater(devices, "heat")
    until("the heater", lambda: ruling.hut.tree.device("heat"))
    tab = open_tab("phone", java_script_enabled=False)
    with Obedient(broker.port, "heat") as device:
        tab.goto("/heating")
        tab.page.click("text=+ Warmer")
        tab.page.wait_for_selector(".message >> text=Set point is now 21 °C")
        tab.page.fill("[name=s-6-2]", "05:00")
        tab.page.fill("[name=e-6-2]", "06:00")
        tab.page.click("text=Save the week")
        tab.page.wait_for_selector(".message >> text=Saved: the week of work_week")
        tab.goto("/device/heat")
        tab.page.select_option("#n-heater form.select [name=value] >> nth=0", "off")
        tab.page.click("#n-heater form.select button >> nth=0")
        tab.page.wait_for_selector(".message >> text=Mode is now off")
        assert [value for _, prop, value in device.asked if prop != "schedule"] == [21.0, "off"]


def test_the_device_page_answers_beside_the_control_and_counts_parts(
    ruling: Web, open_tab: Callable[..., Tab], devices: Devices, broker: Broker
) -> None:
    devices.device("hall", described=SPEECH, voice__enabled="true", voice__lock_state='{"service": null}')
    devices.device("watch", described=MODEM, modem__state="registered")
    until("both", lambda: ruling.hut.tree.device("watch"))
    tab = open_tab()
    with Obedient(broker.port, "hall") as hall:
        tab.goto("/device/hall")
        tab.page.click("form.switch button >> text=off")
        tab.page.wait_for_selector("output.good >> text=Announcements is now off")
        tab.page.fill("form.desk textarea", "Dinner is ready")
        # a value comes while somebody types: the words stay
        devices.send("homie/5/hall/$alert/x", "E_TEST something; do: nothing")
        tab.page.wait_for_selector(".problems")
        assert tab.page.input_value("form.desk textarea") == "Dinner is ready"
        tab.page.click("form.desk button")
        tab.page.wait_for_selector("form.desk output.good")
        assert tab.page.input_value("form.desk textarea") == ""
        assert [prop for _, prop, _ in hall.asked] == ["enabled", "say"]
    tab.goto("/device/watch")
    for words, told in (("a" * 160, "160 characters, 1 message"), ("a" * 161, "161 characters, 2 message"),
                        ("€" * 80, "160 characters, 1 message"), ("я" * 71, "71 characters, 2 message")):
        tab.page.fill("form.desk textarea", words)
        assert told in tab.page.inner_text("[data-counted]")
    assert tab.errors == []
