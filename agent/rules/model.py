"""A rule as people write it: TOML with an ``id``, what it watches, and what follows.

``kind`` says which of the conditions below it is; the condition's keys stand beside the rule's own::

    id = "cellar-damp"
    title = "The cellar is damp"
    kind = "threshold"
    of = "cellar/*/humidity_pct"
    above = 80
    hysteresis = 5
    hold_s = 600
    severity = "warning"
    do = "open the cellar window"
    then = [{set = "cellar/fan/on", value = true}]

``of`` is ``<device>/<node>/<property>`` with ``*`` and ``?``; in a property ``-`` and ``_`` are the same.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct, field

from agent import toml_typed
from agent.rules.local_time import Window
from agent.toml_typed import SettingsError, Sources
from agent.wire.faults import Severity
from agent.wire.topics import is_id

Seconds = Annotated[float, Meta(ge=0, le=366 * 86400)]
Some = Annotated[float, Meta(gt=0, le=366 * 86400)]
Text = Annotated[str, Meta(max_length=300)]
Word = float | bool | str
HUB = "hub"
CALM_S = 60.0
MAX_TOML_BYTES = 16384
"""One rule's text."""
MAX_CONDITIONS = 20
MAX_ORDERS = 10
_OF = re.compile(r"[a-z0-9.*?-]+/[a-z0-9*?-]+/[a-z0-9_*?-]+\Z")


class Condition(Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True, omit_defaults=True):
    """What all kinds have."""

    hold_s: Seconds = 0.0
    """It has to be so for that long without a break before it counts."""
    calm_s: Seconds | None = None
    """It has to be well for that long without a break before it is over (B68); left out: 60 s, of one of several
    ``conditions`` none."""


class OfSeries(Condition, frozen=True, kw_only=True):
    """A condition on each series that ``of`` matches."""

    of: Annotated[str, Meta(max_length=200)]
    """``<device>/<node>/<property>``"""

    def __post_init__(self) -> None:
        if not _OF.match(self.of):
            raise ValueError('of: expected "<device>/<node>/<property>", each a name or with * and ?')
        self.check()

    def check(self) -> None:
        """Raises ValueError("key: message")."""


def _either(above: float | None, below: float | None) -> None:
    if (above is None) == (below is None):
        raise ValueError("above: expected one of above and below")


class Threshold(OfSeries, frozen=True, kw_only=True, tag="threshold"):
    """The value is above or below a limit; it is over once it is ``hysteresis`` on the good side of it."""

    above: float | None = None
    below: float | None = None
    hysteresis: Annotated[float, Meta(ge=0)] = 0.0

    def check(self) -> None:
        _either(self.above, self.below)


class State(OfSeries, frozen=True, kw_only=True, tag="state"):
    """The value is, or is not, one of some words, numbers or ``true``/``false``."""

    is_: Word | list[Word] | None = field(default=None, name="is")
    is_not: Word | list[Word] | None = None

    def check(self) -> None:
        if (self.is_ is None) == (self.is_not is None):
            raise ValueError("is: expected one of is and is_not")
        if self.words() == []:
            raise ValueError(f"{'is' if self.is_ is not None else 'is_not'}: expected at least one value")

    def words(self) -> list[Word]:
        words = self.is_ if self.is_ is not None else self.is_not
        return list(words) if isinstance(words, list) else [] if words is None else [words]


class NoData(OfSeries, frozen=True, kw_only=True, tag="no_data"):
    """Nothing good has come for ``after_s``; left out: for the age that the plugin declares (three intervals, B72)."""

    after_s: Some | None = None


class NeverZero(OfSeries, frozen=True, kw_only=True, tag="never_zero"):
    """Of each of the last ``hours`` whole hours, none was without use: what leaks does so at night too.

    Of a counter an hour's use is what it grew by; of a flow, its highest value."""

    hours: Annotated[int, Meta(ge=2, le=168)] = 24
    zero: Annotated[float, Meta(ge=0)] = 0.0
    """Use up to this is none."""
    missing: Annotated[int, Meta(ge=0, le=24)] | None = None
    """So many of the hours may be without data, with more of them nothing is known; left out: an eighth."""
    reads: Literal["auto", "counter", "flow"] = "auto"

    def check(self) -> None:
        if self.missing is not None and self.missing >= self.hours:
            raise ValueError(f"missing: expected fewer than hours ({self.hours})")


class Rate(OfSeries, frozen=True, kw_only=True, tag="rate"):
    """It changes by more (``above``) or less (``below``, negative for a fall) than so much per hour over a window."""

    above: float | None = None
    below: float | None = None
    hysteresis: Annotated[float, Meta(ge=0)] = 0.0
    window_s: Annotated[float, Meta(ge=60, le=7 * 86400)] = 3600.0

    def check(self) -> None:
        _either(self.above, self.below)


class Forecast(OfSeries, frozen=True, kw_only=True, tag="forecast"):
    """Its robust trend over ``window_days`` reaches a limit ``within_days``."""

    above: float | None = None
    below: float | None = None
    within_days: Annotated[float, Meta(gt=0, le=366)] = 7.0
    window_days: Annotated[float, Meta(ge=0.1, le=60)] = 7.0

    def check(self) -> None:
        _either(self.above, self.below)


class Override(OfSeries, frozen=True, kw_only=True, tag="override"):
    """An override of a heater goes on: one of ``levels`` stands in its levels, or its mode is one of ``modes``."""

    levels: list[Text] = field(default_factory=lambda: ["supplementary", "exceptional", "forced"])
    modes: list[Text] = field(default_factory=lambda: ["forced", "comfort"])


