"""From signs to an answer, on stamps in seconds. Pure: no I/O, no clock.

A sign is ``here`` while its last sighting is held, ``gone`` when its source has said so, or was heard after that time
without a sighting, ``unknown`` while nobody could have seen it. A person is away only when a source that works says so;
of a person at home, that must be every sign that held them: a dead scanner ends in ``unknown``, never in ``away``.
"""

from __future__ import annotations

from typing import Any, Literal

Sight = Literal["here", "gone", "unknown"]
Presence = Literal["home", "away", "unknown"]
NEVER = float("-inf")


class Sign:
    """One sign of one person.

    ``hold_s``: how long a sighting counts (None: until the source says otherwise). ``source_silence_s``: how long the
    source may say nothing at all before it counts as dead (None: it speaks only when something changes)."""

    def __init__(self, name: str, by: str, hold_s: float | None, source_silence_s: float | None) -> None:
        self.name, self.by = name, by
        self.hold_s, self.source_silence_s = hold_s, source_silence_s
        self.seen_s = NEVER
        self.why = ""
        """Why its source is down."""
        self._gone_s = NEVER
        self._alive_s = NEVER
        self._up_since_s: float | None = None
        self._down = False

    def seen(self, t_s: float) -> None:
        self.seen_s = max(self.seen_s, t_s)
        self.source_up(t_s)

    def gone(self, t_s: float) -> None:
        self._gone_s = max(self._gone_s, t_s)
        self.source_up(t_s)

    def source_up(self, t_s: float) -> None:
        """The source works, whatever it says."""
        if self._up_since_s is None or self._dead(t_s):
            self._up_since_s = t_s
        self._down, self.why = False, ""
        self._alive_s = max(self._alive_s, t_s)

    def source_down(self, why: str) -> None:
        self._down, self.why = True, why

    def _dead(self, t_s: float) -> bool:
        return self._down or (self.source_silence_s is not None and t_s - self._alive_s > self.source_silence_s)

    def fresh(self, t_s: float) -> bool:
        """Whether the last sighting itself counts, not only because nobody has denied it: what an arrival needs."""
        return self.hold_s is None or t_s - self.seen_s <= self.hold_s

    def sight(self, t_s: float) -> Sight:
        dead = self._dead(t_s)
        if dead and not self._down:
            self.why = "its source is silent" if self._alive_s > NEVER else "its source has said nothing yet"
        said = self.seen_s > self._gone_s
        if self.hold_s is not None:
            if said and t_s - self.seen_s <= self.hold_s:
                return "here"
            if dead or self._up_since_s is None:
                return "unknown"
            if self._gone_s > self.seen_s:
                return "gone"
            # only a source that was heard after the time of a sighting can deny it
            if self._alive_s - max(self._up_since_s, self.seen_s) > self.hold_s:
                return "gone"
            return "here" if said and self.seen_s >= self._up_since_s else "unknown"
        if dead or self._up_since_s is None or max(self.seen_s, self._gone_s) == NEVER:
            return "unknown"
        return "here" if said else "gone"


class Person:
    """One person or thing."""

    def __init__(self, signs: list[Sign], arrival_delay_s: float, departure_delay_s: float) -> None:
        self.signs = signs
        self.presence: Presence = "unknown"
        self.held_by: set[str] = set()
        """The signs that were here in this stay."""
        self._arrival_delay_s, self._departure_delay_s = arrival_delay_s, departure_delay_s
        self._toward: Presence = "unknown"
        self._toward_s: float | None = None

    def restore(self, presence: Presence, held_by: set[str]) -> None:
        """The answer before a restart stands until the signs have had the time of a departure to say another."""
        self.presence = presence
        self.held_by = held_by & {sign.name for sign in self.signs}

    def decide(self, t_s: float) -> bool:
        """Look at the signs; True when the answer has changed."""
        sights = {sign.name: sign.sight(t_s) for sign in self.signs}
        here = {name for name, sight in sights.items() if sight == "here"}
        if self.presence != "home":
            here = {sign.name for sign in self.signs if sign.name in here and sign.fresh(t_s)}
        wanted = self._wanted(sights, here)
        if wanted == self.presence:
            if here:
                self.held_by |= here
            self._toward_s = None
            return False
        if self._toward_s is None or wanted != self._toward:
            self._toward, self._toward_s = wanted, t_s
        delay_s = self._arrival_delay_s if wanted == "home" else self._departure_delay_s
        if t_s - self._toward_s < delay_s:
            return False
        self.presence, self._toward_s = wanted, None
        if wanted == "home":
            self.held_by = here
        elif wanted == "away":
            self.held_by = set()
        return True

    def _wanted(self, sights: dict[str, Sight], here: set[str]) -> Presence:
        if here:
            return "home"
        held = [sights[name] for name in self.held_by]
        if held:
            return "away" if all(sight == "gone" for sight in held) else "unknown"
        return "away" if "gone" in sights.values() else "unknown"

    def evidence(self, t_s: float) -> dict[str, Any]:
        """What each sign says, for people: ``{"ble": {"says": "here", "seen_ago_s": 4}}``."""
        found: dict[str, Any] = {}
        for sign in self.signs:
            says = sign.sight(t_s)
            found[sign.name] = {"by": sign.by, "says": says}
            if sign.seen_s > NEVER:
                found[sign.name]["seen_ago_s"] = round(t_s - sign.seen_s)
            if says == "unknown" and sign.why:
                found[sign.name]["why"] = sign.why
        return found


def anyone(answers: list[Presence]) -> Presence:
    """Home if somebody is; away only if all are known to be."""
    if "home" in answers:
        return "home"
    return "unknown" if "unknown" in answers or not answers else "away"
