"""The state plane over a real Mosquitto with paho, read by a controller that knows only the convention.

What only a real broker shows: what is retained and what is not, the will, the order in which things arrive, that
subscribing twice does not double a command. Time is moved by hand, arrival is waited for.
"""

from __future__ import annotations

import json
import queue
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.api import Property
from agent.bus import Alert, Answer, Command, Health, LogLine, Now
from agent.discovery import DeviceInfo
from agent.testing.broker import Broker, mosquitto_path
from agent.uplink.state import State
from agent.wire.messages import PluginDeclaration
from tests.agent.homie.homie_controller import Controller
from tests.agent.state_lab import BOOT, HEATER, RELAY, ROOM, SETPOINT, TARIFF, VOLUME, Clock, declare

pytestmark = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed (apt install mosquitto)")

EVERYTHING = declare(
    "all",
    SETPOINT,
    ROOM,
    RELAY,
    TARIFF,
    BOOT,
    VOLUME,
    Property(name="count", datatype="integer", minimum=0, maximum=1000),
    Property(name="words", datatype="string"),
    Property(name="since", datatype="datetime", device_class="timestamp"),
    Property(name="took", datatype="duration"),
    Property(name="why", datatype="json"),
    Property(name="pulse", datatype="enum", options=("short", "long"), event=True),
    Property(name="calibrate", datatype="boolean", settable=True, event=True),
    Property(name="tiny", datatype="float"),
    found={"gas-1": (VOLUME,)},
)
READINGS: list[tuple[str, str, object]] = [
    ("all", "setpoint_c", 19.5),
    ("all", "room_temperature_c", 18.25),
    ("all", "relay", True),
    ("all", "tariff", "peak"),
    ("all", "boot", "watchdog"),
    ("all", "volume_m3", 1234.567),
    ("all", "count", 7),
    ("all", "words", ""),
    ("all", "since", "2026-11-22T04:00:00+01:00"),
    ("all", "took", 90.5),
    ("all", "why", {"a": [1, 2.5, None]}),
    ("all", "pulse", "short"),
    ("all", "tiny", 1e-7),
    ("all-gas-1", "volume_m3", 3.0),
    ("all", "room_temperature_c", float("nan")),
    ("all", "count", 2000),
    ("all", "relay", "on"),
]


class Link:
    """paho with its thread, and a queue to the thread that runs State: what uplink's link does, as small as it goes."""

    def __init__(self, port: int, device: str, will: tuple[str, bytes]) -> None:
        self.inbox: queue.SimpleQueue[tuple[str, bytes, bool]] = queue.SimpleQueue()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device, protocol=mqtt.MQTTv5)
        self.client.will_set(*will, qos=1, retain=True)
        self.client.on_message = lambda _c, _u, m: self.inbox.put((m.topic, m.payload, m.retain))
        self.client.connect("127.0.0.1", port, keepalive=10)
        self.client.loop_start()
        deadline = time.monotonic() + 10
        while not self.client.is_connected() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.last: mqtt.MQTTMessageInfo | None = None

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        self.last = self.client.publish(topic, payload, qos=qos, retain=retain)

    def subscribe(self, topic: str, *, commands: bool = False) -> None:
        self.client.subscribe(topic, options=SubscribeOptions(qos=1, retainAsPublished=commands))

    def unsubscribe(self, topic: str) -> None:
        self.client.unsubscribe(topic)


