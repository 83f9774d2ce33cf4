"""What each kind of condition remembers of one series, and what it says of it: wrong, well, or nothing known.

A cell is fed good samples in order of time; between them time alone may change what it says, at ``next_us``.
"""

from __future__ import annotations

from typing import Any, ClassVar
from zlib import crc32

from agent.rules.declared import Declared
from agent.rules.hold import FAR_US
from agent.rules.model import Frozen, Leaf, NoData, Override, State, Threshold
from agent.rules.words import duration, number, shown

S = 1_000_000


class Cell:
    """Base: a value that is true until its declared age is over."""

    memory: ClassVar[bool] = False
    """It holds more than the newest sample tells."""
    __slots__ = ("last_us", "max_us", "truth", "value")

    def __init__(self, declared: Declared) -> None:
        self.max_us = FAR_US if declared.max_age_s is None else round(declared.max_age_s * 1e6)
        if declared.event:  # momentary: it is so, and at once no more
            self.max_us = 0
        self.last_us: int | None = None
        self.value: Any = None
        self.truth: bool | None = None

    @property
    def next_us(self) -> int:
        """When time alone changes ``truth``, at the earliest."""
        if self.last_us is None or self.truth is None or not (self.truth or self.max_us):
            return FAR_US
        return self.last_us + self.max_us + 1

    def begin(self, t_us: int) -> None:
        """It is watched from now on."""

    def feed(self, t_us: int, value: Any) -> None:
        self.last_us = t_us
        self.value = value if type(value) is float else small(value)
        self.truth = self.judge(t_us, value)

    def advance(self, t_us: int) -> None:
        """Time is ``t_us``, at or after ``next_us``."""
        if self.last_us is not None and t_us > self.last_us + self.max_us:
            self.truth = None if self.max_us else False

    def judge(self, t_us: int, value: Any) -> bool | None:
        raise NotImplementedError

    def text(self, unit: str) -> str:
        """What it says, without its subject: ``is 83 %, above 80 %``."""
        raise NotImplementedError

    def kept(self) -> list[Any]:
        return [self.last_us, self.value, self.truth]

    def restore(self, kept: list[Any]) -> None:
        self.last_us, self.value, self.truth = kept[:3]


def small(value: Any) -> Any:
    """A value that may be kept: a long text or an object as its beginning and a check sum."""
    if isinstance(value, str | dict | list):
        text = value if isinstance(value, str) else str(value)
        return text if len(text) <= 80 else f"{text[:60]}... {crc32(text.encode('utf-8', 'replace')):08x}"
    return value


def numeric(value: Any) -> float | None:
    """A number, or a boolean as one; None for what is neither, and for NaN."""
    if isinstance(value, float | int):
        return value if value == value else None
    return None


class ThresholdCell(Cell):
    __slots__ = ("high", "leave", "limit")

    def __init__(self, when: Threshold, declared: Declared) -> None:
        super().__init__(declared)
        self.high = when.above is not None
        self.limit: float = when.above if when.above is not None else when.below or 0.0
        self.leave = self.limit - when.hysteresis if self.high else self.limit + when.hysteresis

    def judge(self, t_us: int, value: Any) -> bool | None:
        got = numeric(value)
        if got is None:
            return None
        limit = self.leave if self.truth else self.limit
        return got > limit if self.high else got < limit

    def text(self, unit: str) -> str:
        side = "above" if self.high else "below"
        if self.truth is False:
            side = f"not {side}"
        return f"is {number(self.value, unit)}, {side} {number(self.limit, unit)}"


class StateCell(Cell):
    __slots__ = ("words", "wrong_if_in")

    def __init__(self, when: State, declared: Declared) -> None:
        super().__init__(declared)
        self.words = when.words()
        self.wrong_if_in = when.is_ is not None

    def judge(self, t_us: int, value: Any) -> bool | None:
        # 1 == True in Python, not in a rule
        found = any(isinstance(word, bool) == isinstance(value, bool) and word == value for word in self.words)
        return found is self.wrong_if_in

    def text(self, unit: str) -> str:
        return f"is {shown(self.value, unit)}"


