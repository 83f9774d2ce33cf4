"""What is inside an advertisement: the specifications' own examples, the badge's rules, and a great deal of rubbish."""

from __future__ import annotations

import random

import pytest

from plugins.ble.adverts import Advert, Badge, short_uuid, tidy_address, usable_rssi
from plugins.ble.dedup import Dedup
from plugins.ble.payloads import BadPayload, Decoded, badge, checked, decode, encode_badge
from plugins.ble.settings import Device, Names


def said(manufacturer: dict[str, str] | None = None, service: dict[str, str] | None = None, **more: object) -> Decoded:
    return decode(Advert(address="A", manufacturer=manufacturer or {}, service=service or {}, **more), "ffff", 5)


def test_ibeacon() -> None:
    found = said({"004c": "0215e2c56db5dffb48d2b060d0f5a71096e000050007c3"})
    assert found.ibeacon == "e2c56db5-dffb-48d2-b060-d0f5a71096e0/5/7"
    assert found.values == {"ibeacon": found.ibeacon, "power_at_1m_dbm": -61}


def test_another_message_of_the_same_company_is_no_ibeacon() -> None:
    found = said({"004c": "10050b1c6a0e22"})
    assert found.ibeacon is None
    assert found.values == {"manufacturer_data": "004c:10050b1c6a0e22"}


def test_eddystone() -> None:
    assert said(service={"feaa": "00e7" + "8b0ca750e7a7e14eb78a" + "000000000001"}).values == {
        "eddystone_uid": "8b0ca750e7a7e14eb78a000000000001", "power_at_0m_dbm": -25}
    assert said(service={"feaa": "10eb00" + b"physical-web".hex() + "01"}).values == {
        "eddystone_url": "http://www.physical-web.org/"}
    assert said(service={"feaa": "2000" + "0c1c" + "1900" + "00000102" + "00000fa0"}).values == {
        "battery_voltage_v": 3.1, "temperature_c": 25.0, "sent_adverts": 258, "beacon_uptime_s": 400}
    assert said(service={"feaa": "2000" + "0c1c" + "f680" + "00000102" + "00000fa0"}).values["temperature_c"] == -9.5


def test_b43_a_beacon_without_sensors_says_nothing_of_them() -> None:
    """8000 and 0 are the specification's words for "not supported", and no -128 C and 0 V."""
    found = said(service={"feaa": "20000000800000000102" + "00000fa0"}).values
    assert set(found) == {"sent_adverts", "beacon_uptime_s"}


@pytest.mark.parametrize(("manufacturer", "service", "words"), [
    ({"004c": "0215e2c56db5"}, {}, "iBeacon of 6 bytes, expected 23"),
    ({"ffff": "4842"}, {}, "badge list of 2 bytes, its head alone has 8"),
    ({"ffff": "4842250000000007"}, {}, "version 2, this program reads 1"),
    ({"ffff": "48421200000000070001c5"}, {}, "11 bytes cannot hold 2 beacons"),
    ({"ffff": "zz"}, {}, "data of ffff is no hex: 'zz'"),
    ({}, {"feaa": "00e78b"}, "Eddystone UID of 3 bytes"),
    ({}, {"feaa": "2000ffff"}, "Eddystone TLM of 4 bytes"),
    ({}, {"feaa": "10eb09aabb"}, "no known start"),
    ({}, {"feaa": "10eb0061ff"}, "reserved byte ff"),
    ({}, {"feaa": "77"}, "frame type 77 is unknown"),
    ({}, {"feaa": ""}, "frame type missing"),
])
def test_what_claims_to_be_something_and_is_not(manufacturer: dict[str, str], service: dict[str, str], words: str
                                                ) -> None:
    found = said(manufacturer, service)
    assert words in (found.bad or "")
    assert found.values == {}


def test_one_bad_part_does_not_spoil_the_other() -> None:
    found = said({"004c": "0215e2"}, {"feaa": "00e7" + "8b0ca750e7a7e14eb78a" + "000000000001" + "0000"})
    assert found.bad is not None
    assert found.eddystone_uid == "8b0ca750e7a7e14eb78a000000000001"


# --- the badge's list -----------------------------------------------------------------------------------------


def test_badge_there_and_back() -> None:
    list_ = Badge("7", {"3": -59, "65535": -127}, motion=True, button=False, battery_pct=88)
    assert badge(encode_badge(list_)) == list_
    assert badge(encode_badge(Badge("9", {}))) == Badge("9", {}, motion=False, button=False)
    assert len(encode_badge(Badge("7", {str(n): -50 for n in range(5)}))) <= 24  # 31, less flags and AD head


