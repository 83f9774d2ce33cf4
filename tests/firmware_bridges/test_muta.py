"""The MUTA codec: every value there and back, any portions, garbage between frames."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridges.muta import (
    OPERATOR,
    BadFrame,
    Decoder,
    Garbage,
    Info,
    Kind,
    Ping,
    PowerTest,
    Register,
    RegisterAnswer,
    Reset,
    Unit,
    Update,
    ValueField,
    address_text,
    decode_field,
    encode_field,
    encode_like,
    parse_frame,
    parse_order,
    report,
    to_host,
    to_unit,
)

A = b"\x34\x12"
TMP = ValueField("Tmp", 20.5, Kind.FIXED16, Unit.CELSIUS)
UPF = ValueField("UpF", 5, Kind.UINT8, Unit.MINUTE, writable=True)
MESSAGES = [PowerTest(3), PowerTest(3, 41), Register("1a2b3c4d", True), Ping(), Update(()), Update((TMP, UPF), False)]


def test_a_report_byte_by_byte_as_the_house_description_has_it() -> None:
    frame = bytes.fromhex("4d 34 12 04 ff 54 6d 70 81 32 14 55 70 46 14 05".replace(" ", "")) + bytes(48)
    assert parse_frame(frame) == (A, Update((TMP, UPF)))
    assert to_host(A, Update((TMP, UPF))) == frame
    assert parse_frame(frame[:16]) == (A, Update((TMP, UPF))), "HID drivers may leave the zeros out"
    assert address_text(A) == "1234"


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_messages_come_back_as_they_went(message: object) -> None:
    assert parse_frame(to_host(A, message)) == (A, message)  # type: ignore[arg-type]


@pytest.mark.parametrize("message", [
    Update((TMP, UPF)), RegisterAnswer(True, b"\x12\x34"), RegisterAnswer(False, b"\0\0")])
def test_orders_come_back_as_they_went(message: object) -> None:
    assert parse_order(to_unit(A, message)) == (A, message)  # type: ignore[arg-type]


def test_reset_and_text() -> None:
    assert to_unit(OPERATOR, Reset()) == b"X" + bytes(63) and parse_order(to_unit(OPERATOR, Reset())) == (b"", Reset())
    assert parse_frame(to_host(b"", Info("ready"))) == (b"", Info("ready"))


@pytest.mark.parametrize("data, value", [
    ("54 6d 70 a1 32 fd", -2.5),  # signed: whole part less 256
    ("54 6d 70 21 ec", -20),
    ("56 62 31 42 d0 0c", 3280),  # uint16, low byte first
    ("42 74 6e c0 ff", True),
    ("42 74 6e c0 f0", False),
])
def test_values(data: str, value: float) -> None:
    field, end = decode_field(bytes.fromhex(data), 0)
    assert field.value == value and type(field.value) is type(value) and end == len(bytes.fromhex(data))
    assert encode_field(field) == bytes.fromhex(data)


def test_what_the_program_of_2016_wrote() -> None:
    swapped = encode_field(ValueField("Abc", 0x1234, Kind.UINT16, Unit.NONE, writable=True), swapped=True)
    assert swapped == bytes.fromhex("416263 50 1234")


@given(st.sampled_from(list(Kind)), st.booleans(), st.booleans(), st.sampled_from(list(Unit)), st.integers(0, 65535))
def test_every_value_there_and_back(kind: Kind, signed: bool, writable: bool, unit: Unit, raw: int) -> None:
    if kind is Kind.BOOL:
        field = ValueField("Abc", bool(raw & 1), kind, Unit.NONE, False, writable)
    elif kind is Kind.FIXED16:
        value = raw % 25600 / 100 - (128 if signed else 0)
        field = ValueField("Abc", round(value, 2), kind, unit, signed, writable)
    else:
        top = 256 if kind is Kind.UINT8 else 65536
        field = ValueField("Abc", raw % top - (top // 2 if signed else 0), kind, unit, signed, writable)
    assert decode_field(encode_field(field), 0)[0] == field
    assert encode_like(field, field.value) == encode_field(field._replace(writable=True))


@pytest.mark.parametrize("field", [
    UPF._replace(value=256), UPF._replace(value=-1), UPF._replace(value=2.5), TMP._replace(value=300),
    ValueField("Abc", 1, Kind.BOOL, Unit.NONE), UPF._replace(label="Up"), UPF._replace(label="Ü12")])
def test_what_does_not_fit_is_refused(field: ValueField) -> None:
    with pytest.raises(ValueError):
        encode_field(field)


@pytest.mark.parametrize("frame, why", [
    ("4d 34 12 04 ff 54 6d 70 81 64 14", "100 hundredths"),
    ("4d 34 12 04 ff 54 6d 70 89 32 14", "unit 9"),
    ("4d 34 12 04 fe 54 6d 70 81 32 14", "last flag"),
    ("4d 34 12 04 ff 54 6d 70 81 32 14 54 6d 70 81 32 14", "a label twice"),
    ("4d 34 12 04 ff 54 6d 07 81 32 14", "label"),
    ("4d 34 12 05 ff", "command 0x05"),
    ("4d 34 12 02 1a 2b 3c 4d 0f", "sleeping 0x0f"),
    ("4d 34 12 03 00 00 01", "something behind"),
    ("4d 34 12 01 08", "power level 8"),
    ("49 61 62 80", "text"),
    ("51", "header 0x51"),
])
def test_a_frame_that_breaks_a_rule_is_none(frame: str, why: str) -> None:
    with pytest.raises(BadFrame, match=why):
        parse_frame(bytes.fromhex(frame))


WIRE = b"".join(to_host(A, message) for message in MESSAGES) + to_host(b"", Info("hello"))


@pytest.mark.parametrize("step", [1, 7, 63, 64, 4096])
def test_portions_do_not_matter(step: int) -> None:
    decoder = Decoder()
    found = [item for at in range(0, len(WIRE), step) for item in decoder.feed(WIRE[at : at + step])]
    assert found == [*((A, message) for message in MESSAGES), (b"", Info("hello"))] and not decoder.finish()


def test_B53_noise_and_torn_frames_cost_only_themselves() -> None:
    decoder, rng = Decoder(), random.Random(5)
    got = 0
    for _ in range(300):
        noise = rng.randbytes(rng.randrange(30))
        torn = to_host(A, Update((TMP,)))[: rng.randrange(64)] if rng.random() < 0.3 else b""
        found = decoder.feed(noise + torn)
        found += decoder.finish()  # the line falls silent
        assert all(isinstance(item, Garbage) for item in found)
        assert sum(item.size for item in found if isinstance(item, Garbage)) == len(noise + torn)
        got += sum(item == (A, Update((TMP,))) for item in decoder.feed(to_host(A, Update((TMP,)))))
    assert got == 300


def test_a_lost_byte_costs_one_frame_of_a_stream_without_pauses() -> None:
    frame = to_host(A, Update((TMP, UPF)))
    decoder = Decoder()
    found = decoder.feed(frame + frame[:20] + frame[21:] + frame * 3) + decoder.finish()
    assert sum(isinstance(item, tuple) and not isinstance(item, Garbage) for item in found) == 4


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything(data: bytes) -> None:
    decoder = Decoder()
    found = decoder.feed(data) + decoder.finish()
    frames = sum(not isinstance(item, Garbage) for item in found)
    assert sum(item.size for item in found if isinstance(item, Garbage)) + 64 * frames == len(data)


@given(st.binary(max_size=70))
def test_any_hid_report_is_a_message_or_a_bad_frame(data: bytes) -> None:
    for parse in (parse_frame, parse_order):
        try:
            parse(data)
        except BadFrame:
            continue


def test_a_report_has_room_for_64_bytes() -> None:
    with pytest.raises(ValueError, match="65 bytes"):
        report(bytes(65))