class Agent:
    """One device: the real State behind a real connection."""

    def __init__(self, port: int, device: str = "pi-1", data_dir: Path | None = None, *instances: str) -> None:
        self.clock = Clock()
        self.port = port
        self.commands: list[tuple[str, Command]] = []
        will = (f"homie/5/{device}/$state", b"lost")
        self.link = Link(port, device, will)
        self.state = State(
            DeviceInfo(id=device, name="Cellar", version="0.1.0"),
            self.link,
            self._command,
            self.clock,
            instances=instances,
            data_dir=data_dir,
        )
        assert self.state.will() == will

    def _command(self, instance: str, command: Command) -> bool:
        self.commands.append((instance, command))
        return True

    def start(self, *declarations: PluginDeclaration) -> Agent:
        for declaration in declarations:
            self.state.on_hello(declaration, "run")
        self.state.on_connect()
        self.settle()
        self.pump(4.2)  # init, while a plugin that has just come may find something
        self.settle()
        return self

    def pump(self, seconds: float = 0.0) -> None:
        """Let the clock go on in steps, with what has come in the meantime."""
        for _ in range(max(1, int(seconds / 0.1))):
            self.clock.now_us += int(seconds * 1e6 / max(1, int(seconds / 0.1)))
            while not self.link.inbox.empty():
                self.state.on_message(*self.link.inbox.get())
            self.state.tick(self.clock.now_us)

    def until(self, what: str, check: Callable[[], object]) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            self.pump()
            if check():
                return
            time.sleep(0.01)
        raise AssertionError(f"no {what} in 10 s")

    def settle(self) -> None:
        """Everything that was sent is with the broker and everything retained has come: a marker closes the queue."""
        marker = f"marker/{time.monotonic_ns()}"
        self.link.client.subscribe(marker, qos=1)
        self.link.client.publish(marker, b"1", qos=1)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                topic, payload, retained = self.link.inbox.get(timeout=0.2)
            except queue.Empty:
                continue
            if topic == marker:
                return
            self.state.on_message(topic, payload, retained)
        raise AssertionError("the broker does not answer")

    def sweep(self) -> None:
        """The two quiet seconds after a connect, and what follows them."""
        self.settle()
        self.pump(2.5)
        self.settle()

    def read(self, *readings: tuple[str, str, object]) -> None:
        for node, name, value in readings:
            self.state.on_now(Now(node, [(node, name, value, self.clock.now_us, None)]))  # type: ignore[list-item]
        self.pump(1.0)

    def die(self) -> None:
        """The process is killed: the socket closes without DISCONNECT."""
        sock = self.link.client.socket()
        assert isinstance(sock, socket.socket)
        self.link.client.reconnect_delay_set(3600, 3600)
        self.link.client.on_message = None
        sock.shutdown(socket.SHUT_RDWR)
        self.link.client.loop_stop()

    def end(self) -> None:
        self.state.stop()
        if self.link.last is not None:
            self.link.last.wait_for_publish(5)
        self.link.client.disconnect()
        self.link.client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as running:
        yield running


def retained(port: int) -> dict[str, bytes]:
    """Everything that stands on the broker, read by a client of its own."""
    found: dict[str, bytes] = {}
    done: list[int] = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)

    def on_message(_client: mqtt.Client, _: object, message: mqtt.MQTTMessage) -> None:
        if message.topic == "marker/end":
            done.append(1)
        elif message.retain and not message.topic.startswith("marker/"):
            found[message.topic] = message.payload

    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe("#", qos=1)
    client.publish("marker/end", b"1", qos=1)
    deadline = time.monotonic() + 10
    while not done and time.monotonic() < deadline:
        time.sleep(0.01)
    client.disconnect()
    client.loop_stop()
    assert done, "the broker does not answer"
    return found


