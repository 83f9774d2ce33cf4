"""The logbook in a real Chromium."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from hub.logbook.model import SEVERITIES, Entry
from hub.store import logbook_rows as rows
from tests.hub.logbook.conftest import Hub
from tests.hub.logbook.test_gather import TRACE
from tests.hub.web.tabs import SIZES, Tab, opening
from tests.waiting import until

HOSTILE = '<script>window.hit=1</script><img src=x onerror="window.hit=1">'


@pytest.fixture
def open_tab(chromium: Any, hub: Hub) -> Iterator[Callable[..., Tab]]:
    with opening(chromium, hub.web.url) as open_:
        yield open_


def some(hub: Hub, n: int) -> None:
    now_us = time.time_ns() // 1000
    day_us = 86_400_000_000
    what = ["the relay did not follow its command for 3 s", "no answer from the sensor", "connected again after 4 min",
            "heater/levels = {\"forced\": {\"setpoint_c\": 21.5}}: done", "a very long text " * 12]
    with hub.service.db.writing():
        for i in range(n):
            hub.service.hall.logbook.add(Entry(
                now_us - i * 7_000_000, ("bc-power", "bc-water", "hub", "bc-veilleuse")[i % 4],
                ("heater", "agent", "web")[i % 3], SEVERITIES[i % 5], what[i % 5], "note",
                who="anna (web)" if i % 5 == 3 else "", detail="more of it" if i % 7 == 0 else ""), times=1 + i % 3)
        hub.service.hall.logbook.add(Entry(now_us - 3 * day_us, "bc-power", "heater", "info", "an older line", "note"))


def test_shots_of_the_logbook_have_no_barrier(hub: Hub, open_tab: Callable[..., Tab], tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    folder = Path(os.environ.get("HUTKEEPER_SHOTS") or tmp_path / "shots").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    axe, wrong = Axe(), []
    looks = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]
    if not (os.environ.get("HUTKEEPER_SHOTS") or os.environ.get("HUTKEEPER_LONG")):
        looks = [("phone", "dark"), ("desktop", "light")]
    tabs = {look: open_tab(*look) for look in looks}
    turns = cycle(tabs.items())

    def everywhere(name: str, path: str, ready: str) -> None:
        for (size, scheme), tab in tabs.items() if len(tabs) == 4 else [next(turns)]:
            tab.goto(path)
            tab.page.wait_for_selector(ready)
            tab.page.wait_for_timeout(100)
            tab.page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=name != "logbook-many")
            if name == "logbook-many" and len(tabs) < 4:  # 200 lines alike: half a minute
                continue
            found = axe.run(tab.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
            wrong.extend(f"{name}: {v['id']}: {v['nodes'][0]['html'][:150]}" for v in found.response["violations"])
            wide = tab.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if wide > 0:
                wrong.append(f"{name}-{size}: {wide} px wider than the screen")
            wrong.extend(f"{name}: {error}" for error in tab.errors)
            tab.errors.clear()

    everywhere("logbook-0", "/logbook?q=nothingfits", "text=No line fits")
    everywhere("logbook-1", "/logbook", "text=the hub's notify started")
    everywhere("crashes-0", "/crashes", "text=None.")
    some(hub, 600)
    hub.service.parts[-1].crashes.add("bc-power", "heater", "1.2", TRACE.format(line=1, value=7),  # type: ignore[attr-defined]
                                      time.time_ns() // 1000, times=3)
    everywhere("logbook-many", "/logbook", "text=Older lines")
    everywhere("logbook-search", "/logbook?q=older", "text=an older line")
    everywhere("crashes-1", "/crashes", "text=ValueError")
    [crash] = rows.crashes(hub.web.hut.alerts)
    everywhere("crash", f"/crashes/{crash.fingerprint}", "text=raise ValueError")
    everywhere("logbook-line", f"/logbook/{crash.line}", "text=program fault")
    assert not wrong, "\n".join(wrong)


def test_todays_page_shows_a_line_at_once_newest_first_and_counts_it_in_place(
        hub: Hub, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab()
    tab.goto("/logbook?severity=warning")
    until("the stream", lambda: hub.web.hut.streams.open == 1)
    add = hub.service.desk.handlers["log.add"]
    tab.page.evaluate("window.same = document.getElementById('lines')")
    for text, severity in (("first", "warning"), ("quiet", "info"), (HOSTILE, "error")):
        add({"machine": "m", "service": "s", "severity": severity, "text": text}, "token:x")
    tab.page.wait_for_selector("text=window.hit=1")
    for _ in range(2):
        add({"machine": "m", "service": "s", "severity": "warning", "text": "first"}, "token:x")
    tab.page.wait_for_selector("text=3 times")
    shown = tab.page.locator("#lines .text").all_inner_texts()
    assert "window.hit" in shown[0] and shown[1].startswith("first 3 times") and "quiet" not in "".join(shown)
    assert tab.page.evaluate("window.same === document.getElementById('lines') && window.hit === undefined")
    assert not tab.errors


def test_without_scripts_it_can_be_read_searched_and_written(hub: Hub, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab("phone", java_script_enabled=False)
    tab.goto("/logbook")
    tab.page.fill("textarea[name=text]", f"swept the chimney {HOSTILE}")
    tab.page.click("text=Write it down")
    tab.page.wait_for_selector("text=It is written down")
    tab.page.fill("[name=q]", "chimn")
    tab.page.click("button:has-text('Show')")
    tab.page.wait_for_selector("text=by otto")
    assert tab.page.url.endswith("q=chimn&machine=&service=&severity=&kind=")
    assert tab.page.locator("#lines li").count() == 1
