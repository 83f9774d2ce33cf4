"""What a source says, and which sign hears it: the bus, topics, files, recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from plugins.presence.decide import Sight
from plugins.presence.events import Event, decode, encode, recorded
from plugins.presence.files import leases, log_words, stations
from plugins.presence.match import Matcher, Unreadable
from plugins.presence.settings import PresenceConfig

MAC = "02:00:5e:10:00:31"


def matcher(*signs: dict[str, Any]) -> Matcher:
    return Matcher(msgspec.convert({"persons": {"anna": {"signs": list(signs)}}}, PresenceConfig))


def sight(found: Matcher, t_s: float, at: int = 0) -> Sight:
    return found.persons["anna"].signs[at].sight(t_s)


# --- Bluetooth over the bus -----------------------------------------------------------------------------------------


def heard(node: str, prop: str, value: Any, quality: str | None = None, device: str | None = None) -> Event:
    return Event(bus=node, property=prop, value=value, quality=quality, device=device)


def test_a_badge_is_here_while_its_scanner_hears_it_strongly_enough() -> None:
    found = matcher({"by": "ble", "device": "anna-badge", "min_rssi_dbm": -85})
    assert found.bus_topics() == ("now/ble",)
    for t_s in range(0, 100, 10):
        found.take(heard("ble", "advertisers", 3), t_s)
        found.take(heard("ble-anna-badge", "rssi_dbm", -95), t_s)
        found.take(heard("ble-ben-badge", "rssi_dbm", -40), t_s)
        found.take(heard("ble-anna-badge", "rssi_dbm", None, "bad"), t_s)
    assert sight(found, 100) == "gone"
    found.take(heard("ble-anna-badge", "rssi_hci1_dbm", -60), 100)
    assert sight(found, 150) == "here" and sight(found, 161) == "here", "nobody has denied it yet"
    found.take(heard("ble", "advertisers", 3), 161)
    assert sight(found, 161) == "gone"


@pytest.mark.parametrize("word", ["stalled", "down"])
def test_B55_a_scanner_that_says_it_is_ill_denies_nothing(word: str) -> None:
    found = matcher({"by": "ble", "device": "anna-badge"})
    found.take(heard("ble-anna-badge", "rssi_dbm", -60), 0)
    found.take(heard("ble", "scanner", word), 10)
    for t_s in range(10, 400, 10):
        found.take(heard("ble", "advertisers", 0), t_s)  # it goes on counting nothing
    assert sight(found, 400) == "unknown"
    found.take(heard("ble", "scanner", "up"), 400)
    assert sight(found, 400) == "unknown", "up, but it has not listened yet"
    found.take(heard("ble", "advertisers", 5), 470)
    assert sight(found, 470) == "gone"


def test_of_several_scanners_the_last_that_saw_it_denies_it() -> None:
    found = matcher({"by": "ble", "device": "anna-badge", "on": ["garage"]})
    assert found.bus_topics() == ("live/garage/ble", "now/ble")
    found.take(heard("ble-anna-badge", "rssi_dbm", -60), 0)
    found.take(heard("ble-anna-badge", "rssi_dbm", -70, device="garage"), 5)
    for t_s in range(10, 300, 10):
        found.take(heard("ble", "advertisers", 7), t_s)  # the one at home works; the garage has died
    assert sight(found, 300) == "unknown"
    found.take(heard("ble-anna-badge", "rssi_dbm", -70, device="attic"), 301)
    assert sight(found, 301) == "unknown", "nobody asked for the attic"


# --- topics ---------------------------------------------------------------------------------------------------------


def test_another_scanner_of_a_name_that_begins_alike_does_not_vouch_for_a_dead_one() -> None:
    found = matcher({"by": "ble", "device": "anna-badge"})
    found.take(heard("ble-anna-badge", "rssi_dbm", -60), 0)
    for t_s in range(5, 300, 10):
        found.take(heard("ble-garage", "advertisers", 7), t_s)
        found.take(heard("ble-garage-keys", "rssi_dbm", -60), t_s)
    assert found.persons["anna"].signs[0].sight(300) == "unknown"


@pytest.mark.parametrize("sign, payload, wanted", [
    ({}, "home", "here"), ({}, "not_home", "gone"), ({}, "ON", "here"), ({}, "OFF", "gone"),
    ({"key": "presence"}, '{"presence": true}', "here"), ({"key": "a.b"}, '{"a": {"b": "away"}}', "gone"),
    ({"key": "event", "home": ["enter"], "away": ["leave"]}, '{"event": "leave"}', "gone"),
    ({"others_are_away": True}, "work", "gone"),
])
def test_words_of_a_topic(sign: dict[str, Any], payload: str, wanted: str) -> None:
    found = matcher({"by": "mqtt", "topic": "phone/anna", **sign})
    found.take(Event(mqtt="phone/anna", payload=payload, retained=True), 1)
    assert sight(found, 90_000) == wanted


@pytest.mark.parametrize("sign, payload", [
    ({}, "work"), ({}, ""), ({"key": "presence"}, "home"), ({"key": "a.b"}, '{"a": 5}'), ({"key": "a"}, '{"a": null}'),
    ({"key": "a"}, "[" * 5000)])
def test_another_word_is_one_line_and_changes_nothing(sign: dict[str, Any], payload: str) -> None:
    found = matcher({"by": "mqtt", "topic": "phone/anna", **sign})
    if "key" not in sign:
        found.take(Event(mqtt="phone/anna", payload="home"), 0)
    before = sight(found, 1)
    with pytest.raises(Unreadable, match="phone/anna says") as caught:
        found.take(Event(mqtt="phone/anna", payload=payload), 1)
    assert sight(found, 1) == before and len(str(caught.value)) < 250 and "\n" not in str(caught.value)


def test_a_retained_word_is_no_sighting_where_words_age() -> None:
    found = matcher({"by": "mqtt", "topic": "t", "hold_s": 60})
    found.take(Event(mqtt="t", payload="home", retained=True), 0)
    assert sight(found, 1) == "unknown"
    found.take(Event(mqtt="t", payload="home"), 1)
    assert sight(found, 1) == "here"


def test_a_sender_that_is_offline_says_nothing() -> None:
    found = matcher({"by": "mqtt", "topic": "t", "available_topic": "t/state"})
    assert found.mqtt_topics() == ("t", "t/state")
    found.take(Event(mqtt="t", payload="home"), 0)
    found.take(Event(mqtt="t/state", payload="offline"), 1)
    assert sight(found, 2) == "unknown"
    found.take(Event(mqtt="t/state", payload="online"), 3)
    assert sight(found, 4) == "here"


# --- files ----------------------------------------------------------------------------------------------------------

IW = f"""Station {MAC.upper()} (on wlan0)
\tinactive time:\t1280 ms
\tsignal:  \t-61 [-61] dBm
Station 02:00:5e:10:00:32 (on wlan0)
\tinactive time:\t400000 ms
"""
ALL_STA = f"""{MAC}
flags=[AUTH][ASSOC][AUTHORIZED]
aid=1
rsn_preauth=02:00:00:00:00:aa
02:00:5e:10:00:33
flags=[AUTH]
"""


def test_lists_of_stations() -> None:
    assert stations(IW) == {MAC}, "the other has said nothing for minutes"
    assert stations(ALL_STA) == {MAC}, "the other is not associated, and a BSSID is no station"
    assert stations(f"1 {MAC} phone\n") == {MAC} and stations("nonsense\0\xff") == stations("") == set()


def test_words_of_a_log_and_leases() -> None:
    log = f"wlan0: AP-STA-CONNECTED {MAC}\nwlan0: AP-STA-CONNECTED 02:00:5e:10:00:32\nAP-STA-DISCONNECTED {MAC}\n"
    assert log_words(log) == {MAC: False, "02:00:5e:10:00:32": True}
    text = f"1795300000 {MAC.upper()} 192.168.1.31 phone 01:{MAC}\nduid 00:01\n\nx y\n"
    assert leases(text) == {MAC: "1795300000"}


def test_a_lease_is_a_sighting_when_it_is_renewed_and_an_absence_when_it_is_gone() -> None:
    found = matcher({"by": "wifi_file", "path": "/leases", "format": "leases", "mac": MAC})

    def file(text: str, t_s: float) -> str:
        found.take(Event(file="/leases", text=text), t_s)
        return sight(found, t_s)

    line = f"%d {MAC} 192.168.1.31 phone *\n"
    assert file(line % 100, 0) == "unknown", "it may be of yesterday"
    assert file(line % 200, 60) == "here"
    assert file("", 90) == "gone"
    assert file(line % 300, 120) == "here", "a lease that was not there is an arrival"
    assert file(line % 300, 120 + 7201) == "gone"


def test_a_list_that_nobody_writes_any_more_denies_nobody() -> None:
    found = matcher({"by": "wifi_file", "path": "/stations", "mac": MAC})
    found.take(Event(file="/stations", text=IW, age_s=1), 100)
    assert sight(found, 100) == "here"
    found.take(Event(file="/stations", text="", age_s=300), 500)
    assert sight(found, 500) == "unknown"
    found.take(Event(file="/stations", down="/stations: No such file or directory"), 500)
    assert sight(found, 500) == "unknown"


# --- recordings -----------------------------------------------------------------------------------------------------


def test_a_recording_is_lines_of_json_or_of_mosquitto_sub() -> None:
    assert decode(b'{"sign": "anna/ble", "here": true}') == Event(sign="anna/ble", here=True)
    assert decode(b"phone/anna not_home\n") == Event(mqtt="phone/anna", payload="not_home")
    event = heard("ble-x", "rssi_dbm", -60)
    assert decode(encode(event)) == event


@pytest.mark.parametrize("line", [b"", b"word", b"{", b'{"sign": 5}', b'{"here": true}', b'{"sign": "a", "mqtt": "b"}',
                                  b"[" * 4000, b"\xff\xfe", b'{"value":' * 3000])
def test_garbage_is_no_event(line: bytes) -> None:
    with pytest.raises(ValueError, match="no event"):
        decode(line)


def test_stamps_of_a_recording_only_grow() -> None:
    rows = [{"t": 1795300000, "sign": "a/b"}, {"sign": "a/b"}, {"t": 1795299999.0}, {"t": 1795300010.5}, {"t": "x"}]
    data = "\n".join(json.dumps(row) for row in rows).encode() + b"\nnonsense\n"
    assert [t_s for t_s, _ in recorded(data) or []] == [0, 0, 0, 10.5, 10.5, 10.5]
    assert recorded(b"home/anna home\n") is None and recorded(b"") is None


# --- configuration --------------------------------------------------------------------------------------------------


def test_signs_of_one_kind_get_names_of_their_own() -> None:
    found = matcher(*[{"by": "ping", "host": f"10.0.0.{n}"} for n in range(3)], {"by": "arp", "host": "10.0.0.1"})
    assert [sign.name for sign in found.persons["anna"].signs] == ["ping", "ping-2", "ping-3", "arp"]


def test_a_persons_id_is_an_id() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"persons: 'Anna K\.': an id is a-z"):
        msgspec.convert({"persons": {"Anna K.": {"signs": [{"by": "ping", "host": "a"}]}}}, PresenceConfig)


def test_the_example_has_every_kind_of_sign(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "plugins/presence/agent.example.toml").read_text()
    assert {word for word in ("ble", "ping", "arp", "mqtt", "wifi_file") if f'by = "{word}"' in text} == {
        "ble", "ping", "arp", "mqtt", "wifi_file"}
