"""The simulated house as its meter would say it: one function per protocol, state in, bytes out."""

from __future__ import annotations

import time
from collections.abc import Sequence

from . import crc
from .sim_house import State

SERIAL = "021728000001"


def historic_group(label: str, data: str) -> bytes:
    text = f"{label} {data}".encode()
    return b"\n" + text + b" " + bytes(((sum(text) & 0x3F) + 0x20,)) + b"\r"


def standard_group(label: str, data: str, horodate: str = "") -> bytes:
    text = "\t".join((label, horodate, data, "") if horodate else (label, data, "")).encode()
    return b"\n" + text + bytes(((sum(text) & 0x3F) + 0x20,)) + b"\r"


def teleinfo_historic(state: State, contract: str = "HC..") -> bytes:
    """One frame, contract BASE or HC/HP, single or three phase."""
    groups = [("ADCO", SERIAL), ("OPTARIF", contract), ("ISOUSC", "45")]
    if contract == "BASE":
        groups += [("BASE", f"{int(state.import_wh):09d}"), ("PTEC", "TH..")]
    else:
        groups += [("HCHC", f"{int(state.off_peak_wh):09d}"), ("HCHP", f"{int(state.peak_wh):09d}"),
                   ("PTEC", "HC.." if state.off_peak else "HP..")]
    amps = [f"{round(a):03d}" for a in state.amps]
    if len(amps) == 1:
        groups += [("IINST", amps[0]), ("IMAX", "042")]
    else:
        groups += [(f"IINST{n}", a) for n, a in enumerate(amps, 1)] + [(f"IMAX{n}", "042") for n in (1, 2, 3)]
        groups.append(("PMAX", "08250"))
    groups += [("PAPP", f"{round(state.apparent_va / 10) * 10:05d}"), ("HHPHC", "A"), ("MOTDETAT", "000000")]
    if len(amps) == 3:
        groups.append(("PPOT", "00"))
    return b"\x02" + b"".join(historic_group(*group) for group in groups) + b"\x03"


def teleinfo_standard(state: State) -> bytes:
    """One frame of a Linky, single phase, off-peak contract."""
    stamp = time.strftime("H%y%m%d%H%M%S", time.gmtime(state.wall_s + 3600))
    va = f"{round(state.apparent_va):05d}"
    volts = f"{round(state.volts[0]):03d}"
    groups: list[tuple[str, ...]] = [
        ("ADSC", SERIAL), ("VTIC", "02"), ("DATE", "", stamp), ("NGTF", "H PLEINE/CREUSE "),
        ("LTARF", "  HEURE  CREUSE " if state.off_peak else "  HEURE  PLEINE "),
        ("EAST", f"{int(state.import_wh):09d}"),
        ("EASF01", f"{int(state.off_peak_wh):09d}"), ("EASF02", f"{int(state.peak_wh):09d}"),
        *((f"EASF{n:02d}", "0" * 9) for n in range(3, 11)),
        ("EASD01", f"{int(state.off_peak_wh):09d}"), ("EASD02", f"{int(state.peak_wh):09d}"),
        ("EASD03", "0" * 9), ("EASD04", "0" * 9),
        ("IRMS1", f"{round(state.amps[0]):03d}"), ("URMS1", volts), ("PREF", "09"), ("PCOUP", "09"), ("SINSTS", va),
        ("SMAXSN", "05120", stamp[:7] + "073012"), ("SMAXSN-1", "06430", stamp[:7] + "000000"),
        ("CCASN", f"{round(state.power_w):05d}", stamp[:9] + "0000"), ("UMOY1", volts, stamp[:9] + "0000"),
        ("STGE", "003A0001"), ("MSG1", "     PAS DE          MESSAGE    "), ("PRM", "21172800000101"),
        ("RELAIS", "000"), ("NTARF", "01" if state.off_peak else "02"), ("NJOURF", "00"), ("NJOURF+1", "00"),
        ("PJOURF+1", "00008001 06008002 22008001" + " NONUTILE" * 8),
    ]
    return b"\x02" + b"".join(standard_group(*group) for group in groups) + b"\x03"


