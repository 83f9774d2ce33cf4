"""What operator, units and host say to each other, as typed messages. Payloads have at most 21 bytes."""

from __future__ import annotations

from typing import NamedTuple

from .values import FALSE, TRUE, ValueField, decode_field, encode_field

MAX_PAYLOAD = 21
MAX_VALUES = 3
OPERATOR = b"\0\0"
"""The short address of the operator itself, in its first NETWORK_REGISTER."""
POWER_TEST, NETWORK_REGISTER, PING, UPDATE = 1, 2, 3, 4


class BadFrame(ValueError):
    """The bytes are no frame of this protocol, and why."""


class PowerTest(NamedTuple):
    """A unit looks for the least power (0 strongest to 7) that is still heard; ``rssi`` has no unit, 30 is enough."""

    level: int
    rssi: int | None = None


class Register(NamedTuple):
    """A unit (or the operator) wants into the network."""

    uid: str
    """Eight hex digits."""
    sleeping: bool
    """It listens only right after its own last UPDATE."""


class RegisterAnswer(NamedTuple):
    accepted: bool
    key: bytes
    """Two bytes of this session, the same for all units of it."""


class Ping(NamedTuple):
    pass


class Update(NamedTuple):
    """Values of a unit, or for it. A report of more than three values comes in several; ``last`` ends it."""

    values: tuple[ValueField, ...]
    last: bool = True


class Info(NamedTuple):
    """A line of text by the operator's firmware."""

    text: str


class Reset(NamedTuple):
    """To the operator: begin anew."""


Message = PowerTest | Register | RegisterAnswer | Ping | Update | Info | Reset


def address_text(address: bytes) -> str:
    return f"{address[1]:02x}{address[0]:02x}"


def _flag(byte: int, what: str) -> bool:
    if byte not in (FALSE, TRUE):
        raise BadFrame(f"{what} 0x{byte:02x} is neither f0 nor ff")
    return byte == TRUE


def parse_payload(payload: bytes, from_host: bool = False) -> tuple[Message, int]:
    """A message and its length; what is behind it is the caller's to judge. Raises BadFrame."""
    command = payload[0] if payload else 0
    if command == POWER_TEST and len(payload) >= 2:
        if payload[1] >= 8:
            raise BadFrame(f"power level {payload[1]}")
        rssi = payload[2] if len(payload) > 2 and payload[2] else None
        return PowerTest(payload[1], rssi), 3 if rssi else 2
    if command == NETWORK_REGISTER and from_host and len(payload) >= 4:
        return RegisterAnswer(_flag(payload[1], "answer"), payload[2:4]), 4
    if command == NETWORK_REGISTER and not from_host and len(payload) >= 6:
        return Register(payload[1:5].hex(), _flag(payload[5], "sleeping")), 6
    if command == PING:
        return Ping(), 1
    if command == UPDATE and len(payload) >= 2:
        last = _flag(payload[1], "last flag")
        values: list[ValueField] = []
        at = 2
        while at < len(payload) and payload[at]:
            try:
                field, at = decode_field(payload, at)
            except ValueError as error:
                raise BadFrame(str(error)) from None
            values.append(field)
        if len(values) > MAX_VALUES or at > MAX_PAYLOAD:
            raise BadFrame(f"{len(values)} values in {at} bytes")
        if len({field.label for field in values}) < len(values):
            raise BadFrame("a label twice")
        return Update(tuple(values), last), at
    raise BadFrame(f"command 0x{command:02x}" if payload else "no command")


def encode_payload(message: Message, *, swapped: bool = False) -> bytes:
    """Raises ValueError where it does not fit into a payload."""
    match message:
        case PowerTest():
            return bytes((POWER_TEST, message.level)) + (bytes((message.rssi,)) if message.rssi else b"")
        case Register():
            return bytes((NETWORK_REGISTER, *bytes.fromhex(message.uid), TRUE if message.sleeping else FALSE))
        case RegisterAnswer():
            return bytes((NETWORK_REGISTER, TRUE if message.accepted else FALSE)) + message.key
        case Ping():
            return bytes((PING,))
        case Update():
            payload = bytes((UPDATE, TRUE if message.last else FALSE))
            payload += b"".join(encode_field(field, swapped=swapped) for field in message.values)
            if len(message.values) > MAX_VALUES or len(payload) > MAX_PAYLOAD:
                raise ValueError(f"{len(message.values)} values in {len(payload)} bytes: at most {MAX_VALUES} in "
                                 f"{MAX_PAYLOAD}")
            return payload
    raise ValueError(f"{type(message).__name__} has no payload")
