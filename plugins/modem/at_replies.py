"""What a modem answers, line by line (3GPP TS 27.005, 27.007), tolerant of the dialects that real ones speak. Pure.

Nothing here raises on a strange line: a parser gives None for what it cannot read.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from . import gsm7
from .pdu import INTERNATIONAL

REGISTRATION = ("idle", "home", "searching", "denied", "unknown", "roaming", "home", "roaming")
"""TS 27.007, 7.2; 6 and 7 are "SMS only"."""
PIN_STATES = {"READY": "ready", "SIM PIN": "pin", "SIM PUK": "puk", "SIM PIN2": "ready", "SIM PUK2": "ready",
              "PH-SIM PIN": "net_lock", "PH-NET PIN": "net_lock", "PH-FSIM PIN": "net_lock"}
FINALS = ("OK", "ERROR", "NO CARRIER", "BUSY", "NO ANSWER", "COMMAND NOT SUPPORT", "TOO MANY PARAMETERS")
CMS = {
    1: "the number does not exist", 8: "barred by the operator", 10: "barred", 21: "rejected", 27: "switched off",
    28: "the network does not know this SIM", 29: "the network refuses SMS", 30: "the network does not know the number",
    38: "network out of order", 41: "temporary failure of the network", 42: "congestion", 47: "no resources",
    50: "SMS is not in the contract", 69: "not possible on this network", 96: "the unit is malformed",
    111: "protocol error", 300: "the modem failed", 302: "not allowed", 303: "not supported", 304: "bad unit",
    310: "no SIM", 311: "the SIM asks for its PIN", 313: "the SIM failed", 314: "the SIM is busy",
    316: "the SIM is blocked", 320: "memory failure", 321: "no such message", 322: "the memory is full",
    330: "service centre unknown", 331: "no network", 332: "the network did not answer in time", 500: "unknown error",
}
CMS_PERMANENT = frozenset({1, 8, 10, 21, 28, 29, 30, 50, 69, 96, 111, 302, 303, 304})
"""Trying this message again changes nothing."""
CME = {
    3: "not allowed", 4: "not supported", 5: "the SIM asks for its PIN", 10: "no SIM", 11: "the SIM asks for its PIN",
    12: "the SIM asks for its PUK", 13: "the SIM failed", 14: "the SIM is busy", 15: "the SIM is wrong",
    16: "wrong PIN", 17: "PIN2 is needed", 18: "PUK2 is needed", 30: "no network",
    31: "the network did not answer in time", 32: "emergency calls only", 100: "unknown error",
}


class Failure(NamedTuple):
    """A final result other than OK. ``kind`` is ``cms``, ``cme`` or empty."""

    kind: str
    code: int | None
    text: str

    def __str__(self) -> str:
        if self.code is None:
            return self.text
        known = (CMS if self.kind == "cms" else CME).get(self.code)
        return f"{self.kind.upper()} {self.code}" + (f", {known}" if known else "")

    @property
    def permanent(self) -> bool:
        return self.kind == "cms" and self.code in CMS_PERMANENT


class Registration(NamedTuple):
    word: str
    area: str | None
    cell: str | None
    technology: int | None


class Operator(NamedTuple):
    name: str | None
    code: str | None
    """Country and network, five or six digits."""


class Ussd(NamedTuple):
    status: int
    """0 done, 1 the network waits for a choice, 2 ended, 3 ff: no answer."""
    text: str


def failure(line: str) -> Failure | None:
    """Of a final result; None for OK and for what is none."""
    match = re.fullmatch(r"\+(CM[SE]) ERROR:\s*(.*)", line)
    if match is not None:
        digits = re.fullmatch(r"\d{1,5}", match[2].strip())
        return Failure(match[1].lower(), int(match[2]) if digits else None, match[2].strip() or "error")
    return Failure("", None, line.lower()) if line in FINALS and line != "OK" else None


def is_final(line: str) -> bool:
    return line in FINALS or line.startswith(("+CMS ERROR", "+CME ERROR"))


def after(line: str, prefix: str) -> str | None:
    """What follows ``+CSQ:``; None for another line."""
    return line[len(prefix) + 1 :].strip() if line.startswith(prefix + ":") else None


def fields(text: str) -> list[str]:
    """Split at commas outside quotes and brackets; quotes are taken off, brackets stay."""
    out, depth, quoted = [""], 0, False
    for character in text:
        if character == '"':
            quoted = not quoted
            if not depth:
                continue
        elif not quoted:
            if character == "," and depth == 0:
                out.append("")
                continue
            depth += (character == "(") - (character == ")")
            if character == " " and depth == 0:
                continue
        out[-1] += character
    return out


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,9}", text) else None


def signal_dbm(line: str) -> tuple[int | None] | None:
    """``+CSQ: 17,99`` -> (-79,); (None,) where the modem does not know; None for another line (TS 27.007, 8.5)."""
    text = after(line, "+CSQ")
    if text is None and (text := after(line, "^RSSI")) is None:
        return None
    level = _number(fields(text)[0])
    if level is None:
        return None
    if 100 <= level <= 191:  # TD-SCDMA and LTE dialect, 8.5: -116 dBm in steps of 1
        return (level - 216,)
    return (level * 2 - 113,) if level <= 31 else (None,)


def registration(line: str) -> Registration | None:
    """``+CREG: 2,1,"00C3","0001A2B3"`` (asked) or ``+CREG: 1,"00C3",...`` (told); also +CGREG and +CEREG."""
    match = re.match(r"\+C(?:G|E)?REG:(.*)", line)
    if match is None:
        return None
    raw = [one.strip() for one in match[1].split(",")]
    asked = len(raw) > 1 and re.fullmatch(r"\d", raw[1]) is not None
    values = [one.strip('"') for one in (raw[1:] if asked else raw)]
    status = _number(values[0])
    if status is None or status >= len(REGISTRATION):
        return None
    values += [""] * 3
    return Registration(REGISTRATION[status], values[1] or None, values[2] or None, _number(values[3]))


def operator(line: str) -> Operator | None:
    """``+COPS: 0,0,"F SFR",2`` or the numeric ``+COPS: 0,2,"20810"``."""
    text = after(line, "+COPS")
    if text is None:
        return None
    values = fields(text)
    if len(values) < 3 or not values[2]:
        return Operator(None, None)
    if values[1] == "2" or re.fullmatch(r"\d{5,6}", values[2]):
        return Operator(None, values[2])
    return Operator(unhex(values[2]), None)


def memories(line: str) -> list[list[str]] | None:
    """``+CPMS: ("SM","ME"),...``: what there is for each of the three uses; an empty list where it says nothing."""
    text = after(line, "+CPMS")
    if text is None:
        return None
    return [re.findall(r'"([^"]*)"', group) for group in fields(text) if group]


def memory_use(line: str) -> tuple[int, int] | None:
    """``+CPMS: 3,50,...`` or ``+CPMS: "SM",3,50,...`` -> (3, 50)."""
    values = fields(after(line, "+CPMS") or "")
    if values and _number(values[0]) is None:
        values = values[1:]
    used, total = (_number(one) for one in [*values, "", ""][:2])
    return None if used is None or total is None else (used, total)


def ranges(line: str, prefix: str = "+CNMI") -> list[set[int]] | None:
    """``+CNMI: (0-2),(0,1,3),(0)`` -> [{0, 1, 2}, {0, 1, 3}, {0}]."""
    text = after(line, prefix)
    if text is None:
        return None
    found: list[set[int]] = []
    for group in fields(text):
        numbers: set[int] = set()
        for first, last in re.findall(r"(\d{1,3})(?:\s*-\s*(\d{1,3}))?", group):
            numbers.update(range(int(first), int(last or first) + 1))
        found.append(numbers)
    return found


def service_centre(line: str) -> str | None:
    """``+CSCA: "+33609001390",145``, the number in digits or as UCS-2 in hexadecimal, with or without quotes."""
    text = after(line, "+CSCA")
    if text is None:
        return None
    values = fields(text)
    number = unhex(values[0])
    if len(values) > 1 and values[1] == str(INTERNATIONAL) and number and not number.startswith("+"):
        number = "+" + number
    return number if re.fullmatch(r"\+?\d{3,20}", number) else None


def unhex(text: str) -> str:
    """Text that may have come as UCS-2 in hexadecimal (``AT+CSCS="UCS2"``)."""
    if len(text) % 4 == 0 and re.fullmatch(r"(?:00[2-9A-Fa-f][0-9A-Fa-f]|0[1-9A-Fa-f][0-9A-Fa-f]{2})+", text):
        return bytes.fromhex(text).decode("utf-16-be", "replace")
    return text


def pin_state(line: str) -> str | None:
    """``+CPIN: SIM PIN`` -> pin."""
    text = after(line, "+CPIN")
    return None if text is None else PIN_STATES.get(text.strip('" '), "unknown")


def pin_tries(line: str) -> int | None:
    """Tries left of the PIN: ``+CPINR: SIM PIN,3,3`` (TS 27.007, 8.65) or Huawei's ``^CPIN: SIM PIN,3,10,3,10,3``."""
    text = after(line, "+CPINR")
    if text is not None:
        values = fields(text)
        return _number(values[1]) if values[0].replace('"', "") in ("SIM PIN", "SIMPIN") and len(values) > 1 else None
    text = after(line, "^CPIN")
    if text is not None:
        values = fields(text)  # state, tries of what is asked for, PUK, PIN, PUK2, PIN2
        return _number(values[3]) if len(values) > 3 else None
    return None