def dsmr(state: State, version: int = 50) -> bytes:
    """One P1 telegram of version 22, 30, 42 or 50, three phases, a gas meter on channel 1."""
    stamp = time.strftime("%y%m%d%H%M%SW", time.gmtime(state.wall_s + 3600))
    hour = time.strftime("%y%m%d%H0000", time.gmtime(state.wall_s + 3600))
    kw = state.power_w / 1000
    low, high = state.off_peak_wh / 1000, state.peak_wh / 1000
    tariff = 1 if state.off_peak else 2
    if version < 40:
        rows = [
            "0-0:96.1.1(4B384547303034303436333935353037)", f"1-0:1.8.1({_floor(low, 3):09.3f}*kWh)",
            f"1-0:1.8.2({_floor(high, 3):09.3f}*kWh)", "1-0:2.8.1(00000.000*kWh)", "1-0:2.8.2(00000.000*kWh)",
            f"0-0:96.14.0({tariff:04d})", f"1-0:1.7.0({kw:07.2f}*kW)", "1-0:2.7.0(0000.00*kW)",
            "0-0:17.0.0(0999.00*kW)" if version < 30 else "0-0:17.0.0(016*A)", "0-0:96.3.10(1)", "0-0:96.13.1()",
            "0-0:96.13.0()", "0-1:24.1.0(3)", "0-1:96.1.0(3232323241424344313233343536373839)",
            f"0-1:24.3.0({hour})(00)(60)(1)(0-1:24.2.1)(m3)", f"({state.gas_m3:09.3f})", "0-1:24.4.0(1)",
        ]
        return ("/ISk5\\2MT382-1004\r\n\r\n" + "\r\n".join(rows) + "\r\n!\r\n").encode()
    rows = [
        f"1-3:0.2.8({version})", f"0-0:1.0.0({stamp})", "0-0:96.1.1(4B384547303034303436333935353037)",
        f"1-0:1.8.1({_floor(low, 3):010.3f}*kWh)", f"1-0:1.8.2({_floor(high, 3):010.3f}*kWh)",
        "1-0:2.8.1(000000.000*kWh)", "1-0:2.8.2(000000.000*kWh)", f"0-0:96.14.0({tariff:04d})",
        f"1-0:1.7.0({kw:06.3f}*kW)", "1-0:2.7.0(00.000*kW)", "0-0:96.7.21(00013)", "0-0:96.7.9(00002)",
        "1-0:99.97.0(1)(0-0:96.7.19)(190326095015W)(0000002014*s)",
        *(f"1-0:{c}.32.0(00000)" for c in (32, 52, 72)), *(f"1-0:{c}.36.0(00000)" for c in (32, 52, 72)),
        "0-0:96.13.0()",
        *(f"1-0:{c}.7.0({v:05.1f}*V)" for c, v in zip((32, 52, 72), state.volts, strict=False)),
        *(f"1-0:{c}.7.0({round(a):03d}*A)" for c, a in zip((31, 51, 71), state.amps, strict=False)),
        *(f"1-0:{c}.7.0({w / 1000:06.3f}*kW)" for c, w in zip((21, 41, 61), state.watts, strict=False)),
        *(f"1-0:{c}.7.0(00.000*kW)" for c, _ in zip((22, 42, 62), state.watts, strict=False)),
        "0-1:24.1.0(003)", "0-1:96.1.0(3232323241424344313233343536373839)",
        f"0-1:24.2.1({hour}W)({state.gas_m3:09.3f}*m3)",
    ]
    text = ("/ISk5\\2MT382-1000\r\n\r\n" + "\r\n".join(rows) + "\r\n!").encode()
    return text + f"{crc.arc(text):04X}\r\n".encode()


def _floor(value: float, decimals: int) -> float:
    scale = float(10**decimals)
    return int(value * scale) / scale


