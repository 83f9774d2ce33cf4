"""Which protocol is it? By content: every decoder reads along, the first that finds what only its meter sends wins."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .dsmr import DsmrCodec, Telegram
from .frames import MASK_PARITY, Garbage
from .pzem import ANY_ADDRESS, PzemCodec, Sample
from .sml import BEGIN, SmlCodec, ValueList
from .teleinfo import Frame, Mode, TeleinfoCodec
from .teleinfo_values import HISTORIC, STANDARD

#: A six-bit checksum is right by chance once in 64; three known labels with right sums are not.
GROUPS_NEEDED = 3
#: What is kept to be decoded once the protocol is known: two frames of the longest.
KEPT_BYTES = 8192
_P1_HEADER = re.compile(rb"/[A-Za-z0-9]{3}[ -~]{1,60}\r?\n")


@dataclass(frozen=True, slots=True)
class LineSetting:
    """A speed to listen with. ``frame`` is the meter's own; the port is always opened as 8N1: a 7E1 character takes as
    many bits, and its parity then arrives as bit 7, where we check it (pyserial lets the kernel ignore it).
    ``patience_s``: how long a silent line is given (DSMR 4 speaks every 10 s); ``ask``: whether a PZEM is asked."""

    baudrate: int
    frame: str
    patience_s: float
    ask: bool = False

    def __str__(self) -> str:
        return f"{self.baudrate} {self.frame}"


TELEINFO_HISTORIC = LineSetting(1200, "7E1", 4.0)
TELEINFO_STANDARD = LineSetting(9600, "7E1", 4.0)
DSMR_2 = LineSetting(9600, "7E1", 12.0)
DSMR_4 = LineSetting(115200, "8N1", 12.0)
SML = LineSetting(9600, "8N1", 6.0)
PZEM = LineSetting(9600, "8N1", 2.0, ask=True)

#: What ``auto`` tries, in turn, until a frame is right. 9600 is Téléinfo standard, DSMR 2 and 3, SML, and PZEM.
CANDIDATES = (TELEINFO_HISTORIC, LineSetting(9600, "7E1 or 8N1", 6.0, ask=True), DSMR_4, DSMR_2)


def settings_for(protocol: str, mode: Mode, baudrate: int | None) -> tuple[LineSetting, ...]:
    """The settings to try for a protocol; a given speed is the only one."""
    chosen = {
        "teleinfo": {
            "historic": (TELEINFO_HISTORIC,), "standard": (TELEINFO_STANDARD,),
            "auto": (TELEINFO_HISTORIC, TELEINFO_STANDARD),
        }[mode],
        "dsmr": (DSMR_4, DSMR_2), "sml": (SML,), "pzem": (PZEM,),
    }.get(protocol, CANDIDATES)
    if baudrate is None:
        return chosen
    same = tuple(setting for setting in chosen if setting.baudrate == baudrate)
    return same or (replace(chosen[0], baudrate=baudrate, ask=any(setting.ask for setting in chosen)),)


class Detector:
    """``feed`` until it names a protocol; ``kept`` are the bytes so far, to be fed to that one's meter."""

    def __init__(self, protocols: tuple[str, ...], *, mode: Mode = "auto", address: int = ANY_ADDRESS) -> None:
        self._teleinfo = TeleinfoCodec(mode) if "teleinfo" in protocols else None
        self._dsmr = DsmrCodec() if "dsmr" in protocols else None
        self._sml = SmlCodec() if "sml" in protocols else None
        self._pzem = PzemCodec(address) if "pzem" in protocols else None
        self._seen: set[str] = set()
        self._standard = self._crc = False
        self.kept = b""

    def feed(self, data: bytes) -> str | None:
        """The protocol, as soon as one is sure."""
        self.kept = (self.kept + data)[-KEPT_BYTES:]
        if self._teleinfo is not None:
            for frame in self._teleinfo.feed(data):
                if isinstance(frame, Frame):
                    self._known_labels(frame)
            # Not only whole frames: at 1200 baud one takes two seconds, three groups are enough.
            self._known_labels(self._teleinfo.begun())
            if len(self._seen) >= GROUPS_NEEDED:
                return "teleinfo"
        if self._dsmr is not None and self._p1(self._dsmr.feed(data)):
            return "dsmr"
        if self._sml is not None and any(isinstance(event, ValueList) for event in self._sml.feed(data)):
            return "sml"
        if self._pzem is not None and any(isinstance(event, Sample) for event in self._pzem.feed(data)):
            return "pzem"
        return None

    @property
    def promising(self) -> bool:
        """Something is begun that only the right speed can show: worth waiting for its end."""
        return bool(self._seen) or BEGIN in self.kept or _P1_HEADER.search(self.kept.translate(MASK_PARITY)) is not None

    def finish(self) -> str | None:
        """The bytes are at their end: a telegram without a last line end counts too."""
        if self._dsmr is not None and self._p1(self._dsmr.finish()):
            return "dsmr"
        if self._sml is not None and self._sml.finish():
            return "sml"
        return None

    def natural(self, protocol: str) -> LineSetting:
        """The setting that a meter of this protocol has, by what it sent."""
        if protocol == "teleinfo":
            return TELEINFO_STANDARD if self._standard else TELEINFO_HISTORIC
        if protocol == "dsmr":
            return DSMR_4 if self._crc else DSMR_2
        return SML if protocol == "sml" else PZEM

    def _p1(self, events: list[Telegram | Garbage]) -> bool:
        found = [event for event in events if isinstance(event, Telegram)]
        self._crc = any(telegram.crc for telegram in found)
        return bool(found)

    def _known_labels(self, frame: Frame) -> None:
        for group in frame.groups:
            if group.label in (STANDARD if group.standard else HISTORIC):
                self._seen.add(group.label)
                self._standard = group.standard
