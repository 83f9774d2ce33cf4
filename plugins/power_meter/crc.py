"""The CRC-16s of the meter protocols, all reflected, by table. Names as in the catalogue of parametrised CRCs."""

from __future__ import annotations


def _table(polynomial: int) -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (polynomial if crc & 1 else 0)
        rows.append(crc)
    return tuple(rows)


_CCITT = _table(0x8408)
_IBM = _table(0xA001)


def _crc(table: tuple[int, ...], crc: int, data: bytes) -> int:
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc


def x25(data: bytes) -> int:
    """CRC-16/IBM-SDLC (X.25): SML files and messages (BSI TR-03109-1, annex SML 1.03)."""
    return _crc(_CCITT, 0xFFFF, data) ^ 0xFFFF


def kermit(data: bytes) -> int:
    """CRC-16/KERMIT: what Holley DTZ541 meters send where X.25 is due."""
    return _crc(_CCITT, 0, data)


def arc(data: bytes) -> int:
    """CRC-16/ARC: DSMR P1 from version 4 (P1 companion standard 5.0.2, section 6.2)."""
    return _crc(_IBM, 0, data)


def modbus(data: bytes) -> int:
    """CRC-16/MODBUS: Modbus RTU, sent low byte first."""
    return _crc(_IBM, 0xFFFF, data)
