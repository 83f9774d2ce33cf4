"""The heating page and the forms of commands in a real Chromium."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from agent.testing.broker import Broker
from hub.store.writer import Writer
from tests.hub.store import lab as store_lab
from tests.hub.web.lab import SCHEDULE, Devices, Obedient, Web, heater
from tests.hub.web.tabs import SIZES, Tab
from tests.waiting import until

HOUR_US = 3_600_000_000


@pytest.fixture
def ruling(web: Web, devices: Devices) -> Web:
    web.rules(devices)
    return web


@pytest.fixture
def open_tab(chromium: Any, ruling: Web) -> Iterator[Callable[..., Tab]]:
    contexts = []

    def open_(size: str = "desktop", scheme: str = "light", name: str = "otto", **context_of: Any) -> Tab:
        width, height = SIZES[size]
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **context_of)
        contexts.append(context)
        tab = Tab(context, ruling.url)
        tab.login(name)
        return tab

    yield open_
    for context in contexts:
        context.close()


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
    soon = (datetime.now(timezone.utc) + timedelta(hours=3)).isoformat(timespec="seconds")
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
    assert not wrong, "\n".join(wrong)


__all__ = ["SCHEDULE", "Broker", "Obedient"]
