"""What each column of a row may look like, whatever the dialect, and what columns are called elsewhere."""

from __future__ import annotations

import re
from functools import lru_cache

from .row import DIALECTS

MAC = rb"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}"
GRAMMAR = {
    "type": rb"CSI_DATA", "role": rb"[A-Za-z_]{1,16}", "mac": b"(" + MAC + b")", "dmac": MAC,
    "taget": rb"[^,\[\]\"]{0,64}", "real_timestamp": rb"(-?\d{1,12}(?:\.\d{1,9})?)",
}
WANTED = {
    "rssi": "rssi_dbm", "noise_floor": "noise_floor_dbm", "channel": "channel", "secondary_channel":
    "secondary_channel", "sig_mode": "sig_mode", "bandwidth": "bandwidth", "stbc": "stbc", "agc_gain": "agc_gain",
    "fft_gain": "fft_gain", "local_timestamp": "device_us", "id": "sequence", "first_word": "first_word_invalid",
    "len": "len",
}
RANGES = {
    "rssi_dbm": (-128, 30), "noise_floor_dbm": (-128, 0), "channel": (1, 196), "secondary_channel": (0, 2),
    "sig_mode": (0, 7), "bandwidth": (0, 7), "stbc": (0, 3), "agc_gain": (-256, 256), "fft_gain": (-256, 256),
    "first_word_invalid": (0, 1),
}
ALIASES = {
    "seq": "id", "sequence": "id", "cwb": "bandwidth", "channel_primary": "channel", "csi_data": "data",
    "channel_secondary": "secondary_channel", "first_word_invalid": "first_word", "noise": "noise_floor",
}
NUMERIC = {column for columns in DIALECTS.values() for column in columns} - {"type", "role", "mac", "taget", "data"}


@lru_cache(maxsize=16)
def head_pattern(columns: tuple[str, ...]) -> tuple[re.Pattern[bytes], tuple[str, ...]]:
    """The grammar of all columns but the values, and the names of its groups."""
    parts, names = [], []
    for column in columns[:-1]:
        if column in WANTED and WANTED[column] not in names:
            parts.append(rb"(-?\d{1,10})")
            names.append(WANTED[column])
        elif column == "mac" and "mac" not in names:
            parts.append(GRAMMAR["mac"])
            names.append("mac")
        elif column == "real_timestamp" and "host_s" not in names:
            parts.append(GRAMMAR["real_timestamp"])
            names.append("host_s")
        elif column in ("type", "role", "dmac", "taget"):
            parts.append(GRAMMAR[column])
        elif column in NUMERIC:
            parts.append(rb"-?\d{1,10}")
        else:  # a column that only a header named
            parts.append(rb"[^,\[\]\"]{0,64}")
    return re.compile(b",".join(parts) + rb"\Z"), tuple(names)
