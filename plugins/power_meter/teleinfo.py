"""Téléinfo (TIC) bytes -> frames of groups, for the historic and the standard mode. No port, no clock.

Source: Enedis-NOI-CPT_54E (Linky) and NOI-CPT_02E (electronic meters). A group is ``LF label SEP [horodate SEP]
data SEP checksum CR`` between STX and ETX. The checksum is the six low bits of a sum, plus 0x20: so it can be a
space. Historic (SEP is a space): the sum goes up to the data; standard (SEP is a tab): the tab behind the data is
in it as well. What the field adds is met here: LF for CR, STX in the middle of a group, a missing ETX, frames that
are torn and go on with the next, bytes that carry their parity in bit 7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from .frames import MASK_PARITY, Garbage, seven_bit

Mode = Literal["auto", "historic", "standard"]

STX, ETX, EOT = 0x02, 0x03, 0x04
#: Longest legal group: PJOURF+1 with eleven periods, about 110 characters.
MAX_GROUP = 160
#: A frame has at most 50 groups; more without an end is a line without STX and ETX.
MAX_GROUPS = 80
_DELIMITER = re.compile(rb"[\x02\x03\x04\r\n]")
_LABEL = re.compile(rb"[A-Z][A-Z0-9]{1,7}(?:[+-][0-9])?")
_HORODATE = re.compile(rb"[HEhe ][0-9]{12}")
#: The first label of every frame: where it comes, a frame begins, ETX and STX seen or not.
FIRST_LABELS = frozenset({"ADCO", "ADSC"})


@dataclass(frozen=True, slots=True)
class Group:
    """One group with a right checksum. ``horodate`` is the meter's own stamp, ``SAAMMJJhhmmss``, or empty."""

    label: str
    data: str
    horodate: str = ""
    standard: bool = False
    at: float = field(default=0.0, compare=False)
    """What ``feed`` was told with its last byte: on a bad line a frame may hold groups of two moments."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The groups between two frame ends, in order; ``whole``: STX and ETX were seen and no group was bad."""

    groups: tuple[Group, ...]
    bad: int
    whole: bool


def parse_group(raw: bytes, mode: Mode = "auto", at: float = 0.0) -> Group | None:
    """One group out of the bytes between its LF and CR, or None if anything about it is wrong."""
    text = seven_bit(raw)
    if text is None or not 5 <= len(text) <= MAX_GROUP:
        return None
    separator = text[-2]
    if separator == 0x20 and mode != "standard":
        summed, split = text[:-2], b" "
    elif separator == 0x09 and mode != "historic":
        summed, split = text[:-1], b"\t"
    else:
        return None
    if (sum(summed) & 0x3F) + 0x20 != text[-1]:
        return None
    fields = text[:-2].split(split)
    label, horodate = fields[0], b""
    if split == b" ":
        data = b" ".join(fields[1:])
    elif len(fields) == 2:
        data = fields[1]
    elif len(fields) == 3 and _HORODATE.fullmatch(fields[1]):
        horodate, data = fields[1], fields[2]
    else:
        return None
    if len(fields) < 2 or not _LABEL.fullmatch(label) or min(data, default=0x20) < 0x20:
        return None
    return Group(label.decode(), data.decode(), horodate.decode(), split == b"\t", at)


class TeleinfoCodec:
    """``feed`` bytes in any portions; frames and garbage come out in order."""

    def __init__(self, mode: Mode = "auto") -> None:
        self.mode: Mode = mode
        self.reset()

    def reset(self) -> None:
        """Forget what is begun (the port was opened anew): the rest of a group that comes next counts as nothing."""
        self._rest = b""
        self._at = 0.0
        self._synchronised = False
        self._groups: list[Group] = []
        self._labels: set[str] = set()
        self._bad = 0
        self._began = False

    def feed(self, data: bytes, at: float = 0.0) -> list[Frame | Garbage]:
        """``at``: the time of these bytes, on the caller's clock; it comes back with the groups."""
        self._at = at
        out: list[Frame | Garbage] = []
        buffer = self._rest + data
        # Delimiters are looked for without bit 7, groups are cut out with it: their parity is still to be checked.
        masked = buffer.translate(MASK_PARITY)
        start = 0
        for match in _DELIMITER.finditer(masked):
            end = match.start()
            if end > start:
                self._group(buffer[start:end], out)
            start = end + 1
            control = masked[end]
            self._synchronised = True
            if control in (STX, ETX, EOT):
                self._control(control, out)
        self._rest = buffer[start:]
        if len(self._rest) > MAX_GROUP:
            self._reject("no group end", len(self._rest), out)
            self._rest = b""
            self._synchronised = False
        return out

    def finish(self) -> list[Frame | Garbage]:
        """What is still held when the bytes end: the groups of a frame whose ETX never came."""
        out: list[Frame | Garbage] = []
        self._close(False, out)
        self.reset()
        return out

    def begun(self) -> Frame:
        """The groups so far of the frame that is not at its end yet."""
        return Frame(tuple(self._groups), self._bad, False)

    def _group(self, raw: bytes, out: list[Frame | Garbage]) -> None:
        group = parse_group(raw, self.mode, self._at)
        if group is None:
            # Before the first delimiter we came in the middle of a group: not the line's fault, not counted.
            self._reject("checksum", len(raw), out)
            return
        # A second ADCO, or any label twice, is a new frame whose ETX and STX got lost.
        if group.label in self._labels or (group.label in FIRST_LABELS and self._groups):
            self._close(False, out)
        self._labels.add(group.label)
        self._groups.append(group)
        if len(self._groups) >= MAX_GROUPS:
            self._close(False, out)

    def _reject(self, reason: str, length: int, out: list[Frame | Garbage]) -> None:
        if self._synchronised:
            self._bad += 1
            out.append(Garbage(reason, length))

    def _control(self, control: int, out: list[Frame | Garbage]) -> None:
        if control == STX:
            self._close(False, out)
            self._began = True
        else:
            self._close(self._began and control == ETX, out)

    def _close(self, ended: bool, out: list[Frame | Garbage]) -> None:
        if self._groups:
            out.append(Frame(tuple(self._groups), self._bad, ended and self._bad == 0))
        self._groups, self._labels, self._bad, self._began = [], set(), 0, False
