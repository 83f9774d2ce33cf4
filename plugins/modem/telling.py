"""What was told when: values on change and every minute, so that silence of the plugin shows as stale values."""

from __future__ import annotations

from collections.abc import Iterator

from agent.api import Io, Reading, Value

AGAIN_S = 60.0


class Telling:
    def __init__(self) -> None:
        self._told: dict[str, tuple[Value, float]] = {}
        self._alerts: dict[str, str | None] = {}

    def value(self, io: Io, name: str, value: Value, quality: str | None = None) -> Iterator[Reading]:
        now_s = io.clock.monotonic_s()
        before = self._told.get(name)
        if before is None or before[0] != value or now_s - before[1] >= AGAIN_S:
            self._told[name] = value, now_s
            yield Reading(name, value, quality=quality)

    def state(self, io: Io, state: str) -> Iterator[Reading]:
        yield from self.value(io, "state", state)

    def alert(self, io: Io, alert_id: str, text: str | None) -> None:
        """Raise or resolve, on change only."""
        if self._alerts.get(alert_id, "unknown") != text:
            self._alerts[alert_id] = text
            io.alert(f"{alert_id}-{io.instance}", text)  # another modem has its own

    def last(self, name: str) -> Value:
        return self._told.get(name, (None, 0.0))[0]
