"""The page of alerts in a real Chromium: 0, 1 and 500 of them, phone and desktop, light and dark, without a barrier."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests.hub.alerts.house import Desk, House
from tests.hub.web.lab import Web
from tests.hub.web.tabs import SIZES, Tab, opening


@pytest.fixture
def open_tab(chromium: Any, web: Web) -> Iterator[Callable[..., Tab]]:
    with opening(chromium, web.url) as open_:
        yield open_


def test_shots_of_alerts_have_no_barrier(
    web: Web, open_tab: Callable[..., Tab], tmp_path: Path
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    folder = Path(os.environ.get("HUTKEEPER_SHOTS") or tmp_path / "shots").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    axe, wrong = Axe(), []
    many = 500
    looks = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]
    if not (os.environ.get("HUTKEEPER_SHOTS") or os.environ.get("HUTKEEPER_LONG")):
        looks, many = [("phone", "dark"), ("desktop", "light")], 60
    tabs = {look: open_tab(*look) for look in looks}
    turns = cycle(tabs.items())

    def everywhere(name: str, path: str, ready: str) -> None:
        for (size, scheme), tab in tabs.items() if len(tabs) == 4 else [next(turns)]:
            tab.goto(path)
            tab.page.wait_for_selector(ready)
            tab.page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=name != "alerts-500")
            found = axe.run(tab.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
            wrong.extend(f"{name}: {v['id']}: {v['nodes'][0]['html'][:150]}" for v in found.response["violations"])
            wide = tab.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if wide > 0:
                wrong.append(f"{name}-{size}: {wide} px wider than the screen")
            wrong.extend(f"{name}: {error}" for error in tab.errors)
            tab.errors.clear()

    everywhere("alerts-0", "/alerts", "text=Nothing is wrong")
    with House(tmp_path, settings=web.settings, ago_s=120) as house:
        house.device("power", {"mains": ("mains_present",)})
        for n in range(15):
            house.device(f"pi{n}")
        house.run(70)
        house.say("homie/5/power/mains/mains-present", "false")
        house.run(3)
        house.lose(*(f"pi{n}" for n in range(15)))
        house.run(10)
        everywhere("alerts-1", "/alerts", "text=1 thing needs somebody")
        root = next(row for row in house.open().values() if row.subject == "mains")
        everywhere("alert-one", f"/alerts/{root.id}", "text=What happened")
        house.service.book.acknowledge(root.id, "lena", house.now_us)
        house.service.book.silence("many1*", 240, "new switch in the cellar", "otto", house.now_us)
        house.alert("power", "leak", "water flows for 2 h without a pause; kept: nothing; do: close the stopcock")
        for n in range(many):
            house.device(f"many{n}", {"host": ("load",)})
            house.alert(f"many{n}", f"sensor-{n}", f"E_SERIAL /dev/ttyUSB{n}: no answer from meter {n}; "
                        "kept: the plugin retries; do: check its cable")
        house.run(1)
        house.run(10)
        everywhere("alerts-500", "/alerts", "text=new switch in the cellar")
    assert not wrong, "\n".join(wrong)


def test_the_open_page_follows_and_a_click_acknowledges(
    web: Web, open_tab: Callable[..., Tab], tmp_path: Path
) -> None:
    tab = open_tab()
    tab.goto("/alerts")
    tab.page.wait_for_selector("text=Nothing is wrong")
    with House(tmp_path, settings=web.settings, ago_s=120) as house, Desk(house):
        house.device("pi0")
        house.run(60)
        house.lose("pi0")
        house.run(10)
        tab.page.wait_for_selector("#board >> text=Pi0: no longer connected")
        tab.page.click("#board >> text=I have seen it")
        tab.page.wait_for_selector("text=otto has seen it")
        assert tab.errors == []
        quiet = open_tab(java_script_enabled=False)
        quiet.goto("/alerts")
        quiet.page.fill("[name=match]", "pi0")
        quiet.page.fill("[name=why]", "new card")
        quiet.page.click("#silence button")
        quiet.page.wait_for_selector("#board >> text=by otto: new card")
        quiet.page.click("#board >> text=End")
        quiet.page.wait_for_selector("text=The silence is over.")
