"""SMS units against 96 vectors that are not ours, and against every text that Hypothesis thinks of."""

from __future__ import annotations

import configparser
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.modem import gsm7, pdu, pdu_in

VECTORS = Path(__file__).resolve().parents[4] / "shared/data/sms_encode"
AT = datetime(2026, 11, 26, 18, 5, 9, tzinfo=UTC)

narrow = st.text(st.sampled_from([*gsm7.BASIC.replace("\x1b", ""), *gsm7.EXTENSION]), max_size=700)
wide = st.text(st.one_of(st.sampled_from("aé€[]Ж中😀🏠👩‍🚒"), st.characters(exclude_categories=["Cs"])), max_size=300)


def vectors() -> list[Path]:
    if not VECTORS.is_dir():
        pytest.skip(f"{VECTORS} is absent: the vectors are not part of this project")
    return sorted(VECTORS.glob("*.backup"))


def test_all_96_vectors_are_byte_equal() -> None:
    """NN.backup is the message, NN.dump its one unit: of a text that is too long, what fits. With a time it is a
    message that came (SMS-DELIVER), else one to send."""
    wrong, kinds = [], set()
    for path in vectors():
        book = configparser.ConfigParser()
        book.read_string(path.read_text("latin-1"))
        message = {key: value.strip('"') for key, value in book["SMSBackup000"].items()}
        text = "".join(bytes.fromhex(message[key]).decode("utf-16-be") for key in sorted(message) if
                       key.startswith("text"))
        alphabet = "ucs2" if message["coding"] == "Unicode" else "gsm7"
        part = pdu.split(text[: 70 if alphabet == "ucs2" else 160], 0, alphabet)[0]
        if "sent" in message:
            at = datetime.strptime(message["sent"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
            unit = pdu_in.deliver(message["number"], part, at, smsc=message["smsc"])
        else:
            unit = pdu.submit(message["number"], part, smsc=message["smsc"])
        kinds.add((alphabet, "sent" in message))
        if unit.hex().upper() != path.with_suffix(".dump").read_text().strip():
            wrong.append(path.name)
    assert wrong == [] and len(vectors()) == 96 and len(kinds) == 4


@given(text=st.one_of(narrow, wide), reference=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_every_text_comes_back_whole_out_of_its_parts(text: str, reference: int) -> None:
    parts = pdu.split(text, reference)
    assert pdu_in.text_of(_through(parts, reference)) == text
    for part in parts:
        assert len(pdu.submit("+33612345678", part)) <= 7 + 9 + 141
        assert pdu_in.text_of([part]) == gsm7.decode(part.units) if part.alphabet == "gsm7" else "�" not in (
            pdu_in.text_of([part])) or "�" in text, "a part is not readable alone"


def _through(parts: list[pdu.Part], reference: int) -> list[pdu.Part]:
    """As the network hands them on, and put into order."""
    came = [pdu_in.read(pdu_in.deliver("+33612345678", part, AT)) for part in reversed(parts)]
    assert all(isinstance(one, pdu_in.Deliver) and one.sender == "+33612345678" and one.sent_at == AT for one in came)
    if len(parts) > 1:
        assert {one.concatenation for one in came} == {
            (reference, len(parts), number) for number in range(1, len(parts) + 1)}
    return [one.part for one in reversed(came)]


@pytest.mark.parametrize(("text", "lengths"), [
    ("a" * 160, [160]), ("a" * 161, [153, 8]), ("a" * 306, [153, 153]),
    ("a" * 152 + "€" + "b" * 10, [152, 12]), ("a" * 151 + "[" + "b" * 10, [153, 10]),
    ("é" * 159 + "€", [153, 8]), ("Ж" * 70, [70]), ("Ж" * 71, [67, 4]), ("Ж" * 66 + "😀" + "Ж" * 9, [66, 11]),
])
def test_no_part_ends_within_a_character(text: str, lengths: list[int]) -> None:
    parts = pdu.split(text, 7)
    assert [len(part.units) for part in parts] == lengths
    assert pdu_in.text_of(parts) == text


def test_a_character_that_a_careless_sender_cut_in_two_is_whole_again() -> None:
    narrow_parts = [pdu.Part("gsm7", b"", (97, 0x1B)), pdu.Part("gsm7", b"", (0x65, 98))]
    high, low = pdu.split("😀", 0)[0].units
    wide_parts = [pdu.Part("ucs2", b"", (0x416, high)), pdu.Part("ucs2", b"", (low,))]
    assert pdu_in.text_of(narrow_parts) == "a€b" and pdu_in.text_of(wide_parts) == "Ж😀"
    assert pdu_in.text_of([*narrow_parts, *wide_parts, pdu.Part("binary", b"", (1, 255))]) == "a€bЖ😀01ff"


@given(number=st.one_of(st.from_regex(r"\+?[0-9*#]{3,20}", fullmatch=True), st.sampled_from(["Free", "Free SA", "É€"])))
def test_addresses_come_back(number: str) -> None:
    came = pdu_in.read(pdu_in.deliver(number, pdu.split("x", 0)[0], AT))
    assert came.sender == number


@given(status=st.integers(0, 255), reference=st.integers(0, 255))
def test_reports_say_delivered_trying_or_failed(status: int, reference: int) -> None:
    came = pdu_in.read(pdu_in.status_report(reference, "+33612345678", status, AT))
    assert came == (reference, "+33612345678", status, AT, AT)
    assert came.outcome == ("delivered" if status < 32 else "trying" if status < 64 else "failed")


@given(data=st.binary(max_size=200))
@settings(max_examples=400)
def test_garbage_raises_our_error_and_no_other(data: bytes) -> None:
    try:
        came = pdu_in.read(data)
    except pdu_in.BadPdu as error:
        assert "\n" not in str(error)
    else:
        if isinstance(came, pdu_in.Deliver):
            pdu_in.text_of([came.part])


@given(cut=st.integers(0, 60), flip=st.integers(0, 255))
def test_a_real_unit_cut_or_flipped_raises_our_error_or_is_read(cut: int, flip: int) -> None:
    unit = bytearray(pdu_in.deliver("+33612345678", pdu.split("Fuite d'eau dans la cuisine 😀", 1)[0], AT))
    unit[flip % len(unit)] ^= 1 << flip % 8
    try:
        pdu_in.read(bytes(unit[: max(1, len(unit) - cut)]))
    except pdu_in.BadPdu:
        return


def test_times_with_zones_and_times_that_are_none() -> None:
    unit = bytearray(pdu_in.deliver("+33612345678", pdu.split("x", 0)[0], datetime.fromisoformat(
        "2026-11-26T18:05:09-03:30")))
    assert pdu_in.rfc3339(pdu_in.read(bytes(unit)).sent_at) == "2026-11-26T21:35:09Z"
    unit[-9 + 1] = 0x99  # month 99
    assert pdu_in.read(bytes(unit)).sent_at is None and pdu_in.rfc3339(None) is None


@pytest.mark.parametrize("number", ["", "123456789012345678901", "not a number at all"])
def test_what_is_no_address_is_refused(number: str) -> None:
    with pytest.raises(ValueError, match="address"):
        pdu.address(number)


def test_plain_letters_cost_a_third() -> None:
    text = "Fuite d’eau : vanne fermée à 21 °C… Œuvre Ж"
    (part,) = pdu.split(text, 0, "gsm7")
    assert pdu_in.text_of([part]) == "Fuite d'eau : vanne fermée à 21 oC... OEuvre ?"
    assert pdu.alphabet_of(text) == "ucs2"


def test_more_than_255_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 255"):
        pdu.split("x" * 153 * 256, 0)


def test_a_flash_message_and_one_with_a_report() -> None:
    part = pdu.split("x", 0)[0]
    assert pdu.submit("123", part, flash=True)[8] == 0x10
    assert pdu.submit("123", part, report=True)[1] & 0x20 and pdu.length(pdu.submit("123", part)) == 11
