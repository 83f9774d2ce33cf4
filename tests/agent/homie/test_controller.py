"""The controller of these tests finds what it is there to find: each rule broken once."""

from __future__ import annotations

import json
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from agent.testing.broker import Broker, mosquitto_path
from tests.agent.homie.homie_controller import Controller, description_problems, value_problem

GOOD = {
    "homie": "5.0",
    "version": 1,
    "name": "x",
    "nodes": {
        "n": {
            "properties": {
                "p": {"datatype": "float"},
                "e": {"datatype": "enum", "format": "a,b", "retained": False},
                "s": {"datatype": "integer", "format": "0:10:2", "settable": True},
            }
        }
    },
}


def with_property(**attributes: object) -> dict[str, object]:
    return {**GOOD, "nodes": {"n": {"properties": {"p": attributes}}}}


@pytest.mark.parametrize(
    "described",
    [
        [],
        {**GOOD, "homie": "4.0"},
        {**GOOD, "version": "1"},
        {**GOOD, "version": True},
        {**GOOD, "root": "y"},
        {key: value for key, value in GOOD.items() if key != "name"},
        {**GOOD, "nodes": []},
        {**GOOD, "children": "x"},
        {**GOOD, "nodes": {"N": {}}},
        {**GOOD, "nodes": {"n-": {}}},
        {**GOOD, "nodes": {"n": {"properties": {"p_q": {}}}}},
        with_property(datatype="int"),
        with_property(datatype="enum"),
        with_property(datatype="enum", format="a,a"),
        with_property(datatype="float", format="5"),
        with_property(datatype="float", format="9:1"),
        with_property(datatype="integer", format="0.5:1"),
        with_property(datatype="float", format="0:1:0"),
        with_property(datatype="boolean", format="on"),
        with_property(datatype="float", settable="true"),
        with_property(datatype="json", format="{"),
        with_property(datatype="float", unit=5),
    ],
)
def test_a_wrong_description_is_found(described: object) -> None:
    assert description_problems(GOOD) == []
    assert description_problems(described)


@pytest.mark.parametrize(
    ("prop", "data"),
    [
        ({"datatype": "float"}, b"nan"),
        ({"datatype": "float"}, b"1,5"),
        ({"datatype": "float"}, b""),
        ({"datatype": "integer"}, b"1.0"),
        ({"datatype": "float", "format": "0:1"}, b"2"),
        ({"datatype": "boolean"}, b"True"),
        ({"datatype": "enum", "format": "a,b"}, b"A"),
        ({"datatype": "integer", "format": "0:10:2"}, b"3"),
        ({"datatype": "datetime"}, b"2026-11-22T03:00:00"),
        ({"datatype": "duration"}, b"90"),
        ({"datatype": "json"}, b"5"),
        ({"datatype": "string"}, b"\xff"),
        ({"datatype": "string"}, b""),
        ({"datatype": "integer"}, b"9" * 20),
    ],
)
def test_a_wrong_value_is_found(prop: dict[str, object], data: bytes) -> None:
    assert value_problem(prop, data)


@pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed (apt install mosquitto)")
def test_wrong_behaviour_on_the_wire_is_found(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, Controller(broker.port) as controller:
        device = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        device.connect("127.0.0.1", broker.port)
        device.loop_start()

        def say(topic: str, text: str, retain: bool = True) -> None:
            device.publish(f"homie/5/bad/{topic}", text, qos=1, retain=retain).wait_for_publish(5)

        say("$state", "ready")
        controller.until("discovery", lambda: "bad" in controller.devices)
        say("$description", json.dumps(GOOD))
        controller.until("description", lambda: controller.devices["bad"].description)
        say("$description", json.dumps({**GOOD, "name": "y"}))  # in ready, and without a higher version
        say("n/unknown", "1")
        say("n/p", "many")
        say("n/p/$target", "1")
        say("n/s", "2")  # no $target so far: legal
        say("$log/shout", "hey", retain=False)
        say("$alert/No", "x")
        say("$state", "asleep")
        expected = [
            "changed in state ready",
            "without a higher version",
            "not described",
            "'many' is not float",
            "cannot be set",
            "log level",
            "alert id",
            "'asleep'",
        ]
        for one in expected:
            controller.until(one, lambda one=one: any(one in text for text in controller.broken))
        device.disconnect()
        device.loop_stop()
