"""True changes of one or two contacts to turns of the meter's wheel. Pure.

One contact cannot tell the direction: each time it closes is a turn. Two contacts a quarter turn apart (quadrature)
can: a wheel that swings to and fro over one contact, as pressure knocks make it, is then no water.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

QUARTERS = {(False, False): 0, (True, False): 1, (True, True): 2, (False, True): 3}
"""(a, b) -> quarter of the turn; forward is a before b."""
STUCK_CHANGES = 40
"""Changes of one contact without any of the other, after which the other is doubted: 20 turns, or 20 swings."""


class Turn(NamedTuple):
    t_us: int
    forward: bool


class Turns(Protocol):
    @property
    def stuck(self) -> int | None:
        """Number of the contact that does not move although the other does."""
        ...

    @property
    def behind(self) -> int:
        """Turns that flowed back and not yet forth again."""
        ...

    def change(self, contact: int, t_us: int, level: bool) -> Turn | None: ...


class OneContact:
    """A turn each time that the contact closes."""

    stuck: int | None = None
    behind = 0

    def __init__(self, level: bool | None = None) -> None:
        self._level = level

    def change(self, contact: int, t_us: int, level: bool) -> Turn | None:
        before, self._level = self._level, level
        return Turn(t_us, True) if level and before is False else None


class Quadrature:
    """A turn forward is four quarters beyond the farthest point so far: what flowed back must first flow again, as on
    the meter's own figures. A turn back is told too."""

    def __init__(self) -> None:
        self.stuck: int | None = None
        self._levels: list[bool | None] = [None, None]
        self._position = 0
        self._farthest = 0
        """In quarters, a whole turn."""
        self._back = 0
        """Turns back from there that were told and not made up."""
        self._alone = [0, 0]

    @property
    def behind(self) -> int:
        return (self._farthest - self._position) // 4

    def change(self, contact: int, t_us: int, level: bool) -> Turn | None:
        before = self._quarter()
        self._levels[contact] = level
        after = self._quarter()
        if before is None or after is None:
            return None
        self._alone[contact] += 1
        self._alone[1 - contact] = 0
        self.stuck = 1 - contact if self._alone[contact] >= STUCK_CHANGES else None
        step = (after - before) % 4
        self._position += {0: 0, 1: 1, 3: -1}.get(step, 0)
        if self._position >= self._farthest + 4:
            self._farthest += 4
            self._back = 0
            return Turn(t_us, True)
        if self.behind > self._back:
            self._back = self.behind
            return Turn(t_us, False)
        self._back = min(self._back, self.behind + 1)  # half-way swings there are no new turn back
        return None

    def _quarter(self) -> int | None:
        a, b = self._levels
        return None if a is None or b is None else QUARTERS[a, b]