def test_the_strongest_five_in_order_without_those_not_heard() -> None:
    list_ = Badge("7", {"a": -80, "b": -50, "c": -128, "d": -60, "e": -90, "f": -70, "g": -85})
    assert list(checked(list_, 5).beacons.items()) == [("b", -50), ("d", -60), ("f", -70), ("a", -80), ("g", -85)]
    assert checked(Badge("7", {"c": -128}), 5).beacons == {}


@pytest.mark.parametrize("rssi", [0, 21, 127, -129])
def test_a_strength_that_cannot_be_one_refuses_the_list(rssi: int) -> None:
    with pytest.raises(BadPayload, match=f"beacon 1 at {rssi} dBm"):
        checked(Badge("7", {"1": rssi, "2": -60}), 5)


def test_dedup_edges() -> None:
    """The same list is new again 5.5 s after it was accepted, not after it was last heard."""
    dedup = Dedup(5.5)
    key = ("7", (("1", -50),))
    assert [dedup.new(key, t_s) for t_s in (0.0, 5.4, 5.49, 5.6, 11.0, 11.2)] == [True, False, False, True, False, True]
    assert dedup.new(("7", (("1", -51),)), 11.2)
    assert dedup.new(("8", (("1", -50),)), 11.2)
    assert dedup.repeats == 3


def test_dedup_forgets() -> None:
    dedup = Dedup(5.5)
    for number in range(100_000):
        dedup.new(number, number * 0.01)
    assert len(dedup) <= 551
    assert [Dedup(0).new("a", 0.0), Dedup(0).new("a", 0.0)] == [True, True]


# --- whose it is ----------------------------------------------------------------------------------------------


def test_signs_from_the_finest_to_the_coarsest() -> None:
    uuid = "e2c56db5-dffb-48d2-b060-d0f5a71096e0"
    names = Names({"all": Device(ibeacon=uuid.upper()), "five": Device(ibeacon=f"{uuid}/5"),
                   "seven": Device(ibeacon=f"{uuid}/5/7"), "me": Device(local_name="me")})

    def whose(major: int, minor: int) -> str | None:
        advert = Advert(address="A", name="me")
        return names.sign("A", advert, Decoded(ibeacon=f"{uuid}/{major}/{minor}"), "", 0.0)

    assert [whose(5, 7), whose(5, 8), whose(6, 7)] == ["seven", "five", "all"]


def test_an_address_is_known_for_a_while_by_what_it_said() -> None:
    names = Names({"cellar": Device(eddystone_uid="00" * 16)})
    advert, uid, telemetry = Advert(address="A"), Decoded(eddystone_uid="00" * 16), Decoded()
    assert names.sign("A", advert, telemetry, "", 0.0) is None
    assert names.sign("A", advert, uid, "", 1.0) == "cellar"
    assert names.sign("A", advert, telemetry, "", 300.0) == "cellar"
    assert names.sign("B", advert, telemetry, "", 300.0) is None
    assert names.sign("A", advert, telemetry, "", 302.0) is None


def test_addresses_and_uuids_as_people_write_them() -> None:
    assert {tidy_address(text) for text in ("c47c8d6a1107", "C4:7C:8D:6A:11:07", " c4-7c-8d-6a-11-07")} == {
        "C4:7C:8D:6A:11:07"}
    assert tidy_address("beacon1") == "beacon1"
    assert short_uuid("0000FEAA-0000-1000-8000-00805F9B34FB") == "feaa"
    assert [rssi for rssi in (None, -200, -128, -127, -126, -1, 0, 20, 21, 127) if usable_rssi(rssi)] == [-126, -1, 20]


def test_b53_rubbish_raises_nothing_and_invents_nothing() -> None:
    """Random bytes in the places of payloads, and flipped bits in good ones: a list comes out whole or not at all."""
    dice = random.Random(53)
    good = encode_badge(Badge("7", {"3": -59, "4": -70}, battery_pct=50))
    lists = 0
    for _ in range(30_000):
        data = bytearray(good if dice.random() < 0.5 else b"HB" + dice.randbytes(dice.randrange(24)))
        for _ in range(dice.randrange(3)):
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        found = said({"ffff": bytes(data[: dice.randrange(1, 40)]).hex(), "004c": "0215" + dice.randbytes(3).hex()},
                     {"feaa": dice.randbytes(dice.randrange(21)).hex()})
        if found.badge is not None:
            lists += 1
            assert len(found.badge.beacons) <= 5
            assert all(-127 <= rssi <= 20 and rssi != 0 for rssi in found.badge.beacons.values())
    assert lists > 1000
