"""When nobody at home counts: from the word on presence to a set-back. Pure; CLOCK_BOOTTIME in microseconds."""

from __future__ import annotations

HOLD_US = 3_600_000_000
"""So long the last word holds when nothing more is heard; then nobody is known to be away."""


class Away:
    def __init__(self, after_us: int, away: bool = False) -> None:
        """``away``: as it was before a restart."""
        self.away = away
        self.since_us: int | None = None
        """Since when nobody has been at home; None after a restart."""
        self._after_us = after_us
        self._heard_us: int | None = None

    def hear(self, home: bool | None, boot_us: int) -> None:
        """``home`` None: not known just now, which changes nothing for :data:`HOLD_US`."""
        if home is not None or self._heard_us is None or boot_us < self._heard_us:
            self._heard_us = boot_us
        if home or (home is None and boot_us - self._heard_us >= HOLD_US):
            self.away, self.since_us = False, None
        elif home is False and not self.away:
            if self.since_us is None or boot_us < self.since_us:
                self.since_us = boot_us
            self.away = boot_us - self.since_us >= self._after_us
