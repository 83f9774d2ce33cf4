"""What a device with a broker tells the hub of its own troubles, and its rules: the whole agent with real processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import psutil
import pytest

from agent.supervision import child
from agent.testing.broker import Broker
from agent.wire import crashes, messages, topics
from agent.wire.messages import Desired, Reported
from tests.agent.supervision.device import Device
from tests.waiting import until

RULE = """\
id = "many"
title = "Many"
where = "bench"
kind = "threshold"
of = "bench/good/count"
above = 3
calm_s = 0
severity = "warning"
then = [{set = "bench/lit/lamp", value = true}]
back = [{set = "bench/lit/lamp", value = false}]
"""
FOREIGN = RULE.replace('"many"', '"foreign"').replace("bench/lit/lamp", "other/lit/lamp")
NEVER = RULE.replace('"many"', '"never"').replace("above = 3", "above = 1000000")


class Ear:
    """Hears all that the device publishes; says what the hub would."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "ear", protocol=mqtt.MQTTv5)
        self.client.on_message = lambda client, user, message: self.heard.append((message.topic, message.payload))
        self.client.on_connect = lambda client, *_: client.subscribe("#")
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def close(self) -> None:
        self.client.loop_stop()
        self.client.disconnect()

    def texts(self, topic: str, part: str = "") -> list[str]:
        return [payload.decode() for one, payload in list(self.heard) if one == topic and part in payload.decode()]

    def last(self, topic: str) -> bytes | None:
        return next((payload for one, payload in reversed(list(self.heard)) if one == topic), None)

    def reported(self) -> Reported | None:
        payload = self.last(topics.reported("bench"))
        return messages.decode(payload, Reported) if payload else None

    def desire(self, version: int, rules: dict[str, str]) -> None:
        self.raw(messages.encode(Desired(version, rules)))

    def raw(self, payload: bytes) -> None:
        self.client.publish(topics.desired("bench"), payload, 1, retain=True)


class Bench:
    def __init__(self, device: Device, ear: Ear, broker: Broker) -> None:
        self.device, self.ear, self.broker = device, ear, broker


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("told")
    with Broker(folder / "broker") as broker, Device(folder) as device:
        device.write("".join((
            device.stand_in("good", "good"), device.stand_in("lit", "good"), device.stand_in("raiser", "raise"),
            device.stand_in("threader", "thread", after_s=1.0),
            '[plugins.broken]\nuse = "stand_in_broken"\n')))
        device.toml.write_text(device.toml.read_text().replace("port = 9 ", f"port = {broker.port} "))
        ear = Ear(broker.port)
        device.start()
        until("supervisord", device.states)
        yield Bench(device, ear, broker)
        ear.close()


def test_an_endless_exception_is_one_line_a_minute_with_its_trace(bench: Bench) -> None:
    said = until("the crash", lambda: bench.ear.texts("homie/5/bench/$log/error", "raiser: unhandled"))
    message = said[0].removeprefix("raiser: ")
    assert message.startswith("unhandled ValueError: reading ") and crashes.is_crash(message)
    assert "hutkeeper_stand_ins.py" in message and 'raise ValueError(f"reading' in message
    assert "hunter22" not in message
    until("more of them", lambda: bench.device.log("plugin-raiser").count("unhandled") >= 1)
    assert len(bench.ear.texts("homie/5/bench/$log/error", "raiser: unhandled")) == 1


def test_b64_a_dead_thread_ends_its_process_and_is_told(bench: Bench) -> None:
    said = until("the crash", lambda: bench.ear.texts("homie/5/bench/$log/error", "threader: unhandled IndexError"))
    assert "Traceback" in said[0]
    until("a new process", lambda: len({pid for pid, _, _ in bench.device.diary("threader")}) >= 2)


def test_a_process_that_dies_at_its_import_is_an_alert_with_its_last_line(bench: Bench) -> None:
    until("the alert", lambda: b"libfancy.so.9: cannot open shared object file" in (
        bench.ear.last("homie/5/bench/$alert/crashloop-broken") or b""), 60)
    text = (bench.ear.last("homie/5/bench/$alert/crashloop-broken") or b"").decode()
    assert text.startswith("E_PLUGIN_CRASHLOOP plugin broken ended ") and "exit code 127: libfancy" in text
    assert "hunter22" not in text


