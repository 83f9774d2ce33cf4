"""PZEM-004T v3: the request, and bytes -> readings. No port, no clock.

Source: Peacefair PZEM-004T V3.0 manual, section 2 (Modbus RTU, 9600 8N1, function 04, ten registers from 0). 32-bit
values come low word first: 0.1 V, 0.001 A, 0.1 W, 1 Wh, 0.1 Hz, 0.01. Address 0xF8 reaches whatever single meter is
on the line.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import crc
from .frames import Garbage, Measured

ANY_ADDRESS = 0xF8
_READ_INPUT = 0x04
_REQUEST = b"\x00\x00\x00\x0a"
_LENGTH = 25
_ERRORS = {1: "illegal function", 2: "illegal address", 3: "illegal data", 4: "slave error"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer, in whole units of the registers' resolution where a counter must stay exact."""

    address: int
    voltage_v: float
    phase_current_a: float
    active_power_w: float
    energy_wh: int
    frequency_hz: float
    power_factor: float
    overload: bool

    def measured(self) -> list[Measured]:
        return [
            Measured("voltage_l1_v", self.voltage_v), Measured("phase_current_l1_a", self.phase_current_a),
            Measured("active_power_w", self.active_power_w),
            Measured("active_energy_import_kwh", self.energy_wh / 1000), Measured("frequency_hz", self.frequency_hz),
            Measured("power_factor", self.power_factor), Measured("overload", self.overload),
        ]


def request(address: int = ANY_ADDRESS) -> bytes:
    """Ask for all ten registers."""
    body = bytes((address, _READ_INPUT)) + _REQUEST
    return body + crc.modbus(body).to_bytes(2, "little")


def decode(frame: bytes) -> Sample:
    """An answer whose CRC was right. Raises ValueError if it says what the instrument cannot measure.

    The CRC lets one damaged frame in 65 536 through, so the ranges of the manual and P = V x I x PF are held too."""
    registers = [int.from_bytes(frame[n : n + 2], "big") for n in range(3, 23, 2)]
    voltage, current = registers[0] / 10, (registers[2] << 16 | registers[1]) / 1000
    power, energy = (registers[4] << 16 | registers[3]) / 10, registers[6] << 16 | registers[5]
    frequency, factor, alarm = registers[7] / 10, registers[8] / 100, registers[9]
    # 80-260 V, 0-100 A, 0-23 kW, 0-9999.99 kWh, 45-65 Hz (manual, section 1), each with a tenth above for tolerance
    if not 60 <= voltage <= 290:
        raise ValueError(f"{voltage} V")
    if current > 110 or power > 25_300 or energy > 9_999_999 or not 40 <= frequency <= 70:
        raise ValueError("out of the instrument's range")
    if factor > 1 or alarm not in (0, 0xFFFF):
        raise ValueError("power factor or alarm")
    # Power factor has two digits and power one: 0.01 of V x I, and 1 %, and 0.5 W below the starting current.
    if abs(power - voltage * current * factor) > 0.5 + 0.011 * voltage * current:
        raise ValueError("power is not V x I x PF")
    return Sample(frame[0], voltage, current, power, energy, frequency, factor, alarm != 0)


class PzemCodec:
    """``feed`` bytes in any portions; samples and garbage come out. Requests (an echo of ours) are passed over.

    ``address``: only this one's answers, or None for any."""

    def __init__(self, address: int | None = None) -> None:
        self.address = None if address == ANY_ADDRESS else address
        self.reset()

    def reset(self) -> None:
        self._buffer = b""
        self._dropped = 0

    def feed(self, data: bytes) -> list[Sample | Garbage]:
        self._buffer += data
        out: list[Sample | Garbage] = []
        while len(self._buffer) >= 5:
            length = self._frame_length()
            if length > len(self._buffer):
                break
            frame = self._buffer[:length]
            if not length or crc.modbus(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
                if length == _LENGTH:
                    out.append(Garbage("crc", 1))
                self._drop(1)
                continue
            self._buffer = self._buffer[length:]
            self._flush(out)
            if length == 5:
                out.append(Garbage(f"meter answers: {_ERRORS.get(frame[2], 'error')}", 5))
            elif length == _LENGTH:
                try:
                    out.append(decode(frame))
                except ValueError as error:
                    out.append(Garbage(f"range: {error}", _LENGTH))
        return out

    def finish(self) -> list[Sample | Garbage]:
        """The line is silent: what is left is no frame."""
        out: list[Sample | Garbage] = []
        self._dropped += len(self._buffer)
        self._flush(out)
        self.reset()
        return out

    def _frame_length(self) -> int:
        """Length of the frame that may begin here, 0 if none can."""
        address, function, third = self._buffer[:3]
        if not (1 <= address <= 0xF8 and self.address in (None, address)):
            return 0
        if function == _READ_INPUT and third == 0x14:
            return _LENGTH
        if function == _READ_INPUT and self._buffer[2:6] == _REQUEST[: len(self._buffer) - 2][:4]:
            return 8
        if function == 0x80 | _READ_INPUT and third in _ERRORS:
            return 5
        return 0

    def _drop(self, length: int) -> None:
        self._buffer = self._buffer[length:]
        self._dropped += length

    def _flush(self, out: list[Sample | Garbage]) -> None:
        if self._dropped:
            out.append(Garbage("no frame", self._dropped))
            self._dropped = 0
