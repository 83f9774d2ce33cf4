"""The watch in a whole house: real hub, real broker, real agent, as the README's commands start them."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from typing import Any

import psutil
import pytest

from hub.notify.asks import ask
from hub.store.alerts_db import AlertsReader
from hub.store.watch_rows import canaries
from tests.house import House
from tests.test_house import Retained
from tests.waiting import until

PASSWORD = "olive kettle north"
PLUGINS = """
[plugins.host]
interval_s = 1.0
"""


class Page:
    """A browser of one person, as far as these tests need one."""

    def __init__(self, house: House) -> None:
        self.url = house.url
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def get(self, path: str) -> str:
        with self.opener.open(self.url + path, timeout=20) as answer:
            return str(answer.read().decode())

    def post(self, path: str, page: str, **fields: str) -> str:
        token = re.search(r'name="_form" value="([0-9a-f]{64})"', self.get(page))
        assert token is not None
        data = urllib.parse.urlencode({"_form": token[1], **fields}).encode()
        request = urllib.request.Request(self.url + path, data, {"Origin": self.url})
        with self.opener.open(request, timeout=20) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("watched")) as house:
        house.start_hub()
        house.start_agent("attic", PLUGINS)
        yield house


@pytest.fixture(scope="module")
def page(house: House) -> Page:
    """Logged in as the first admin, with the code that the web prints on the console."""
    log = house.data / "hub.log"
    code = until("the one-time code", lambda: re.search(r"admin \(good for 24 h\): (\S+)", log.read_text()))[1]
    page = Page(house)
    page.post("/login/first", "/login", code=code, name="anna", password=PASSWORD, again=PASSWORD)
    return page


def report(page: Page) -> dict[str, Any]:
    return dict(json.loads(page.get("/status_report")))


def service(page: Page, machine: str, name: str) -> Callable[[], dict[str, Any]]:
    return lambda: dict(report(page).get(machine, {}).get("services", {}).get(name, {}))


def test_every_service_by_its_progress_and_the_canary_end_to_end(house: House, page: Page) -> None:
    def well() -> bool:
        told = report(page)
        return {"hub", "attic"} <= set(told) and all(
            {one["state"] for one in told[name]["services"].values()} == {"ok"} for name in ("hub", "attic"))

    until("all is well", well, 60, 0.5, lambda: json.dumps(report(page))[:3000])
    told = report(page)
    assert set(told["hub"]["services"]) == {"broker", "ingest", "notify", "web"}
    assert set(told["attic"]["services"]) == {"uplink", "watchdog", "host"}
    for name in ("hub", "attic"):
        for of in told[name]["services"].values():
            assert of["progress_us"] and of["since_us"] and of["restarts"] == 0, of
    assert told["attic"]["figures"]["disks"] and told["hub"]["figures"]["disks"][0]["free_bytes"] > 0
    with urllib.request.urlopen(f"{house.url}/alive", timeout=10) as answer:
        assert json.load(answer) == {"alive": True}

    seen = Retained(house.mqtt, "homie/5/hub/#")
    page.post("/machines/attic/canary", "/machines/attic")
    rows = AlertsReader(house.data / "hub" / "alerts.db")
    one = until("the canary in alerts.db", lambda: canaries(rows).get("attic"), 30)
    rows.close()
    assert one.how == "timed" and 0 < one.latency_us < 30_000_000 and one.worst_us == one.latency_us
    topic = "homie/5/hub/canary/attic"
    until("the hub's own Homie device", lambda: seen.seen.get("homie/5/hub/$state") == b"ready" and topic in seen.seen)
    described = json.loads(seen.seen["homie/5/hub/$description"])
    assert described["homie"] == "5.0" and "attic" in described["nodes"]["canary"]["properties"]
    assert float(seen.seen[topic]) == pytest.approx(one.latency_us / 1e6, abs=0.001)
    seen.close()
    assert "hub" not in {machine["id"] for machine in json.loads(page.get("/api/v1/devices"))}
    assert ask(house.run / "h", "watch.report", who="test", timeout_s=20)["machines"][1]["id"] == "attic"


def test_a_plugin_is_restarted_from_the_page_and_its_log_read_there(house: House, page: Page) -> None:
    until("the plugin is known", lambda: service(page, "attic", "host")().get("state") == "ok", 60, 0.5)
    (before,) = house.find("hutkeeper-agent", "plugin", "host")
    (uplink,) = house.find("hutkeeper-agent", "uplink")
    said = page.post("/machines/attic/restart", "/machines/attic", what="plugin:host")
    assert "plugin:host restarts" in said
    after = until("another process", lambda: [one for one in house.find("hutkeeper-agent", "plugin", "host")
                                              if one.pid != before.pid], 30)
    assert after and uplink.is_running()
    told = until("counted", lambda: (of := service(page, "attic", "host")()).get("restarts") == 1 and of["last_end"]
                 and of, 30, 0.3)
    assert told["last_end"] == "exit code 0"
    assert "plugin:host" in page.get("/audit")

    for name in ("host", "uplink", "watchdog", "supervisord"):
        assert f"Log of {name} on attic" in page.get(f"/device/attic/logs/{name}")
    assert "spawned: &#39;plugin-host&#39;" in page.get("/device/attic/logs/supervisord")
    first = json.loads(page.get("/device/attic/logs/uplink/more?after=start"))
    assert any("started, spool" in line[2] for line in first["lines"]) and not first["error"]
    nothing = json.loads(page.get(f"/device/attic/logs/uplink/more?after={first['cursor']}"))
    assert nothing["lines"] == [] and nothing["cursor"] == first["cursor"]
    assert "started, spool" in page.get("/device/attic/logs/uplink/download")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        page.get("/device/attic/logs/..%2f..%2fhub.toml")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        page.get("/device/attic/logs/passwd")

    def memory() -> dict[str, str]:
        return dict(json.loads(page.get("/machines/attic/now"))["memory"])

    until("memory of all", lambda: set(memory()) == {"uplink", "watchdog", "host"}, 20, found=memory)
    assert all("MiB" in size for size in memory().values())


def test_the_hubs_own_logs_without_the_code_that_opens_it(house: House, page: Page) -> None:
    assert "connected to the broker" in page.get("/machines/hub/logs/notify")
    web = page.get("/machines/hub/logs/web")
    code = re.search(r"admin \(good for 24 h\): (\S+)", (house.data / "hub.log").read_text())
    assert code is not None and "One-time code" in web and code[1] not in web


def test_B64_a_killed_and_a_standing_part_of_the_hub_are_in_the_report(house: House, page: Page) -> None:
    (first,) = house.find("hutkeeper-hub", "ingest")
    os.kill(first.pid, signal.SIGKILL)
    told = until("ingest again, counted", lambda: (of := service(page, "hub", "ingest")()).get("restarts") == 1 and
                 of["state"] == "ok" and of, 30, 0.3, lambda: service(page, "hub", "ingest")())
    assert told["last_end"] == "signal 9"
    (second,) = house.find("hutkeeper-hub", "ingest")
    second.suspend()
    try:
        pulse = house.run / "h" / "pulse" / "ingest"  # 31 s ago, by the clock that the pulse is kept in
        still = time.monotonic_ns() - 31_000_000_000
        os.utime(pulse, ns=(still, still))
        assert service(page, "hub", "ingest")()["state"] == "failed"
        assert "has not moved for 31 s" in service(page, "hub", "ingest")()["words"]
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{house.url}/alive", timeout=10)
    finally:
        second.resume()
    until("ingest moves", lambda: service(page, "hub", "ingest")()["state"] == "ok", 30)


def test_a_device_that_is_away_shows_what_was_heard_of_it_last(house: House, page: Page) -> None:
    """B61 too: the agent went on while its hub was away and nothing of it was restarted."""
    until("well", lambda: service(page, "attic", "watchdog")().get("state") == "ok", 60, 0.3)
    pids = {one.pid for word in ("uplink", "watchdog", "plugin") for one in house.find("hutkeeper-agent", word)}
    house.stop("hub")
    house.start_hub()
    again = Page(house)
    until("the hub is back", lambda: _alive(house), 60, 0.3)
    again.post("/login", "/login", name="anna", password=PASSWORD)
    until("well", lambda: service(again, "attic", "host")().get("state") == "ok", 60, 0.3)
    assert pids == {one.pid for word in ("uplink", "watchdog", "plugin") for one in house.find("hutkeeper-agent", word)}
    assert all(psutil.pid_exists(pid) for pid in pids)
    house.stop("attic")
    until("away", lambda: report(again)["attic"]["state"] == "away", 30, 0.3)
    shown = again.get("/device/attic/logs/host")
    assert "This device is away" in shown and "Last known lines" in shown and "download" not in shown.lower()
    until("the logbook's lines", lambda: 'id="log-lines"' in (text := again.get("/device/attic/logs/uplink")) and
          '<p class="none">' not in text, 20, 0.3)


def _alive(house: House) -> bool:
    try:
        with urllib.request.urlopen(f"{house.url}/alive", timeout=5):
            return True
    except OSError:
        return False
