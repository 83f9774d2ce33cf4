"""How long something has to be so, and how long well again, before a rule begins to fire and stops (B68)."""

from __future__ import annotations

from typing import Any, Literal

Standing = Literal["ok", "pending", "firing", "no_data"]
FAR_US = 1 << 62
"""Never."""


class Hold:
    """``truth`` in: True is wrong, False well, None nothing known. Out: where it stands, since when.

    Nothing known never counts as well: what fires goes on to fire, what is pending begins anew (B72)."""

    __slots__ = ("calm_from_us", "calm_us", "due_us", "hold_us", "news", "since_us", "standing", "truth")

    def __init__(self, hold_s: float, calm_s: float) -> None:
        self.hold_us = round(hold_s * 1e6)
        self.calm_us = round(calm_s * 1e6)
        self.truth: bool | None = None
        self.standing: Standing = "no_data"
        self.since_us = 0
        """When what it stands for began: of firing, when it began to be wrong."""
        self.calm_from_us: int | None = None
        self.due_us = FAR_US
        """When it changes if truth stays as it is."""
        self.news: list[tuple[bool, int, int]] = []
        """Begins and ends of firing that nobody has taken: (fires, when, since when it was so)."""

    def apply(self, truth: bool | None, t_us: int) -> None:
        self.truth = truth
        if self.standing == "firing":
            if truth is not False:
                self.calm_from_us, self.due_us = None, FAR_US
            elif self.calm_from_us is None:
                self.calm_from_us, self.due_us = t_us, t_us + self.calm_us
                self.advance(t_us)
            return
        if truth:
            if self.standing != "pending":
                self.standing, self.since_us, self.due_us = "pending", t_us, t_us + self.hold_us
                self.advance(t_us)
            return
        self._settle("no_data" if truth is None else "ok", t_us)

    def advance(self, t_us: int) -> None:
        """Time has come to ``t_us``."""
        if t_us < self.due_us:
            return
        if self.standing == "pending":
            self.news.append((True, self.due_us, self.since_us))
            self.standing, self.due_us = "firing", FAR_US
        elif self.standing == "firing" and self.calm_from_us is not None:
            self.news.append((False, self.due_us, self.calm_from_us))
            self._settle("ok", self.calm_from_us)

    def _settle(self, standing: Standing, t_us: int) -> None:
        if self.standing != standing or not self.since_us:
            self.standing, self.since_us = standing, t_us
        self.calm_from_us, self.due_us = None, FAR_US

    def calm(self, t_us: int) -> None:
        """What was pending is not."""
        self.truth = False
        self._settle("ok", t_us)

    def kept(self) -> list[Any]:
        return [self.truth, self.standing, self.since_us, self.calm_from_us, self.due_us]

    def restore(self, kept: list[Any]) -> None:
        self.truth, self.standing, self.since_us, self.calm_from_us, self.due_us = kept