def test_a_homie_controller_finds_nothing_to_complain_about(broker: Broker) -> None:
    """Discovery, description, every datatype, events, alerts, logs, commands, a restructured tree, a clean end."""
    with Controller(broker.port) as live:
        agent = Agent(broker.port, "pi-1", None, "all", "heater").start(EVERYTHING)
        agent.pump(6)  # heater does not come in time
        agent.sweep()
        agent.read(*READINGS)
        agent.state.on_now(
            Now(
                "sys",
                [
                    ("sys", "uptime_s", 5000, agent.clock.now_us, None),
                    ("sys", "version", "0.1.0", agent.clock.now_us, None),
                    ("sys", "ledger", {"produced": 1, "dropped": {}}, agent.clock.now_us, None),
                    ("sys", "clock_quality", "synced", agent.clock.now_us, None),
                    ("sys", "outbox_oldest_age_s", 0.25, agent.clock.now_us, None),
                ],
            )
        )
        agent.state.on_health(Health("all", "degraded", "10 % of frames lost", 4, agent.clock.now_us))
        agent.state.on_alert(Alert("all", "Port Gone", "the port is gone"))
        agent.state.on_log(LogLine("all", "WARNING", "no frame for 10 s", agent.clock.now_us))
        agent.state.on_hello(HEATER, "late")
        agent.read(("heater", "setpoint_c", 21.0), ("heater", "room_temperature_c", 20.5))
        agent.pump(62)
        agent.settle()
        live.until("the late heater", lambda: live.devices["pi-1"].values.get("heater/setpoint-c") == b"21.0")
        live.set("pi-1", "heater/setpoint-c", b"22.0")
        agent.until("command", lambda: agent.commands)
        agent.state.on_answer(Answer("heater", agent.commands[0][1].id, True, "", 22.0))
        device = live.devices["pi-1"]
        live.until("the new setpoint", lambda: device.values.get("heater/setpoint-c") == b"22.0")
        live.set("pi-1", "heater/setpoint-c", b"99")
        agent.until("refusal", lambda: any("outside 5:30:0.5" in text for _, text in device.logs))
        live.until("optional tariff", lambda: device.property("all/tariff") or agent.pump(30))

        with Controller(broker.port) as late:
            late.until("discovery", lambda: "pi-1" in late.devices and late.devices["pi-1"].state == "ready")
            late.until("description", lambda: late.devices["pi-1"].description)
            late.until("values", lambda: len(late.devices["pi-1"].values) >= 15)
            late.until("target and alert", lambda: {"heater/setpoint-c", "port-gone"} <= {
                *late.devices["pi-1"].targets, *late.devices["pi-1"].alerts})
            assert late.final_problems("pi-1") == []
            seen = late.devices["pi-1"]
            assert seen.values["all/tiny"] == b"0.0000001"
            assert seen.values["all/words"] == b"\x00"
            assert seen.values["all/room-temperature-c"] == b"18.25", "NaN was left out"
            assert seen.values["all/count"] == b"7", "2000 is outside 0:1000"
            assert seen.values["all/relay"] == b"true", "'on' is no boolean"
            assert seen.values["all/took"] == b"PT90.5S"
            assert seen.targets["heater/setpoint-c"] == b"22.0"
            assert "all/boot" not in seen.values and "all/pulse" not in seen.values, "events are not retained"
            assert seen.alerts["port-gone"] == "the port is gone"
        assert ("all/boot", b"watchdog", False) in device.history
        agent.end()
        live.until("a clean end", lambda: device.state == "disconnected")
        assert live.broken == []
        assert device.states[0] == "init" and device.states.count("init") == device.states.count("ready")


def test_a_killed_agent_is_lost_and_comes_back_with_its_values(broker: Broker, tmp_path: Path) -> None:
    with Controller(broker.port) as live:
        agent = Agent(broker.port, "pi-1", tmp_path / "data", "heater").start(HEATER)
        agent.read(("heater", "setpoint_c", 19.5), ("heater", "room_temperature_c", 18.0))
        agent.settle()
        live.until("ready", lambda: "pi-1" in live.devices and live.devices["pi-1"].state == "ready")
        agent.die()
        live.until("the will", lambda: live.devices["pi-1"].state == "lost")
        again = Agent(broker.port, "pi-1", tmp_path / "data", "heater").start(HEATER)
        live.until("ready again", lambda: live.devices["pi-1"].state == "ready")
        assert live.devices["pi-1"].values["heater/setpoint-c"] == b"19.5", "the old value stands, its age is told"
        again.end()
        assert live.broken == []


