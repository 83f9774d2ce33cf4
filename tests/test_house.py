"""The whole way of one sample, end to end with the commands of the README: real hub, real broker, real agent."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.house import House
from tests.waiting import until

PLUGINS = """
[plugins.host]
interval_s = 1.0

[plugins.main-meter]
use = "power_meter"
protocol = "teleinfo"
port = "/dev/null"
simulate = true
"""


class Retained:
    """An MQTT client that keeps what is retained below a topic filter (by the flag: events leave nothing behind)."""

    def __init__(self, port: int, topic: str) -> None:
        self.seen: dict[str, bytes] = {}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        options = SubscribeOptions(qos=1, retainAsPublished=True)
        self.client.on_connect = lambda client, *_: client.subscribe(topic, options=options)
        self.client.on_message = self.on_message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def on_message(self, client: Any, userdata: Any, message: Any) -> None:
        if message.payload and message.retain:
            self.seen[message.topic] = message.payload
        elif not message.payload:
            self.seen.pop(message.topic, None)

    def below(self, part: str) -> list[str]:
        return [topic for topic in list(self.seen) if part in topic]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house")) as house:
        house.start_agent("attic", PLUGINS)  # before its hub: any order must do
        time.sleep(1)
        house.start_hub()
        until("samples of both plugins", lambda: stored_series(house) >= {"host", "main-meter"}, 60, every_s=1)
        yield house


def stored_series(house: House) -> set[str]:
    """Nodes that have samples, by the export command; none before the hub made its database."""
    if not (house.data / "hub" / "samples.db").exists():
        return set()
    rows = house.command("hutkeeper-hub", "export", "--config", str(house.hub_toml), "--device", "attic",
                         "--list")
    return {row["node"] for row in rows if row["samples"]}


def test_the_ledger_is_quiet_and_exact(house: House) -> None:
    def exact() -> bool:
        rows = house.ledger("attic")
        return len(rows) == 1 and rows[0]["stored"] > 0 and rows[0]["difference"] == 0

    until("difference 0", exact, 30, every_s=1)
    (row,) = house.ledger("attic")
    assert row["quarantined"] == 0 and not any(row["dropped"].values())


def test_any_mqtt_client_reads_the_homie_tree_and_the_discovery(house: House) -> None:
    client = Retained(house.mqtt, "#")
    try:
        until("a power value", lambda: any(
            topic.startswith("homie/5/attic/main-meter/apparent-power") for topic in client.seen), 20)
        until("ready", lambda: client.seen["homie/5/attic/$state"] == b"ready", 20)
        description = json.loads(client.seen["homie/5/attic/$description"])
        assert {"sys", "host", "main-meter"} <= set(description["nodes"])
        config = until("the announcement", lambda: client.seen.get("homeassistant/device/attic/main-meter/config"), 20)
        assert json.loads(config)["components"]
    finally:
        client.close()


def test_a_manual_reading_reconciles_a_counter(house: House) -> None:
    """FEATURES row 26: the total goes on from what the person read on the meter's display, and an event says so."""
    counter = "homie/5/attic/main-meter/active-energy-import-peak-kwh"
    client = Retained(house.mqtt, "homie/5/attic/main-meter/#")
    try:
        until("the counter", lambda: counter in client.seen, 20)
        read_by_hand = float(client.seen[counter]) + 1234.5
        client.client.publish(f"{counter}/set", f"{read_by_hand:.3f}", qos=1)
        until("the total that was read", lambda: float(client.seen[counter]) >= read_by_hand - 0.01, 20)
        assert float(client.seen[counter]) < read_by_hand + 1
    finally:
        client.close()


def test_a_plugin_taken_out_of_agent_toml_goes_without_a_restart_of_the_others(house: House) -> None:
    client = Retained(house.mqtt, "#")
    try:
        until("the meter's topics", lambda: "homeassistant/device/attic/main-meter/config" in client.seen, 20)
        host = house.find("hutkeeper-agent", "plugin", "host")[0]
        house.agent_toml("attic", PLUGINS.split("[plugins.main-meter]")[0])
        until("its retained topics cleared", lambda: not client.below("/main-meter/"), 45,
              found=lambda: client.below("/main-meter/"))
        until("its process ended", lambda: not house.find("hutkeeper-agent", "plugin", "main-meter"), 20)
        assert host.is_running()
        assert "main-meter" in stored_series(house)  # history stays
    finally:
        house.agent_toml("attic", PLUGINS)
        client.close()


def test_bad_agent_toml_is_named_and_the_last_good_one_goes_on(house: House) -> None:
    host = house.find("hutkeeper-agent", "plugin", "host")[0]
    house.agent_toml("attic", PLUGINS.replace("protocol", "prot"))
    try:
        until("the error in the log", lambda: "did you mean protocol?" in (house.data / "attic.log").read_text()
              or any("did you mean protocol?" in log.read_text(errors="replace")
                     for log in (house.data / "attic").rglob("*.log*")), 30, every_s=0.5)
        assert host.is_running()
    finally:
        house.agent_toml("attic", PLUGINS)


def test_ctrl_c_ends_every_process(house: House) -> None:
    assert len(list(house.processes())) > 5
    assert house.stop("attic") == 0
    assert house.stop("hub") == 0
    until("no process left", lambda: not list(house.processes()), 10)
