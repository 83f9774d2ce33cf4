"""MUTA: sub-GHz MiWi units (MRF89XA) behind a USB operator or a serial gateway. Bytes <-> messages, no I/O.

The protocol has no public specification; this follows the description of the house it was built for (Basecamp,
2016 to 2021).
"""

from __future__ import annotations

from .frames import FRAME_BYTES, Decoder, Garbage, parse_frame, parse_order, report, to_host, to_unit
from .messages import (
    MAX_PAYLOAD,
    MAX_VALUES,
    OPERATOR,
    BadFrame,
    Info,
    Message,
    Ping,
    PowerTest,
    Register,
    RegisterAnswer,
    Reset,
    Update,
    address_text,
)
from .values import POWER_MW, Kind, Unit, ValueField, decode_field, encode_field, encode_like

__all__ = [
    "FRAME_BYTES", "MAX_PAYLOAD", "MAX_VALUES", "OPERATOR", "POWER_MW", "BadFrame", "Decoder", "Garbage",
    "Info", "Kind", "Message", "Ping", "PowerTest", "Register", "RegisterAnswer", "Reset", "Unit", "Update",
    "ValueField", "address_text", "decode_field", "encode_field", "encode_like", "parse_frame", "parse_order",
    "report", "to_host", "to_unit",
]
