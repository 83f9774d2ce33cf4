"""The plugin over captures on a virtual clock: windows, names, frozen strengths, other people's recordings, rubbish."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from agent.api import CommandRefused, Node, Reading
from agent.replay.engine import Replay
from agent.testing import Lines, io_over
from agent.wire import faults
from plugins.ble import strangers
from plugins.ble.adverts import Advert, encode, usable_rssi
from plugins.ble.captures import stamped
from plugins.ble.dialects import NoAdvert, from_line
from plugins.ble.plugin import Ble
from plugins.ble.radio import DOWN
from plugins.ble.settings import BleConfig, Device
from plugins.ble.strangers import Crowd, pseudonym

ADDRESS = "C4:7C:8D:6A:11:07"
DATA = Path(__file__).parents[3].parent / "shared" / "data"


def line(t_s: float, rssi_dbm: int | None = -60, address: str = ADDRESS, **said: Any) -> bytes:
    body = json.loads(encode(Advert(address=address, rssi_dbm=rssi_dbm, receiver="hci0", **said)))
    return json.dumps({"t": t_s, **body}).encode()


def run(lines: Iterable[bytes] | Path, lines_told: Lines | None = None, *, plugin: Ble | None = None,
        kept: dict[str, Any] | None = None, **config: Any) -> list[Reading | Node]:
    """What the plugin yields over a capture."""
    plugin = plugin or Ble(BleConfig(**{"devices": {"tag": Device(address=ADDRESS)}, **config}))
    capture = lines if isinstance(lines, Path) else b"\n".join(lines)
    with io_over(capture, lines_told, kind=Ble, config=plugin.config) as io:
        if kept is not None:
            io.kept = kept
        return list(plugin.run(io))


def values(items: list[Reading | Node], name: str) -> list[Any]:
    return [item.value for item in items if isinstance(item, Reading) and item.property == name]


# --- strengths ------------------------------------------------------------------------------------------------


def test_a_second_of_packets_is_one_reading_their_median() -> None:
    lines = [line(n * 0.1, -60 - n % 3 * 10) for n in range(30)]
    found = [item for item in run(lines) if isinstance(item, Reading) and item.property == "rssi_dbm"]
    assert [item.value for item in found] == [-70, -70, -70]
    assert [item.t_us for item in found] == [900_000, 1_900_000, 2_900_000]
    assert values(run(lines, rssi_interval_s=0.0), "rssi_dbm") == [-60, -70, -80] * 10


def test_a_node_comes_before_its_first_reading_and_grows_with_its_receivers() -> None:
    items = run([line(0), json.dumps({"t": 1, "id": ADDRESS, "rssi": -70, "receiver": "kitchen"}).encode(), line(3)])
    nodes = [(at, item) for at, item in enumerate(items) if isinstance(item, Node)]
    assert [[prop.name for prop in node.properties if prop.name.startswith("rssi")] for _, node in nodes] == [
        ["rssi_dbm"], ["rssi_dbm", "rssi_kitchen_dbm"]]
    first = next(at for at, item in enumerate(items) if isinstance(item, Reading) and item.node == "tag")
    assert nodes[0][0] < first


def test_b41_a_badge_that_leaves_goes_stale_and_is_no_alert() -> None:
    """An age for the strength, so that it is not taken for now; but whoever goes out does not raise the alarm."""
    (node,) = [item for item in run([line(0)]) if isinstance(item, Node)]
    assert all(prop.comes_and_goes for prop in node.properties)
    assert {prop.name: prop.max_age_s for prop in node.properties}["rssi_dbm"] == 30


def test_b42_a_strength_that_never_moves_is_uncertain() -> None:
    """What a BlueZ that holds strengths back does (its gate of 8 dB): found within half an hour."""
    told = Lines()
    lines = [line(n * 2.0, -60 - (n < 5)) for n in range(900)]
    found = [item for item in run(lines, told) if isinstance(item, Reading) and item.property == "rssi_dbm"]
    first = next(item for item in found if item.quality == "uncertain")
    assert first.t_us is not None
    assert 1200 <= first.t_us / 1e6 <= 1800
    assert found[-1].quality == "uncertain"
    assert [text for text in told.of("warning") if "has been exactly -60 dBm for 20 min" in text]


def test_b43_numbers_that_are_no_strength_reach_nobody() -> None:
    told = Lines()
    items = run([line(n, rssi) for n, rssi in enumerate([-60, 127, 0, -128, 21, -61])], told, rssi_interval_s=0.0)
    assert values(items, "rssi_dbm") == [-60, -61]
    assert values(items, "bad_adverts")[-1] == 4
    assert len(told.of("warning")) == 1


# --- names, strangers -----------------------------------------------------------------------------------------


def test_a_device_named_by_its_pseudonym() -> None:
    key = "ab" * 32
    name = pseudonym(ADDRESS, bytes.fromhex(key))
    items = run([line(0), line(1, address="C4:7C:8D:6A:11:08")], kept={"pseudonym_key": key},
                devices={"me": Device(pseudonym=name)})
    assert [item.id for item in items if isinstance(item, Node)] == ["me"]
    assert values(items, "unknown_advertisers")[-1] == 1


def test_pseudonyms_differ_by_key_and_hold_by_address() -> None:
    one, other = b"1" * 32, b"2" * 32
    assert pseudonym(ADDRESS, one) == pseudonym(ADDRESS, one) != pseudonym(ADDRESS, other)
    crowd = Crowd()
    crowd.saw(ADDRESS, 0.0, -50, "Anna's phone", None, "004c")
    crowd.saw("AA:AA:AA:AA:AA:AA", 1.0, -40, "door", "front-door", "")
    assert crowd.listed(2.0, one) == {"total": 2, "advertisers": [
        {"device": "front-door", "name": "door", "rssi_dbm": -40, "packets": 1, "age_s": 1.0},
        {"pseudonym": pseudonym(ADDRESS, one), "company": "004c", "rssi_dbm": -50, "packets": 1, "age_s": 2.0}]}
    assert crowd.listed(2.0, None)["advertisers"][1]["address"] == ADDRESS


def test_the_crowd_is_bounded_and_forgets() -> None:
    """A device that invents a new address for each packet."""
    crowd = Crowd()
    for number in range(20_000):
        crowd.saw(f"{number:012X}", number * 0.001, -70, None, None, "")
    assert crowd.count(20.0) == (strangers.REMEMBERED, strangers.REMEMBERED)
    assert len(crowd.listed(20.0, b"k")["advertisers"]) == strangers.SHOWN
    assert crowd.count(100.0) == (0, 0)


def test_only_the_list_can_be_asked_for() -> None:
    plugin = Ble(BleConfig())
    with io_over(b"\n") as io:
        assert plugin.command(io, "list_advertisers", True) is True
        for name, value in (("list_advertisers", False), ("scanner", "up")):
            with pytest.raises(CommandRefused, match="the only command is list_advertisers = true"):
                plugin.command(io, name, value)


def test_lost_adverts_are_counted() -> None:
    items = run([line(0), b'{"t":1,"event":"lost","count":17}', b'{"t":2,"event":"lost","count":3}', line(3)])
    assert values(items, "lost_adverts")[-1] == 20


def test_the_alert_reads_as_the_hub_would_write_it() -> None:
    assert DOWN.format(adapter="hci0", reason="gone") == faults.line("E_BLE_DOWN", adapter="hci0", reason="gone")


def test_the_alert_is_over_when_the_radio_has_worked_for_five_minutes() -> None:
    raised: list[tuple[float, str, str | None]] = []
    healths: list[tuple[float, str | None]] = []
    lines = [line(0), *(line(400 + n) for n in range(400))]
    with io_over(b"\n".join(lines), kind=Ble, config=BleConfig()) as io:
        io.alert = lambda id_, text: raised.append((io.clock.monotonic_s(), id_, text))  # type: ignore[method-assign]
        io.degraded = lambda why: healths.append((io.clock.monotonic_s(), why))  # type: ignore[method-assign]
        list(Ble(BleConfig()).run(io))
    (down_s, id_, text), (over_s, same, none) = raised
    assert (id_, same, none) == ("ble-hci0-down", "ble-hci0-down", None)
    assert text is not None and text.startswith("E_BLE_DOWN hci0: no advertisement for 110 s; kept: ")
    assert (round(down_s), round(over_s)) == (110, 700)
    assert [(round(t_s), why) for t_s, why in healths] == [(110, "hci0: no advertisement for 110 s"), (700, None)]


def test_b57_after_ten_minutes_down_the_source_itself_is_made_anew() -> None:
    opened: list[float] = []
    with io_over(b"\n".join([line(0), line(2000)]), kind=Ble, config=BleConfig()) as io:
        messages = io.messages
        io.messages = lambda factory: (opened.append(io.clock.monotonic_s()), messages(factory))[1]  # type: ignore
        list(Ble(BleConfig()).run(io))
    assert [round(t_s) for t_s in opened] == [0, 710, 1310, 1910]


# --- other people's captures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "wanted"), [
    ('{"id":"c47c8d6a1107","rssi":-70.4,"name":"x","servicedata":"20000ba4","servicedatauuid":"0xfeaa"}',
     Advert(address=ADDRESS, rssi_dbm=-70, name="x", manufacturer={}, service={"feaa": "20000ba4"})),
    ('{"mac":"C4:7C:8D:6A:11:07","rssi":"-70","manufacturerdata":"4c000215aa"}',
     Advert(address=ADDRESS, rssi_dbm=-70, manufacturer={"004c": "0215aa"}, service={})),
    ('{"beacon":"beacon1","rssi":null,"pi_id":"hall"}',
     Advert(address="beacon1", name="beacon1", receiver="hall", manufacturer={}, service={})),
])
def test_dialects(text: str, wanted: Advert) -> None:
    assert from_line(text.encode()) == wanted


@pytest.mark.parametrize(("text", "words"), [
    ("[1]", "expected a JSON object"), ("{}", "neither address nor badge_id in it, but nothing"),
    ('{"a":1}', "but a"), ("nan", "no line of JSON"), ('{"badge_id":"7"}', "beacons: expected a table"),
    ('{"badge_id":"7","beacons":{"1":"x"}}', "beacon 1: 'x' is no strength"), ("[" * 100_000, "no line of JSON"),
])
def test_lines_that_are_no_advertisement(text: str, words: str) -> None:
    with pytest.raises(NoAdvert, match=words.replace("[", r"\[")):
        from_line(text.encode())


def test_captures_with_and_without_stamps() -> None:
    assert stamped(line(5.0) + b"\n" + line(7.5))[1][0] == 2.5  # type: ignore[index]
    assert stamped(encode(Advert(address=ADDRESS))) is None
    assert stamped(b"") is None
    assert stamped(b"\xff\xfe\x00\x01") is None
    assert stamped(b"x" * 200_000) is None, "a cell that csv refuses"
    table = stamped(b"time;mac;rssi;gateway\n1628006903928;c47c8d6a1107;-70;pi\n1628006902928;c47c8d6a1107;-71;pi\n")
    assert table is not None
    assert [t_s for t_s, _ in table] == [0.0, 1.0]  # milliseconds, and put in order
    assert from_line(table[0][1]).rssi_dbm == -71
    assert [t_s for t_s, _ in stamped(b"mac,rssi\nc47c8d6a1107,-70\nc47c8d6a1107,-71\n") or []] == [0.0, 1.0]


def replayed(file: Path, **config: Any) -> list[dict[str, Any]]:
    if not file.exists():
        pytest.skip(f"the recording {file} is not on this machine")
    replay = Replay(Ble, BleConfig(**config), file, instance="ble")
    records = list(replay.records())
    assert replay.whole
    return records


def test_a_recorded_walk_past_twelve_receivers() -> None:
    """Every packet of it, per receiver, and none marked as frozen; two of them claim +29 dBm and are left out (B43)."""
    file = DATA / "ble_tracks" / "straight_05_all_sensors.mbd"
    records = replayed(file, devices={"beacon": Device(address="e78f135624ce")}, rssi_interval_s=0.0)
    strengths = [one for one in records if one.get("property", "").startswith("rssi_")]
    wanted = [row.split(",") for row in file.read_text().splitlines()]
    assert len({one["property"] for one in strengths}) == 12
    for receiver in {row[1] for row in wanted}:
        got = [one["value"] for one in strengths if one["property"] == f"rssi_{receiver}_dbm"]
        assert sorted(got) == sorted(int(row[3]) for row in wanted
                                     if row[1] == receiver and usable_rssi(int(row[3])))
    assert not any("quality" in one for one in strengths)


def test_a_recorded_flat_with_six_receivers() -> None:
    records = replayed(DATA / "ble_flat" / "calibration_df.csv", devices={"robot": Device(local_name="tag")})
    strengths = [one for one in records if one.get("node") == "robot"]
    assert {one["property"] for one in strengths} == {f"rssi_{number}_dbm" for number in range(1, 7)}
    assert len(strengths) > 8000
    assert all(-110 < one["value"] < -20 and "quality" not in one for one in strengths)


def test_a_recorded_list_of_beacons_in_28_sectors() -> None:
    records = replayed(DATA / "ble_sectors" / "Tx0_first70.csv", devices={"phone": Device(badge_id="badge")})
    lists = [one["value"] for one in records if one.get("property") == "beacons"]
    assert len(lists) > 1800
    assert all(len(one) == 5 and list(one.values()) == sorted(one.values(), reverse=True) for one in lists)


def test_b53_torn_lines() -> None:
    """Cut, flipped and mixed lines: nothing is raised, what is wrong is counted, few lines are logged. A million of
    them: tests/plugins/ble/figures.py."""
    told = Lines()
    found, hours = over_rubbish(15_000, told)
    bad = values(found, "bad_adverts")[-1]
    assert 3000 < bad < 15_000
    assert len([text for text in told.of("warning", "error") if not text.startswith("degraded")]) < 62 * hours + 20
    strengths = values(found, "rssi_dbm")
    assert strengths
    assert all(-126 <= value <= 20 for value in strengths)


def over_rubbish(count: int, told: Lines) -> tuple[list[Reading | Node], float]:
    """The readings of so many damaged lines, and the hours that they take at the speed of a line."""
    dice = random.Random(55)
    good = [line(0), line(0, name="x", manufacturer={"ffff": "48421103580000070003c5", "004c": "0215aa"}),
            b'{"badge_id":"7","pi_id":"hall","badge_strength":-60,"beacons":{"1":-50,"2":null}}',
            b'{"event":"failed","receiver":"hci0","reason":"gone"}', line(0, service={"feaa": "20000ba4"})]
    lines = []
    for _ in range(count):
        data = bytearray(dice.choice(good))
        for _ in range(dice.randrange(4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        cut = dice.randrange(5) if dice.random() < 0.2 else 0
        lines.append(bytes(data[cut : dice.randrange(20, 200)]).replace(b"\n", b""))
    plugin = Ble(BleConfig(devices={"tag": Device(address=ADDRESS), "badge": Device(badge_id="7")}, interval_s=300.0))
    with io_over(b"\n".join(lines), told) as io:
        return list(plugin.run(io)), io.clock.monotonic_s() / 3600
