"""How long ago something was, over restarts and reboots, also while the wall clock is not known. Pure.

A stamp is a small JSON list ``[boot id, seconds of that boot, seconds since 1970 or null]``, fit for ``io.kept``.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Now(NamedTuple):
    boot: str
    up_s: float
    """CLOCK_BOOTTIME."""
    wall_s: float | None

    def stamp(self) -> list[Any]:
        return [self.boot, round(self.up_s, 1), None if self.wall_s is None else round(self.wall_s, 1)]

    def age_s(self, stamp: list[Any]) -> float:
        """Seconds since; of another boot never less than this one is old, and no more where no wall clock says so:
        what counts against a cap counts too long rather than too short."""
        boot: str = stamp[0]
        up_s: float = stamp[1]
        wall_s: float | None = stamp[2]
        if boot == self.boot:
            return max(0.0, self.up_s - up_s)
        if wall_s is None or self.wall_s is None:
            return self.up_s
        return max(self.up_s, self.wall_s - wall_s)

    def sure_age_s(self, stamp: list[Any]) -> float | None:
        """The same where it is known; None: another boot, and no wall clock then or now."""
        if stamp[0] != self.boot and (stamp[2] is None or self.wall_s is None):
            return None
        return self.age_s(stamp)
