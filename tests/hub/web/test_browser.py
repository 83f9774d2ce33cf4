"""The pages in a real Chromium: live values, no script from outside, no barrier, and pictures of every page.

``HUTKEEPER_SHOTS=folder`` keeps the pictures (``make shots``)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests.hub.web.lab import Devices, Web, description, fill_store
from tests.hub.web.tabs import SIZES, Tab
from tests.waiting import until


@pytest.fixture
def open_tab(chromium: Any, web: Web) -> Iterator[Callable[..., Tab]]:
    contexts = []

    def open_(size: str = "desktop", scheme: str = "light", login: bool = True) -> Tab:
        width, height = SIZES[size]
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        tab = Tab(context, web.url)
        if login:
            tab.login()
        return tab

    yield open_
    for context in contexts:
        context.close()


def test_values_and_states_change_on_an_open_page(open_tab: Callable[..., Tab], devices: Devices) -> None:
    devices.device("bc-power", "Boiler room")
    tab = open_tab()
    tab.page.wait_for_selector("#d-bc-power >> text=Live")
    tab.page.click("text=Boiler room")
    value = "#v-main-meter-active-power-l1-w"
    tab.page.wait_for_selector(f"{value} >> text=412")
    devices.send("homie/5/bc-power/main-meter/active-power-l1-w", "987.5")
    tab.page.wait_for_selector(f"{value} >> text=987.5")
    devices.send("homie/5/bc-power/$log/warn", "no frame for 9 s", retain=False)
    tab.page.wait_for_selector("#log >> text=no frame for 9 s")
    devices.send("homie/5/bc-power/$state", "lost")
    tab.page.wait_for_selector("text=Last known values")
    assert tab.errors == []


def test_a_hidden_tab_gives_its_stream_back(web: Web, open_tab: Callable[..., Tab], devices: Devices) -> None:
    devices.device("bc-power")
    tab = open_tab()
    until("the stream", lambda: web.hut.streams.open == 1)
    tab.page.evaluate("""() => { Object.defineProperty(document, 'hidden', {get: () => true, configurable: true});
                                 document.dispatchEvent(new Event('visibilitychange')); }""")
    until("the end of the stream", lambda: web.hut.streams.open == 0)
    tab.page.evaluate("""() => { Object.defineProperty(document, 'hidden', {get: () => false});
                                 document.dispatchEvent(new Event('visibilitychange')); }""")
    until("the stream again", lambda: web.hut.streams.open == 1)


HOSTILE = (
    "<script>window.hit=1</script>", "\"><img src=x onerror=\"window.hit=1\">", "<svg/onload=window.hit=1>",
    "'-window.hit=1-'", "</title><script>window.hit=1</script>", "{{7*7}}", "javascript:window.hit=1",
    "</body><iframe srcdoc='<script>parent.hit=1</script>'>", "&lt;script&gt;window.hit=1&lt;/script&gt;",
    "\u2028window.hit=1",
    "E_BROKER_DOWN <b onmouseover=window.hit=1>x</b>; kept: <u>y; do: <script>window.hit=1</script>",
)


def test_hostile_names_values_alerts_and_logs_run_nothing(
    web: Web, open_tab: Callable[..., Tab], devices: Devices
) -> None:
    """FAULTS C, stored XSS: through MQTT into a real browser, by the page and by its stream."""
    tab = open_tab()
    names = []
    for n, text in enumerate(HOSTILE):
        told = description(text)
        for node in told["nodes"].values():
            node["name"] = node["type"] = text
            for prop in node["properties"].values():
                prop.update(name=text, unit=text, datatype="string", format=text)
        told["nodes"]["host"]["properties"]["json-j"] = {"datatype": "json", "format": text}
        devices.device(f"evil-{n}", text, described=told, host__cpu_percent=text, host__json_j=text,
                       main_meter__tariff=text, sys__version=text, sys__address=text, sys__clock_quality=text,
                       host__health=text, sys__ledger=text)
        devices.send(f"homie/5/evil-{n}/$alert/{n}", text)
        names.append(f"evil-{n}")
    devices.send("homie/5/<script>window.hit=1</script>/$state", "ready")
    tab.page.wait_for_selector(f"#d-{names[-1]}")
    hit = "() => window.hit === undefined"
    assert tab.page.evaluate(hit)
    tab.goto("/")
    assert tab.page.locator("tbody tr").count() == len(HOSTILE)
    assert tab.page.evaluate(hit)
    for n, text in enumerate(HOSTILE):
        tab.goto(f"/device/evil-{n}")
        devices.send(f"homie/5/evil-{n}/$log/error", text, retain=False)
        devices.send(f"homie/5/evil-{n}/host/cpu-percent", text + " again")
        tab.page.wait_for_selector("#v-host-cpu-percent .text >> text=/again$/")
        tab.page.wait_for_selector("#log p.error")
        for place in tab.page.locator(".values .name").all()[:3]:
            place.hover()
        assert tab.page.evaluate(hit), text
        assert tab.page.locator("main script, main iframe, main img").count() == 0
    assert [error for error in tab.errors if "Content Security Policy" in error or "dialog" in error] == []


def test_the_fleet_page_finds_devices_and_those_that_need_somebody(
    open_tab: Callable[..., Tab], devices: Devices
) -> None:
    for n in range(8):
        devices.device(f"d{n}", f"Room {n}", state="lost" if n == 3 else "ready")
    tab = open_tab()
    tab.page.wait_for_selector("#d-d7 >> text=Live")
    tab.page.fill("#find", "room 5")
    assert tab.page.locator("#rows tr:visible").count() == 1
    tab.page.fill("#find", "")
    tab.page.check("#only-bad")
    assert tab.page.locator("#rows tr:visible").all_inner_texts()[0].startswith("Room 3")
    tab.page.fill("#find", "no such room")
    assert tab.page.is_visible("text=No device fits.")


def test_keyboard_reaches_the_content_and_a_device(open_tab: Callable[..., Tab], devices: Devices) -> None:
    devices.device("bc-power", "Boiler room")
    tab = open_tab()
    tab.page.wait_for_selector("#d-bc-power >> text=Live")
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.className") == "skip"
    for _ in range(24):
        tab.page.keyboard.press("Tab")
        if tab.page.evaluate("document.activeElement.textContent") == "Boiler room":
            break
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url(re.compile("/device/bc-power"))


def test_shots_of_every_page_have_no_barrier(
    web: Web, open_tab: Callable[..., Tab], devices: Devices, tmp_path: Path
) -> None:
    """Every page on a phone and a desktop, light and dark; axe-core finds nothing; nothing is wider than the screen.

    The quick form takes each page in one of two looks by turns; HUTKEEPER_SHOTS or HUTKEEPER_LONG takes all four."""
    from axe_playwright_python.sync_playwright import Axe

    folder = Path(os.environ.get("HUTKEEPER_SHOTS") or tmp_path / "shots").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    axe = Axe()
    wrong = []

    def shoot(tab: Tab, name: str) -> None:
        tab.page.wait_for_timeout(100)
        tab.page.screenshot(path=folder / f"{name}.png")
        if "500" not in name:  # minutes on a small machine, and the rows are those of 20 devices
            found = axe.run(tab.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
            wrong.extend(f"{name}: {v['id']}: {v['nodes'][0]['html'][:150]}" for v in found.response["violations"])
        wide = tab.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            wrong.append(f"{name}: {wide} px wider than the screen")
        # the browser's console tells of the 404 that was asked for
        wrong.extend(f"{name}: {error}" for error in tab.errors if not ("error-" in name and "404" in error))
        tab.errors.clear()

    looks = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]
    if not (os.environ.get("HUTKEEPER_SHOTS") or os.environ.get("HUTKEEPER_LONG")):
        looks = [("phone", "dark"), ("desktop", "light")]
    tabs = {look: open_tab(*look) for look in looks}
    turns = cycle(tabs.items())
    fill_store(web.settings.samples_db)
    series = {row.property: row.id for row in web.hut.history.reader.series("bc-power")}

    def everywhere(name: str, path: str, ready: str) -> None:
        for (size, scheme), tab in tabs.items() if len(tabs) == 4 else [next(turns)]:
            tab.goto(path)
            tab.page.wait_for_selector(ready)
            shoot(tab, f"{name}-{size}-{scheme}")

    web.accounts.db.remove_device("bc-power", web.now_us())
    until("ingest", lambda: web.hut.tree.hub_state[0])
    everywhere("fleet-0", "/", "text=No device yet")
    devices.device("bc-power", "Boiler room")
    until("the device", lambda: web.hut.tree.device("bc-power") and web.hut.tree.device("bc-power").state == "ready")
    everywhere("fleet-1", "/", "text=all right")
    everywhere("device", "/device/bc-power", ".spark")
    everywhere("series", f"/series/{series['active_power_l1_w']}", "#chart canvas, #chart svg")
    everywhere("energy", "/energy?device=bc-power&node=main-meter", "text=No price is set")
    everywhere("series-words", f"/series/{series['tariff']}", "text=has words")
    everywhere("people", "/people", "text=API tokens")
    everywhere("account", "/account", "text=Your account")
    everywhere("add", "/add", "text=Make a code")
    everywhere("audit", "/audit", "text=The chain is whole")
    everywhere("error", "/nowhere", "text=no such page")
    for n in range(19):
        devices.device(f"bc-{n:03d}", f"Room {n}", state="lost" if n == 7 else "ready", ago_s=4000 if n == 7 else 1,
                       **({"main_meter__health": "degraded"} if n == 3 else {}))
    everywhere("fleet-20", "/", "#d-bc-018 >> text=Live")
    if len(looks) == 4:
        for n in range(19, 499):
            devices.device(f"bc-{n:03d}", f"Room {n}", state="lost" if n % 60 == 7 else "ready")
        everywhere("fleet-500", "/", "#d-bc-498 >> text=Live")
    with_nobody = open_tab("phone", "light", login=False)
    with_nobody.goto("/login")
    shoot(with_nobody, "login-phone-light")
    assert wrong == []
