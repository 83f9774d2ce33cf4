"""Between the plugin and its recorder: what becomes a clip, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from agent.api import CommandRefused, Io, Reading, Yielded

from .child import CameraGone
from .config import CameraConfig
from .events import Event, EventTracker
from .opening import open_recorder
from .recorder import Recorder, Saved
from .telling import event_record, saved_record

LAST_CLIPS_S = 8.0
"""After the stream is lost, what was seen last becomes a clip before the next try."""
STOP_CLIPS_S = 0.5
EXPIRE_S = 3600.0
LEAST_PART_S = 5.0
"""An event is not cut into shorter clips because the buffer is full."""

Trouble = Callable[[Io, str, str | None], None]


class Clips:
    """Has a recorder while the camera is watched. In a replay it never has one, and events are told at once."""

    def __init__(self, config: CameraConfig, trouble: Trouble) -> None:
        self._config = config
        self._trouble = trouble
        self._recorder: Recorder | None = None
        self._expired_s = float("-inf")

    def open(self, io: Io) -> Recorder | None:
        """None: record is off. Raises RetryLater naming the folder."""
        if self._config.record != "off" and self._recorder is None:
            self._recorder = open_recorder(self._config, io.instance)
            self._expire(io)
        return self._recorder

    def piece(self, name: str, t_s: float) -> None:
        if self._recorder is not None:
            self._recorder.ring.add(name, t_s)

    def _expire(self, io: Io) -> None:
        """What is too old goes also where nothing has moved since."""
        wall_us = io.clock.wall_us()
        if self._recorder is not None and wall_us is not None:
            self._recorder.archive.expire(wall_us / 1e6)
            self._expired_s = now_s(io)

    def bounded(self, io: Io) -> None:
        """Raises CameraGone where a piece grows without end."""
        if now_s(io) - self._expired_s >= EXPIRE_S:
            self._expire(io)
        ring = self._recorder.ring if self._recorder is not None else None
        if ring is not None and ring.unfinished_bytes() > ring.max_bytes:
            raise CameraGone(f"no key frame in {ring.max_bytes >> 20} MB: set the camera's key frame interval to a few "
                             'seconds, or record = "off"')

    def over(self, io: Io, event: Event) -> Iterator[Yielded]:
        """An event ended: its clip first, then the word; without a recorder the word at once."""
        if self._recorder is None:
            record = event_record(event, wall_us(io, event.begin_s))
            yield Reading("motion_event", record, round(event.end_s * 1e6))
            return
        end_s = event.end_s + (0.0 if event.continues else self._config.post_s)
        begin_s = event.begin_s - self._config.pre_s
        self._recorder.want("motion", event, begin_s, end_s, wall_us(io, event.begin_s))

    def step(self, io: Io, t_s: float, tracker: EventTracker) -> Iterator[Yielded]:
        """Call it often."""
        recorder = self._recorder
        if recorder is None:
            return
        if tracker.begin_s is not None and recorder.nearly_full and t_s - tracker.begin_s > LEAST_PART_S:
            yield from self.over(io, tracker.cut(t_s))
        for saved in recorder.step(t_s, tracker.begin_s, io.clock.wall_us()):
            yield from self._told(io, saved)

    def _told(self, io: Io, saved: Saved) -> Iterator[Yielded]:
        if saved.error is not None:
            io.log.warning("%s not kept: %s", "snapshot" if saved.kind == "snapshot" else "clip", saved.error)
        self._trouble(io, "clips", None if saved.error is None else f"clips are not kept: {saved.error}")
        if saved.event is not None:
            record = event_record(saved.event, wall_us(io, saved.event.begin_s), saved)
            yield Reading("motion_event", record, round(saved.event.end_s * 1e6))
        else:
            yield Reading("saved", saved_record(saved))
        yield from self.count()

    def count(self) -> Iterable[Reading]:
        if self._recorder is None:
            return ()
        files = self._recorder.archive.files()
        return Reading("clips", len(files)), Reading("clips_bytes", sum(kept.size for kept in files))

    def last(self, io: Io) -> Iterator[Yielded]:
        """The stream is over: what was seen last is kept, and the buffer is gone afterwards."""
        recorder = self._recorder
        if recorder is None:
            return
        recorder.ended(now_s(io))
        until_s = time.monotonic() + (STOP_CLIPS_S if io.stopping else LAST_CLIPS_S)
        while recorder.busy and time.monotonic() < until_s:
            for saved in recorder.step(now_s(io), None, io.clock.wall_us()):
                yield from self._told(io, saved)
            if not io.clock.sleep(0.05):
                time.sleep(0.02)  # stopping: its sleep returns at once, and a join takes a tenth of a second
        self._recorder = None
        for saved in recorder.close():
            yield from self._told(io, saved)

    def close(self) -> None:
        """What is left where no more readings can be given."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.close()

    def command(self, io: Io, name: str, up: bool) -> None:
        """``snapshot`` or ``clip``; ``saved`` tells the file. Raises CommandRefused."""
        if self._config.record == "off":
            raise CommandRefused("record is off in agent.toml")
        if self._recorder is None or not up:
            raise CommandRefused("the camera gives no picture now")
        t_s = now_s(io)
        if name == "snapshot":
            self._recorder.want("snapshot", None, t_s, t_s, io.clock.wall_us())
        else:
            begin_s = t_s - self._config.pre_s
            self._recorder.want("manual", None, begin_s, t_s + self._config.post_s, wall_us(io, begin_s))


def now_s(io: Io) -> float:
    return io.clock.boottime_us() / 1e6


def wall_us(io: Io, then_s: float) -> int | None:
    """Wall time at a moment of the boot clock."""
    now_us = io.clock.wall_us()
    return None if now_us is None else now_us - round(io.clock.boottime_us() - then_s * 1e6)
