"""A badge repeats each list about six times: the first one counts, for ``window_s``. In memory, pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable


class Dedup:
    """``new(key, t_s)``: True unless the same key was new less than ``window_s`` ago.

    The window begins with the list that was accepted and is not moved by its repeats, so a badge that lies still is
    heard every window. Memory is bounded by what comes in one window."""

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self.repeats = 0
        self._until: dict[Hashable, float] = {}
        self._order: deque[tuple[float, Hashable]] = deque()

    def __len__(self) -> int:
        return len(self._until)

    def new(self, key: Hashable, t_s: float) -> bool:
        while self._order and self._order[0][0] <= t_s:
            del self._until[self._order.popleft()[1]]
        if key in self._until:
            self.repeats += 1
            return False
        if self.window_s > 0:
            self._until[key] = t_s + self.window_s
            self._order.append((t_s + self.window_s, key))
        return True