def test_B02_a_broker_that_lost_its_store_gets_everything_again(broker: Broker) -> None:
    agent = Agent(broker.port, "pi-1", None, "heater").start(HEATER)
    agent.sweep()
    agent.read(("heater", "setpoint_c", 19.5), ("heater", "room_temperature_c", 18.0))
    agent.settle()
    before = retained(broker.port)
    assert len([topic for topic in before if topic.startswith("homeassistant/device/pi-1/")]) == 2
    broker.kill9()
    broker.forget()
    agent.state.on_disconnect()
    agent.link.client.loop_stop()
    broker.start()
    assert retained(broker.port) == {}
    agent.link = Link(broker.port, "pi-1", agent.state.will())
    agent.state._mqtt = agent.link
    agent.start()
    agent.sweep()
    after = retained(broker.port)
    changing = "homie/5/pi-1/$alert/"  # two seconds without a reading: stale now
    assert {topic: data for topic, data in after.items() if not topic.startswith(changing)} == before
    agent.end()


def test_a_renamed_plugin_and_a_renamed_device_leave_nothing(broker: Broker, tmp_path: Path) -> None:
    agent = Agent(broker.port, "pi-1", tmp_path / "data", "heater").start(HEATER)
    agent.sweep()
    agent.read(("heater", "setpoint_c", 19.5))
    agent.state.on_alert(Alert("heater", "frost", "frost duty"))
    agent.end()
    warm = Agent(broker.port, "pi-1", tmp_path / "data", "warmth").start(declare("warmth", SETPOINT, ROOM))
    warm.sweep()
    warm.settle()
    left = retained(broker.port)
    assert [topic for topic in left if "heater" in topic or "frost" in topic] == []
    assert "homeassistant/device/pi-1/warmth/config" in left
    warm.end()
    renamed = Agent(broker.port, "pi-cellar", tmp_path / "data", "warmth").start(declare("warmth", SETPOINT, ROOM))
    renamed.sweep()
    renamed.settle()
    left = retained(broker.port)
    assert [topic for topic in left if "/pi-1/" in topic] == []
    assert left["homie/5/pi-cellar/$state"] == b"ready"
    renamed.state.remove()
    renamed.settle()
    assert retained(broker.port) == {}
    renamed.end()


def test_B50_retained_and_doubled_commands(broker: Broker) -> None:
    """A retained one is refused and deleted; a live one comes once although the sweep reads the same tree."""
    with Controller(broker.port) as live:
        live.set("pi-1", "heater/setpoint-c", b"30", retain=True)
        agent = Agent(broker.port, "pi-1", None, "heater").start(HEATER)
        agent.until(
            "refusal",
            lambda: (
                any("E_CMD_RETAINED" in text for _, text in live.devices["pi-1"].logs)
                if "pi-1" in live.devices
                else False
            ),
        )
        assert agent.commands == []
        live.set("pi-1", "heater/setpoint-c", b"20")  # while the sweep's subscriptions stand
        agent.until("command", lambda: agent.commands)
        agent.sweep()
        live.set("pi-1", "heater/setpoint-c", b"21")
        agent.until("second command", lambda: len(agent.commands) >= 2)
        agent.settle()
        assert [command.value for _, command in agent.commands] == [20.0, 21.0]
        assert not any(topic.endswith("/set") for topic in retained(broker.port))
        agent.end()


def test_home_assistants_birth_on_a_real_broker_brings_a_deleted_announcement_back(broker: Broker) -> None:
    agent = Agent(broker.port, "pi-1", None, "heater").start(HEATER)
    agent.sweep()
    topic = "homeassistant/device/pi-1/heater/config"
    config = json.loads(retained(broker.port)[topic])
    assert config["availability"][0]["topic"] == "homie/5/pi-1/$state"
    agent.link.client.publish(topic, b"", qos=1, retain=True)
    agent.link.client.publish("homeassistant/status", b"online", qos=1)
    agent.settle()
    assert topic not in retained(broker.port)
    agent.pump(10)
    agent.sweep()
    assert json.loads(retained(broker.port)[topic]) == config
    agent.end()