class Frozen(OfSeries, frozen=True, kw_only=True, tag="frozen"):
    """Values come, and all are the same (within ``tolerance``) for ``for_s``."""

    for_s: Some
    tolerance: Annotated[float, Meta(ge=0)] = 0.0


class AllOf(Condition, frozen=True, kw_only=True, tag="all"):
    """All of several conditions, of any devices. One that matches several series is so if it is so for any of them."""

    conditions: list[Leaf]

    def __post_init__(self) -> None:
        _several(self.conditions)


class AnyOf(Condition, frozen=True, kw_only=True, tag="any"):
    """At least one of several conditions, of any devices."""

    conditions: list[Leaf]

    def __post_init__(self) -> None:
        _several(self.conditions)


def _several(conditions: list[Leaf]) -> None:
    if not 1 <= len(conditions) <= MAX_CONDITIONS:
        raise ValueError(f"conditions: expected 1..{MAX_CONDITIONS} of them, each [[conditions]] with its kind and of")


Leaf = Threshold | State | NoData | NeverZero | Rate | Forecast | Override | Frozen
When = Leaf | AllOf | AnyOf
KINDS: dict[str, type[Condition]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (Threshold, State, NoData, NeverZero, Rate, Forecast, Override, Frozen, AllOf, AnyOf)
}


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """A command: give ``value`` to ``<device>/<node>/<property>``."""

    set: Annotated[str, Meta(max_length=200)]
    value: Any

    def __post_init__(self) -> None:
        parts = self.set.split("/")
        if len(parts) != 3 or not all(is_id(part.replace("_", "-")) for part in parts):
            raise ValueError('set: expected "<device>/<node>/<property>"')

    def target(self) -> tuple[str, str, str]:
        device, node, prop = self.set.split("/")
        return device, node, prop.replace("-", "_")


class _Head(Struct, frozen=True, kw_only=True):
    """A rule's own keys."""

    id: Annotated[str, Meta(max_length=63)]
    """``[a-z0-9-]+``"""
    title: Text = ""
    """What is so while it fires; default: made from the condition."""
    where: Annotated[str, Meta(max_length=63)] = HUB
    """Its one home: ``hub``, or a device's id."""
    severity: Severity = "warning"
    do: Text = ""
    """The next step."""
    kept: Text = ""
    """What is safe."""
    enabled: bool = True
    between: str | None = None
    """Only then, by local time: ``23:00-06:00``."""
    then: list[Order] = []
    """Carried out once when it begins to fire."""
    back: list[Order] = []
    """Carried out once when it is over."""

    def __post_init__(self) -> None:
        if not is_id(self.id):
            raise ValueError("id: expected a word of a-z, 0-9 and -")
        if not is_id(self.where):
            raise ValueError('where: expected "hub" or a device\'s id')
        if self.between is not None:
            try:
                Window.parse(self.between)
            except ValueError as error:
                raise ValueError(f"between: {error}") from None
        for name, orders in (("then", self.then), ("back", self.back)):
            if len(orders) > MAX_ORDERS:
                raise ValueError(f"{name}: expected at most {MAX_ORDERS} orders")


class Rule(_Head, frozen=True, kw_only=True):
    """A rule: its own keys, and its condition."""

    HUB: ClassVar[str] = HUB
    when: When

    @property
    def kind(self) -> str:
        return str(type(self.when).__struct_config__.tag)

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        return tuple(self.when.conditions) if isinstance(self.when, AllOf | AnyOf) else (self.when,)

    @property
    def calm_s(self) -> float:
        return CALM_S if self.when.calm_s is None else self.when.calm_s

    def on(self, home: str) -> bool:
        """Evaluated there and nowhere else."""
        return self.enabled and self.where == home


def parse(text: str, name: str = "rule") -> Rule:
    """One rule from its TOML. Raises SettingsError: one line with the key's path, the near name and the line."""
    if len(text.encode("utf-8", "replace")) > MAX_TOML_BYTES:
        raise SettingsError(f"{name}: longer than {MAX_TOML_BYTES} bytes, this is no rule", file=name)
    source = toml_typed.parse_source(text.encode("utf-8", "replace"), name)
    sources, raw = Sources(source), source.raw
    kind = raw.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        hint = toml_typed.near(kind, list(KINDS)) if isinstance(kind, str) else ""
        said = f"= {toml_typed.shown(('kind',), kind)}, " if "kind" in raw else "is missing, "
        raise sources.error(("kind",), f"{said}expected one of {', '.join(KINDS)}{hint}", separator=" ")
    heads = [one.encode_name for one in msgspec.structs.fields(_Head)]
    own = {key: value for key, value in raw.items() if key in heads}
    rest = {key: value for key, value in raw.items() if key not in heads and key != "kind"}
    head = toml_typed.convert(own, _Head, sources)
    when = toml_typed.convert(rest, KINDS[kind], sources, known=tuple(name for name in heads if name not in own))
    return Rule(**msgspec.structs.asdict(head), when=when)  # type: ignore[arg-type]


def matches(pattern: str, device: str, node: str, prop: str) -> bool:
    """Whether ``of`` means this series."""
    return pattern_of(pattern).match(f"{device}/{node}/{prop.replace('-', '_')}") is not None


def pattern_of(pattern: str) -> re.Pattern[str]:
    """``*`` and ``?`` stay within their level."""
    device, node, prop = pattern.split("/")
    text = f"{device}/{node}/{prop.replace('-', '_')}"
    return re.compile("".join({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)) for char in text) + r"\Z")
