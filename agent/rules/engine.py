"""Rules over samples and time: which fires, since when, in one sentence.

Deterministic: the same samples and ticks in the same order give the same outcomes, restarts (:meth:`Engine.kept`,
:meth:`Engine.restore`) in between or not. Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from agent.rules.model import Rule

Standing = Literal["ok", "pending", "firing", "no_data"]


class Sample(NamedTuple):
    device: str
    node: str
    property: str
    t_us: int
    value: Any
    quality: str | None = None


class Declared(Struct, frozen=True):
    """What is known of a series before a sample of it comes."""

    device: str
    node: str
    property: str
    """Its plain name, with ``_``."""
    title: str = ""
    unit: str = ""
    datatype: str = ""
    device_class: str = ""
    counter: bool = False
    """It only grows (``total_increasing``)."""
    max_age_s: float | None = None
    """None: silence says nothing."""


class Outcome(Struct, frozen=True):
    """How one rule stands for one of its subjects."""

    rule: str
    subject: str
    """``<device>/<node>/<property>``; '' of a combination, and of a rule that no series matches."""
    standing: Standing
    since_us: int
    text: str
    """One clear sentence."""


class Change(Struct, frozen=True):
    """A rule began to fire for a subject, or stopped."""

    rule: str
    subject: str
    fires: bool
    t_us: int
    text: str


class Engine:
    """Rules of one home. Memory per series is bounded (a few hundred numbers at most)."""

    def __init__(self, rules: Iterable[Rule], declarations: Iterable[Declared], zone: tzinfo) -> None:
        """``rules``: all of them; who calls has left out those of another home and those that are off."""

    def declare(self, declarations: Iterable[Declared]) -> None:
        """All series that are known now; one that is no more is forgotten."""

    def feed(self, sample: Sample) -> None:
        """A sample; one that is older than the newest of its series changes nothing, nor does one of bad quality."""

    def tick(self, now_us: int) -> None:
        """Time goes on: about once a second."""

    def changes(self) -> list[Change]:
        """What began and stopped to fire since the last call, in order."""
        return []

    def outcomes(self) -> list[Outcome]:
        """All rules and subjects as they are after the last sample or tick."""
        return []

    def kept(self) -> bytes:
        """All that is needed to go on after a restart."""
        return b""

    def restore(self, kept: bytes) -> str | None:
        """Take over what :meth:`kept` gave, for rules that are still the same; one line where it was unreadable."""
        return None
