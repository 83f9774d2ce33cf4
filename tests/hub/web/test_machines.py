"""The status report and the logs as pages: by role, without JavaScript, with 0, 1 and 500 devices, in Chromium."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from agent.testing.broker import Broker
from agent.wire import messages, topics
from agent.wire.messages import ServiceState
from hub import parts_log
from hub.store import watch_rows
from hub.store.alerts_db import AlertsDb
from hub.watch.pulse import Pulse
from hub.watch.supply import POWER
from tests.hub.watch.lab import S, Trees, running
from tests.hub.web.lab import Client, Devices, Web
from tests.hub.web.tabs import SIZES, Tab, opening
from tests.waiting import until

LOG = ["2026-11-26T20:10:11Z INFO host: started", "2026-11-26T20:10:12Z WARNING host: the disk <b>fills</b>",
       "2026-11-26T20:10:13Z ERROR host: it broke", "Traceback (most recent call last):", '  File "x.py", line 3',
       '{"t": "2026-11-26T20:11:00Z", "level": "warning", "logger": "agent.uplink", "message": "no receipt"}']


class Published(Trees):
    """The same devices over a real broker."""

    def __init__(self, devices: Devices) -> None:
        super().__init__(time.time_ns() // 1000)
        self.devices = devices

    def send(self, topic: str, payload: str | bytes) -> None:
        self.devices.client.publish(topic, payload, 1, True)


class Answering:
    """A device that answers requests: ``log_tail`` from ``lines``, ``services``, ``restart``, ``canary``."""

    def __init__(self, port: int, device: str) -> None:
        self.device = device
        self.lines = list(LOG)
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = self.on_message
        ready = threading.Event()
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.connect("127.0.0.1", port)
        self.client.subscribe(topics.request(device, "+"), 1)
        self.client.loop_start()
        assert ready.wait(10)

    def on_message(self, client: Any, userdata: Any, message: mqtt.MQTTMessage) -> None:
        name = message.topic.split("/")[-1]
        request = messages.decode(message.payload, messages.Request)
        self.taken.append((name, request.args))
        data: Any = {}
        if name == "log_tail":
            after = request.args["after"]
            start = 0 if after == "start" else int(after.split(":")[1]) if after else max(0, len(self.lines) - 200)
            data = {"service": request.args["service"], "lines": self.lines[start:], "cursor": f"1:{len(self.lines)}",
                    "more": False}
        elif name == "services":
            told = {key: messages.ServiceState(one.state, pid=one.pid, plugins=one.plugins, memory_bytes=15 << 20)
                    for key, one in running(time.time_ns() // 1000).items()}
            data = json.loads(messages.encode(messages.Services(None, told)))
        self.client.publish(topics.response(self.device, name), messages.encode(
            messages.Response(request.id, "ok", data)), 1)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def ruling(web: Web, devices: Devices) -> Web:
    web.rules(devices)
    for part in ("broker", "ingest", "notify", "web"):
        Pulse(web.settings.hub.run_dir, part).beat()
    return web


@pytest.fixture
def attic(ruling: Web, devices: Devices, broker: Broker) -> Iterator[Answering]:
    Published(devices).device("attic")
    until("the device", lambda: (one := ruling.hut.tree.device("attic")) and one.state == "ready" and one.reported)
    answering = Answering(broker.port, "attic")
    yield answering
    answering.close()


def kept(web: Web, *devices: str) -> None:
    """What notify would have kept."""
    db = AlertsDb(web.settings.alerts_db)
    now = web.now_us()
    for n, device in enumerate(devices):
        watch_rows.note_canary(db, device, now - 60 * S, now - 59 * S, (310_000, None, 65 * S)[n % 3],
                               ("timed", "unsynced", "timed")[n % 3])
    db.close()


PAGES = ("/", "/alerts", "/logbook", "/logbook?q=x", "/crashes", "/machines", "/rules", "/channels")


def test_before_notify_has_made_its_tables_pages_are_empty_and_say_that_nobody_is_told(web: Web) -> None:
    with contextlib.closing(sqlite3.connect(web.settings.alerts_db, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")  # as far as a start comes before its first transaction
    anna = web.login("anna")
    for path in PAGES:
        page = anna.get(path)
        assert page.status == 200 and "no such table" not in page.text, path
        assert "notify) does not run" in page.text and "heating and commands work" in page.text, path
    pulse = Pulse(web.settings.hub.run_dir, "notify")
    pulse.beat()
    assert [path for path in PAGES if "notify) " in anna.get(path).text] == []
    late = time.monotonic() - 125
    os.utime(web.settings.hub.run_dir / "pulse" / "notify", (late, late))
    assert all("notify) has not moved for 2 min" in anna.get(path).text for path in PAGES)
    assert "notify) " not in Client(web.port).get("/login").text
    with contextlib.closing(sqlite3.connect(web.settings.alerts_db, isolation_level=None)) as db:
        db.execute("PRAGMA user_version = 1")  # it is made, and a part of it is not there: that is a fault
    assert anna.get("/logbook").status == 503


def test_restarts_by_an_operator_for_what_is_there_and_audited(ruling: Web, attic: Answering) -> None:
    otto, vera = ruling.login("otto"), ruling.login("vera")
    assert "Restart the whole agent" in otto.get("/machines/attic").text
    assert "Restart the whole agent" not in vera.get("/machines/attic").text
    form = {"what": "plugin:heater"}
    assert vera.post("/machines/attic/restart", form).status == 403
    assert Client(ruling.port).post("/machines/attic/restart", form, page="/login").status in (303, 401)
    answer = otto.post("/machines/attic/restart", form, page="/machines/attic")
    assert answer.status == 303 and attic.taken == [("restart", {"what": "plugin:heater"})]
    assert "plugin:heater restarts." in otto.get(answer.headers["Location"]).text
    for what in ("plugin:nothing", "guard:x", "", "rm -rf"):
        assert otto.post("/machines/attic/restart", {"what": what}).status == 400
    assert otto.post("/machines/attic/restart", {"what": "host"}).status == 403
    assert ruling.login("anna").post("/machines/attic/restart", {"what": "host"}).status == 303
    assert otto.post("/machines/nobody/restart", form).status == 404
    assert otto.post("/machines/attic/canary", {}).status == 303 and attic.taken[-1][0] == "canary"
    audit = ruling.login("anna").get("/audit").text
    assert "attic/plugin:heater" in audit and "attic/host" in audit


def test_B63_mains_lost_the_page_says_so_and_a_restart_is_not_sent(
    ruling: Web, attic: Answering, devices: Devices
) -> None:
    Published(devices).device("cellar", supply=False)
    until("mains are lost", lambda: (one := ruling.hut.tree.device("cellar")) and one.value("power", POWER) == "false")
    otto = ruling.login("otto")
    text = otto.get("/machines").text
    assert "Restarts wait: mains are lost" in text and "mains are lost" in text and "internet is reached" in text
    answer = otto.post("/machines/attic/restart", {"what": "plugin:heater"}, Accept="application/json")
    assert answer.status == 503 and "cellar/power" in answer.json["error"]  # notify does not run here
    assert attic.taken == []


def test_json_by_machine_with_a_token(ruling: Web, attic: Answering) -> None:
    kept(ruling, "attic")
    secret = ruling.accounts.make_token("scraper", "anna", 30)
    assert Client(ruling.port).get("/status_report").status == 401
    told = Client(ruling.port).get("/status_report", Authorization=f"Bearer {secret}").json
    assert set(told) == {"hub", "attic"} and told["attic"]["canary"]["latency_us"] == 310_000
    assert told["attic"]["services"]["guard-heater"]["state"] == "ok"
    assert "canary 310 ms" in ruling.login("vera").get("/").text and "310 ms" in ruling.login("vera").get(
        "/device/attic").text


def test_logs_by_level_by_piece_and_as_a_file(ruling: Web, attic: Answering) -> None:
    vera = ruling.login("vera")
    page = vera.get("/device/attic/logs/host").text
    assert "the disk &lt;b&gt;fills&lt;/b&gt;" in page and "<b>fills" not in page
    errors = vera.get("/device/attic/logs/host?level=error").text
    assert "it broke" in errors and "Traceback" in errors and "fills" not in errors and "no receipt" not in errors
    first = vera.get("/device/attic/logs/host/more?after=start").json
    assert [line[1] for line in first["lines"]] == ["info", "warning", "error", "error", "error", "warning"]
    attic.lines.append("2026-11-26T20:12:00Z INFO host: one more")
    more = vera.get(f"/device/attic/logs/host/more?after={first['cursor']}").json
    assert more["lines"] == [["2026-11-26T20:12:00Z", "info", "host: one more"]]
    file = vera.get("/device/attic/logs/host/download")
    assert file.headers["Content-Disposition"] == 'attachment; filename="attic-host.log"'
    assert "WARNING host: the disk <b>fills</b>" in file.text and file.headers["Content-Type"].startswith("text/plain")
    assert vera.get("/device/attic/logs/nothing").status == 404 and vera.get("/device/x/logs/host").status == 404
    assert vera.get("/machines/hub/logs/web").status == 403
    parts_log.Keeper(parts_log.file_of(ruling.settings.hub.data_dir, "web"), sink=os.open(os.devnull, os.O_WRONLY)
                     ).write(b"2026-11-26 20:10:11,123 ERROR hub.web: password=hunter2 failed\n")
    own = ruling.login("otto").get("/machines/hub/logs/web").text
    assert "failed" in own and "hunter2" not in own
    assert "No such file" in ruling.login("otto").get("/machines/hub/logs/ingest").text


def test_a_part_log_is_kept_and_rotated(tmp_path: Path) -> None:
    path, older = tmp_path / "log" / "web.log", tmp_path / "log" / "web.log.1"
    sink = os.open(tmp_path / "console", os.O_WRONLY | os.O_CREAT)
    keeper = parts_log.Keeper(path, limit=1000, sink=sink)
    reader, writer = os.pipe()
    thread = keeper.follow(reader)
    os.write(writer, b"said by the part\n")
    os.close(writer)
    thread.join(5)
    assert not thread.is_alive() and path.read_text() == "said by the part\n"
    for n in range(100):
        keeper.write(f"line {n:04d} of the log\n".encode())
    assert 900 < older.stat().st_size <= 1100 and (path.read_text() if path.exists() else older.read_text()).endswith(
        "line 0099 of the log\n")
    path.unlink(missing_ok=True)
    path.mkdir()  # it cannot be written any more: what was said still reaches the console
    keeper.write(b"the last\n")
    os.close(sink)
    assert (tmp_path / "console").read_text().endswith("line 0099 of the log\nthe last\n")


@pytest.fixture
def open_tab(chromium: Any, ruling: Web) -> Iterator[Callable[..., Tab]]:
    with opening(chromium, ruling.url, "anna") as open_:
        yield open_


def test_shots_have_no_barrier(
    ruling: Web, open_tab: Callable[..., Tab], devices: Devices, broker: Broker, tmp_path: Path
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    folder = Path(os.environ.get("HUTKEEPER_SHOTS") or tmp_path / "shots").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    looks = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]
    if not (os.environ.get("HUTKEEPER_SHOTS") or os.environ.get("HUTKEEPER_LONG")):
        looks = [("phone", "dark"), ("desktop", "light")]
    tabs = {look: open_tab(*look) for look in looks}
    axe, wrong, turns = Axe(), [], cycle(tabs.items())

    def everywhere(name: str, path: str, ready: str) -> None:
        for (size, scheme), tab in tabs.items() if len(tabs) == 4 else [next(turns)]:
            tab.goto(path)
            tab.page.wait_for_selector(ready)
            if name == "machine":
                tab.page.click("details.menu > summary")
                tab.page.wait_for_selector("text=Who is told")
            tab.page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page="500" not in name)
            if "500" in name and (size, scheme) != looks[0]:
                continue  # axe looks at each of the rows
            found = axe.run(tab.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
            wrong.extend(f"{name}: {v['id']}: {v['nodes'][0]['html'][:150]}" for v in found.response["violations"])
            wide = tab.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if wide > 0:
                wrong.append(f"{name}-{size}: {wide} px wider than the screen")
            wrong.extend(f"{name}: {error}" for error in tab.errors)
            tab.errors.clear()

    everywhere("machines-0", "/machines", "text=No devices yet")
    trees = Published(devices)
    trees.device("attic", supply=True)
    until("the device", lambda: (one := ruling.hut.tree.device("attic")) and one.reported)
    kept(ruling, "attic", "cellar", "barn")
    answering = Answering(broker.port, "attic")
    everywhere("machines-1", "/machines", "text=Attic")
    everywhere("machine", "/machines/attic", "text=15 MiB")
    everywhere("log", "/device/attic/logs/host", "text=it broke")
    answering.close()
    n = 500 if os.environ.get("HUTKEEPER_SHOTS") else 20
    fatal = ServiceState("fatal", trees.now_us, 7, "exit code 1", plugins=("heater",))
    bad = running(trees.now_us, plugin_heater=fatal)
    for k in range(n):
        trees.device(f"pi-{k:03d}", state="lost" if k % 50 == 7 else "ready",
                     services=bad if k % 60 == 3 else None, supply=False if k == 5 else None)
    trees.devices.send(topics.state("last"), "ready")
    until("all", lambda: len(ruling.hut.tree.devices()) == n + 2, 60)
    everywhere("machines-500", "/machines", "text=Pi-000")
    everywhere("log-away", "/device/pi-007/logs/host", "text=This device is away")
    assert not wrong, "\n".join(wrong)


def test_a_log_is_followed_and_the_report_stays_true(
    ruling: Web, attic: Answering, open_tab: Callable[..., Tab], devices: Devices
) -> None:
    tab = open_tab(name="vera")
    tab.goto("/device/attic/logs/host?level=warning")
    tab.page.wait_for_selector("text=it broke")
    tab.page.check("#log-follow")
    attic.lines += ["2026-11-26T20:12:00Z INFO host: hidden", "2026-11-26T20:12:01Z WARNING host: <i>new</i> one"]
    tab.page.wait_for_selector("text=<i>new</i> one")
    assert tab.page.locator("text=hidden").count() == 0
    tab.goto("/machines")
    tab.page.wait_for_selector("#m-attic >> text=makes progress")
    devices.send("homie/5/attic/$state", "lost")
    tab.page.wait_for_selector("#m-attic >> text=away")
    assert tab.errors == []
    plain = open_tab(name="otto", java_script_enabled=False)  # all of it works without a script
    plain.goto("/machines")
    plain.page.click("text=Attic")
    plain.page.wait_for_selector("text=guard-heater")
