"""Edges of pins, or lines of a board, to motion. What counts as motion is in :mod:`.motion`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, cast

from agent.api import GpioIo, Io, Node, Plugin, Reading, Yielded
from firmware_bridges.printed_lines import Splitter, stamped

from .config import PirConfig
from .lines import Said, parse
from .motion import US, Change, Detector
from .properties import NODE_PROPERTIES, PROPERTIES, WHY

READ_S = 0.5
READ_BYTES = 4096
MIN_WAIT_S = 0.01
MAX_FOUND = 20
CHIP_LINE = re.compile(rb"gpiochip\d{1,2}/\d{1,3} [01]")
KEEP_EVERY = 25
"""Detections of others between two commits of the count: a detector that is dead is so for days."""

class Pir(Plugin, name="pir"):
    """Motion in places."""

    title = "Motion"
    Config = PirConfig
    properties = PROPERTIES
    interval_s = 60.0

    def __init__(self, config: PirConfig) -> None:
        super().__init__(config)
        self._places = {line: name for name, line in config.sensors.items()}
        """Line or word -> name."""
        self._detectors: dict[str, Detector] = {}
        self._states: dict[str, str] = {}
        self._told_glitches: dict[str, int] = {}
        self._quiet: dict[str, int] = {}
        """Detections of others since its own last one, less those that are kept."""
        self._told_us: dict[str, int] = {}
        """The stamp under which the motion of a place was told again."""
        self._any: bool | None = None
        self._bad = self._bad_told = 0

    def run(self, io: Io) -> Iterator[Yielded]:
        config: PirConfig = self.config
        for name in config.sensors:
            yield self._node(name)
        stream = self._lines(io) if config.port is not None else self._edges(cast(GpioIo, io))
        told_s, newest_us = float("-inf"), 0
        for t_us, said in stream:
            newest_us = max(newest_us, t_us)
            if said is not None:
                yield from self._said(io, t_us, said)
            for name, detector in self._detectors.items():
                yield from self._changes(io, name, detector.advance(t_us))
                yield from self._watch(io, name, detector, t_us)
            yield from self._whole(io, newest_us, io.clock.monotonic_s() - told_s >= config.interval_s)
            if io.clock.monotonic_s() - told_s >= config.interval_s:
                told_s = io.clock.monotonic_s()

    # --- the two kinds of source: (stamp, what was said or None) ------------------------------------------------

    def _edges(self, io: GpioIo) -> Iterator[tuple[int, Said | None]]:
        config: PirConfig = self.config
        stream = io.edges(*config.sensors.values(), pull=config.pull, active_low=config.active_low)
        try:
            while not io.stopping:
                message = stream.read(self._wait_s(io))
                said = None
                if message is not None and (message.topic or message.data):
                    said = self._edge(io, message.topic, message.data)
                late = said is None or message is None or message.t_us is None
                # Between two edges that lie in the kernel's queue no time has passed for us: theirs is the time.
                yield (io.clock.boottime_us() if late else message.t_us), said  # type: ignore[union-attr, misc]
        finally:
            stream.close()

    def _edge(self, io: Io, line: str, data: bytes) -> Said | None:
        if line in self._places and data.strip() in (b"0", b"1"):
            return Said(line, data.strip() == b"1")
        text = line.encode() + b" " + data
        if self.config.sensors:
            self._is_bad(io, text, "no 0 or 1 of one of its lines")
            return None
        try:  # a capture without settings, of pins or of printed words
            said = Said(line, data.strip() == b"1") if CHIP_LINE.fullmatch(text.strip()) else parse(text, frozenset())
        except ValueError as error:
            self._is_bad(io, text, str(error))
            return None
        return said if said is not None and self._known(said.word) else None

    def _lines(self, io: Io) -> Iterator[tuple[int, Said | None]]:
        stream = io.serial(self.config.port, baudrate=self.config.baudrate)
        words, splitter, first = frozenset(self._places), Splitter(), True
        try:
            while not io.stopping:
                for line in splitter.feed(stream.read(READ_BYTES, self._wait_s(io))):
                    try:
                        said = parse(line, words)
                    except ValueError as error:
                        if not first:  # else the rest of a line that began before we listened
                            self._is_bad(io, line, str(error))
                        said = None
                    first = False
                    if said is not None and self._known(said.word):
                        yield io.clock.boottime_us(), said
                yield io.clock.boottime_us(), None
        finally:
            stream.close()

    def _wait_s(self, io: Io) -> float:
        due = [at for at in (detector.next_us() for detector in self._detectors.values()) if at is not None]
        left_s = (min(due) - io.clock.boottime_us()) / US if due else READ_S
        return min(READ_S, max(MIN_WAIT_S, left_s))

    def _known(self, word: str) -> bool:
        """Whether it is one of the sensors; where none is named (a capture without settings), the first ones found."""
        if word in self._places:
            return True
        if self.config.sensors or len(self._places) >= MAX_FOUND:
            return False
        name = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")
        if name in self._places.values():
            return False
        self._places[word] = name
        return True

    def _is_bad(self, io: Io, line: bytes, why: str) -> None:
        self._bad += 1
        io.log.warning("%r is no line of a motion detector: %s", line[:40], why)

    # --- motion -----------------------------------------------------------------------------------------------

    def _node(self, name: str) -> Node:
        config: PirConfig = self.config
        if name not in self._detectors:  # else the port was opened anew
            self._detectors[name] = Detector(config.debounce_s, config.hold_s, config.stuck_after_s)
            self._states[name] = ""
        return Node(id=name, title=f"Motion {name}", properties=NODE_PROPERTIES)

    def _said(self, io: Io, t_us: int, said: Said) -> Iterator[Yielded]:
        name = self._places[said.word]
        if name not in self._detectors:
            yield self._node(name)
        detector = self._detectors[name]
        yield from self._changes(io, name, detector.pulse(t_us) if said.active is None
                                 else detector.level(t_us, said.active))

    def _changes(self, io: Io, name: str, changes: list[Change]) -> Iterator[Yielded]:
        for change in changes:
            # Where the state was told again between the edge and its count, the newest stamp must say what is so.
            t_us = max(change.t_us, self._told_us.get(name, change.t_us))
            yield Reading("motion", change.motion, t_us=t_us, node=name)
            yield Reading("motion_event", "detected" if change.motion else "cleared", t_us=change.t_us, node=name)
            if change.motion:
                self._count(io, name)

    def _count(self, io: Io, name: str) -> None:
        """Who saw something, and who did not. Kept in portions: what was kept before may still come back."""
        self._quiet[name] = 0
        io.kept.pop(f"quiet:{name}", None)
        for other in self._detectors.keys() - {name}:
            self._quiet[other] = self._quiet.get(other, 0) + 1
            if self._quiet[other] >= KEEP_EVERY:
                io.kept[f"quiet:{other}"] = self._missed(io, other)
                self._quiet[other] = 0

    def _missed(self, io: Io, name: str) -> int:
        kept = io.kept.get(f"quiet:{name}", 0)
        return self._quiet.get(name, 0) + (kept if isinstance(kept, int) else 0)

    def _watch(self, io: Io, name: str, detector: Detector, t_us: int) -> Iterator[Yielded]:
        """B42: a detector that is stuck, dead or has a loose wire."""
        config: PirConfig = self.config
        state = "ok"
        if detector.stuck:
            state = "stuck_active"
        elif detector.chattering(t_us):
            state = "chattering"
        elif config.quiet_after and self._missed(io, name) >= config.quiet_after:
            state = "never_active"
        if state == self._states[name]:
            return
        before, self._states[name] = self._states[name], state
        if not before and state == "ok":
            return  # told with the next round
        yield Reading("sensor_state", state, node=name)
        if "stuck_active" in (before, state):
            yield self._motion(name, t_us)
        bad = [f"{other}: {WHY[found]}" for other, found in self._states.items() if found in WHY]
        io.degraded("; ".join(bad) or None)

    def _motion(self, name: str, t_us: int) -> Reading:
        detector = self._detectors[name]
        self._told_us[name] = t_us = max(t_us, self._told_us.get(name, t_us))
        if detector.stuck:
            return Reading("motion", None, t_us=t_us, node=name, quality="sensor_error")
        return Reading("motion", detector.motion, t_us=t_us, node=name)

    def _whole(self, io: Io, t_us: int, again: bool) -> Iterator[Yielded]:
        """The state of all, at a change and every interval."""
        live = {name: detector.motion for name, detector in self._detectors.items() if not detector.stuck}
        motion = any(live.values())
        if live and (motion != self._any or again):
            self._any = motion
            yield Reading("motion", motion, t_us=t_us)
        if not again:
            return
        for name, detector in self._detectors.items():
            yield self._motion(name, t_us)
            yield Reading("sensor_state", self._states[name] or "ok", node=name)
            if detector.glitches != self._told_glitches.get(name, 0):
                self._told_glitches[name] = detector.glitches
                yield Reading("glitches", detector.glitches, node=name)
        if self._bad != self._bad_told:
            self._bad_told = self._bad
            yield Reading("bad_lines", self._bad)

    @classmethod
    def captured(cls, config: Any, data: bytes) -> list[tuple[float, bytes]] | None:
        return stamped(data)

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)
