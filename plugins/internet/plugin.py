"""Rounds of probes to readings: when to ask, what was confirmed, what to tell. The knowledge is elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from agent.api import Io, MessageStream, Outages, Plugin, Reading, RetryLater, Yielded

from . import properties
from .config import RESERVED, InternetConfig, Target, found_target
from .outcome import Judged, Outcome, judge, parse
from .prober import Prober
from .verdict import Confirmed, History, Verdict, decide

READ_S = 0.5
GRACE_S = 1.0
"""Past the deadline of the probes: by then every one has told its outcome, or the prober is stuck."""


class Internet(Plugin, name="internet"):
    """Whether the internet is reached, by several targets; else which cable to look at."""

    title = "Internet"
    Config = InternetConfig
    properties = properties.PROPERTIES
    interval_s = 60.0
    process = "quiet"

    def __init__(self, config: InternetConfig) -> None:
        super().__init__(config)
        self._targets: dict[str, Target] = dict(config.targets)
        """Without any in the configuration (a replay): those that the capture tells of."""
        self._announced: set[str] = set()
        self._history: dict[str, History] = {}
        self._state = Confirmed(config.confirm_rounds)
        self._outages = Outages()
        self._early: Outcome | None = None
        """The first outcome of the next round, in a capture without pauses."""
        self._bad = self._bad_told = 0
        self._well = True
        self._alerted: str | None = ""
        """What the alert says; empty: not known, an earlier process may have raised it."""

    def run(self, io: Io) -> Iterator[Yielded]:
        config: InternetConfig = self.config
        stream = io.messages(lambda: Prober(config, io.root))
        try:
            while not io.stopping:
                began_us = io.clock.boottime_us()
                outcomes = self._round(io, stream)
                if self._bad != self._bad_told:
                    self._bad_told = self._bad
                    yield Reading("bad_outcomes", self._bad)
                if outcomes:
                    yield from self._tell(io, outcomes, began_us)
                elif not io.stopping:
                    raise RetryLater(f"no outcome of any probe within {config.timeout_s + GRACE_S:.0f} s: the probes "
                                     "are started anew")
                pause_s = config.interval_s if self._well else min(config.interval_s, config.retry_s)
                io.clock.sleep(max(0.0, pause_s - (io.clock.boottime_us() - began_us) / 1e6))
        finally:
            stream.close()

    def _round(self, io: Io, stream: MessageStream) -> dict[str, Outcome]:
        """Ask everybody, gather what they said. What has not answered in time is missing."""
        config: InternetConfig = self.config
        wanted = set(config.targets) | ({RESERVED} if config.gateway != "none" else set())
        finding = not config.targets
        found: dict[str, Outcome] = {}
        if self._early is not None:
            found[self._early.name], self._early = self._early, None
        stream.write(b"probe")
        deadline_s = io.clock.monotonic_s() + config.timeout_s + GRACE_S
        while (finding or wanted - found.keys()) and not io.stopping:
            left_s = deadline_s - io.clock.monotonic_s()
            if left_s <= 0:
                break
            message = stream.read(min(READ_S, left_s))
            if message is None or not message.data:
                continue
            try:
                outcome = parse(message.data)
                if finding and outcome.name != RESERVED:
                    self._targets.setdefault(outcome.name, found_target(outcome.kind))
                elif outcome.name not in wanted:
                    raise ValueError(f"{outcome.name!r} is no target")
            except ValueError as error:
                self._bad += 1
                io.log.warning("an outcome that cannot be read, left out: %s", error)
                continue
            if outcome.name in found:
                self._early = outcome
                break
            found[outcome.name] = outcome
        return found

    def _tell(self, io: Io, outcomes: dict[str, Outcome], began_us: int) -> Iterator[Yielded]:
        judged: dict[str, Judged] = {}
        losses = []
        for name, target in self._targets.items():
            if name not in self._announced:
                self._announced.add(name)
                self._history[name] = History(self.config.loss_window)
                yield properties.target_node(name, target.kind, target.address)
            if name not in outcomes:
                continue
            outcome = outcomes[name]
            said = judged[name] = judge(target, outcome)
            losses.append(self._history[name].feed(said.reached))
            yield Reading("reached", said.reached, node=name)
            if said.reached:
                yield Reading("latency_ms", outcome.ms, node=name)
            yield Reading("loss_pct", losses[-1], node=name)
            yield Reading("answer", said.text, node=name)
        if not judged:
            return
        verdict = decide(self._targets, judged, outcomes.get(RESERVED))
        self._well = verdict.fault == "none"
        self._state.feed(verdict.internet, began_us)
        if self._state.reached is not None:
            yield Reading("internet_reached", self._state.reached)
        if verdict.gateway is not None:
            yield Reading("gateway_reached", verdict.gateway)
        yield Reading("captive_portal", verdict.portal)
        yield Reading("fault", verdict.fault)
        latencies = [outcomes[name].ms for name, said in judged.items() if said.reached]
        if latencies:
            yield Reading("latency_ms", min(latencies))
        yield Reading("loss_pct", round(sum(losses) / len(losses), 1))
        yield from self._change(io, verdict, began_us)

    def _change(self, io: Io, verdict: Verdict, began_us: int) -> Iterator[Yielded]:
        """Outages and their alert."""
        if self._state.reached is False:
            since_us = self._state.since_us or began_us
            if self._outages.begin(io, since_us):
                yield Reading("internet_event", "lost")
            self._alert(io, f"no internet: {verdict.text}")
        elif verdict.internet:
            ended, seconds = self._outages.end(io, began_us)
            if ended:
                yield Reading("internet_event", "returned")
                if seconds is not None:
                    yield Reading("outage_s", round(seconds, 1))
            self._alert(io, verdict.text or None)

    def _alert(self, io: Io, text: str | None) -> None:
        if text != self._alerted:
            self._alerted = text
            io.alert(io.instance, text)

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)
