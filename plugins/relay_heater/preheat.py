"""Whether to heat for what comes next already. Pure."""

from __future__ import annotations

from .programme import Aim
from .room_model import MAX_LEAD_S, RoomModel


class Preheater:
    """Once begun it goes on until the moment for which it was begun: a room that warms faster than expected is warm a
    little early, and the relay does not stop and start on the way."""

    def __init__(self, model: RoomModel, max_lead_s: float = MAX_LEAD_S) -> None:
        self.why = "nothing has been asked yet"
        """Half a sentence: for how long, or why not."""
        self._model = model
        self._max_lead_s = max_lead_s
        self._begun: tuple[int | None, float | None] | None = None

    def setpoint_c(self, aim: Aim, wall_us: int | None, room_c: float | None, outdoor_c: float | None) -> float | None:
        """What to aim at instead of ``aim.setpoint_c``; None: nothing else. Never while off, forced or away."""
        if wall_us is None or room_c is None or aim.level in ("off", "forced", "away"):
            self._begun, self.why = None, "no pre-heat: it is off, forced or away, or time or temperature is not known"
            return None
        start = self._model.preheat_start(aim, room_c, outdoor_c, self._max_lead_s)
        coming = aim.next_us, aim.next_setpoint_c
        if start.start_us is not None and (coming == self._begun or wall_us >= start.start_us):
            if coming != self._begun:
                self.why = f"pre-heating: {start.why}"
            self._begun = coming
            return aim.next_setpoint_c
        self._begun, self.why = None, start.why
        return None
