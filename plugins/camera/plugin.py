"""Pictures to readings: one ffmpeg, looked at by the detector, kept by the recorder. All knowledge is elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from agent.api import CommandRefused, ConfigError, Io, Message, MessageStream, Plugin, Reading, Value, Yielded

from .child import COMPLAINT, PIECE, CameraGone
from .command import Redactor
from .config import CameraConfig
from .events import Event, EventTracker
from .hours import is_off
from .opening import address, open_camera, open_recorder
from .properties import PROPERTIES
from .recorder import Recorder, Saved
from .telling import Interval, event_record, saved_record

READ_S = 0.25
"""A read ends at the latest after this: the plugin must end within a second of being told to."""
SLOW_LOOK_S = 5.0
"""How often the hours and the size of the unfinished piece are looked at."""
LAST_CLIPS_S = 8.0
"""After the stream is lost, what was seen last becomes a clip before the next try."""
STOP_CLIPS_S = 0.3
LEAST_PART_S = 5.0
"""An event is not cut into shorter clips because the buffer is full."""
PICTURE_WORDS = {
    "frozen": "the camera gives the same picture again and again: restart it",
    "blank": "the picture shows no detail: is the lens covered or fogged?",
}
"""dark is no fault: every night without a lamp is."""


class Camera(Plugin, name="camera"):
    """Motion in a region of interest, with clips of what was before; nothing leaves the device."""

    title = "Camera"
    Config = CameraConfig
    properties = PROPERTIES
    interval_s = 10.0

    def __init__(self, config: CameraConfig) -> None:
        super().__init__(config)
        # one thread: nothing here gains from BLAS, and its threads cost memory on a small board
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        try:
            from .motion import MotionDetector, region  # numpy: who has no camera does not pay for it
            from .picture import PictureWatch
        except ImportError as error:
            raise ConfigError(f"camera needs numpy: pip install 'hutkeeper[camera]' ({error})") from None
        inside = region(config.width, config.height, config.roi, config.mask)
        if not inside.any():
            raise ConfigError("roi and mask leave no pixel to look at")
        self._detector = MotionDetector(inside, threshold_grey=config.threshold_grey,
                                        min_area_pct=config.min_area_pct)
        self._watch = PictureWatch(config.frozen_s)
        self._tracker = EventTracker(config.min_area_pct, config.quiet_s, config.clip_max_s)
        self._interval = Interval(config.interval_s)
        self._redact = Redactor(config.url)
        self._recorder: Recorder | None = None
        self._errors = self._starts = 0
        self._told: dict[str, Value] = {}
        self._troubles: dict[str, str] = {}

    def run(self, io: Io) -> Iterator[Yielded]:
        hours = self.config.hours()
        try:
            while not io.stopping:
                if is_off(hours, io.clock.wall_us()):
                    if io.clock.wall_us() is None:
                        io.log.info("the time is not known yet: with off_hours the camera stays off")
                    yield from self._tell("stream", "off")
                    io.clock.sleep(SLOW_LOOK_S)
                else:
                    yield from self._watching(io)
        finally:
            self._close_recorder()

    # --- one stream -----------------------------------------------------------------------------------------------

    def _watching(self, io: Io) -> Iterator[Yielded]:
        """Until stopped, or the hours say off. Raises CameraGone."""
        lost: CameraGone | None = None
        stream = io.messages(lambda: self._open(io))
        self._starts += 1
        self._interval.reset()
        self._watch.reset()
        try:
            yield from self._read(io, stream)
        except CameraGone as error:
            lost = error
        finally:
            stream.close()
        if lost is not None:
            state = "stalled" if lost.hung else "down"
            if self._told.get("stream") != state:  # once: a reading says that the plugin is well again
                yield from self._tell("stream", state)
                self._told.pop("motion", None)
                yield Reading("motion", None, quality="sensor_error")
        event = self._tracker.end()
        if event is not None:
            yield from self._over(io, event)
        if self._recorder is not None:
            self._recorder.ended(_now_s(io))
        yield from self._last_clips(io, STOP_CLIPS_S if io.stopping else LAST_CLIPS_S)
        if lost is not None:
            where = self._redact(self.config.url)
            raise CameraGone(f"{where}: {str(lost).removeprefix(f'{where}: ')}")

    def _open(self, io: Io) -> Any:
        """A new ffmpeg. Not called in a replay."""
        url = address(self.config)
        self._redact = Redactor(url)
        if self.config.record != "off" and self._recorder is None:
            self._recorder = open_recorder(self.config, io.instance)
        return open_camera(self.config, self._recorder, url, _now_s(io))

    def _read(self, io: Io, stream: MessageStream) -> Iterator[Yielded]:
        config: CameraConfig = self.config
        hours = config.hours()
        seen_s = looked_s = _now_s(io)
        patience_s = max(config.start_s, config.stall_s)
        while not io.stopping:
            message = stream.read(READ_S)
            now_s = _now_s(io)
            if message is not None and message.topic == PIECE:
                if self._recorder is not None:
                    self._recorder.ring.add(message.data.decode().partition(",")[0], now_s)
            elif message is not None and message.topic == COMPLAINT:
                self._errors += 1
                io.log.warning("ffmpeg: %s", message.data.decode())
            elif message is not None and len(message.data) != self._detector.frame_bytes:
                self._errors += 1
                io.log.warning("a picture of %d bytes instead of %d, left out", len(message.data),
                               self._detector.frame_bytes)
            elif message is not None:
                seen_s, patience_s = now_s, config.stall_s
                yield from self._picture(io, message)
            if now_s - seen_s > patience_s:
                raise CameraGone(f"no picture for {now_s - seen_s:.0f} s, the stream is started anew", hung=True)
            yield from self._record(io, now_s)
            if now_s - looked_s >= SLOW_LOOK_S:
                looked_s = now_s
                if is_off(hours, io.clock.wall_us()):
                    return
                self._bounded()

    def _bounded(self) -> None:
        """Raises CameraGone where a piece grows without end."""
        ring = self._recorder.ring if self._recorder is not None else None
        if ring is not None and ring.unfinished_bytes() > ring.max_bytes:
            raise CameraGone(f"no key frame in {ring.max_bytes >> 20} MB: set the camera's key frame interval to a few "
                             "seconds, or record = \"off\"")

    # --- one picture ----------------------------------------------------------------------------------------------

    def _picture(self, io: Io, message: Message) -> Iterator[Yielded]:
        t_us = message.t_us if message.t_us is not None else io.clock.boottime_us()
        t_s = t_us / 1e6
        look = self._detector.feed(t_s, message.data)
        picture = self._watch.feed(t_s, message.data)
        yield from self._tell("stream", "up", t_us)
        if self._told.get("picture") != picture:
            if picture != "ok":
                io.log.warning("the picture is %s", picture)
            self._trouble(io, "picture", PICTURE_WORDS.get(picture))
            yield from self._tell("picture", picture, t_us)
        believed = picture == "ok" and not look.light
        event = self._tracker.feed(t_s, look.score_pct if believed else 0.0, look.box if believed else None)
        if self._told.get("motion") != self._tracker.motion:
            yield from self._tell("motion", self._tracker.motion, t_us)
            yield Reading("motion_score_pct", round(look.score_pct, 2), t_us)
        if event is not None:
            yield from self._over(io, event)
        due = self._interval.feed(t_s, look.score_pct if believed else 0.0)
        if due is not None:
            self._told.clear()
            yield from self._tell("stream", "up", t_us)
            yield from self._tell("motion", self._tracker.motion, t_us)
            yield from self._tell("picture", picture, t_us)
            yield Reading("motion_score_pct", round(due[0], 2), t_us)
            yield Reading("fps_hz", round(due[1], 2), t_us)
            yield Reading("brightness_pct", round(self._watch.brightness_pct, 1), t_us)
            yield Reading("light_changes", self._detector.lights, t_us)
            yield Reading("stream_errors", self._errors, t_us)
            yield Reading("stream_starts", self._starts, t_us)
            yield from self._clips()

    def _tell(self, name: str, value: Value, t_us: int | None = None) -> Iterator[Yielded]:
        """Changes only; all is told again every interval."""
        if self._told.get(name) != value:
            self._told[name] = value
            yield Reading(name, value, t_us)

    def _trouble(self, io: Io, what: str, text: str | None) -> None:
        if self._troubles.get(what) == text:
            return
        if text is None:
            self._troubles.pop(what, None)
        else:
            self._troubles[what] = text
        io.degraded("; ".join(self._troubles.values()) or None)

    # --- clips ----------------------------------------------------------------------------------------------------

    def _over(self, io: Io, event: Event) -> Iterator[Yielded]:
        """An event ended: its clip first, then the word; without a recorder the word at once."""
        if self._recorder is None:
            yield Reading("motion_event", event_record(event, _wall_us(io, event.begin_s)), round(event.end_s * 1e6))
            return
        end_s = event.end_s + (0.0 if event.continues else self.config.post_s)
        begin_s = event.begin_s - self.config.pre_s
        self._recorder.want("motion", event, begin_s, end_s, _wall_us(io, event.begin_s))

    def _record(self, io: Io, now_s: float) -> Iterator[Yielded]:
        recorder = self._recorder
        if recorder is None:
            return
        begin_s = self._tracker.begin_s
        if begin_s is not None and recorder.nearly_full and now_s - begin_s > LEAST_PART_S:
            yield from self._over(io, self._tracker.cut(now_s))
        for saved in recorder.step(now_s, self._tracker.begin_s, io.clock.wall_us()):
            yield from self._saved(io, saved)

    def _saved(self, io: Io, saved: Saved) -> Iterator[Yielded]:
        if saved.error is not None:
            io.log.warning("%s not kept: %s", "snapshot" if saved.kind == "snapshot" else "clip", saved.error)
        self._trouble(io, "clips", None if saved.error is None else f"clips are not kept: {saved.error}")
        if saved.event is not None:
            record = event_record(saved.event, _wall_us(io, saved.event.begin_s), saved)
            yield Reading("motion_event", record, round(saved.event.end_s * 1e6))
        else:
            yield Reading("saved", saved_record(saved))
        yield from self._clips()

    def _clips(self) -> Iterable[Reading]:
        if self._recorder is None:
            return ()
        files = self._recorder.archive.files()
        return Reading("clips", len(files)), Reading("clips_bytes", sum(kept.size for kept in files))

    def _last_clips(self, io: Io, patience_s: float) -> Iterator[Yielded]:
        until_s = time.monotonic() + patience_s
        while self._recorder is not None and self._recorder.busy and time.monotonic() < until_s:
            yield from self._record(io, _now_s(io))
            if not io.clock.sleep(0.05):
                time.sleep(0.02)  # stopping: its sleep returns at once, and a join takes some hundredths of a second
        if self._recorder is not None:
            for saved in self._recorder.close():
                yield from self._saved(io, saved)
            self._recorder = None

    def _close_recorder(self) -> None:
        """What is left where no more readings can be given."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.close()

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        recorder = self._recorder
        if recorder is None:
            off = self.config.record == "off"
            raise CommandRefused("record is off in agent.toml" if off else "the camera is not running")
        if self._told.get("stream") != "up":
            raise CommandRefused("the camera gives no picture now")
        now_s, wall_us = _now_s(io), io.clock.wall_us()
        if property_name == "snapshot":
            recorder.want("snapshot", None, now_s, now_s, wall_us)
        else:
            begin_s = now_s - self.config.pre_s
            recorder.want("manual", None, begin_s, now_s + self.config.post_s, _wall_us(io, begin_s))
        return value

    # --- recordings and the simulated camera ----------------------------------------------------------------------

    @classmethod
    def captured(cls, config: Any, data: bytes) -> Iterable[tuple[float, bytes]] | None:
        if not data:
            return None
        from .captured import stamped_pictures

        return stamped_pictures(config, data)

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)


def _now_s(io: Io) -> float:
    return io.clock.boottime_us() / 1e6


def _wall_us(io: Io, then_s: float) -> int | None:
    """Wall time at a moment of the boot clock."""
    now_us = io.clock.wall_us()
    return None if now_us is None else now_us - round(io.clock.boottime_us() - then_s * 1e6)
