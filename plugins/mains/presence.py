"""From levels of an input, or words of a UPS, to a mains that is there or not. Pure: stamps in, changes out."""

from __future__ import annotations

from typing import Literal, NamedTuple

US = 1_000_000
DIP_US = 100_000
"""Ten half waves without a pulse: the mains was away for a moment."""


class Change(NamedTuple):
    """The mains is lost or has returned, since ``t_us``."""

    t_us: int
    present: bool


class Presence:
    """``level``: an active input is mains. ``pulses``: each edge is a half wave of it, silence is its loss.

    A loss counts once it lasted ``lost_after_s``, and is dated to its beginning; a return once it lasted
    ``returned_after_s``. What is shorter is a dip."""

    def __init__(self, signal: Literal["level", "pulses"], lost_after_s: float, returned_after_s: float) -> None:
        self.present: bool | None = None
        self.dips = 0
        self._pulses = signal == "pulses"
        self._lost_us = round(lost_after_s * US)
        self._returned_us = round(returned_after_s * US)
        self._raw: bool | None = None
        self._raw_us = 0
        """Since when the input has been like that."""
        self._edge_us = 0

    def first(self, t_us: int, active: bool) -> list[Change]:
        """The level at an opening: with ``pulses`` it says nothing, a loss is timed from here."""
        if self._pulses:
            self._edge_us = t_us
            if self._raw is None:
                self._raw, self._raw_us = False, t_us
            return []
        return self.level(t_us, active)

    def level(self, t_us: int, active: bool) -> list[Change]:
        changes = self.advance(t_us)
        if self._pulses:
            gap_us, self._edge_us = t_us - self._edge_us, t_us
            if self._raw and gap_us >= DIP_US:
                self.dips += 1
            active = True
        if active != self._raw:
            if not self._pulses and active and self.present and self._raw is False:
                self.dips += 1  # it came back before the loss counted
            self._raw, self._raw_us = active, t_us
        return changes + self._settle(t_us)

    def advance(self, t_us: int) -> list[Change]:
        """Time has come to ``t_us``."""
        if self._pulses and self._raw and t_us - self._edge_us >= max(self._lost_us, DIP_US):
            self._raw, self._raw_us = False, self._edge_us
        return self._settle(t_us)

    def _settle(self, t_us: int) -> list[Change]:
        if self._raw is None or self._raw == self.present:
            return []
        if t_us - self._raw_us < (self._returned_us if self._raw else self._lost_us):
            return []
        self.present = self._raw
        return [Change(self._raw_us, self._raw)]

    def next_us(self) -> int | None:
        """When :meth:`advance` may have something to say."""
        if self._raw is not None and self._raw != self.present:
            return self._raw_us + (self._returned_us if self._raw else self._lost_us)
        if self._pulses and self._raw:
            return self._edge_us + max(self._lost_us, DIP_US)
        return None
