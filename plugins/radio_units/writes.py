"""Values that a unit is to take: sent again until the unit itself says them, at most so often, ever more rarely. Pure.

A sleeping unit listens only right after its own report, so its turns are reports: the 1st, 2nd, 4th, 8th and 16th.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from firmware_bridges.muta import ValueField, encode_like

MOST_TRIES = 5
UNSEEN_REPORTS = 5
"""Reports without the label after which the unit does not have it."""


class Write(Struct):
    value: float | int | bool
    tries: int = 0
    reports: int = 0
    """Of the unit since it was asked for."""
    due: int = 1
    """The report at which it is sent next."""


class GivenUp(Struct, frozen=True):
    label: str
    value: float | int | bool
    reason: str


class Writes:
    """Of one unit."""

    def __init__(self, kept: Any = None) -> None:
        """``kept``: what :meth:`kept` gave before a restart; anything else counts as nothing."""
        self.open: dict[str, Write] = {}
        if isinstance(kept, dict):
            self.open = {str(label): Write(value) for label, value in kept.items()
                         if isinstance(value, int | float | bool)}

    def kept(self) -> dict[str, Any]:
        return {label: write.value for label, write in self.open.items()}

    def status(self) -> dict[str, Any]:
        return {label: {"wanted": write.value, "tries": write.tries} for label, write in sorted(self.open.items())}

    def want(self, label: str, value: float | int | bool) -> None:
        self.open[label] = Write(int(value) if isinstance(value, float) and value.is_integer() else value)

    def drop(self, label: str) -> None:
        self.open.pop(label, None)

    def confirm(self, fields: Iterable[ValueField]) -> list[str]:
        """The labels that read back as wanted; they are done."""
        done = []
        for field in fields:
            write = self.open.get(field.label)
            if write is not None and same(field, write.value):
                done.append(field.label)
                del self.open[field.label]
        return done

    def reported(self, known: dict[str, ValueField]) -> Iterator[ValueField | GivenUp]:
        """A report of the unit has ended: what is sent to it now, and what is given up."""
        for label, write in list(self.open.items()):
            write.reports += 1
            field = known.get(label)
            if field is None or not field.writable:
                if write.reports >= UNSEEN_REPORTS or field is not None:
                    del self.open[label]
                    yield GivenUp(label, write.value, "the unit has no such writable value")
                continue
            if write.reports < write.due:
                continue
            if write.tries >= MOST_TRIES:
                del self.open[label]
                yield GivenUp(label, write.value, f"not taken in {write.tries} tries")
                continue
            write.tries += 1
            write.due = write.reports + 2 ** (write.tries - 1)
            yield field._replace(value=write.value, writable=True)


def same(field: ValueField, value: float | int | bool) -> bool:
    """Whether both are the same bytes on the air."""
    try:
        return encode_like(field, value) == encode_like(field, field.value)
    except ValueError:
        return False