class NoDataCell(Cell):
    __slots__ = ("after_us", "base_us", "began_us")

    def __init__(self, when: NoData, declared: Declared) -> None:
        super().__init__(declared)
        after_s = when.after_s if when.after_s is not None else declared.max_age_s
        self.after_us = FAR_US if after_s is None or (declared.event and when.after_s is None) else round(after_s * 1e6)
        self.began_us: int | None = None if declared.expected else FAR_US
        self.base_us = 0
        """Silence before that was not looked at."""
        self.truth = False

    @property
    def next_us(self) -> int:
        newest = self.last_us if self.last_us is not None else self.began_us
        return FAR_US if self.truth or newest is None else min(FAR_US, max(newest, self.base_us) + self.after_us + 1)

    def resume(self, t_us: int) -> None:
        self.base_us, self.truth = t_us, False

    def begin(self, t_us: int) -> None:
        if self.began_us is None:
            self.began_us = t_us

    def feed(self, t_us: int, value: Any) -> None:
        self.last_us = t_us
        self.truth = False

    def advance(self, t_us: int) -> None:
        self.truth = t_us >= self.next_us or self.truth

    def text(self, unit: str) -> str:
        if not self.truth:
            return "gives data"
        if self.last_us is None:
            return f"has given no good value for more than {duration(self.after_us / S)}"
        return f"gives no good value any more, for longer than {duration(self.after_us / S)}"

    def kept(self) -> list[Any]:
        return [self.last_us, None, self.truth, self.began_us, self.base_us]

    def restore(self, kept: list[Any]) -> None:
        super().restore(kept)
        if kept[3] != FAR_US or self.began_us is not None:  # it is expected now, and was not before
            self.began_us = kept[3]
        self.base_us = kept[4] if len(kept) > 4 else 0


class OverrideCell(Cell):
    """``levels`` of a heater (an object: level -> null, or profile or setpoint with its end), or its mode."""

    __slots__ = ("levels", "modes")

    def __init__(self, when: Override, declared: Declared) -> None:
        super().__init__(declared)
        self.levels, self.modes = when.levels, when.modes

    def feed(self, t_us: int, value: Any) -> None:
        self.last_us = t_us
        self.value, self.truth = self._found(value)

    def _found(self, value: Any) -> tuple[str, bool | None]:
        """In a few words, and whether it is an override."""
        if isinstance(value, str):
            return value[:60], value in self.modes
        if not isinstance(value, dict):
            return "", None
        for name in reversed(self.levels):
            level = value.get(name)
            if isinstance(level, dict):
                to = level.get("profile") if level.get("profile") is not None else level.get("setpoint_c")
                until = f" until {level['until']}" if isinstance(level.get("until"), str) else ""
                return f"{name} ({to}){until}"[:120], True
        return "no override", False

    def text(self, unit: str) -> str:
        return f"is still {self.value}" if self.truth else f"is {self.value}"


class FrozenCell(Cell):
    memory = True
    __slots__ = ("for_us", "same_from_us", "tolerance")

    def __init__(self, when: Frozen, declared: Declared) -> None:
        super().__init__(declared)
        self.for_us = round(when.for_s * 1e6)
        self.tolerance = when.tolerance
        self.same_from_us = 0

    def feed(self, t_us: int, value: Any) -> None:
        value = small(value)
        # after a gap nobody knows that it stood still in it: a machine that was dark comes back with the same figure
        if self.last_us is None or t_us - self.last_us > max(self.max_us, self.for_us) or not self._same(value):
            self.value, self.same_from_us = value, t_us
        self.last_us = t_us
        self.truth = t_us - self.same_from_us >= self.for_us

    def _same(self, value: Any) -> bool:
        new, old = numeric(value), numeric(self.value)
        if new is None or old is None or isinstance(value, bool) != isinstance(self.value, bool):
            return bool(value == self.value)
        return abs(new - old) <= self.tolerance

    def text(self, unit: str) -> str:
        if not self.truth:
            return f"changes (now {shown(self.value, unit)})"
        still = duration(((self.last_us or 0) - self.same_from_us) / S)
        return f"stands still at {shown(self.value, unit)} for {still}"

    def kept(self) -> list[Any]:
        return [*super().kept(), self.same_from_us]

    def restore(self, kept: list[Any]) -> None:
        super().restore(kept)
        self.same_from_us = kept[3]


def make(when: Leaf, declared: Declared) -> Cell:
    """The cell of a condition for one series."""
    from agent.rules.long import ForecastCell, NeverZeroCell, RateCell  # they build on what is here

    kinds: dict[str, Any] = {
        "threshold": ThresholdCell, "state": StateCell, "no_data": NoDataCell, "never_zero": NeverZeroCell,
        "rate": RateCell, "forecast": ForecastCell, "override": OverrideCell, "frozen": FrozenCell,
    }
    cell: Cell = kinds[str(when.__struct_config__.tag)](when, declared)
    return cell
