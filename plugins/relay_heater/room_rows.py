"""From what the control loop sees every second or two to the rows that the room model learns from. Pure."""

from __future__ import annotations

import math

from .room_model import ROW_S, RoomModel
from .room_state import Row

US = 1_000_000
SLOT_US = ROW_S * US
FAR_US = 60 * US
"""A longer silence between two looks is not taken for anything."""
FRESH_US = 180 * US
COVERED = 0.8
"""So much of a quarter must have been seen."""


class Rows:
    """Call :meth:`see` with every turn of the control loop."""

    def __init__(self, model: RoomModel) -> None:
        self._model = model
        self._last_us: int | None = None
        self._slot: int | None = None
        self._seen_us = 0
        self._on_us = 0.0
        self._room: tuple[int, float] | None = None
        self._outdoor_c: float | None = None
        self._spoiled = False

    def see(self, boot_us: int, wall_us: int | None, room_c: float | None, outdoor_c: float | None, duty: float,
            *, disturbed: bool = False) -> bool:
        """True when a row was learned. ``room_c`` None: no good reading; ``duty``: 1 while it heats; ``disturbed``: a
        window is open, the relay does not obey: this quarter says nothing about heat."""
        slot = boot_us // SLOT_US
        learned = False
        if slot != self._slot:
            if self._slot is not None:
                learned = slot == self._slot + 1 and self._close(boot_us, wall_us)
                if not learned:
                    self._model.gap()
            self._slot, self._seen_us, self._on_us, self._room, self._spoiled = slot, 0, 0.0, None, False
        elif self._last_us is not None and 0 <= boot_us - self._last_us <= FAR_US:
            self._seen_us += boot_us - self._last_us
            self._on_us += (boot_us - self._last_us) * min(1.0, max(0.0, duty))
        self._last_us = boot_us
        if room_c is not None and math.isfinite(room_c):
            self._room = boot_us, room_c
        self._outdoor_c = outdoor_c if outdoor_c is not None and math.isfinite(outdoor_c) else None
        self._spoiled = self._spoiled or disturbed
        return learned

    def _close(self, boot_us: int, wall_us: int | None) -> bool:
        """The hour of the day is an input, so a quarter of unknown time is none."""
        if self._spoiled or wall_us is None or self._room is None or boot_us - self._room[0] > FRESH_US:
            return False
        if self._seen_us < COVERED * SLOT_US:
            return False
        hour = wall_us // US % 86_400 / 3600
        self._model.learn(Row(self._room[1], self._outdoor_c, self._on_us / self._seen_us, hour))
        return True
