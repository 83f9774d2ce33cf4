"""Topics of others, through uplink's one connection: a real Mosquitto, a real uplink, a plugin's end of the bus."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from agent import bus
from agent.api import Inbox, Message, RetryLater, mqtt_line, mqtt_message
from agent.runner.logs import CappedLog
from agent.runner.messages import MqttSource, SourceStream
from agent.runner.worker import Worker
from agent.testing.broker import Broker, mosquitto_path
from agent.testing.fakes import Lines
from agent.uplink.foreign import ForeignLane, covers, matches, refusal
from tests.agent.uplink.rig import FakePlugin, Rig
from tests.waiting import until

needs_mosquitto = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed")


class Other:
    """Another MQTT client on the broker."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = lambda c, u, message: self.heard.append(
            (message.topic, bytes(message.payload), bool(message.retain)))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe("cmnd/#", qos=1)

    def say(self, topic: str, payload: str, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[tuple[Broker, Other]]:
    with Broker(tmp_path) as broker:
        client = Other(broker.port)
        try:
            yield broker, client
        finally:
            client.close()


def heard(plugin: FakePlugin) -> list[bus.Mqtt]:
    found = []
    while plugin.lane.poll(0):
        message = bus.decode_to_plugin(plugin.lane.recv())
        if isinstance(message, bus.Mqtt):
            found.append(message)
    return found


@needs_mosquitto
def test_a_plugin_hears_others_and_speaks_to_them_and_a_new_uplink_is_told_again(
    tmp_path: Path, other: tuple[Broker, Other]
) -> None:
    broker, client = other
    client.say("tele/washer/LWT", "Online", retain=True)
    with Rig(tmp_path, broker.port) as rig:
        rig.start()
        plugin = rig.plugin()
        listen = bus.Listen("meter", ("tele/+/SENSOR", "tele/+/LWT", "hutkeeper/1/+/records", "homie/5/rig/#"))
        plugin._post(listen)
        got: list[bus.Mqtt] = []
        until("the retained word", lambda: got.extend(heard(plugin)) or got, 20)
        assert (got[0].topic, got[0].payload, got[0].retained) == ("tele/washer/LWT", b"Online", True)
        client.say("tele/washer/SENSOR", '{"ENERGY":{"Power":412}}')
        client.say("tele/washer/STATE", "{}")
        until("the sample", lambda: got.extend(heard(plugin)) or len(got) > 1, 20)
        assert (got[1].topic, got[1].retained) == ("tele/washer/SENSOR", False) and got[1].t_us > 0
        plugin._post(bus.Publish("meter", "cmnd/washer/POWER", b"ON"))
        plugin._post(bus.Publish("meter", "homie/5/rig/heater/relay/set", b"true"))
        until("the command", lambda: client.heard, 20)
        assert client.heard == [("cmnd/washer/POWER", b"ON", False)]
        until("the refusal", lambda: any("nothing is published to" in line["message"] for line in rig.log()), 20)
        said = "\n".join(line["message"] for line in rig.log())
        assert "'hutkeeper/1/+/records' (" in said and "'homie/5/rig/#' (" in said
        assert "nothing is published to 'homie/5/rig/heater/relay/set'" in said

        rig.kill9()
        rig.start()
        plugin.welcomed = None
        until("a new welcome", lambda: plugin.step() or plugin.welcomed, 20)
        plugin._post(listen)
        got.clear()
        until("the retained word again", lambda: got.extend(heard(plugin)) or got, 20)
        assert [one.topic for one in got] == ["tele/washer/LWT"]


@pytest.mark.parametrize("topic", ["#", "+/x", "$SYS/#", "hutkeeper/#", "homie/5/#", "homie/5/+/$state",
                                   "homie/5/rig/#", "homie/#", "homie/+/rig/+/+/set", "homeassistant/#",
                                   "homeassistant/status",
                                   "homeassistant/device/rig/meter/config", "a/b#", "a/#/b", "", "a\0b"])
def test_our_own_trees_and_what_is_no_filter_are_refused(topic: str) -> None:
    assert refusal(topic, "rig")


@pytest.mark.parametrize("topic", ["tele/+/SENSOR", "zigbee2mqtt/#", "homie/5/other/#", "homie/old-device/#",
                                   "homeassistant/+/washer/+/config"])
def test_what_others_say_is_taken(topic: str) -> None:
    assert refusal(topic, "rig") is None


@pytest.mark.parametrize("wanted, topic, yes", [
    ("a/#", "a", True), ("a/#", "a/b/c", True), ("a/+", "a/b", True), ("a/+", "a/b/c", False), ("a/+/c", "a/b/c", True),
    ("a/b", "a", False), ("a", "a/b", False), ("a/+", "a", False)])
def test_filters_match_as_the_standard_says(wanted: str, topic: str, yes: bool) -> None:
    assert matches(wanted, topic) is yes


@pytest.mark.parametrize("wide, narrow, yes", [
    ("a/#", "a/+/c", True), ("a/#", "a", True), ("a/+/c", "a/b/c", True), ("a/+", "a/#", False), ("a/+", "a/+", True),
    ("a/b", "a/+", False), ("a/+", "a/b/c", False), ("a/#", "b/#", False)])
def test_a_filter_covers_another(wide: str, narrow: str, yes: bool) -> None:
    assert covers(wide, narrow) is yes


def test_a_message_comes_once_although_two_plugins_want_it() -> None:
    """Brokers may deliver a message once for each filter that fits, so the narrow one is not subscribed to."""
    said: list[str] = []
    got: list[str] = []
    lane = ForeignLane("rig", subscribe=lambda one: said.append(f"+{one}"),
                       unsubscribe=lambda one: said.append(f"-{one}"), publish=lambda topic, data: None,
                       send=lambda instance, message: not got.append(instance))
    lane.on_listen(bus.Listen("narrow", ("z/+/state",)))
    lane.on_listen(bus.Listen("wide", ("z/#",)))
    assert lane.subscriptions() == ["z/#"] and lane.on_message("z/a/state", b"", False, 1)
    lane.forget(["wide"])
    assert said == ["+z/+/state", "+z/#", "-z/+/state", "+z/+/state", "-z/#"] and got == ["narrow", "wide"]


@pytest.mark.parametrize("topic, retained", [("tele/a/SENSOR", False), ("z/Living room", False), ("tele/a/LWT", True)])
def test_a_message_survives_its_line(topic: str, retained: bool) -> None:
    line = mqtt_line(topic, b"On \0 x", retained=retained)
    assert mqtt_message(line, 5) == Message(b"On \0 x", 5, topic, retained)
    assert mqtt_message(b"\xff\xfe") == Message(b"", None, "\ufffd\ufffd", False)


# --- a source of the plugin's own -----------------------------------------------------------------------------


class Udp:
    """A plugin's source on a real socket."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)

    def fileno(self) -> int:
        return self.socket.fileno()

    def receive(self) -> Iterator[bytes]:
        while True:
            try:
                yield self.socket.recv(2048)
            except BlockingIOError:
                return

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self.socket.getsockname())

    def close(self) -> None:
        self.socket.close()


def at_once(seconds: float, fd: int | None) -> bool:
    return True


def test_datagrams_come_whole_and_stamped() -> None:
    stream = SourceStream(Udp(), at_once)
    assert stream.read(0.1) is None
    for data in (b"one", b"two"):
        stream.write(data)
    first, second = stream.read(1), stream.read(1)
    assert first and second and (first.data, second.data) == (b"one", b"two") and (first.t_us or 0) > 0
    stream.close()
    with pytest.raises(RetryLater, match="the source was closed"):
        stream.write(b"three")


def test_an_inbox_gives_what_came_before_its_error_and_counts_what_it_dropped() -> None:
    inbox = Inbox(limit=2)
    for n in range(3):
        inbox.put(Message(b"%d" % n, n))
    inbox.fail(RetryLater("bluetoothd is gone"))

    class OfInbox:
        fileno, receive, close = inbox.fileno, inbox.receive, inbox.close

        def send(self, data: bytes) -> None: ...

    stream: Any = SourceStream(OfInbox(), at_once)
    assert [stream.read(1).data, stream.read(1).data, inbox.dropped] == [b"1", b"2", 1]
    with pytest.raises(RetryLater, match="bluetoothd is gone"):
        stream.read(1)


def test_what_came_before_the_error_is_given_first_and_a_closed_inbox_takes_nothing() -> None:
    class Torn:
        def fileno(self) -> int:
            return 0

        def receive(self) -> Iterator[bytes]:
            yield b"whole"
            raise RetryLater("cut")

        def send(self, data: bytes) -> None: ...

        def close(self) -> None: ...

    stream = SourceStream(Torn(), at_once)
    first = stream.read(1)
    assert first is not None and first.data == b"whole"
    with pytest.raises(RetryLater, match="cut"):
        stream.read(1)
    stream.close()
    inbox = Inbox(limit_bytes=100)
    for _ in range(5):
        inbox.put(b"x" * 40)
    assert (len(inbox.receive()), inbox.dropped) == (2, 3)
    inbox.close()
    inbox.put(b"late")  # a callback on another thread
    inbox.fail(RetryLater("later still"))
    inbox.close()


def test_a_stream_opened_again_leaves_no_descriptor_and_a_closed_one_is_told() -> None:
    worker = Worker("x", lambda: None, None, 1.0, lambda: None, CappedLog(Lines()))  # type: ignore[arg-type,return-value]
    first = MqttSource(worker, ("a/#",))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        first = MqttSource(worker, ("a/#",))
    assert len(os.listdir("/proc/self/fd")) == before
    worker.heard(Message(b"1", 1, "a/b"))
    assert [item.data for item in first.receive() if isinstance(item, Message)] == [b"1"]
    first.close()
    worker.heard(Message(b"2", 2, "a/b"))  # nobody reads any more: nothing raises
    assert worker.items[-1] == bus.Listen("x", ())


@needs_mosquitto
def test_what_others_keep_under_our_names_is_not_swept_away(tmp_path: Path, other: tuple[Broker, Other]) -> None:
    """A retained topic of somebody else whose third level is this device's id, heard while uplink sweeps its own."""
    broker, client = other
    client.say("zigbee2mqtt/ground/rig/lamp", "{}", retain=True)
    with Rig(tmp_path, broker.port) as rig:
        rig.start()
        plugin = rig.plugin()
        got: list[bus.Mqtt] = []
        for _ in range(12):  # over the two seconds of the sweep
            plugin._post(bus.Listen("meter", ("zigbee2mqtt/#",)))
            until("a message", lambda: got.extend(heard(plugin)) or got, 20)
            got.clear()
            time.sleep(0.3)
        assert not any("cleared" in line["message"] and "zigbee2mqtt" in line["message"] for line in rig.log())
