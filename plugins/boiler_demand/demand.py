"""When the boiler is to run. Pure; times are CLOCK_BOOTTIME in microseconds.

Whatever is written here, ``guard`` has it OFF when the last fresh word of a heater is too old: minimum run and overrun
rest on fresh words too, and never on a silence.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from .settings import BoilerDemandConfig, Heater

US = 1_000_000
HOUR_US = 3600 * US
FUTURE_US = US


class Word(NamedTuple):
    """What a heater said last."""

    wants: bool
    t_us: int


class Wish(NamedTuple):
    on: bool
    sample_us: int | None
    """The word that it rests on."""
    phase: str
    """off, waiting, demand, minimum_run, overrun"""
    why: str


class Demand:
    """:meth:`heard` takes the heaters' words, :meth:`decide` says what is wanted."""

    def __init__(self, config: BoilerDemandConfig, now_us: int) -> None:
        self._config = config
        self._names = config.places
        self._words: dict[Heater, Word] = {}
        self._on = False
        self._moved_us = now_us
        """Of the last change; the start counts as one, so that a crash loop is no short cycling."""
        self._asked_us: int | None = None
        """When it was last asked for."""
        self._starts: deque[int] = deque(maxlen=config.max_starts_per_h)
        self.rejected = 0

    def heard(self, heater: Heater, value: object, quality: str | None, t_us: int, now_us: int) -> None:
        """A ``heat_demand``. One that is no good word is a heater that asks for nothing."""
        if not isinstance(value, bool) or quality is not None or t_us > now_us + FUTURE_US:
            self.rejected += 1
            self._words.pop(heater, None)
            return
        before = self._words.get(heater)
        if before is None or t_us >= before.t_us:
            self._words[heater] = Word(value, t_us)

    def fresh(self, now_us: int) -> dict[Heater, Word]:
        age_us = round(self._config.demand_max_age_s * US)
        return {heater: word for heater, word in self._words.items() if now_us - word.t_us <= age_us}

    def asking(self, now_us: int) -> list[str]:
        """Who asks now, by the names of agent.toml."""
        return sorted(self._names[heater] for heater, word in self.fresh(now_us).items() if word.wants)

    def silent(self, now_us: int) -> list[str]:
        fresh = self.fresh(now_us)
        return sorted(name for heater, name in self._names.items() if heater not in fresh)

    def is_(self, on: bool, now_us: int) -> None:
        """What guard does. Told before :meth:`decide` too: it may have been OFF while we stood still."""
        if on == self._on:
            return
        self._on, self._moved_us = on, now_us
        if on:
            self._starts.append(now_us)

    @property
    def starts(self) -> list[int]:
        """The last ones, to be kept over a restart."""
        return list(self._starts)

    def restore(self, starts: object, now_us: int) -> None:
        """Those of this boot and hour; of an earlier boot at most some that are taken for such."""
        for start in starts if isinstance(starts, list) else ():
            if isinstance(start, int) and 0 <= now_us - start < HOUR_US:
                self._starts.append(start)

    def decide(self, now_us: int) -> Wish:
        config = self._config
        fresh = self.fresh(now_us)
        if not fresh:
            return Wish(False, None, "off", "no heater has said anything for "
                        f"{config.demand_max_age_s:g} s: no demand")
        newest_us = max(word.t_us for word in fresh.values())
        names = self.asking(now_us)
        enough = len(names) >= (1 if self._on else config.min_heaters)
        if enough:
            return self._wanted(names, max(word.t_us for word in fresh.values() if word.wants), now_us)
        if self._on and now_us - self._moved_us < config.min_on_s * US:
            return Wish(True, newest_us, "minimum_run",
                        f"nobody asks any more; it runs for {config.min_on_s:g} s at least")
        if self._on and self._asked_us is not None and now_us - self._asked_us < config.overrun_s * US:
            return Wish(True, newest_us, "overrun", f"nobody asks any more; overrun of {config.overrun_s:g} s")
        if names:
            return Wish(False, newest_us, "waiting", f"only {_listed(names)} asks; it takes {config.min_heaters}")
        silent = self.silent(now_us)
        return Wish(False, newest_us, "off", "no heater asks" + (f"; {_listed(silent)} silent" if silent else ""))

    def _wanted(self, names: list[str], sample_us: int, now_us: int) -> Wish:
        config = self._config
        if not self._on:
            rest_us = self._moved_us + round(config.min_off_s * US) - now_us
            if rest_us > 0:
                return Wish(False, sample_us, "waiting", f"{_ask(names)}; it rests for {config.min_off_s:g} s at least")
            if len(self._starts) == config.max_starts_per_h and now_us - self._starts[0] < HOUR_US:
                return Wish(False, sample_us, "waiting",
                            f"{_ask(names)}; it has started {config.max_starts_per_h} times within the hour")
        self._asked_us = now_us
        return Wish(True, sample_us, "demand", _ask(names))


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _ask(names: list[str]) -> str:
    return f"{_listed(names)} {'asks' if len(names) == 1 else 'ask'} for heat"
