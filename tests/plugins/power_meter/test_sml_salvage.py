"""Damaged SML: what is kept of a file, and what is not believed although one CRC is right."""

from __future__ import annotations

import pytest

from plugins.power_meter import crc, sim_wire
from plugins.power_meter.meters import Believed, SmlMeter
from plugins.power_meter.sim_house import House
from plugins.power_meter.sml import ESCAPE, SmlCodec, ValueList, message, salvage
from tests.plugins.power_meter.damage import START_S

HOUSE = House(1, 3)


def file(second: int) -> bytes:
    return sim_wire.sml(HOUSE.at(START_S + second), second)


def resealed(payload: bytes) -> bytes:
    """A file around ``payload`` with right CRC: what a meter with a bug in its encoder sends."""
    fill = -len(payload) % 4
    text = ESCAPE + b"\x01" * 4 + payload + b"\x00" * fill + ESCAPE + bytes((0x1A, fill))
    return text + crc.x25(text).to_bytes(2, "little")


def broken_at_its_end(second: int) -> bytes:
    data = bytearray(file(second))
    data[-1] ^= 0x20
    return bytes(data)


def values(meter: SmlMeter, data: bytes, t_s: float) -> dict[str, object]:
    return {found.measured.property: found.measured.value for found in meter.feed(data, t_s)
            if isinstance(found, Believed)}


def test_a_list_with_its_own_crc_outlives_its_file() -> None:
    meter = SmlMeter()
    whole = values(meter, file(0), 0.0)
    assert values(meter, broken_at_its_end(1), 1.0).keys() == whole.keys()
    assert meter.outcomes.bad_total == 1


@pytest.mark.parametrize("offset", range(60, 330, 15))
def test_a_damaged_list_is_not_kept(offset: int) -> None:
    data = bytearray(file(1))
    data[offset] ^= 0x04
    lists = [event for event in SmlCodec().feed(bytes(data)) if isinstance(event, ValueList)]
    clean = [event for event in SmlCodec().feed(file(1)) if isinstance(event, ValueList)]
    assert [event.entries for event in lists] in ([], [clean[0].entries])


def test_a_stray_list_of_another_meter_is_not_believed() -> None:
    meter = SmlMeter()
    values(meter, file(0), 0.0)
    other = broken_at_its_end(1).replace(b"\x0a\x01SKL", b"\x0a\x01XXX")
    payload = other[8 : other.rindex(ESCAPE)]
    _, first = message(payload, 0, check=False)
    _, end = message(payload, first, check=False)
    sealed = payload[first : end - 4]
    stray = sealed + b"\x63" + crc.x25(sealed).to_bytes(2, "little") + b"\x00"
    assert [event.server_id[2:5] for event, _ in salvage(stray)] == [b"XXX"]
    assert values(meter, stray + file(1)[:8] * 2, 1.0) == {}


def test_a_stray_list_whose_counter_runs_back_is_not_believed() -> None:
    meter = SmlMeter()
    values(meter, file(3600), 0.0)
    assert values(meter, broken_at_its_end(0), 1.0) == {}


def test_a_capture_that_begins_inside_a_file_loses_nothing_of_it() -> None:
    first = file(0)
    late = first[first.index(b"\x76", 40) :]
    meter = SmlMeter()
    assert values(meter, late, 0.0) == {}
    found = [item for item in meter.feed(file(1), 1.0) if isinstance(item, Believed)]
    assert {item.t_s for item in found} == {0.0, 1.0}


def with_lying_entry(second: int) -> bytes:
    """The frequency's OBIS code says five octets: the structure behind it does not fit, but every CRC is right."""
    data = file(second)
    payload = data[8 : data.rindex(ESCAPE)]
    _, first = message(payload, 0)
    _, second_end = message(payload, first)
    right, wrong = bytes.fromhex("770701000e0700ff"), bytes.fromhex("770601000e0700ff")
    lying = payload[first : second_end - 4].replace(right, wrong)
    sealed = lying + b"\x63" + crc.x25(lying).to_bytes(2, "little") + b"\x00"
    return resealed(payload[:first] + sealed + payload[second_end:].rstrip(b"\0") + b"\0")


def test_an_entry_that_cannot_be_read_costs_that_entry_only() -> None:
    found = [event for event in SmlCodec().feed(with_lying_entry(0)) if isinstance(event, ValueList)]
    clean = [event for event in SmlCodec().feed(file(0)) if isinstance(event, ValueList)]
    assert [entry.code for entry in found[0].entries] == [
        entry.code for entry in clean[0].entries if entry.code != "1-0:14.7.0*255"]
    assert (found[0].whole, found[0].skipped) == (True, 1)


def test_one_right_crc_of_two_is_not_enough_at_once() -> None:
    """The file's CRC is right, its list's is not: believed when the same list comes again."""
    def half_right(second: int) -> bytes:
        data = file(second)
        payload = data[8 : data.rindex(ESCAPE)]
        _, first = message(payload, 0)
        _, end = message(payload, first)
        wrong = bytes((payload[end - 3] ^ 1,))
        return resealed(payload[: end - 3] + wrong + payload[end - 2 :].rstrip(b"\0") + b"\0")

    meter = SmlMeter()
    assert values(meter, half_right(0), 0.0) == {}
    assert values(meter, half_right(1), 1.0)["frequency_hz"] == 50.0


def test_escapes_in_the_data_are_undone() -> None:
    meter_id = bytes.fromhex("0a01534b4c0004112233")
    data = file(0)
    payload = data[8 : data.rindex(ESCAPE)]
    _, first = message(payload, 0)
    _, end = message(payload, first)
    body = payload[first : end - 4].replace(meter_id, bytes.fromhex("0a01534b4c1b1b1b1b33"))
    sealed = body + b"\x63" + crc.x25(body).to_bytes(2, "little") + b"\x00"
    escaped = sealed.replace(ESCAPE, ESCAPE * 2)
    found = [event for event in SmlCodec().feed(resealed(escaped)) if isinstance(event, ValueList)]
    assert [event.server_id.hex() for event in found] == ["0a01534b4c1b1b1b1b33"]


def test_holley_sends_kermit_where_x25_is_due() -> None:
    data = file(0)
    body = data[:-2]
    swapped = body + crc.kermit(body).to_bytes(2, "little")
    assert [event.whole for event in SmlCodec().feed(swapped) if isinstance(event, ValueList)] == [True]
