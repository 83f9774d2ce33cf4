"""Open or closed: by a leak, by a person, for an exercise. Pure; times are CLOCK_BOOTTIME in microseconds.

It stays where it was told through anything. A leak closes it, and then only a person opens it; while the leak is still
reported, only for a time. In doubt after a restart it is closed: water that is missing is noticed, a flood is not.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from .exercise import Exercise
from .settings import LEAKS, WaterValveConfig
from .stuck import Stuck

US = 1_000_000
KEEP_US = 2 * US
"""Opening waits until it is kept that it is to be open, closing does not: a crash between the two leaves it closed."""
MOST_FORCED_MIN = 720


class Refused(Exception):
    """What cannot be now, and what can."""


class Valve:
    """``closed`` is None while nobody knows: then it is left where it is."""

    def __init__(self, config: WaterValveConfig, now_us: int) -> None:
        self._config = config
        self._max_age_us = round(config.meter_max_age_s * US)
        self.closed: bool | None = None
        self.by = "as it was left"
        self.stuck = Stuck(config.travel_s, config.stuck_l)
        self.exercise = Exercise(config)
        self.rejected = 0
        self.forced_until_us: int | None = None
        self.began_us = now_us
        self._open_from_us = now_us
        self._leak = "unknown"
        self._leak_us: int | None = None
        self._heard_us: int | None = None
        self._index_l: float | None = None
        self._quiet_us: int | None = None

    # --- what comes in ----------------------------------------------------------------------------------------

    def heard(self, name: str, value: object, quality: str | None, t_us: int) -> None:
        """A reading of the meter; what is no such thing counts for nothing."""
        if name == "leak":
            if quality is not None or value not in LEAKS:
                self.rejected += 1
                return
            self._leak, self._leak_us = str(value), t_us
        elif name in ("index_l", "flow_l_h"):
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not number or quality not in (None, "estimated"):
                self.rejected += 1
                return
            self._water(name, float(value), t_us)  # type: ignore[arg-type]
        else:
            return
        self._heard_us = max(t_us, self._heard_us or t_us)

    def _water(self, name: str, value: float, t_us: int) -> None:
        if name == "index_l":
            if value != self._index_l:
                self._quiet_us = t_us
            self._index_l = value
            self.stuck.index(value, t_us)
        else:
            if value > 0 or self._quiet_us is None:
                self._quiet_us = t_us
            self.stuck.flow(value, t_us)

    def silent(self, now_us: int) -> bool:
        """The meter says nothing: a burst would not be seen."""
        return now_us - (self.began_us if self._heard_us is None else self._heard_us) > self._max_age_us

    def leak(self, now_us: int) -> str | None:
        """The leak that closes it and is reported now; None: none is."""
        if self._leak_us is None or now_us - self._leak_us > self._max_age_us:
            return None
        return self._leak if self._leak in self._config.close_on else None

    def forced(self, now_us: int) -> bool:
        return self.forced_until_us is not None and now_us < self.forced_until_us

    # --- what it does -----------------------------------------------------------------------------------------

    def tick(self, now_us: int, local: datetime | None) -> None:
        if self.forced_until_us is not None and now_us >= self.forced_until_us:
            self.forced_until_us = None
        leak = self.leak(now_us)
        if leak is not None and not self.forced(now_us) and not self.closed:
            self.close(leak, local)
        self.exercise.tick(now_us, local, self._quiet(now_us, leak))
        wants = self.wants_closed(now_us)
        if wants is not None:
            self.stuck.told(wants, now_us)
        self.stuck.look(now_us)

    def _quiet(self, now_us: int, leak: str | None) -> int | None:
        """Since when nothing flows; None where an exercise must not be."""
        if (self.closed is not False or leak is not None or self._leak != "none" or self.silent(now_us)
                or self.stuck.reason is not None or self.forced(now_us)):
            return None
        return self._quiet_us

    def wants_closed(self, now_us: int) -> bool | None:
        """Where it is to be now."""
        if self.closed is None:
            return None
        return self.closed or now_us < self._open_from_us or self.exercise.closes(now_us)

    def close(self, by: str, local: datetime | None) -> None:
        """At once; ``by`` is a leak's word or "a person"."""
        self.exercise.stop(local)
        self.exercise.last = local or self.exercise.last  # it moves: as good as an exercise
        self.closed, self.by, self.forced_until_us = True, by, None

    def open(self, now_us: int, local: datetime | None) -> None:
        """By a person. Raises Refused."""
        leak = self.leak(now_us)
        if leak is not None and not self.forced(now_us):
            raise Refused(f"{self._config.water} still reports {leak}: close the leak first, or set force_open_min to "
                          "open it all the same for so many minutes")
        self._opened("a person", now_us, local)

    def force_open(self, minutes: float, now_us: int, local: datetime | None) -> None:
        """Open for so long, whatever the meter says; 0 ends that. Raises Refused."""
        if not 0 <= minutes <= MOST_FORCED_MIN:
            raise Refused(f"force_open_min: {minutes:g}: expected 0 to {MOST_FORCED_MIN} minutes")
        if minutes == 0:
            self.forced_until_us = None
            return
        self._opened(f"a person, for {minutes:g} min whatever the meter says", now_us, local)
        self.forced_until_us = now_us + round(minutes * 60 * US)

    def _opened(self, by: str, now_us: int, local: datetime | None) -> None:
        self.exercise.stop(local)
        if self.closed:
            self._open_from_us = now_us + KEEP_US
        self.closed, self.by = False, by

    def by_hand(self, closed: bool, now_us: int, local: datetime | None) -> bool:
        """Somebody moved the relay itself. False: it is not to stay so, because a leak is reported."""
        if closed:
            self.close("a person, by hand at the relay", local)
        elif self.leak(now_us) is not None and not self.forced(now_us):
            return False
        else:
            self._opened("a person, by hand at the relay", now_us, local)
            self._open_from_us = now_us  # it is open already
        return True

    # --- over a restart ---------------------------------------------------------------------------------------

    def kept(self, now_us: int, wall_us: int | None) -> dict[str, Any]:
        forced = None
        if self.forced_until_us is not None and wall_us is not None:
            forced = round((wall_us + self.forced_until_us - now_us) / 1e7) * 10_000_000
        last = self.exercise.last
        return {"closed": self.closed, "by": self.by, "exercise": self.exercise.active, "forced_wall_us": forced,
                "exercised": None if last is None else last.isoformat(timespec="seconds")}

    def restore(self, kept: object, is_closed: bool | None, now_us: int, wall_us: int | None) -> None:
        """``is_closed``: where guard left it; None: it does not know."""
        was = kept if isinstance(kept, dict) else {}
        told = was.get("closed") if isinstance(was.get("closed"), bool) else None
        if told is False and was.get("exercise"):
            self.closed, self.by = False, "opened again after an exercise that was cut short"
        elif is_closed and told is False:
            self.closed, self.by = True, "as guard left it"
        else:
            self.closed = is_closed if told is None else told
            self.by = str(was.get("by") or self.by)
        if self.closed and self.by in self._config.close_on:
            self._leak, self._leak_us = self.by, now_us  # as far as anybody knows, until the meter says otherwise
        forced_us = was.get("forced_wall_us")
        if isinstance(forced_us, int) and wall_us is not None and self.closed is False:
            left_us = forced_us - wall_us
            if 0 < left_us <= MOST_FORCED_MIN * 60 * US:
                self.forced_until_us = now_us + left_us
        try:
            self.exercise.last = datetime.fromisoformat(str(was.get("exercised")))
        except ValueError:
            self.exercise.last = None
