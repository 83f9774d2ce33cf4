"""One alert per root cause: the evening's accidents, with the real tree and parts, on a moved clock."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.wire import faults
from hub.alerts.devices import Devices, OfRule
from hub.alerts.hub_side import HubSide
from hub.alerts.model import Condition
from hub.notify.part import Part
from tests.hub.alerts.house import House

SEVEN = [f"pi{n}" for n in range(7)]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path, ups=("ups-pi",), remote=("cabin",)) as house:
        house.device("power", {"mains": ("mains_present", "battery_low"), "internet": ("internet_reached",)})
        house.say("homie/5/power/mains/mains-present", "true")
        house.say("homie/5/power/internet/internet-reached", "true")
        house.device("ups-pi", {"host": ("load",), "meter": tuple(f"value_{n}" for n in range(12))})
        house.device("cabin")
        for device in SEVEN:
            house.device(device)
        house.well(90)
        yield house


def devices_of(house: House) -> Devices:
    return next(part for part in house.service.parts if isinstance(part, Devices))


def cut(house: House, back: bool = False) -> None:
    house.say("homie/5/power/mains/mains-present", "true" if back else "false")
    house.say("homie/5/power/$alert/mains", "" if back else "mains lost")


def test_B63_mains_cut_with_seven_devices_is_one_message_and_its_return_another(house: House) -> None:
    cut(house)
    assert house.run(12) == [("opened", "mains:power/mains", 0)]
    house.lose(*SEVEN)
    assert house.run(600) == []
    assert house.listed("mains:power/mains") == {f"lost:{device}" for device in SEVEN}
    told = house.ear.heard[-1].alert
    assert told.title == "Power: mains lost" and told.severity == "critical" and told.kept and told.do
    cut(house, back=True)
    assert house.run(30) == [("resolved", "mains:power/mains", 7)]
    house.back(*SEVEN)
    assert house.run(600) == []
    assert house.open() == {}


def test_a_device_that_does_not_come_back_after_the_mains_is_told_then(house: House) -> None:
    cut(house)
    house.run(12)
    house.lose(*SEVEN)
    house.run(100)
    cut(house, back=True)
    house.run(30)
    house.back(*SEVEN[1:])
    assert house.run(240) == []
    assert house.run(100) == [("opened", "lost:pi0", 0)]


def test_B63_a_device_on_a_ups_does_not_die_with_the_mains(house: House) -> None:
    cut(house)
    house.run(12)
    house.lose("ups-pi", "cabin")
    assert {key for _, key, _ in house.run(60)} == {"lost:ups-pi", "lost:cabin"}


def test_the_one_that_watches_the_mains_goes_when_its_battery_is_empty(house: House) -> None:
    cut(house)
    house.run(60)
    house.say("homie/5/power/mains/battery-low", "true")
    house.run(60)
    house.lose("power")
    assert house.run(120) == []
    assert "lost:power" in house.listed("mains:power/mains")


def test_internet_lost_takes_the_far_device_and_not_the_near_one(house: House) -> None:
    house.say("homie/5/power/internet/internet-reached", "false")
    house.say("homie/5/power/$alert/internet", "no internet: the router answers, nothing behind it does")
    house.lose("cabin")
    assert house.run(30) == [("opened", "internet:power/internet", 1)]
    house.lose("pi0")
    assert house.run(30) == [("opened", "lost:pi0", 0)]


def test_row_37_mains_and_internet_lost_together_are_one_message(house: House) -> None:
    cut(house)
    house.say("homie/5/power/internet/internet-reached", "false")
    assert house.run(60) == [("opened", "mains:power/mains", 1)]
    assert house.listed("mains:power/mains") == {"internet:power/internet"}
    cut(house, back=True)
    house.run(60)
    assert house.run(300) == [("opened", "internet:power/internet", 0)], "the router did not come back"


def test_the_mains_is_one_whichever_devices_say_that_it_is_gone(house: House) -> None:
    for device in ("ups-pi", "cabin"):
        house.device(device, {"mains": ("mains_present",)})
        house.say(f"homie/5/{device}/mains/mains-present", "true")
    cut(house)
    house.run(3)
    for device in ("ups-pi", "cabin"):
        house.say(f"homie/5/{device}/mains/mains-present", "false")
    assert house.run(60) == [("opened", "mains:cabin/mains", 0)], "that is another house"
    assert house.listed("mains:power/mains") == {"mains:ups-pi/mains"}


def test_a_leak_during_an_internet_loss_is_told_at_once(house: House) -> None:
    house.say("homie/5/power/internet/internet-reached", "false")
    house.run(30)
    house.alert("ups-pi", "leak", "water flows for 2 h without a pause")
    house.alert("pi1", "relay", faults.line("E_RELAY_STUCK", relay="the salon's heater", evidence="its meter"))
    told = house.run(1)
    assert told == [("opened", "alert:pi1:relay", 0)], "critical ones wait for nobody"
    assert house.run(10) == [("opened", "alert:ups-pi:leak", 0)]
    assert house.open()["alert:pi1:relay"].severity == "critical"


def test_broker_killed_is_one_message(house: House) -> None:
    house.broker(False)
    assert house.run(300) == [("opened", "hub:broker", 0)]
    for device in SEVEN:  # what was saved says so until each one is connected again
        house.retained[f"homie/5/{device}/$state"] = b"lost"
    house.broker(True)
    assert house.run(30) == [("resolved", "hub:broker", 7)] or house.ear.heard[-1].alert.key == "hub:broker"
    house.back(*SEVEN)
    assert house.run(300) == []
    assert house.open() == {}


def test_hub_ingest_killed_explains_what_the_devices_say_of_their_samples(house: House) -> None:
    house.ingest = None
    house.say("hutkeeper/1/hub/$state", b'{"state":"lost","term":1,"generation":"g"}')
    house.run(20)
    for device in SEVEN:
        house.alert(device, "no-receipt", faults.line("E_NO_RECEIPT", age_s=60.0))
    assert house.run(120) == []
    assert house.listed("hub:ingest") == {f"alert:{device}:no-receipt" for device in SEVEN}
    assert [(event.what, event.alert.key) for event in house.ear.heard] == [("opened", "hub:ingest")]
    house.lose("pi3")
    assert house.run(20) == [("opened", "lost:pi3", 0)], "its connection does not pass through ingest"


def test_a_full_disk_is_told_with_what_is_safe(house: House) -> None:
    assert house.ingest is not None
    house.ingest.state = "full"
    house.ingest.faults = {"E_DB_FULL": faults.line("E_DB_FULL", path="samples.db")}
    house.say("hutkeeper/1/hub/$state", b'{"state":"full","term":1,"generation":"g"}')
    assert house.run(30) == [("opened", "hub:E_DB_FULL", 0)]
    assert house.ear.heard[-1].alert.kept.startswith("no receipt is sent, so the devices keep everything")


class Rules(Part):
    """Twelve rules that say that nothing comes."""

    firing = False

    def conditions(self, now_us: int) -> list[Condition]:
        return [Condition(f"rule:no-data:ups-pi/meter/value_{n}", f"property:ups-pi/meter/value_{n}", "error",
                          f"value {n}: nothing for a minute", now_us, of_absence=True)
                for n in range(12)] if self.firing else []


def test_one_device_unplugged_with_twelve_properties_without_data(house: House) -> None:
    rules = Rules(house.service.hall)
    house.service.parts.insert(0, rules)
    house.lose("ups-pi")
    house.run(5)
    rules.firing = True
    assert house.run(60) == [("opened", "lost:ups-pi", 12)]


def test_a_plugin_crash_loop_is_one_message(house: House) -> None:
    house.say("homie/5/ups-pi/meter/health", "failed")
    house.alert("ups-pi", "health-meter", "meter is failed: ended with 1")
    house.alert("ups-pi", "crashloop-meter", faults.line("E_PLUGIN_CRASHLOOP", instance="meter", n=5, reason="exit 1"))
    told = house.run(120)
    assert told == [("opened", "alert:ups-pi:crashloop-meter", 1)]
    assert house.listed("alert:ups-pi:crashloop-meter") == {"alert:ups-pi:health-meter"}


def test_a_frozen_sensor_is_one_message_with_what_to_do(house: House) -> None:
    house.alert("ups-pi", "frozen-meter", faults.line("E_SENSOR_FROZEN", sensor="meter", evidence="21.0 for 9 h"))
    assert house.run(60) == [("opened", "alert:ups-pi:frozen-meter", 0)]
    alert = house.ear.heard[-1].alert
    assert alert.code == "E_SENSOR_FROZEN" and alert.do and alert.subject == "plugin:ups-pi/meter"


def test_a_silent_device_and_a_silent_plugin(house: House) -> None:
    house.live.discard("pi0")
    assert house.run(120) == [("opened", "silent:pi0", 0)]
    house.lose("pi0")
    assert house.run(60) == [("opened", "lost:pi0", 1)], "the silence is now explained"
    house.nodes["ups-pi"] = ("host",)
    assert house.run(120) == [("opened", "plugin:ups-pi/meter", 0)]


def test_a_device_taken_off_the_fleet_is_over(house: House) -> None:
    house.lose("pi0")
    assert house.run(20) == [("opened", "lost:pi0", 0)]
    house.say("homie/5/pi0/$state", "")
    assert house.run(20) == [("resolved", "lost:pi0", 0)]


def test_a_start_calls_no_device_lost_and_nothing_over(house: House) -> None:
    house.lose("pi0")
    house.alert("pi1", "leak", faults.line("E_RELAY_STUCK", relay="r", evidence="e"))
    house.run(30)
    before = house.open()
    house.lose("pi2", "pi3")
    house.end()
    house.begin()
    house.service.hall.client._set_connected(False)  # it has just started to connect
    assert house.run(40) == []
    house.broker(True)
    assert house.run(4) == []
    assert {key: row.id for key, row in house.open().items() if key in before} == {
        key: row.id for key, row in before.items()}
    assert {key for _, key, _ in house.run(150)} == {"lost:pi2", "lost:pi3"}, "after the grace time of the broker"


def test_while_a_device_is_away_its_leak_is_not_over(house: House) -> None:
    house.alert("pi1", "leak", faults.line("E_RELAY_STUCK", relay="r", evidence="e"))
    house.run(10)
    house.lose("pi1")
    assert house.run(60) == [("opened", "lost:pi1", 0)]
    assert "alert:pi1:leak" in house.open()
    house.back("pi1")
    house.alert("pi1", "leak", "")
    assert {key for _, key, _ in house.run(30)} == {"lost:pi1", "alert:pi1:leak"}


def test_login_attacks_are_told(house: House) -> None:
    from hub.store.web_db import WebDb

    with closing(WebDb(house.settings.web_db)) as web:
        web.audit(house.now_us, "-", "10.0.0.9", "login attack", "anna", "", faults.line("E_LOGIN_ATTACK", what="anna"))
    assert house.run(30) == [("opened", "hub:E_LOGIN_ATTACK:anna", 0)]
    assert house.run(3700) == [("resolved", "hub:E_LOGIN_ATTACK:anna", 0)]


def test_a_restart_of_ingest_is_nobodys_message(house: House) -> None:
    house.say("hutkeeper/1/hub/$state", b'{"state":"lost","term":1,"generation":"g"}')
    house.run(8)
    house.say("hutkeeper/1/hub/$state", b'{"state":"ready","term":2,"generation":"g"}')
    assert house.run(60) == []


def test_a_damaged_store_is_told(house: House) -> None:
    house.settings.samples_db.write_bytes(b"no database at all, " * 1000)
    house.service.parts = [HubSide(house.service.hall, devices_of(house)), house.ear]
    (told,) = house.run(30)
    assert told == ("opened", "hub:store", 0)
    assert "samples.db" in house.ear.heard[-1].alert.title


@pytest.mark.parametrize(("topic", "value", "key"), [
    ("sys/clock-quality", "unsynced", "unsynced:pi1"),
    ("host/last-update", "2099-01-01T00:00:00Z", "ahead:pi1"),
    ("host/health", "degraded", "plugin:pi1/host"),
    ("sys/outbox-oldest-age-s", "7200", "backlog:pi1"),
])
def test_what_a_device_says_of_itself(house: House, topic: str, value: str, key: str) -> None:
    house.live.discard("pi1")
    house.say(f"homie/5/pi1/{topic}", value)
    assert ("opened", key, 0) in house.run(20)


def test_a_ledger_that_does_not_add_up_is_told(house: House) -> None:
    devices_of(house).differences = {"pi1": -12}
    house.service.parts = [part for part in house.service.parts if not isinstance(part, HubSide)]
    assert house.run(20) == [("opened", "ledger:pi1", 0)]


def test_an_alert_of_a_rule_on_a_device_has_the_rules_severity_and_words(house: House) -> None:
    devices_of(house).of_rule = {"frost": OfRule("critical", do="light the stove")}.get
    house.alert("pi1", "rule-frost", "it is 2 degrees in the salon")
    assert house.run(1) == [("opened", "alert:pi1:rule-frost", 0)]
    alert = house.ear.heard[-1].alert
    assert (alert.severity, alert.do) == ("critical", "light the stove")


def test_the_file_holds_what_was_told(house: House) -> None:
    cut(house)
    house.run(10)
    with sqlite3.connect(house.settings.alerts_db) as db:
        assert db.execute("SELECT count(*) FROM alert_steps WHERE what = 'told'").fetchone() == (1,)
