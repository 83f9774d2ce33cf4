"""Rows to lines, as each firmware prints them: for simulated sources and tests."""

from __future__ import annotations

import base64
from math import atan2, hypot

from .row import DIALECTS, POLAR, POLAR_COUNT, POLAR_FIRST, CsiRow


def write_row(row: CsiRow, dialect: str | None = None) -> bytes:
    """One line with its line end. Raises KeyError for a dialect that is none."""
    dialect = dialect or row.dialect
    if dialect == POLAR:
        return _polar(row)
    texts = {
        "type": "CSI_DATA", "role": "AP", "id": str(row.sequence or 0), "mac": row.mac, "rssi": str(row.rssi_dbm),
        "rate": "11", "sig_mode": str(row.sig_mode or 0), "bandwidth": str(row.bandwidth or 0),
        "noise_floor": str(row.noise_floor_dbm), "channel": str(row.channel),
        "secondary_channel": str(row.secondary_channel or 0), "local_timestamp": str(row.device_us or 0),
        "sig_len": "101", "real_timestamp": f"{row.host_s or (row.device_us or 0) / 1e6:.6f}",
        "agc_gain": str(row.agc_gain or 0), "fft_gain": str(row.fft_gain or 0), "len": str(len(row.values)),
        "first_word": str(int(row.first_word_invalid)), "taget": "unknown", "timestamp": str(_ms(row)),
    }
    if dialect == "csi_tool":
        texts["data"] = "[" + " ".join(map(str, row.values)) + " ]"
    elif dialect == "radar":
        texts["data"] = base64.b64encode(bytes(value & 0xFF for value in row.values)).decode()
    else:
        texts["data"] = '"[' + ",".join(map(str, row.values)) + ']"'
    end = "\n" if dialect == "csi_tool" else "\r\n"
    return (",".join(texts.get(column, "0") for column in DIALECTS[dialect]) + end).encode()


def _ms(row: CsiRow) -> int:
    return (row.device_us or 0) // 1000


def _polar(row: CsiRow) -> bytes:
    """Phase as atan2(first of the pair, second): the first is the imaginary part."""
    pairs = [(row.values[2 * i], row.values[2 * i + 1]) for i in range(POLAR_FIRST, POLAR_FIRST + POLAR_COUNT)]
    numbers = [hypot(a, b) for a, b in pairs] + [atan2(a, b) for a, b in pairs]
    return ("[" + ",".join(f"{number:.3f}" for number in numbers) + "]\n").encode()
