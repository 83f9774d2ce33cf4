"""One row of channel state, whatever the dialect, and the columns of the dialects."""

from __future__ import annotations

from cmath import rect
from typing import Literal

from msgspec import Struct

Chip = Literal["esp32", "esp32s2", "esp32s3", "esp32c3", "esp32c5", "esp32c6"]
CHIPS: tuple[Chip, ...] = ("esp32", "esp32s2", "esp32s3", "esp32c3", "esp32c5", "esp32c6")

_CTRL = ("rssi", "rate", "sig_mode", "mcs", "bandwidth", "smoothing", "not_sounding", "aggregation", "stbc",
         "fec_coding", "sgi", "noise_floor", "ampdu_cnt", "channel", "secondary_channel", "local_timestamp", "ant",
         "sig_len", "rx_state")
"""``wifi_pkt_rx_ctrl_t`` of the ESP32, S2, S3 and C3, in the order in which every firmware prints it."""

DIALECTS: dict[str, tuple[str, ...]] = {
    "csi_tool": ("type", "role", "mac", *_CTRL, "real_time_set", "real_timestamp", "len", "data"),
    "esp_csi": ("type", "id", "mac", *_CTRL, "len", "first_word", "data"),
    "esp_csi_c6": ("type", "id", "mac", "rssi", "rate", "noise_floor", "fft_gain", "agc_gain", "channel",
                   "local_timestamp", "sig_len", "rx_state", "len", "first_word", "data"),
    "radar": ("type", "id", "timestamp", "taget_seq", "taget", "mac", *_CTRL, "agc_gain", "fft_gain", "len",
              "first_word", "data"),
    "radar_plain": ("type", "id", "timestamp", "taget_seq", "taget", "mac", *_CTRL, "len", "first_word", "data"),
}
"""Columns by dialect. ``csi_tool``: ESP32-CSI-Tool (values between spaces, no quotes). ``esp_csi``: Espressif's
csi_recv and csi_recv_router on ESP32, S2, S3, C3; ``esp_csi_c6``: the same on C5, C6 and C61. ``radar``: esp-radar's
console ("taget" is its spelling), whose values are a list or base64."""

POLAR = "polar"
"""The 106-value frame ``[53 magnitudes, 53 phases]`` of sub-carriers 6 to 58 of 64; it names no sender."""
POLAR_FIRST, POLAR_COUNT = 6, 53


class CsiRow(Struct, kw_only=True):
    """What one received packet said about the channel.

    ``values``: imaginary, real, imaginary, real, ... of each sub-carrier (the **imaginary part comes first**: ESP-IDF,
    Wi-Fi driver guide, "Wi-Fi Channel State Information"), as sent by the chip. ``magnitudes`` and ``phases_rad``
    instead in the polar frame. ``device_us``: the chip's own microseconds, 32 bits, wrapping every 71.6 minutes."""

    dialect: str
    mac: str
    """Of the sender, ``aa:bb:cc:dd:ee:ff``; empty in the polar frame."""
    rssi_dbm: int | None = None
    noise_floor_dbm: int | None = None
    channel: int | None = None
    secondary_channel: int | None = None
    """0 none, 1 above, 2 below (``wifi_second_chan_t``)."""
    sig_mode: int | None = None
    """0 legacy (no HT part in the values), 1 HT, 3 VHT."""
    bandwidth: int | None = None
    """0: 20 MHz, 1: 40 MHz."""
    stbc: int | None = None
    agc_gain: int | None = None
    fft_gain: int | None = None
    device_us: int | None = None
    host_s: float | None = None
    """``real_timestamp`` of the ESP32-CSI-Tool: seconds since the chip started, or since 1970 where it was set."""
    sequence: int | None = None
    first_word_invalid: bool = False
    """The first four values are not to be used (a fault of the ESP32's hardware)."""
    values: list[int] = []
    magnitudes: list[float] = []
    phases_rad: list[float] = []

    @property
    def polar(self) -> bool:
        return bool(self.magnitudes)

    @property
    def subcarriers(self) -> int:
        return len(self.magnitudes) or len(self.values) // 2

    def channel_state(self) -> list[complex]:
        """One complex value a sub-carrier: the second of a pair is its real part."""
        if self.polar:
            return [rect(m, p) for m, p in zip(self.magnitudes, self.phases_rad, strict=True)]
        pairs = iter(self.values)
        return [complex(real, imaginary) for imaginary, real in zip(pairs, pairs, strict=True)]
