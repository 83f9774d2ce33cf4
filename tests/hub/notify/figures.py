"""The figures of G11: ``python -m tests.hub.notify.figures [--alerts 60] [--kills 1000] [--seed 1]``.

Real processes, a real broker, a provider over HTTP and a stick on a pty; only the minute of the storm is one of a moved
clock."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from msgspec import Struct

from plugins.modem.fake_modem import FakeModem
from tests.house import House
from tests.hub.notify.killing import kill
from tests.hub.notify.lab import Provider, bench, provider
from tests.waiting import until

LADDER = """
[[notify.channel]]
name = "push"
url = "{push}"
per_10_min = 10000
per_day = 10000
[[notify.channel]]
name = "second"
url = "{second}"
[[notify.ladder.critical]]
channels = ["push"]
[[notify.ladder.critical]]
channels = ["second"]
after_s = 3600
"""
CODES = ("E_DISK_IO", "E_RELAY_STUCK", "E_VALVE_STUCK", "E_GUARD_SILENT")
OWNER = "+33612345678"
SMS = """
[[notify.channel]]
name = "sms"
modem = "home/modem"
to = ["{owner}"]
[[notify.ladder.critical]]
channels = ["sms"]
[[notify.ladder.error]]
channels = ["sms"]
[[notify.ladder.warning]]
channels = ["sms"]
"""
AGENT = '[plugins.modem]\nport = "{port}"\nallow = ["{owner}"]\n'


class Latency(Struct, frozen=True):
    alerts: int
    p50_s: float
    p99_s: float
    worst_s: float
    second_s: float
    """From the condition to the second channel, while the first one hangs."""


class Storm(Struct, frozen=True):
    alerts: int
    sms: int
    """That went over the air."""
    told: int
    """What the messages name in all."""
    last: str


class Device:
    """A device of somebody's over MQTT, that raises critical alerts."""

    def __init__(self, port: int) -> None:
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        until("the broker", lambda: self._connected(port), timeout_s=60)
        self.client.loop_start()
        described = {"homie": "5.0", "name": "Hut", "version": 1, "nodes": {}}
        for topic, value in (("$state", "init"), ("$description", json.dumps(described)), ("$state", "ready")):
            self.say(topic, value)

    def _connected(self, port: int) -> bool:
        try:
            return self.client.connect("127.0.0.1", port) == 0
        except OSError:
            return False

    def say(self, topic: str, value: str) -> None:
        self.client.publish(f"homie/5/hut/{topic}", value, 1, True).wait_for_publish(10)

    def alert(self, n: int) -> str:
        word = f"number-{n}-of-many"
        self.say(f"$alert/a{n}", f"{CODES[n % len(CODES)]} something grave, {word}")
        return word

    def close(self) -> None:
        self.client.loop_stop()
        self.client.disconnect()


def latency(folder: Path, alerts: int) -> Latency:
    with provider() as p, House(folder) as house:
        with house.hub_toml.open("a") as file:
            file.write(LADDER.format(push=p.url("first"), second=p.url("second")))
        house.start_hub()
        device = Device(house.mqtt)
        until("notify", lambda: (folder / "hub" / "alerts.db").exists(), timeout_s=60)
        took = []
        for n in range(alerts):
            began = time.monotonic()
            word = device.alert(n)
            took.append(until("the provider", lambda word=word: _at(p, "/first", word), timeout_s=120) - began)
            device.say(f"$alert/a{n}", "")
        p.hanging = "first"
        began = time.monotonic()
        word = device.alert(alerts)
        second = until("the second channel", lambda: _at(p, "/second", word), timeout_s=180) - began
        device.close()
    took.sort()
    return Latency(alerts, took[len(took) // 2], took[min(len(took) - 1, round(0.99 * len(took)))], took[-1], second)


def _at(p: Provider, path: str, word: str) -> float:
    return next((t for t, where, said in p.got if where == path and word in said["message"] + said["title"]), 0.0)


def storm(folder: Path, alerts: int, seconds: int = 60) -> Storm:
    """Over a real agent and its modem; the minute is one of the notifier's clock."""
    (folder / "stick").mkdir()
    with FakeModem(folder / "stick") as modem, House(folder) as house:
        house.start_hub()
        house.start_agent("home", AGENT.format(port=modem.port, owner=OWNER))
        until("the store", lambda: (folder / "hub" / "samples.db").exists(), timeout_s=60)
        return storm_at(house, modem, folder, OWNER, alerts, seconds)


def storm_at(house: House, modem: FakeModem, folder: Path, number: str, alerts: int, seconds: int) -> Storm:
    """In a house that has a device ``home`` with a modem ``modem``."""
    (folder / "b").mkdir()
    with bench(folder / "b", SMS.format(owner=number), house=house, now_us=time.time_ns() // 1000) as b:
        until("the modem", lambda: _ready(b.hall.tree), timeout_s=60)
        until("a term", b.commander.own_term, timeout_s=60)
        n = 0
        for second in range(1, seconds + 1):
            due = alerts * second // seconds
            events = [b.opened(k, ("warning", "error", "critical")[k % 3], f"Trouble {k}")
                      for k in range(n + 1, due + 1)]
            n = due
            b.second(*events)
        b.seconds(30, by_s=5)
        until("over the air", lambda: len(_to(modem, number)) >= len(b.sent()), timeout_s=90)
        b.seconds(12, by_s=5)
        return Storm(n, len(_to(modem, number)), sum(one.n for one in b.sent()), _to(modem, number)[-1])


def _to(modem: FakeModem, number: str) -> list[str]:
    return [one.text for one in modem.sent if one.to == number]


def _ready(tree: Any) -> bool:
    device = tree.device("home")
    return device is not None and device.state == "ready" and device.value("modem", "state") == "ready"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--alerts", type=int, default=60)
    parser.add_argument("--storm", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    of = parser.parse_args()
    print("| what | limit | seen |\n|---|---|---|", flush=True)
    if of.alerts:
        seen = latency(Path(tempfile.mkdtemp(prefix="hk-figures-")), of.alerts)
        print(f"| {seen.alerts} critical conditions to the provider: p50, p99, worst | p99 30 s "
              f"| {seen.p50_s:.1f} s, {seen.p99_s:.1f} s, {seen.worst_s:.1f} s |")
        print(f"| the first channel hangs: to the second one (B65) | 120 s | {seen.second_s:.1f} s |", flush=True)
    if of.storm:
        flood = storm(Path(tempfile.mkdtemp(prefix="hk-figures-")), of.storm)
        print(f"| {flood.alerts} alerts in 60 s: SMS, alerts that they tell of (B67) | 5, {flood.alerts} "
              f"| {flood.sms}, {flood.told} |\n| the last of them | | {flood.last} |", flush=True)
    if of.kills:
        killed = kill(Path(tempfile.mkdtemp(prefix="hk-figures-")), of.kills, of.seed)
        print(f"| {killed.kills} x kill -9, {killed.alerts} alerts by 3 channels in {killed.messages} messages, seed "
              f"{of.seed}: lost, twice, counted as perhaps twice (B66) | 0, 1 % "
              f"| {killed.lost}, {killed.twice} ({100 * killed.twice / max(1, killed.messages):.2f} %), "
              f"{killed.unsure} |", flush=True)


if __name__ == "__main__":
    main()
