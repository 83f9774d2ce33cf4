"""Recorded meters: every frame with a right checksum is accepted at any chunking, none with a wrong one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from plugins.power_meter.captures import wire_bytes
from plugins.power_meter.dsmr import DsmrCodec, Telegram
from plugins.power_meter.dsmr_values import content
from plugins.power_meter.frames import Garbage
from plugins.power_meter.pzem import PzemCodec, Sample
from plugins.power_meter.sml import SmlCodec, ValueList
from plugins.power_meter.teleinfo import Frame, TeleinfoCodec
from tests.plugins.power_meter.damage import flip, telegrams, with_parity

DATA = Path(__file__).parents[3] / "../shared/data"
recorded = pytest.mark.skipif(not DATA.exists(), reason=f"no recordings in {DATA}")
STEPS = (1, 7, 4096)


def events(codec, data: bytes, step: int) -> list:
    out = []
    for start in range(0, len(data), step):
        out += codec.feed(data[start : start + step])
    return out + codec.finish()


def capture(name: str) -> bytes:
    return wire_bytes((DATA / name).read_bytes())


@recorded
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("file", "frames", "groups"), [
    ("continuous_linky_1P_standard_TIC_sample.bin", 12, 456),
    ("continuous_linky_3P_historical_TIC_sample.bin", 6, 96),
    ("captured_frames.txt", 10, 160),
])
def test_teleinfo_recordings(file: str, frames: int, groups: int, step: int) -> None:
    found = events(TeleinfoCodec(), capture(f"tic/{file}"), step)
    whole = [event for event in found if isinstance(event, Frame) and event.whole]
    assert not [event for event in found if isinstance(event, Garbage)]
    assert (len(whole), sum(len(frame.groups) for frame in whole)) == (frames, groups)


@recorded
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("file", "lines", "crc"), [
    ("V2_2", 16, False), ("V3", 16, False), ("V4_2", 33, True), ("V5", 37, True), ("V5_TWO_MBUS", 38, True),
])
def test_dsmr_recordings(file: str, lines: int, crc: bool, step: int) -> None:
    found = events(DsmrCodec(), capture(f"dsmr/TELEGRAM_{file}.txt"), step)
    assert [(len(event.lines), event.crc) for event in found if isinstance(event, Telegram)] == [(lines, crc)]
    values = content(found[0])
    assert not values.malformed and not values.unknown
    assert values.children


@recorded
@pytest.mark.parametrize("version", ["V4_2", "V5", "V5_TWO_MBUS"])
def test_no_p1_telegram_with_one_wrong_bit_is_accepted(version: str) -> None:
    clean = capture(f"dsmr/TELEGRAM_{version}.txt")
    for bit in range(0, len(clean) * 8, 11):
        damaged = bytearray(clean)
        damaged[bit // 8] ^= 1 << bit % 8
        found = [event for event in events(DsmrCodec(), bytes(damaged), 4096) if isinstance(event, Telegram)]
        # an end of line is not part of the CRC; and the CRC's own digits may change case
        assert not found or (bit // 8 > clean.rindex(b"!") and found == events(DsmrCodec(), clean, 4096)), bit


@recorded
def test_p1_with_lf_only_is_made_whole_again() -> None:
    clean = capture("dsmr/TELEGRAM_V5.txt")
    assert wire_bytes(clean.replace(b"\r\n", b"\n")) == clean


@recorded
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("file", sorted(path.name for path in (DATA / "sml").glob("*.bin")))
def test_sml_reads_every_value_that_smllib_reads(file: str, step: int) -> None:
    smllib = pytest.importorskip("smllib", reason="SmlLib is the oracle here: pip install hutkeeper[test]")
    data = (DATA / "sml" / file).read_bytes()
    oracle, reader = [], smllib.SmlStreamReader()
    reader.add(data)
    while True:
        try:
            frame = reader.get_frame()
        except smllib.errors.CrcError:
            continue
        if frame is None:
            break
        oracle.append([(str(e.obis), e.value, e.unit, e.scaler or 0) for e in frame.get_obis()])
    whole = [event for event in events(SmlCodec(), data, step) if isinstance(event, ValueList) and event.whole]
    assert len(whole) == len(oracle)
    for ours, theirs in zip(whole, oracle, strict=True):
        have = {(entry.obis.hex(), _as_smllib(entry.value), entry.unit, entry.scaler) for entry in ours.entries}
        assert {(obis, value, unit or None, scaler) for obis, value, unit, scaler in theirs} <= {
            (obis, value, unit or None, scaler) for obis, value, unit, scaler in have}


def _as_smllib(value: object) -> object:
    if not isinstance(value, bytes):
        return value
    return value.decode() if value.isascii() and value.decode().isprintable() else value.hex()


@recorded
def test_sml_reads_more_than_whole_files() -> None:
    """EasyMeter: three files are damaged, in two of them the list is not; and it begins in the middle of one."""
    found = events(SmlCodec(), (DATA / "sml/EasyMeter_Q3A_A1064V1009.bin").read_bytes(), 7)
    lists = [event for event in found if isinstance(event, ValueList)]
    assert (len(lists), sum(event.whole for event in lists)) == (6, 4)
    assert len({event.server_id for event in lists}) == 1


@recorded
@pytest.mark.parametrize("step", STEPS)
def test_pzem_recordings_decode_exactly(step: int) -> None:
    found = events(PzemCodec(), capture("pzem/frames.csv"), step)
    assert [(s.voltage_v, s.phase_current_a, s.active_power_w, s.energy_wh, s.frequency_hz, s.power_factor, s.overload)
            for s in found if isinstance(s, Sample)] == [
        (225.9, 0.035, 0.5, 2, 50.1, 0.06, False), (225.7, 0.108, 24.4, 38, 50.0, 1.0, False),
        (220.2, 0.041, 1.8, 237, 59.9, 0.2, False)]
    assert not [event for event in found if isinstance(event, Garbage)]


CODECS = {"teleinfo historic": TeleinfoCodec, "teleinfo standard": TeleinfoCodec, "dsmr 5": DsmrCodec,
          "dsmr 2.2": DsmrCodec, "sml": SmlCodec, "pzem": PzemCodec}


@pytest.mark.parametrize("rate", [0.0, 0.0001, 0.01])
@pytest.mark.parametrize("name", CODECS)
def test_chunking_does_not_matter_even_on_a_bad_line(name: str, rate: float) -> None:
    rng = random.Random(5)
    data = b"".join(flip(telegram, rate, rng) for _, telegram in telegrams(name, 20))
    wanted = events(CODECS[name](), data, len(data))
    good = [event for event in wanted if not isinstance(event, Garbage)]
    for step in STEPS:
        assert [e for e in events(CODECS[name](), data, step) if not isinstance(e, Garbage)] == good
    assert good if rate < 0.001 else True


@pytest.mark.parametrize("name", ["teleinfo historic", "teleinfo standard", "dsmr 2.2"])
def test_parity_bits_are_masked_when_right_and_refused_when_wrong(name: str) -> None:
    """A 7E1 line that is read as 8N1 carries its parity in bit 7: every single flip is then seen."""
    clean = b"".join(telegram for _, telegram in telegrams(name, 3))
    wanted = events(CODECS[name](), clean, 100)
    assert events(CODECS[name](), with_parity(clean), 100) == wanted
    rng = random.Random(1)
    said = {group for event in wanted for group in _parts(event)}
    for _ in range(200):
        damaged = bytearray(with_parity(clean))
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        assert {group for event in events(CODECS[name](), bytes(damaged), 100) for group in _parts(event)} <= said


def _parts(event: object) -> list:
    if isinstance(event, Frame):
        return list(event.groups)
    if isinstance(event, ValueList):  # one out of a damaged file says the same, but is not whole
        return list(event.entries)
    return [event] if isinstance(event, Telegram) else []


@pytest.mark.parametrize("name", CODECS)
def test_B53_serial_garbage_raises_nothing_and_says_nothing(name: str) -> None:
    """FAULTS B53: noise, cuts and flips; the codec goes on, and what it accepts is what the meter sent."""
    rng = random.Random(9)
    clean = [telegram for _, telegram in telegrams(name, 30)]
    said = {repr(part) for event in events(CODECS[name](), b"".join(clean), 4096) for part in _parts(event) or [event]}
    stream = b""
    for telegram in clean:
        cut = telegram[: rng.randrange(len(telegram))] if rng.random() < 0.3 else telegram
        stream += rng.randbytes(rng.randrange(40)) + cut
    found = events(CODECS[name](), stream, 13)
    good = [part for event in found if not isinstance(event, Garbage) for part in (_parts(event) or [event])]
    assert good and {repr(part) for part in good} <= said
    noise = rng.randbytes(200_000)
    assert not [e for e in events(CODECS[name](), noise, 997) if isinstance(e, (Telegram, ValueList, Sample))]