def sml(state: State, number: int = 0) -> bytes:
    """One SML file of an ISKRA-like meter; ``number`` counts the files."""
    server = bytes.fromhex("0a01534b4c0004112233")

    def octets(raw: bytes) -> bytes:
        return bytes((len(raw) + 1,)) + raw

    def unsigned(value: int, size: int) -> bytes:
        return bytes((0x61 + size,)) + value.to_bytes(size, "big")

    def signed(value: int, size: int) -> bytes:
        return bytes((0x51 + size,)) + value.to_bytes(size, "big", signed=True)

    def listed(parts: Sequence[bytes]) -> bytes:
        head = bytes((0x70 | len(parts),)) if len(parts) < 16 else bytes((0xF0 | len(parts) >> 4, len(parts) & 0x0F))
        return head + b"".join(parts)

    def message(index: int, tag: int, content: bytes) -> bytes:
        body = b"\x76" + octets((number * 3 + index).to_bytes(4, "big")) + b"\x62\x00\x62\x00"
        body += listed((unsigned(tag, 2), content))
        return body + b"\x63" + crc.x25(body).to_bytes(2, "little") + b"\x00"

    def entry(obis: str, value: bytes, unit: int = 0, scaler: int = 0) -> bytes:
        return listed((octets(bytes.fromhex(obis)), b"\x01", b"\x01", unsigned(unit, 1) if unit else b"\x01",
                       signed(scaler, 1) if unit else b"\x01", value, b"\x01"))

    seconds = listed((b"\x62\x01", unsigned(int(state.wall_s) & 0xFFFFFFFF, 4)))
    entries = [
        entry("010060320101", octets(b"SKL")), entry("0100600100ff", octets(server)),
        entry("0100010800ff", unsigned(int(state.import_wh * 10), 8), 30, -1),
        entry("0100020800ff", unsigned(0, 8), 30, -1),
        entry("0100100700ff", signed(round(state.power_w), 4), 27, 0),
        *(entry(f"0100{c:02x}0700ff", signed(round(w), 4), 27, 0)
          for c, w in zip((36, 56, 76), state.watts, strict=False)),
        *(entry(f"0100{c:02x}0700ff", unsigned(round(v * 10), 2), 35, -1)
          for c, v in zip((32, 52, 72), state.volts, strict=False)),
        entry("01000e0700ff", unsigned(500, 2), 44, -1),
    ]
    payload = message(0, 0x0101, listed((b"\x01", b"\x01", octets(number.to_bytes(4, "big")), octets(server),
                                         seconds, b"\x01")))
    payload += message(1, 0x0701, listed((b"\x01", octets(server), octets(bytes.fromhex("0100620affff")), seconds,
                                          listed(entries), b"\x01", b"\x01")))
    payload += message(2, 0x0201, listed((b"\x01",)))
    payload = payload.replace(b"\x1b" * 4, b"\x1b" * 8)
    fill = -len(payload) % 4
    text = b"\x1b" * 4 + b"\x01" * 4 + payload + b"\x00" * fill + b"\x1b" * 4 + bytes((0x1A, fill))
    return text + crc.x25(text).to_bytes(2, "little")


def pzem(state: State, address: int = 0xF8) -> bytes:
    """The answer to a request for all registers; the house's first phase."""
    volts, factor = round(state.volts[0] * 10), 97
    milliamps = round(state.amps[0] * 1000)
    power = round(volts / 10 * milliamps / 1000 * factor / 100 * 10)
    energy = int(state.import_wh) % 10_000_000
    registers = (volts, milliamps & 0xFFFF, milliamps >> 16, power & 0xFFFF, power >> 16, energy & 0xFFFF,
                 energy >> 16, 500, factor, 0)
    body = bytes((address, 0x04, 20)) + b"".join(r.to_bytes(2, "big") for r in registers)
    return body + crc.modbus(body).to_bytes(2, "little")
