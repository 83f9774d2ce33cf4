"""FEATURES row 46: the Homie 4 mirror, with a real broker, the real process, and a reader of the old kind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.testing.broker import Broker, mosquitto_path
from hub.live import Description, LiveDevice, NodeInfo, PropertyInfo
from hub.mirror import homie4
from hub.settings import load
from hub.supervision import parts
from tests.hub.web.lab import Devices, description
from tests.waiting import until

pytestmark = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed")


class Homie4:
    """What a controller of Homie 4.0.0 sees; ``problems`` are offences against the convention."""

    def __init__(self, port: int) -> None:
        self.topics: dict[str, str] = {}
        self.momentary: list[tuple[str, str]] = []
        self.sets: list[tuple[str, str]] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        options = SubscribeOptions(qos=1, retainAsPublished=True)
        self.client.on_connect = lambda client, *_: client.subscribe("homie/#", options=options)
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        topic, text = message.topic, message.payload.decode()
        if topic.startswith("homie/5/"):
            if topic.endswith("/set"):
                self.sets.append((topic, text))
        elif not message.retain:
            self.momentary.append((topic, text))
        elif text:
            self.topics[topic] = text
        else:
            self.topics.pop(topic, None)

    def of(self, device: str) -> dict[str, str]:
        return {topic: text for topic, text in list(self.topics.items()) if topic.startswith(f"homie/{device}/")}

    def problems(self, device: str) -> list[str]:
        """Required attributes, ids, datatypes and ranges (Homie 4.0.0)."""
        found = []
        top = f"homie/{device}"
        for name in ("$homie", "$name", "$state", "$nodes", "$extensions"):
            if f"{top}/{name}" not in self.topics:
                found.append(f"{name} is missing")
        known = set()
        for node in self.topics.get(f"{top}/$nodes", "").split(","):
            for name in ("$name", "$type", "$properties"):
                if f"{top}/{node}/{name}" not in self.topics:
                    found.append(f"{node}/{name} is missing")
            for prop in self.topics.get(f"{top}/{node}/$properties", "").split(","):
                at = f"{top}/{node}/{prop}"
                known.add(at)
                datatype, form = self.topics.get(f"{at}/$datatype"), self.topics.get(f"{at}/$format", "")
                if datatype not in ("integer", "float", "boolean", "string", "enum", "color"):
                    found.append(f"{at}: datatype {datatype}")
                if datatype == "enum" and not form:
                    found.append(f"{at}: an enum without its words")
                if datatype in ("integer", "float") and form and form.count(":") != 1:
                    found.append(f"{at}: {form} is no range")
                if f"{at}/$name" not in self.topics:
                    found.append(f"{at}/$name is missing")
        for topic in self.of(device):
            if "/$" not in topic and topic not in known:
                found.append(f"{topic}: a value that no attribute names")
        return found

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class House:
    def __init__(self, folder: Path, broker: Broker) -> None:
        self.toml = folder / "hub.toml"
        self.toml.write_text(f'[hub]\ndata_dir = "data"\nrun_dir = "run"\n[mqtt]\nhost = "127.0.0.1"\n'
                             f"port = {broker.port}\n[mirror]\nhomie4 = true\n")
        self.log = folder / "mirror.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen([str(Path(sys.executable).with_name("hutkeeper-hub")), "mirror", "--config",
                                             str(self.toml)], stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    def stop(self, kill: bool = False) -> int:
        assert self.process is not None
        self.process.kill() if kill else self.process.terminate()
        return self.process.wait(20)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[Broker, House, Devices, Homie4]]:
    with Broker(tmp_path) as broker, Devices(broker.port) as devices:
        reader, house = Homie4(broker.port), House(tmp_path, broker)
        try:
            yield broker, house, devices, reader
        finally:
            reader.close()
            if house.process is not None and house.process.poll() is None:
                house.stop(kill=True)
            print(house.log.read_text() if house.log.exists() else "")


def test_a_device_its_values_its_state_and_its_commands(house: tuple[Broker, House, Devices, Homie4]) -> None:
    _, hub, devices, reader = house
    described = description("Boiler room")
    described["nodes"]["main-meter"]["properties"] |= {
        "setpoint-c": {"datatype": "float", "settable": True, "format": "5:30:0.5", "unit": "°C"},
        "frost-c": {"datatype": "float", "format": ":8"}, "took": {"datatype": "duration"},
        "ring": {"datatype": "string", "retained": False}}
    devices.device("bc-power", described=described, main_meter__setpoint_c="19.5", main_meter__took="PT5S")
    hub.start()
    until("the device", lambda: reader.topics.get("homie/bc-power/$state") == "ready", 20)
    until("its values", lambda: reader.topics.get("homie/bc-power/main-meter/setpoint-c") == "19.5", 20)
    assert reader.problems("bc-power") == []
    of = reader.of("bc-power")
    at = "homie/bc-power/main-meter"
    assert of["homie/bc-power/$homie"] == "4.0.0" and of["homie/bc-power/$name"] == "Boiler room"
    assert (of[f"{at}/setpoint-c/$format"], of[f"{at}/setpoint-c/$settable"]) == ("5:30", "true")
    assert f"{at}/frost-c/$format" not in of and of[f"{at}/took/$datatype"] == "string"
    assert of[f"{at}/tariff/$format"] == "HC,HP" and of[f"{at}/active-power-l1-w"] == "412"

    devices.send("homie/5/bc-power/main-meter/active-power-l1-w", "413")
    until("a new value", lambda: reader.topics.get(f"{at}/active-power-l1-w") == "413", 20)
    devices.send("homie/5/bc-power/main-meter/ring", "long", retain=False)
    until("an event", lambda: (f"{at}/ring", "long") in reader.momentary, 20)
    devices.send("homie/5/bc-power/$alert/frost", "frost duty")
    until("alert", lambda: reader.topics["homie/bc-power/$state"] == "alert", 20)
    devices.send("homie/5/bc-power/$alert/frost", "")
    until("ready again", lambda: reader.topics["homie/bc-power/$state"] == "ready", 20)
    devices.send("homie/5/bc-power/$state", "lost")
    until("lost", lambda: reader.topics["homie/bc-power/$state"] == "lost", 20)

    reader.client.publish(f"{at}/setpoint-c/set", "21", qos=1)
    until("the command, in the tree of today", lambda: reader.sets, 20)
    assert reader.sets == [("homie/5/bc-power/main-meter/setpoint-c/set", "21")]

    devices.send("homie/5/bc-power/$state", "")
    until("all of it gone", lambda: not reader.of("bc-power"), 20)
    assert hub.stop() == 0


def test_what_changed_while_the_mirror_was_down_is_corrected(house: tuple[Broker, House, Devices, Homie4]) -> None:
    """Killed, and a plugin and a device removed meanwhile; then the broker is killed and forgets everything."""
    broker, hub, devices, reader = house
    devices.device("attic")
    devices.device("cellar")
    hub.start()
    until("both", lambda: {reader.topics.get(f"homie/{one}/$state") for one in ("attic", "cellar")} == {"ready"}, 20)
    hub.stop(kill=True)
    smaller = description("Attic")
    del smaller["nodes"]["main-meter"]
    devices.send("homie/5/attic/$description", json.dumps(smaller))
    devices.send("homie/5/cellar/$state", "")
    reader.client.publish("homie/stranger/$homie", "4.0.0", qos=1, retain=True)
    hub.start()
    until("the plugin gone", lambda: not [topic for topic in reader.of("attic") if "/main-meter/" in topic], 30,
          found=lambda: reader.of("attic"))
    until("the device gone", lambda: not reader.of("cellar"), 30, found=lambda: reader.of("cellar"))
    assert reader.topics["homie/attic/$state"] == "ready" and reader.problems("attic") == []
    assert reader.of("stranger"), "a real Homie 4 device is left alone"

    broker.stop()
    broker.forget()
    broker.start()
    reader.topics.clear()
    until("back", lambda: _published(devices, smaller), 30, every_s=0.5)
    until("mirrored again", lambda: reader.topics.get("homie/attic/$state") == "ready", 45)
    until("whole", lambda: reader.problems("attic") == [], 20, found=lambda: reader.problems("attic"))


def _published(devices: Devices, described: dict[str, Any]) -> bool:
    if not devices.client.is_connected():
        return False
    devices.device("attic", described=described)
    return True


def test_what_homie_4_cannot_say_is_left_out() -> None:
    prop = {"a": PropertyInfo("a", "A", "json"), "b": PropertyInfo("b", "B", "enum", format=""),
            "c": PropertyInfo("c", "C", "boolean", format="off,on"),
            "d": PropertyInfo("d", "D", "float", format="0:9:3")}
    device = LiveDevice("x", "homie", "ready", None, Description("", 1, {"n": NodeInfo("n", "N", "", prop)}),
                        {("n", "a"): "{}", ("n", "b"): ""}, {}, {}, None)
    told = homie4.attributes(device)
    assert [told[f"homie/x/n/{name}/$datatype"] for name in "abcd"] == ["string", "string", "boolean", "float"]
    assert "homie/x/n/c/$format" not in told and told["homie/x/n/d/$format"] == "0:9"
    assert homie4.values(device) == {"homie/x/n/a": "{}"} and told["homie/x/$name"] == "x"
    assert not homie4.can_be_mirrored(LiveDevice("5", "homie", "ready", None, device.description, {}, {}, {}, None))


def test_it_runs_only_where_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text("")
    assert parts(load(tmp_path / "hub.toml")) == ["broker", "ingest", "notify", "web"]
    (tmp_path / "hub.toml").write_text("[mirror]\nhomie4 = true\n")
    assert parts(load(tmp_path / "hub.toml")) == ["broker", "ingest", "notify", "mirror", "web"]