def test_an_uplink_that_dies_of_an_exception_is_told_by_the_next_one(bench: Bench) -> None:
    """The spool's folder becomes a file: nothing uplink can live with. Then it is one again."""
    spool = bench.device.folder / "data/spool.db"
    pid = bench.device.states()["uplink"][1]
    assert spool.exists() and pid
    log = bench.device.folder / "data/log/uplink.log"
    os.kill(pid, signal.SIGSTOP)
    with log.open("a") as out:  # what a Python that dies writes last, at the very end of the log of this process
        out.write("unhandled RuntimeError: out of luck\nTraceback (most recent call last):\n  File \"x.py\", line 1\n")
    os.kill(pid, signal.SIGABRT)
    os.kill(pid, signal.SIGCONT)
    until("told", lambda: bench.ear.texts("homie/5/bench/$log/error", "uplink: unhandled RuntimeError: out of luck"))


def test_b60_control_is_the_last_that_the_kernel_takes(bench: Bench) -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    until("scores", lambda: _scores(bench.device.states(), "plugin-good", "uplink", "watchdog") == [
        max(own, child.OOM_PLUGIN), max(own, child.OOM_UPLINK), own])
    assert child.OOM_PLUGIN > child.OOM_UPLINK > 0 > child.OOM_CONTROL


def _scores(states: dict[str, tuple[str, int]], *names: str) -> list[int]:
    try:
        return [int(Path(f"/proc/{states[name][1]}/oom_score_adj").read_text()) for name in names]
    except (OSError, KeyError):
        return []


# --- rules ------------------------------------------------------------------------------------------------------------


def lamp(bench: Bench) -> list[str]:
    return [note for _, _, note in bench.device.diary("lit") if "lamp" in note]


def records(bench: Bench) -> list[Any]:
    """Commands on the record."""
    found = []
    for payload in bench.ear.texts("homie/5/bench/sys/command"):
        found.append(json.loads(payload))
    return found


def test_a_device_without_rules_has_no_process_for_them(bench: Bench) -> None:
    assert "rules" not in bench.device.states()


def test_rules_are_evaluated_here_and_their_orders_given_once_also_after_kill_9(bench: Bench) -> None:
    bench.ear.desire(7, {"many": RULE, "foreign": FOREIGN, "bad": "id = ", "never": NEVER})
    until("the process", lambda: bench.device.states().get("rules", ("",))[0] == "RUNNING")
    said = until("reported", lambda: (one := bench.ear.reported()) and one.rules_version == 7 and one)
    assert set(said.rules_refused) == {"foreign", "bad"}
    assert "commands its own plugins only" in said.rules_refused["foreign"]
    until("the lamp", lambda: lamp(bench) == ["lamp=True"])
    until("the alert", lambda: bench.ear.last("homie/5/bench/$alert/rule-many"))
    until("on the record", lambda: any(one["who"] == "rule:many" and one["result"] == "done" for one in records(bench)))
    for _ in range(2):
        pid = bench.device.states()["rules"][1]
        os.kill(pid, signal.SIGKILL)
        until("a new one", lambda pid=pid: bench.device.states().get("rules", ("", 0))[1] not in (0, pid)
              and bench.device.states()["rules"][0] == "RUNNING")
    assert lamp(bench) == ["lamp=True"]
    status = json.loads((bench.device.run_dir / "rules.json").read_text())
    assert status["rules"]["many"]["firing"] and not status["rules"]["never"]["firing"]


def test_rules_go_on_without_a_broker_and_a_damaged_document_changes_nothing(bench: Bench) -> None:
    bench.ear.raw(b'{"version": 8, "rules": ')
    until("refused", lambda: _refused(bench, "cannot be read"))
    bench.ear.raw(b'{"version": 8, "rules": {}, "format": 9}')
    said = until("refused", lambda: _refused(bench, "format 9"))
    assert said.rules_version == 7
    bench.broker.stop()
    pid = bench.device.states()["plugin-good"][1]
    before = lamp(bench)
    psutil.Process(pid).kill()  # it counts from 0 again: the rule is over, and then fires anew
    until("over, and again", lambda: lamp(bench)[len(before):] == ["lamp=False", "lamp=True"])
    assert json.loads((bench.device.folder / "data/desired.json").read_text())["version"] == 7
    bench.broker.start()


def _refused(bench: Bench, words: str) -> Reported | None:
    said = bench.ear.reported()
    return said if said is not None and words in said.rules_refused.get("*", "") else None


def test_an_empty_document_ends_the_rules(bench: Bench) -> None:
    until("connected", bench.ear.client.is_connected)
    bench.ear.heard.clear()
    bench.ear.desire(9, {"never": NEVER})
    until("one rule left", lambda: (one := bench.ear.reported()) and one.rules_version == 9)
    until("no alert", lambda: bench.ear.last("homie/5/bench/$alert/rule-many") == b"")
    bench.ear.desire(10, {})
    until("no process", lambda: "rules" not in bench.device.states() and bench.device.states())
    until("said", lambda: (one := bench.ear.reported()) and one.rules_version == 10)
