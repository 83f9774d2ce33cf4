"""What upsd says, line by line, and what it means. Pure.

Source: Network UPS Tools, "Network protocol information" (docs/net-protocol.txt) and "Variables" (docs/nut-names.txt);
RFC 9271. A list comes as ``BEGIN LIST VAR ups``, lines ``VAR ups battery.charge "100"``, ``END LIST VAR ups``; a quote
or a backslash in a value is escaped by a backslash.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_LINE = 1024
"""upsd's own limit for a line is 512."""
MAX_VARIABLES = 500
_VAR = re.compile(r'VAR (\S{1,64}) (\S{1,64}) "((?:[^"\\]|\\.){0,512})"')
_UPS = re.compile(r'UPS (\S{1,64}) "((?:[^"\\]|\\.){0,512})"')
_BEGIN = re.compile(r"BEGIN LIST (?:VAR (\S{1,64})|UPS)")
_UPSC = re.compile(r"([a-z][a-z0-9]*(?:\.[a-z0-9]+)+): (.*)")
_ERR = re.compile(r"ERR ([A-Z][A-Z-]{1,40})(?: .*)?")
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,6})?")

ERRORS = {
    "ACCESS-DENIED": "it lets nobody ask from here: LISTEN and MAXAGE in upsd.conf, the user in upsd.users",
    "UNKNOWN-UPS": "it has no such UPS: set ups to the name in ups.conf",
    "DATA-STALE": "its driver hears nothing from the UPS: check the UPS's cable, then upsdrvctl start",
    "DRIVER-NOT-CONNECTED": "the driver does not run: upsdrvctl start",
    "INVALID-PASSWORD": "wrong password: see upsd.users",
    "INVALID-USERNAME": "wrong user: see upsd.users",
    "USERNAME-REQUIRED": "it wants a user: set username and password",
    "PASSWORD-REQUIRED": "it wants a password: set username and password",
}
STALE = ("DATA-STALE", "DRIVER-NOT-CONNECTED")
"""upsd lives and its UPS does not: nobody knows of the mains."""


class Listed(NamedTuple):
    """A whole list: the variables of ``ups``, or (``ups`` is empty) UPS names with their descriptions."""

    ups: str
    values: dict[str, str]


class Spoiled(NamedTuple):
    """The end of a list in which a line was bad."""


class Refused(NamedTuple):
    """``ERR CODE``."""

    code: str

    @property
    def text(self) -> str:
        return ERRORS.get(self.code, "see the log of upsd")


class Dialogue:
    """Feed whole lines; a list comes out at its end. A torn or strange line spoils its list, and raises ValueError."""

    def __init__(self) -> None:
        self._list: dict[str, str] | None = None
        self._ups = ""
        self._spoiled = False

    def reset(self) -> None:
        self._list, self._spoiled = None, False

    def feed(self, line: bytes) -> Listed | Refused | Spoiled | None:
        try:
            return self._feed(line)
        except ValueError:
            if self._spoiled:
                return None  # told once for each list
            self._list, self._spoiled = None, True
            raise

    def _feed(self, line: bytes) -> Listed | Refused | Spoiled | None:
        if len(line) > MAX_LINE:
            raise ValueError("too long")
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise ValueError("no text") from None
        refused = _ERR.fullmatch(text)
        if refused is not None:
            self.reset()
            return Refused(refused[1])
        if text == "OK" or text.startswith("OK "):
            return None
        begin = _BEGIN.fullmatch(text)
        if begin is not None:
            self.reset()
            self._list, self._ups = {}, begin[1] or ""
            return None
        if text.startswith("END LIST "):
            found, spoiled = self._list, self._spoiled
            self.reset()
            if found is not None:
                return Listed(self._ups, found)
            if spoiled:
                return Spoiled()
            raise ValueError("the end of a list that never began")
        item = (_VAR if self._ups else _UPS).fullmatch(text)
        if item is None:
            raise ValueError("no line of upsd")
        if self._list is None or len(self._list) >= MAX_VARIABLES:
            raise ValueError("outside of a list")
        name, value = item.groups()[-2:]
        self._list[name] = re.sub(r"\\(.)", r"\1", value)
        return None


def from_upsc(data: bytes) -> bytes:
    """What ``upsc`` printed (``battery.charge: 100``) as upsd's list; anything else as it is."""
    lines = data.decode("utf-8", "replace").splitlines()
    pairs = [found.groups() for line in lines if (found := _UPSC.fullmatch(line.strip()))]
    if not pairs or len(pairs) < len([line for line in lines if line.strip()]) * 0.8:
        return data
    said = ["BEGIN LIST VAR ups\n"]
    listed: set[str] = set()
    for name, value in pairs:
        if name in listed:  # the next dump of several
            said.append("END LIST VAR ups\nBEGIN LIST VAR ups\n")
            listed.clear()
        listed.add(name)
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        said.append(f'VAR ups {name} "{escaped}"\n')
    return "".join([*said, "END LIST VAR ups\n"]).encode()


class Status(NamedTuple):
    """``ups.status`` taken apart. ``mains`` None: the UPS does not say (switched off, in a calibration)."""

    mains: bool | None
    battery_low: bool
    battery_replace: bool
    overload: bool


def status(text: str) -> Status:
    words = set(text.upper().split())
    mains: bool | None = None
    if "OB" in words:
        # On battery because it measures its battery, not because the mains is gone.
        mains = None if "CAL" in words or "TEST" in words else False
    elif "OL" in words:
        mains = True
    return Status(mains, "LB" in words, "RB" in words, "OVER" in words)


NUMBERS = {
    "battery_charge_pct": "battery.charge",
    "battery_runtime_s": "battery.runtime",
    "battery_voltage_v": "battery.voltage",
    "input_voltage_v": "input.voltage",
    "ups_load_pct": "ups.load",
}


def numbers(variables: dict[str, str]) -> tuple[dict[str, float], list[str]]:
    """Property -> value; and the variables that are no number (``n/a``, torn)."""
    found: dict[str, float] = {}
    bad = []
    for name, variable in NUMBERS.items():
        text = variables.get(variable)
        if text is None:
            continue
        if _NUMBER.fullmatch(text.strip()) is None:
            bad.append(f"{variable} is {text[:20]!r}")
        else:
            found[name] = float(text)
    return found, bad
