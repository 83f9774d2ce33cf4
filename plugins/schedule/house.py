"""What is known of the house: who is there and whether it is a holiday, as other plugins said it last. Pure."""

from __future__ import annotations

from typing import Any

from .settings import ScheduleConfig


class House:
    """Times are seconds of one clock."""

    def __init__(self, config: ScheduleConfig) -> None:
        self.profile: str | None = None
        """Of the heater."""
        self._config = config
        self._presence: Any = None
        self._heard_s = 0.0

    def hear(self, node: str, name: str, value: Any, t_s: float) -> None:
        """A reading of another plugin, of then: it may have been under way for long."""
        if node == self._config.presence and name == self._config.presence_property:
            self._presence, self._heard_s = value, t_s
        elif node == self._config.heater and name == "profile" and isinstance(value, str):
            self.profile = value

    def presence(self, now_s: float) -> str:
        """home, away, unknown; any: nobody is to say."""
        if not self._config.presence:
            return "any"
        if now_s - self._heard_s > self._config.presence_max_age_s:
            return "unknown"
        if isinstance(self._presence, bool):
            return "home" if self._presence else "away"
        return self._presence if self._presence in ("home", "away") else "unknown"

    def hears(self, now_s: float) -> bool:
        """Whether there is somebody to speak to."""
        presence = self.presence(now_s)
        return presence in ("home", "any") or (presence == "unknown" and self._config.presence_unknown == "speak")

    @property
    def holiday(self) -> bool:
        return self.profile in self._config.holiday_profiles
