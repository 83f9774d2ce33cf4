"""The room model in the control loop: fed with every turn, asked for pre-heat, kept now and then. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from .preheat import Preheater
from .programme import Aim
from .room_model import RoomModel
from .room_rows import Rows

US = 1_000_000
OUTDOOR_OLD_US = 3600 * US


class Learner:
    def __init__(self, preheat: bool) -> None:
        self.model = RoomModel()
        self._rows = Rows(self.model)
        self._preheater = Preheater(self.model) if preheat else None
        self._outdoor: tuple[int, float] | None = None
        self._restored = False
        self.learned = 0
        """Rows, since the start."""

    def outdoor(self, t_us: int, value: object, quality: str | None) -> None:
        if quality in (None, "good") and isinstance(value, int | float) and not isinstance(value, bool):
            self._outdoor = t_us, float(value)

    def _outdoor_c(self, now_us: int) -> float | None:
        return self._outdoor[1] if self._outdoor and now_us - self._outdoor[0] <= OUTDOOR_OLD_US else None

    def aim(self, aim: Aim, now_us: int, wall_us: int | None, room_c: float | None) -> Aim:
        """The same, or already what comes next."""
        if self._preheater is None:
            return aim
        setpoint_c = self._preheater.setpoint_c(aim, wall_us, room_c, self._outdoor_c(now_us))
        if setpoint_c is None:
            return aim
        return msgspec.structs.replace(aim, setpoint_c=setpoint_c, why=f"{self._preheater.why}, {aim.why}")

    def see(self, now_us: int, wall_us: int | None, room_c: float | None, on: bool, disturbed: bool,
            kept: dict[str, Any]) -> str | None:
        """``kept`` is ``io.kept``. A line for the log, now and then."""
        outdoor_c, duty = self._outdoor_c(now_us), 1.0 if on else 0.0
        note = None
        if not self._restored and not self.learned and "room" in kept:  # it may come late, as the bus does
            self._restored, note = True, self.model.from_kept(kept["room"])
        if self._rows.see(now_us, wall_us, room_c, outdoor_c, duty, disturbed=disturbed):
            self.learned += 1
            kept["room"] = self.model.to_kept()
        return note
