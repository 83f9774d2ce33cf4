"""The evening's house: the real hub and three real agents, as the README's commands start them, and what they hang on.

``watch`` has a UPS, a modem and an eye on the hub; ``cellar`` the water meter; ``living`` the heater. ``cellar`` and
``living`` go dark with the mains.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import psutil

from hub.notify.asks import Away, Refused, ask
from hub.store.alert_rows import open_alerts
from hub.store.alerts_db import AlertsReader
from plugins.modem.fake_modem import FakeModem
from tests.evening.world import Internet, Mains, Message, Pipe, Provider, Room, Telephone
from tests.house import House
from tests.waiting import until

OWNER = "+33612345678"
SHORT = "lost_s = 1\nstart_s = 3\nover_s = 2\nsettle_s = 3"
HUB = """
[alerts]
{alerts}
[notify]
fallback_s = 10
[[notify.channel]]
name = "push"
url = "json://127.0.0.1:{push}/"
[[notify.channel]]
name = "sms"
modem = "watch/modem"
to = ["{owner}"]
"""
WATCH = """
[plugins.mains]
upsd = "{upsd}"
interval_s = 1
resume_after_s = 5
[plugins.internet]
interval_s = 2
retry_s = 1
timeout_s = 1
gateway = "none"
[plugins.internet.targets.first]
kind = "tcp"
address = "127.0.0.1:{first}"
[plugins.internet.targets.second]
kind = "tcp"
address = "127.0.0.1:{second}"
[plugins.modem]
port = "{modem}"
allow = ["{owner}"]
notify_to = ["{owner}"]
[plugins.hub-watch]
url = "{hub}"
interval_s = 0.5
timeout_s = 2
dead_after_s = 4
back_after_s = 2
to = ["{owner}"]
"""
CELLAR = """
[plugins.water]
use = "water_meter"
line = "{water}"
price_per_m3 = 4.1
burst_l_h = 1800
max_flow_l_h = 72000
interval_s = 1
"""
CRASHER = """
[plugins.greenhouse]
use = "house_crasher"
"""
LIVING = """
[plugins.heating]
use = "relay_heater"
simulate = false
root = "{root}"
relay = {{ driver = "plain", line = "sim:{run}/relay" }}
min_on_s = 10
min_off_s = 10
interval_s = 1
night = "00:00-24:00"
timezone = "UTC"
[plugins.heating.sensors.main]
source = "w1:28-0316a2799fff"
interval_s = 2
"""


class Evening:
    """``with Evening(folder) as evening``: everything runs, nothing is wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.telephone = Telephone()
        self._stack = ExitStack()
        self._ending = threading.Event()
        self._toml: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _begin(self) -> None:
        push = self.provider = Provider(lambda text: self.telephone.ring("push", text))
        self.internet, self.mains, self.pipe = Internet(), Mains(), Pipe()
        self.room = Room(self.folder / "sys-root")
        for thing in (push, self.internet, self.mains, self.pipe, self.room):
            self._stack.callback(thing.close)
        (self.folder / "stick").mkdir()
        self.modem = self._stack.enter_context(FakeModem(self.folder / "stick"))
        listener = threading.Thread(target=self._listen, daemon=True)
        listener.start()
        self._stack.callback(listener.join, 5)
        self._stack.callback(self._ending.set)
        self.house = self._stack.enter_context(House(self.folder))
        with self.house.hub_toml.open("a") as file:
            file.write(HUB.format(push=push.port, owner=OWNER, alerts=SHORT))
        self.house.start_hub()
        self.start("watch")
        self.start("cellar")
        self.start("living")

    def ready(self) -> None:
        """Every device is heard by the hub's notify, and the devices' alerts are over."""
        until("three devices, all well", self._well, timeout_s=90, found=self.open)

    def _well(self) -> bool:
        try:
            machines = ask(self.house.run / "h", "watch.report", who="evening")["machines"]
        except (Away, Refused):
            return False
        return sum(one["state"] == "ok" for one in machines) == 4 and not self.open()

    def open(self) -> list[str]:
        """Titles of the alerts that are open now."""
        reader = AlertsReader(self.folder / "hub" / "alerts.db")
        try:
            return [row.title for row in open_alerts(reader)]
        finally:
            reader.close()

    def _listen(self) -> None:
        """Every SMS that left the stick, long ones whole."""
        seen, held = 0, ""
        while not self._ending.wait(0.05):
            for one in self.modem.sent[seen:]:
                seen += 1
                held += one.text
                part = one.concatenation
                if part is None or part.number == part.total:
                    self.telephone.ring("sms", held)
                    held = ""

    # --- what happens to it ---------------------------------------------------------------------------------

    def start(self, device: str) -> None:
        first, second = self.internet.ports
        text = {
            "watch": WATCH.format(upsd=self.mains.where, first=first, second=second, modem=self.modem.port, owner=OWNER,
                                  hub=self.house.url),
            "cellar": CELLAR.format(water=self.pipe.line),
            "living": LIVING.format(root=self.folder / "sys-root", run=self.house.run),
        }[device]
        self.house.start_agent(device, text)
        self._toml[device] = (self.house.data / f"{device}.toml").read_text()

    def pull_the_plug(self, device: str) -> None:
        """All of its processes at once, as without power."""
        self._kill(self.house.roots[device])

    def kill_the_hub(self) -> None:
        self._kill(self.house.roots["hub"])

    @staticmethod
    def _kill(root: Any) -> None:
        everyone = [psutil.Process(root.pid), *psutil.Process(root.pid).children(recursive=True)]
        for one in everyone:
            one.suspend()  # none may do anything about the death of another
        for one in everyone:
            one.kill()
        root.wait(10)
        psutil.wait_procs(everyone, 10)

    # --- what is seen ---------------------------------------------------------------------------------------

    def told(self, what: str, *words: str, way: str = "", timeout_s: float = 60.0) -> Message:
        """The first message that holds all the words."""
        return until(what, lambda: self.telephone.having(*words, way=way), timeout_s=timeout_s,
                     found=lambda: [one.text for one in self.telephone.messages])[0]

    def told_over(self, word: str) -> None:
        """Whoever was told that it began is told that it is over."""
        self.told(f"{word} is over", "lasted", word)

    def rule(self, text: str) -> None:
        path = self.folder / "rule.toml"
        path.write_text(text)
        self.house.command("hutkeeper-hub", "rules", "add", str(path), "--config", str(self.house.hub_toml))

    def edit(self, device: str, more: str) -> None:
        """agent.toml by hand; the agent takes it over by itself."""
        path = self.house.data / f"{device}.toml"
        text = self._toml[device] + more
        path.write_text(text)

    def command(self, device: str, node: str, prop: str, value: Any) -> None:
        """As Home Assistant does it: Homie ``/set``."""
        import paho.mqtt.publish as publish

        publish.single(f"homie/5/{device}/{node}/{prop}/set", value if isinstance(value, str) else json.dumps(value),
                       qos=1, hostname="127.0.0.1", port=self.house.mqtt)

    def quiet(self, seconds: float) -> list[Message]:
        """What comes within this time."""
        before = len(self.telephone.messages)
        time.sleep(seconds)
        return self.telephone.messages[before:]
