"""Frames of 64 bytes, filled up with zeros: HID reports of the USB operator, or one behind the other on a serial line.

``M`` address(2) payload: from a unit. ``I`` text: from the operator. ``S`` address(2) size payload: to a unit. ``X``:
reset. The format has no checksum (USB and the radio have theirs): every byte that has a rule is held to it, the zeros
behind a message too, and a frame that breaks one is left out as a whole. ``README`` of radio_units says how much damage
passes that.
"""

from __future__ import annotations

from typing import NamedTuple

from .messages import MAX_PAYLOAD, BadFrame, Info, Message, Reset, encode_payload, parse_payload

FRAME_BYTES = 64
HEADERS = b"MI"
TEXT_BYTES = frozenset(range(32, 127)) | {9, 10, 13}


class Garbage(NamedTuple):
    """Bytes that were skipped, and why the first of them began no frame."""

    size: int
    reason: str


Decoded = tuple[bytes, Message]
"""The short address of the sender and what it said (``b""`` for the operator's text)."""


def parse_frame(frame: bytes) -> Decoded:
    """A frame from operator or gateway; a short one counts as filled up with zeros. Raises BadFrame."""
    frame = frame.ljust(FRAME_BYTES, b"\0")
    if len(frame) > FRAME_BYTES:
        raise BadFrame(f"{len(frame)} bytes")
    kind = frame[:1]
    if kind == b"I":
        text = frame[1:].rstrip(b"\0")
        if not TEXT_BYTES.issuperset(text):
            raise BadFrame("text with other bytes in it")
        return b"", Info(text.decode("ascii").strip())
    if kind != b"M":
        raise BadFrame(f"header 0x{frame[0]:02x}")
    message, size = parse_payload(frame[3 : 3 + MAX_PAYLOAD + 1])
    if any(frame[3 + size :]):
        raise BadFrame("something behind the message")
    return frame[1:3], message


class Decoder:
    """Bytes of a serial line in any portions; gives whole frames and the garbage between them."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skipped = 0
        self._reason = ""

    @property
    def pending(self) -> int:
        """Bytes of a frame that has begun."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Decoded | Garbage]:
        self._buffer += data
        found: list[Decoded | Garbage] = []
        at, buffer = 0, self._buffer
        while len(buffer) - at >= FRAME_BYTES:
            try:
                decoded = parse_frame(bytes(buffer[at : at + FRAME_BYTES]))
            except BadFrame as error:
                at += self._skip(at, str(error))
                continue
            self._flush(found)
            found.append(decoded)
            at += FRAME_BYTES
        while at < len(buffer) and buffer[at] not in HEADERS:  # noise must not wait for its 64th byte
            at += self._skip(at, f"header 0x{buffer[at]:02x}")
        if at >= len(buffer):
            self._flush(found)
        del buffer[:at]
        return found

    def finish(self) -> list[Decoded | Garbage]:
        """The line ended or fell silent: half a frame is none."""
        found: list[Decoded | Garbage] = []
        if self._buffer:
            self._skipped += len(self._buffer)
            self._reason = self._reason or f"only {len(self._buffer)} bytes of a frame"
            self._buffer.clear()
        self._flush(found)
        return found

    def _skip(self, at: int, reason: str) -> int:
        """Up to the next byte that may begin a frame."""
        buffer = self._buffer
        nexts = [place for header in HEADERS if (place := buffer.find(header, at + 1)) >= 0]
        size = (min(nexts) if nexts else len(buffer)) - at
        self._skipped += size
        self._reason = self._reason or reason
        return size

    def _flush(self, found: list[Decoded | Garbage]) -> None:
        if self._skipped:
            found.append(Garbage(self._skipped, self._reason))
        self._skipped, self._reason = 0, ""


def report(data: bytes) -> bytes:
    """Filled up to a frame."""
    if len(data) > FRAME_BYTES:
        raise ValueError(f"{len(data)} bytes do not fit into a frame of {FRAME_BYTES}")
    return data.ljust(FRAME_BYTES, b"\0")


def to_unit(address: bytes, message: Message, *, swapped: bool = False) -> bytes:
    """A frame for a unit, or :class:`Reset` for the operator. Raises ValueError."""
    if isinstance(message, Reset):
        return report(b"X")
    payload = encode_payload(message, swapped=swapped)
    return report(b"S" + address + bytes((len(payload),)) + payload)


def to_host(address: bytes, message: Message) -> bytes:
    """A frame as operator and gateway send them (for simulated ones and tests)."""
    if isinstance(message, Info):
        return report(b"I" + message.text.encode("ascii", "replace")[: FRAME_BYTES - 1])
    return report(b"M" + address + encode_payload(message))


def parse_order(frame: bytes) -> Decoded:
    """A frame from the host: address and message (for simulated gateways and tests). Raises BadFrame."""
    if frame[:1] == b"X":
        return b"", Reset()
    if frame[:1] != b"S" or len(frame) != FRAME_BYTES or not 0 < frame[3] <= MAX_PAYLOAD:
        raise BadFrame(f"order {frame[:8].hex(' ')}")
    payload = frame[4 : 4 + frame[3]]
    message, size = parse_payload(payload, from_host=True)
    if size != len(payload):
        raise BadFrame("something behind the order")
    return frame[1:3], message
