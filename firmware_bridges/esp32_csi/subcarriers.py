"""Which values carry a signal: the order of sub-carriers by chip and channel, and the nulls in it.

Source: ESP-IDF, Wi-Fi driver guide, "Wi-Fi Channel State Information" (table of sub-carrier indices), checked against
recordings of ESP32, S2, S3, C5 and C6. A 20 MHz OFDM symbol of 64 uses -26..26 (legacy) or -28..28 (HT) without 0.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from .row import POLAR_COUNT, POLAR_FIRST, Chip, CsiRow

FIRST_WORD = 2
"""Sub-carriers lost to ``first_word_invalid``."""
_DENSE = {53: 26, 57: 28, 114: 57, 117: 58, 121: 60, 242: 121, 245: 122}
"""C5 and C6 print some symbols without their guards: count -> where the direct current is, about which nothing is known
but that it carries none."""


class Layout(Struct, frozen=True):
    """Which sub-carriers of a row to take."""

    count: int
    """Sub-carriers of the row."""
    used: tuple[int, ...]
    """Positions with a signal, of the first training field only: it is there in every packet, whatever its rate."""


def layout_of(row: CsiRow, chip: Chip | None = None) -> Layout:
    """The layout of a row. ``chip`` None: told from dialect and channel."""
    if row.polar:
        return Layout(POLAR_COUNT, tuple(i for i in range(POLAR_COUNT) if i != 32 - POLAR_FIRST))
    new = row.dialect == "esp_csi_c6" if chip is None else chip in ("esp32c5", "esp32c6")
    # With a second channel beside it the 20 MHz of the legacy field come in ascending order, else from 0 up, then the
    # negative half. The C5 and C6 always ascend.
    ascending = new or bool(row.secondary_channel)
    return _layout(len(row.values) // 2, new, ascending, row.first_word_invalid)


@lru_cache(maxsize=64)
def _layout(count: int, new: bool, ascending: bool, first_word_invalid: bool) -> Layout:
    if new and count in _DENSE:
        used = [i for i in range(count) if i != _DENSE[count]]
    elif new and count == 128:  # HT40: -58..58 without -1..1
        used = [i for i in range(count) if 2 <= abs(i - 64) <= 58]
    else:
        length = min(count, 64)  # 128 values: the legacy field; 256, 384, 612: HT fields follow it
        edge = 28 if new else 26
        used = []
        for position in range(length):
            index = position - 32 if ascending else (position if position < 32 else position - 64)
            if 1 <= abs(index) <= edge:
                used.append(position)
    lost = FIRST_WORD if first_word_invalid else 0
    return Layout(count, tuple(position for position in used if position >= lost))
