"""What the network sees of a unit to send (SMS-SUBMIT, 3GPP TS 23.040, 9.2.2.2): for the simulated modem. Pure."""

from __future__ import annotations

from typing import NamedTuple

from . import pdu_in


class Submitted(NamedTuple):
    to: str
    text: str
    concatenation: pdu_in.Concatenation | None
    report: bool
    unit: bytes
    reference: int = 0


def decode_submit(unit: bytes) -> Submitted:
    """Raises ValueError where it is none."""
    at = 1 + unit[0]
    first = unit[at]
    if first & 0x03 != 1:
        raise ValueError("not an SMS-SUBMIT")
    digits = unit[at + 2]
    address_end = at + 4 + (digits + 1) // 2
    validity = {0: 0, 1: 7, 2: 1, 3: 7}[first >> 3 & 3]
    # The same unit as one that came: address, protocol, scheme, a time in place of the validity, user data.
    came = pdu_in.read(b"\0" + bytes((first & 0x40,)) + unit[at + 2 : address_end + 2] + bytes(7)
                       + unit[address_end + 2 + validity :])
    assert isinstance(came, pdu_in.Deliver)
    return Submitted(came.sender, pdu_in.text_of([came.part]), came.concatenation, bool(first & 0x20), unit)
