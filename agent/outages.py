"""For plugins: the running outage and how long it took, over restarts and power cuts (``io.kept``)."""

from __future__ import annotations

from agent.api import Io

KEY = "outage"


class Outages:
    """``begin`` at every bad look, ``end`` at every good one: each says whether something has changed.

    What was kept may come back late, so the truth is in ``io.kept``, and this only knows its own process's clock."""

    def __init__(self) -> None:
        self._began_us: int | None = None

    def begin(self, io: Io, began_us: int) -> bool:
        """True at the first look of an outage that began at ``began_us`` (boot time)."""
        note = io.kept.get(KEY)
        if isinstance(note, dict):
            if note.get("began_wall_us") is None and self._began_us is not None:
                note["began_wall_us"] = _wall_us(io, self._began_us)  # the clock became known meanwhile
            return False
        self._began_us = began_us
        io.kept[KEY] = {"began_wall_us": _wall_us(io, began_us)}
        return True

    def end(self, io: Io, now_us: int) -> tuple[bool, float | None]:
        """Whether an outage has ended, and its seconds; None where the clock was unknown over a restart."""
        note = io.kept.pop(KEY, None)
        began_us, self._began_us = self._began_us, None
        if note is None:
            return False, None
        if began_us is not None:
            return True, max(0.0, (now_us - began_us) / 1e6)
        began_wall_us = note.get("began_wall_us") if isinstance(note, dict) else None
        now_wall_us = _wall_us(io, now_us)
        if not isinstance(began_wall_us, int) or now_wall_us is None or now_wall_us < began_wall_us:
            return True, None
        return True, (now_wall_us - began_wall_us) / 1e6


def _wall_us(io: Io, boot_us: int) -> int | None:
    wall_us = io.clock.wall_us()
    return None if wall_us is None else wall_us - (io.clock.boottime_us() - boot_us)
