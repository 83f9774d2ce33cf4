"""The plugin on real boundaries: files that change, the local bus and a real Mosquitto through a real uplink."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
import pytest

from agent import bus
from agent.api import Property
from agent.clock import boottime_us
from agent.replay.engine import Replay
from agent.testing import AtWork, at_work
from agent.testing.broker import Broker, mosquitto_path
from agent.wire.messages import NodeDeclaration, PluginDeclaration
from plugins.presence.plugin import Presence
from plugins.presence.settings import PresenceConfig
from tests.agent.uplink.rig import CHECKOUT, FakePlugin, Rig
from tests.waiting import until

MAC = "02:00:5e:10:00:31"
PATIENCE_S = 15.0


def config(*signs: dict[str, Any], **person: Any) -> PresenceConfig:
    return msgspec.convert({"persons": {"anna": {"signs": list(signs), "departure_delay_s": 0, **person}}},
                           PresenceConfig)


def running(settings: PresenceConfig, kept: dict[str, Any] | None = None) -> AbstractContextManager[AtWork]:
    return at_work(Presence, settings, kept=kept, instance="people", wall_offset_us=lambda: 1_795_300_000_000_000)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.presence.plugin.FILES_S", 0.1)
    monkeypatch.setattr("plugins.presence.plugin.TICK_S", 0.1)


def test_a_list_of_stations_that_changes_and_one_that_nobody_writes(tmp_path: Path) -> None:
    file = tmp_path / "stations"

    def there(p: AtWork) -> bool:
        file.write_text(f"Station {MAC} (on wlan0)\n\tinactive time:\t20 ms\n")  # again: a sighting is good for 0.3 s
        return p.value("presence", "anna") == "home"

    file.write_text("")
    with running(config({"by": "wifi_file", "path": str(file), "mac": MAC, "hold_s": 0.3})) as plugin:
        plugin.wait(lambda: there(plugin))
        assert plugin.value("present", "anna") is True and plugin.value("anyone_home", None) == "home"
        assert plugin.value("evidence", "anna")["held_by"] == ["wifi"]
        assert str(plugin.value("since", "anna")).startswith("2026-")

        def empty(p: AtWork) -> bool:
            file.write_text("")
            return p.value("presence", "anna") == "away"

        plugin.wait(lambda: empty(plugin))
        os.utime(file, (1, 1))
        plugin.wait(lambda: plugin.value("presence", "anna") == "unknown")
        plugin.wait(lambda: plugin.value("blind_signs", None) == 1)
        assert plugin.value("present", "anna") is None and plugin.value("anyone_home", None) == "unknown"
        assert not plugin.lines.of("warning", "error")


def test_a_log_that_grows_and_is_rotated(tmp_path: Path) -> None:
    log = tmp_path / "hostapd.log"
    log.write_text("x" * 300_000 + f"\nwlan0: AP-STA-CONNECTED {MAC}\n")
    with running(config({"by": "wifi_file", "format": "hostapd_log", "path": str(log), "mac": MAC})) as plugin:
        plugin.wait(lambda: plugin.value("presence", "anna") == "home")
        with log.open("a") as out:
            out.write(f"wlan0: AP-STA-DISCONNECTED {MAC}\n")
        plugin.wait(lambda: plugin.value("presence", "anna") == "away")
        log.rename(tmp_path / "hostapd.log.1")
        log.write_text("wlan0: AP-STA-CONNECTED 02:00:5e:10:00:99\n")
        with log.open("a") as out:
            out.write(f"wlan0: AP-STA-CONNECTED {MAC}\n")
        plugin.wait(lambda: plugin.value("presence", "anna") == "home")


def test_B41_a_file_that_is_not_there_is_unknown_and_says_why(tmp_path: Path) -> None:
    with running(config({"by": "wifi_file", "path": str(tmp_path / "no"), "mac": MAC})) as plugin:
        plugin.wait(lambda: plugin.value("evidence", "anna"))
        assert plugin.value("presence", "anna") == "unknown" and plugin.value("blind_signs", None) == 1
        assert "No such file" in plugin.value("evidence", "anna")["signs"]["wifi"]["why"]


def test_a_restart_does_not_send_anybody_away(tmp_path: Path) -> None:
    file = tmp_path / "stations"
    kept: dict[str, Any] = {}
    settings = config({"by": "wifi_file", "path": str(file), "mac": MAC}, departure_delay_s=300)
    file.write_text(f"{MAC}\n")
    with running(settings, kept) as plugin:
        plugin.wait(lambda: plugin.value("presence", "anna") == "home")
        kept = plugin.worker.kept
        since = plugin.value("since", "anna")
    file.unlink()
    with running(settings, kept) as plugin:
        plugin.wait(lambda: plugin.value("evidence", "anna"))
        assert (plugin.value("presence", "anna"), plugin.value("since", "anna")) == ("home", since)


@pytest.mark.parametrize("kept", [{"persons": 5}, {"persons": {"anna": ["gone", 1, 2]}}, {"persons": {"anna": None}}])
def test_damaged_kept_state_is_no_state(tmp_path: Path, kept: dict[str, Any]) -> None:
    with running(config({"by": "wifi_file", "path": str(tmp_path / "no"), "mac": MAC}), kept) as plugin:
        plugin.wait(lambda: plugin.value("presence", "anna") == "unknown")


# --- the bus and the broker -----------------------------------------------------------------------------------------

PEOPLE = """\
[plugins.people]
use = "presence"
[plugins.people.persons.anna]
signs = [{ by = "ble", device = "anna-badge", hold_s = 1.0, source_silence_s = 60 }]
departure_delay_s = 0
[plugins.people.persons.ben]
signs = [{ by = "mqtt", topic = "phone/ben", key = "state" }]
departure_delay_s = 0
"""
RUN = ("import sys; from pathlib import Path; from agent import settings, runner; "
       "sys.exit(runner.main(settings.load(Path(sys.argv[1])), 'people'))")


class Scanner(FakePlugin):
    """The scanner's end of the real local bus."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir, "ble")
        rssi = Property(name="rssi_dbm", datatype="integer", unit="dBm")
        state = Property(name="scanner", datatype="enum", options=("up", "stalled", "down"))
        self.declaration = PluginDeclaration("ble", "scanner", "Scanner", 1.0, (
            NodeDeclaration("ble", "Scanner", (state,)), NodeDeclaration("ble-anna-badge", "Badge", (rssi,))))

    def say(self, node: str, name: str, value: Any) -> None:
        self._post(bus.Now("ble", [(node, name, value, boottime_us(), None)]))


@pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed")
def test_a_badge_on_the_real_bus_and_a_phone_on_a_real_broker(tmp_path: Path) -> None:
    answers: dict[str, list[str]] = {"anna": [], "ben": []}

    def on_message(_: Any, __: Any, message: Any) -> None:
        answers[message.topic.split("/")[3].removeprefix("people-")].append(message.payload.decode())

    with Broker(tmp_path) as broker, Rig(tmp_path, broker.port) as rig:
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.on_message = on_message
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        client.publish("phone/ben", '{"state": "home"}', qos=1, retain=True).wait_for_publish(10)
        client.subscribe("homie/5/rig/+/presence", qos=1)
        rig.toml.write_text(rig.toml.read_text() + PEOPLE)
        rig.start()
        scanner = Scanner(rig.run_dir)
        rig.plugins.append(scanner)
        people = subprocess.Popen([sys.executable, "-c", RUN, str(rig.toml)], env=rig.env, cwd=CHECKOUT,
                                  stdin=subprocess.DEVNULL)

        def last(name: str, wanted: str, *said: tuple[str, str, Any]) -> Callable[[], bool]:
            def look() -> bool:
                scanner.step()
                for word in said:
                    scanner.say(*word)
                return answers[name][-1:] == [wanted]

            return look

        try:
            until("the retained word", last("ben", "home"), 20)
            until("the badge", last("anna", "home", ("ble-anna-badge", "rssi_dbm", -60)), 20)
            client.publish("phone/ben", '{"state": "not_home"}', qos=1).wait_for_publish(10)
            until("ben has left", last("ben", "away"), 20)
            until("a scanner that is down", last("anna", "unknown", ("ble", "scanner", "down")), 20)
            until("a scanner that hears nothing", last("anna", "away", ("ble", "scanner", "up")), 20)
            assert "away" not in answers["anna"][: answers["anna"].index("unknown", 1)], "B55: not because it was dead"
        finally:
            people.terminate()
            assert people.wait(10) == 0
            client.disconnect()
            client.loop_stop()


# --- replays --------------------------------------------------------------------------------------------------------


def test_a_replay_survives_any_line() -> None:
    settings = config({"by": "ble", "device": "b"}, {"by": "mqtt", "topic": "t"}, {"by": "ping", "host": "h"})
    lines = [b'{"t": 1, "sign": "anna/ble", "here": true}', b"\xff\xfe\x00", b'{"t": 2, "sign": "nobody/x"}', b"[]",
             b"{}", b'{"t": 3, "bus": "ble-b", "property": "rssi_dbm", "value": {"a": 1}}', b'{"t": 4, "mqtt": "t"}',
             b'{"t": 5, "probe": "ping", "host": "h", "here": false}', b'{"t": 6, "file": "/x"}', b"t home"]
    for data in (b"\n".join(lines), b"\n".join(lines[1:2]), b"", b"\n\n"):
        replay = Replay(Presence, settings, data)
        records = list(replay.records())
        assert not [one for one in records if "bug" in one.get("message", "")]
    assert any(one.get("value") == "home" for one in Replay(Presence, settings, b"\n".join(lines)).records())


def test_a_recording_of_mosquitto_sub_is_a_capture() -> None:
    records = Replay(Presence, config({"by": "mqtt", "topic": "phone/anna"}), b"phone/anna home\nphone/anna not_home\n")
    said = [one["value"] for one in records.records() if one.get("property") == "presence"]
    assert said[-1] == "away" and "home" in said
