"""Is the picture one at all? Frozen, dark, without detail. Pure."""

from __future__ import annotations

from typing import Literal

import numpy as np

Picture = Literal["ok", "frozen", "dark", "blank"]
PICTURES: tuple[Picture, ...] = ("ok", "frozen", "dark", "blank")

DARK_PCT = 4.0
"""Brightness below which nothing can be seen: night without light, or a covered lens."""
BLANK_GREY = 2.5
"""Standard deviation below which there is no detail: a hand, paint, fog on the lens, a grey error picture."""
BAD_S = 10.0
"""Dark or blank for so long before it is said; a lamp that goes on, a passing lorry are no covered lens."""


class PictureWatch:
    """Feed pictures in order; ``state`` is what they are worth."""

    def __init__(self, frozen_s: float = 60.0) -> None:
        self.state: Picture = "ok"
        self.brightness_pct = 0.0
        self._frozen_s = frozen_s
        self._last = b""
        self._same_since_s: float | None = None
        self._bad: Picture = "ok"
        self._bad_since_s = 0.0

    def feed(self, t_s: float, data: bytes) -> Picture:
        """One grey picture. The same bytes for ``frozen_s`` are no picture of the world: sensors have noise."""
        grey = np.frombuffer(data, np.uint8)
        self.brightness_pct = float(grey.mean()) / 2.55
        bad: Picture = "ok"
        if self.brightness_pct < DARK_PCT:
            bad = "dark"
        elif float(grey.std()) < BLANK_GREY:
            bad = "blank"
        if bad != self._bad:
            self._bad, self._bad_since_s = bad, t_s
        if data != self._last:
            self._last, self._same_since_s = data, t_s
        same_s = t_s - (t_s if self._same_since_s is None else self._same_since_s)
        if bad != "ok" and t_s - self._bad_since_s >= BAD_S:
            self.state = bad
        elif same_s >= self._frozen_s and bad == "ok":
            self.state = "frozen"
        elif bad == "ok":
            self.state = "ok"
        return self.state

    def reset(self) -> None:
        """The stream was started anew: what was the same before says nothing."""
        self._last, self._same_since_s = b"", None
