"""A rule over stored samples with a moved clock: when it would have fired. The same engine, so the same answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, tzinfo

from msgspec import Struct

from agent.rules.declared import Declared
from agent.rules.engine import Engine, Sample
from agent.rules.model import Rule
from agent.rules.words import duration

TICK_US = 600_000_000
MAX_FIRINGS = 1000
SHOWN = 5


class Firing(Struct, frozen=True):
    subject: str
    from_us: int
    to_us: int | None
    """None: it would fire still."""
    text: str


class DryRun(Struct, frozen=True):
    firings: tuple[Firing, ...]
    """In order; at most 1,000."""
    samples: int
    start_us: int
    end_us: int
    """As far as was looked."""
    text: str
    cut: bool = False
    """The time for it was over before all was seen."""
    note: str = ""
    """What it was judged on, where that is not every sample."""
    unknown: tuple[str, ...] = ()
    """Subjects of which nothing is known at the end."""


def dry_run(rule: Rule, declared: Iterable[Declared], samples: Iterable[Sample], zone: tzinfo, *, start_us: int,
            end_us: int, before: Iterable[Sample] = (), note: str = "", go_on: Callable[[], bool] = lambda: True
            ) -> DryRun:
    """``samples`` in order of time; ``before``: the newest of each series that is older than ``start_us``. ``go_on`` is
    asked every thousand samples."""
    # where a rule lives and whether it is on does not matter here
    engine = Engine([_on(rule)], declared, zone)
    for sample in sorted(before, key=lambda one: one.t_us):
        engine.feed(sample)
    engine.tick(start_us)
    open_: dict[str, tuple[int, str]] = {}
    firings: list[Firing] = []
    next_us, seen, cut, now_us = start_us + TICK_US, 0, False, start_us

    def collect() -> None:
        for change in engine.changes():
            if change.fires:
                open_[change.subject] = (max(change.t_us, start_us), change.text)
            elif (began := open_.pop(change.subject, None)) is not None and change.t_us > start_us \
                    and len(firings) < MAX_FIRINGS:
                firings.append(Firing(change.subject, began[0], change.t_us, began[1]))

    for sample in samples:
        if sample.t_us >= next_us:
            engine.tick(sample.t_us)
            collect()
            next_us = sample.t_us + TICK_US
        engine.feed(sample)
        now_us = max(now_us, sample.t_us)
        seen += 1
        if seen % 1000 == 0 and not go_on():
            cut = True
            break
    upto = now_us if cut else end_us
    engine.tick(upto)
    collect()
    firings += [Firing(subject, at_us, None, text) for subject, (at_us, text) in open_.items()]
    firings.sort(key=lambda one: one.from_us)
    unknown = tuple(one.subject or "(nothing matches)" for one in engine.outcomes() if one.standing == "no_data")
    return DryRun(tuple(firings[:MAX_FIRINGS]), seen, start_us, upto, sentence(firings, zone, start_us, upto), cut,
                  note, unknown)


def _on(rule: Rule) -> Rule:
    from msgspec.structs import replace

    return replace(rule, enabled=True)


def sentence(firings: list[Firing], zone: tzinfo, start_us: int, end_us: int) -> str:
    """``would have fired 3 times in the last 30 days: 3 Nov 02:10 for 40 min, ...``"""
    span = f"in the last {duration((end_us - start_us) / 1e6)}"
    if not firings:
        return f"would not have fired {span}"
    times = {1: "once", 2: "twice"}.get(len(firings), f"{len(firings)} times")
    told = []
    for one in firings[:SHOWN]:
        at = datetime.fromtimestamp(one.from_us / 1e6, UTC).astimezone(zone)
        held = "and still" if one.to_us is None else f"for {duration((one.to_us - one.from_us) / 1e6)}"
        told.append(f"{at.day} {at:%b %H:%M} {held}")
    more = f", and {len(firings) - SHOWN} more" if len(firings) > SHOWN else ""
    return f"would have fired {times} {span}: {', '.join(told)}{more}"
