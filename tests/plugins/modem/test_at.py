"""What modems answer: captured replies of real ones all parse, and no bytes of the line make the reader fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.modem import at_replies as replies
from plugins.modem.at_lines import PROMPT, Line, LineReader
from plugins.modem.network import amount_of

CAPTURED = Path(__file__).resolve().parents[4] / "shared/data/at_replies"
UNIT = "07911326040000F0040B911346610089F60000208062917314080CC8F71D14969741F977FD07"
READ = {
    "at-cnmi/01": [{2}, {0, 1, 3}, {0, 2}, {0, 1}, {0}],
    "at-cnmi/02": [{0, 1, 2}, {0, 1, 3}, {0}, {0, 1}, {0, 1}],
    "at-cnmi/03": [{0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1}, {0, 1}],
    "at-cpms/alcatel-s320": [["SM", "ME", "SM_P", "ME_P", "MT"]] * 3,
    "at-cpms/brovi-e3372-325": [["SM", "ME"]] * 3,
    "at-cpms/generic": [["SM", "ME"]] * 3,
    "at-cpms/samsung-j700": [],
    "at-creg/empty": None,
    "at-creg/huawei": ("home", "4CA", "81DE445", None),
    "at-creg/none": ("idle", None, None, None),
    "at-creg/siemens": ("home", "5E25", "605F", None),
    "at-creg/sierra312u": ("roaming", "2AF5", "0B88E350", 2),
    "at-creg/telit": ("home", "5E25", "605F", 2),
    "at-smsc/01": "+97254120032",
    "at-smsc/02": "+79168999100",
    "at-smsc/03": "+6281100000",
    "at-smsc/05": "+447802092035",
}


def test_every_captured_reply_parses() -> None:
    if not CAPTURED.is_dir():
        pytest.skip(f"{CAPTURED} is absent: the captures are not part of this project")
    parsers = {"at-cnmi": replies.ranges, "at-cpms": replies.memories, "at-creg": replies.registration,
               "at-smsc": replies.service_centre}
    found = {}
    for path in sorted(CAPTURED.glob("*/*.dump")):
        lines = LineReader().feed(path.read_bytes() + b"\n")
        assert sum(replies.is_final(line.text) for line in lines) == 1, path
        answers = [parsers[path.parent.name](line.text) for line in lines if line.text.startswith("+")]
        found[f"{path.parent.name}/{path.stem}"] = answers[0] if answers else None
    assert found == READ


@pytest.mark.parametrize(("line", "dbm"), [
    ("+CSQ: 17,99", (-79,)), ("+CSQ: 0,0", (-113,)), ("+CSQ:31,99", (-51,)), ("+CSQ: 99,99", (None,)),
    ("^RSSI:18", (-77,)), ("+CSQ: 146,99", (-70,)), ("+CSQ: x", None), ("+CREG: 1", None),
])
def test_signal_in_dbm(line: str, dbm: object) -> None:
    assert replies.signal_dbm(line) == dbm


@pytest.mark.parametrize(("line", "word"), [
    ("+CREG: 1", "home"), ('+CREG: 5,"00C3","0001"', "roaming"), ("+CREG: 2,3", "denied"), ("+CEREG: 0,2", "searching"),
    ("+CGREG: 1,4CA,81DE", "home"), ("+CREG: 0,7", "roaming"),
])
def test_registration_asked_and_told(line: str, word: str) -> None:
    found = replies.registration(line)
    assert found is not None and found.word == word


def test_operators_by_name_and_number() -> None:
    assert replies.operator('+COPS: 0,0,"F SFR",2') == ("F SFR", None)
    assert replies.operator('+COPS: 0,2,"20810"') == (None, "20810")
    assert replies.operator("+COPS: 0") == (None, None)
    assert replies.operator('+COPS: 0,0,"004F00720061006E00670065",2') == ("Orange", None)


def test_errors_say_what_they_mean_and_whether_to_try_again() -> None:
    assert str(replies.failure("+CMS ERROR: 38")) == "CMS 38, network out of order"
    assert str(replies.failure("+CME ERROR: 16")) == "CME 16, wrong PIN"
    assert str(replies.failure("+CMS ERROR: 9999")) == "CMS 9999"
    assert str(replies.failure("+CME ERROR: SIM busy")) == "SIM busy"
    assert replies.failure("+CMS ERROR: 28").permanent and not replies.failure("+CMS ERROR: 38").permanent
    assert replies.failure("OK") is None and replies.failure("+CSQ: 1,1") is None
    assert str(replies.failure("COMMAND NOT SUPPORT")) == "command not support"


@pytest.mark.parametrize(("line", "left"), [
    ("+CPINR: SIM PIN,3,3", 3), ("+CPINR: SIM PUK,10,10", None), ("^CPIN: SIM PIN,2,10,2,10,3", 2),
    ("^CPIN: READY,,10,3,10,3", 3), ("+CPIN: SIM PIN", None),
])
def test_tries_left(line: str, left: int | None) -> None:
    assert replies.pin_tries(line) == left


def test_ussd_in_three_dresses() -> None:
    assert replies.ussd('+CUSD: 0,"Solde : 12,34 EUR",15') == (0, "Solde : 12,34 EUR")
    assert replies.ussd(f'+CUSD: 1,"{"Ça va?".encode("utf-16-be").hex()}",72') == (1, "Ça va?")
    assert replies.ussd(f'+CUSD: 0,"{replies.ussd_packed("Solde 12,34 EUR")}",15') == (0, "Solde 12,34 EUR")
    assert replies.ussd("+CUSD: 4") == (4, "")
    assert replies.ussd_packed("*100#") == "AA180C3602"


@pytest.mark.parametrize(("text", "amount"), [
    ("Votre solde est de 12,34 EUR, valable jusqu'au 03/12/2026", 12.34), ("Balance: $5.60", 5.6),
    ("Credit 1 234,50€ fin 31.12.26", 1234.5), ("EUR 7,00 left and 3 SMS", 7.0), ("Solde -0.45 euros", -0.45),
    ("Solde: 3,20", 3.2), ("Appelez le 963", None), ("", None), ("1.234,56 EUR", 1234.56),
])
def test_the_amount_in_a_networks_words(text: str, amount: float | None) -> None:
    assert amount_of(text, "USD" if "$" in text else "EUR") == amount


# --- lines -----------------------------------------------------------------------------------------------------------

WIRE = (b'AT+CSQ\r\r\n+CSQ: 17,99\r\n\r\nOK\r\n\r\n+CMTI: "SM",3\r\n\r\n+CMGL: 3,0,,27\r\n' + UNIT.encode()
        + b'\r\n+CMGL: 4,1,,9\r\n\r\nOK\r\n+CUSD: 0,"Solde\r\n12,34 EUR",15\r\nAT+CMGS=20\r\r\n> ')
LINES = [Line("AT+CSQ"), Line("+CSQ: 17,99"), Line("OK"), Line('+CMTI: "SM",3'), Line("+CMGL: 3,0,,27", UNIT),
         Line("+CMGL: 4,1,,9"), Line("OK"), Line('+CUSD: 0,"Solde\n12,34 EUR",15'), Line("AT+CMGS=20"), PROMPT]


@pytest.mark.parametrize("step", [1, 2, 7, 4096])
def test_chunking_does_not_matter(step: int) -> None:
    reader = LineReader()
    assert [line for at in range(0, len(WIRE), step) for line in reader.feed(WIRE[at : at + step])] == LINES
    assert reader.damaged == 0


@given(data=st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(
    [b"+CMGL: 1,0,,5\r\n", b'+CUSD: 0,"', b"\r\nOK\r\n", b"+CREG: ,,\r\n", b"+CPMS: (((\r\n", b"> ", UNIT.encode()]))))
def test_B53_garbage_never_fails_a_parser_and_never_grows_the_memory(data: list[bytes]) -> None:
    reader = LineReader()
    for chunk in data:
        for line in reader.feed(chunk):
            for parse in (replies.signal_dbm, replies.registration, replies.operator, replies.memories, replies.ussd,
                          replies.memory_use, replies.ranges, replies.service_centre, replies.pin_state,
                          replies.pin_tries, replies.stored_index, replies.listed_index, replies.failure):
                parse(line.text)
            assert line.unit is None or bytes.fromhex(line.unit)
    assert len(reader._rest) <= 4096 + 60


@given(text=st.text(max_size=80))
def test_no_text_after_a_prefix_fails_a_parser(text: str) -> None:
    for prefix, parse in (("+CSQ", replies.signal_dbm), ("+CREG", replies.registration), ("+COPS", replies.operator),
                          ("+CPMS", replies.memories), ("+CPMS", replies.memory_use), ("+CUSD", replies.ussd),
                          ("+CNMI", replies.ranges), ("+CSCA", replies.service_centre), ("+CMGL", replies.listed_index),
                          ("+CMTI", replies.stored_index), ("^CPIN", replies.pin_tries), ("+CPINR", replies.pin_tries)):
        parse(f"{prefix}: {text}")
    replies.failure(f"+CMS ERROR: {text}")
    amount_of(text, "EUR")


def test_a_line_without_end_is_dropped_and_counted() -> None:
    reader = LineReader()
    assert reader.feed(b"x" * 5000) == [] and reader.damaged == 1
    assert reader.feed(b"\r\nOK\r\n") == [Line("OK")]
    assert reader.feed(b"\x01\xff\x80\r\nOK\r\n") == [Line("OK")] and reader.damaged == 2