def stored_index(line: str) -> tuple[str, int] | None:
    """``+CMTI: "SM",3`` and ``+CDSI: "SR",3``: where something new is."""
    text = after(line, "+CMTI") or after(line, "+CDSI")
    if text is None:
        return None
    values = fields(text)
    index = _number(values[1]) if len(values) > 1 else None
    return None if index is None else (values[0], index)


def listed_index(line: str) -> tuple[int, int] | None:
    """``+CMGL: 3,0,,27`` -> (index, status): 0 unread, 1 read, 2 and 3 of our own."""
    text = after(line, "+CMGL")
    if text is None:
        return None
    index, status = (_number(one) for one in [*fields(text), "", ""][:2])
    return None if index is None or status is None else (index, status)


def ussd(line: str) -> Ussd | None:
    """``+CUSD: 0,"Solde 12,34 EUR",15``: plain, UCS-2 (scheme 72) or packed septets in hexadecimal (Huawei)."""
    text = after(line, "+CUSD")
    if text is None:
        return None
    match = re.fullmatch(r'\s*(\d)\s*(?:,\s*"(.*)"\s*(?:,\s*(\d{1,3}))?\s*)?', text, re.S)
    if match is None:
        return None
    answer, scheme = match[2] or "", int(match[3] or 15)
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2}){4,}", answer) and re.search(r"[A-Fa-f]", answer):
        data = bytes.fromhex(answer)
        if scheme & 0x0C == 0x08:
            answer = data.decode("utf-16-be", "replace")
        elif answer == unhex(answer):
            answer = gsm7.decode(gsm7.unpack(data, len(data) * 8 // 7)).rstrip("\r@")
        else:
            answer = unhex(answer)
    return Ussd(int(match[1]), answer.strip())


def ussd_packed(code: str) -> str:
    """A USSD code as some Huawei modems want it: packed septets in hexadecimal."""
    return gsm7.pack(gsm7.encode(code) or []).hex().upper()
