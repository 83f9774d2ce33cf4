"""Pictures to readings: one ffmpeg, looked at by the detector, kept by the recorder. All knowledge is elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from agent.api import ConfigError, Io, Message, MessageStream, Plugin, Property, Reading, Value, Yielded

from .child import COMPLAINT, PIECE, CameraGone
from .clips import Clips, now_s
from .command import Redactor
from .config import CameraConfig
from .events import EventTracker
from .hours import is_off
from .opening import address, lacks, open_camera
from .properties import declared
from .telling import Interval

READ_S = 0.25
"""A read ends at the latest after this: the plugin must end within a second of being told to."""
SLOW_LOOK_S = 5.0
"""How often the hours and the size of the unfinished piece are looked at."""
PICTURE_WORDS = {
    "frozen": "the camera gives the same picture again and again: restart it",
    "blank": "the picture shows no detail: is the lens covered or fogged?",
}
"""dark is no fault: every night without a lamp is."""


class Camera(Plugin, name="camera"):
    """Motion in a region of interest, with clips of what was before; nothing leaves the device."""

    title = "Camera"
    Config = CameraConfig
    properties = declared(off_hours=False)
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
        self._clips = Clips(config, self._trouble)
        self._errors = self._starts = 0
        self._told: dict[str, Value] = {}
        self._picture_was = "ok"
        self._troubles: dict[str, str] = {}

    def declare(self) -> tuple[Property, ...]:
        return declared(off_hours=bool(self.config.off_hours))

    def run(self, io: Io) -> Iterator[Yielded]:
        hours = self.config.hours()
        try:
            while not io.stopping:
                if is_off(hours, io.clock.wall_us()):
                    if io.clock.wall_us() is None:
                        io.log.info("the time is not known yet: with off_hours the camera stays off")
                    if self._told.pop("motion", None) is not None:
                        yield Reading("motion", None, quality="bad")  # nobody looks: neither motion nor none
                    yield from self._tell("stream", "off")
                    io.clock.sleep(SLOW_LOOK_S)
                else:
                    yield from self._watching(io)
        finally:
            self._clips.close()

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
            yield from self._clips.over(io, event)
        yield from self._clips.last(io)
        if lost is not None:
            where = self._redact(self.config.url)
            raise CameraGone(f"{where}: {str(lost).removeprefix(f'{where}: ')}")

    def _open(self, io: Io) -> Any:
        """A new ffmpeg. Not called in a replay."""
        url = address(self.config)
        self._redact = Redactor(url)
        return open_camera(self.config, self._clips.open(io), url, now_s(io))

    def _read(self, io: Io, stream: MessageStream) -> Iterator[Yielded]:
        config: CameraConfig = self.config
        hours = config.hours()
        seen_s = looked_s = now_s(io)
        patience_s = max(config.start_s, config.stall_s)
        while not io.stopping:
            message = stream.read(READ_S)
            now = now_s(io)
            if message is not None and message.topic == PIECE:
                self._clips.piece(message.data.decode().partition(",")[0], now)
            elif message is not None and message.topic == COMPLAINT:
                self._errors += 1
                io.log.warning("ffmpeg: %s", message.data.decode())
            elif message is not None and len(message.data) != self._detector.frame_bytes:
                self._errors += 1
                io.log.warning("a picture of %d bytes instead of %d, left out", len(message.data),
                               self._detector.frame_bytes)
            elif message is not None:
                seen_s = now
                patience_s = max(config.stall_s, config.start_s if config.keyframes_only else 0.0)
                yield from self._picture(io, message)
            if now - seen_s > patience_s:
                raise CameraGone(f"no picture for {now - seen_s:.0f} s, the stream is started anew", hung=True)
            yield from self._clips.step(io, now, self._tracker)
            if now - looked_s >= SLOW_LOOK_S:
                looked_s = now
                if is_off(hours, io.clock.wall_us()):
                    return
                self._clips.bounded()

    # --- one picture ----------------------------------------------------------------------------------------------

    def _picture(self, io: Io, message: Message) -> Iterator[Yielded]:
        t_us = message.t_us if message.t_us is not None else io.clock.boottime_us()
        t_s = t_us / 1e6
        look = self._detector.feed(t_s, message.data)
        picture = self._watch.feed(t_s, message.data)
        # a dark picture is believed too: a torch in the night
        score_pct, box = (0.0, None) if look.light else (look.score_pct, look.box)
        event = self._tracker.feed(t_s, score_pct, box)
        due = self._interval.feed(t_s, score_pct)
        if due is not None:
            self._told.clear()
        yield from self._tell("stream", "up", t_us)
        if picture != self._picture_was:
            self._picture_was = picture
            if picture != "ok":
                io.log.warning("the picture is %s", picture)
            self._trouble(io, "picture", PICTURE_WORDS.get(picture))
        yield from self._tell("picture", picture, t_us)
        turned = self._told.get("motion") != self._tracker.motion
        yield from self._tell("motion", self._tracker.motion, t_us)
        if due is not None:
            yield Reading("motion_score_pct", round(due[0], 2), t_us)
            yield Reading("fps_hz", round(due[1], 2), t_us)
            yield Reading("brightness_pct", round(self._watch.brightness_pct, 1), t_us)
            yield Reading("light_changes", self._detector.lights, t_us)
            yield Reading("stream_errors", self._errors, t_us)
            yield Reading("stream_starts", self._starts, t_us)
            yield from self._clips.count()
        elif turned:
            yield Reading("motion_score_pct", round(score_pct, 2), t_us)
        if event is not None:
            yield from self._clips.over(io, event)

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

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        self._clips.command(io, property_name, up=self._told.get("stream") == "up")
        return value

    # --- recordings and the simulated camera ----------------------------------------------------------------------

    @classmethod
    def look(cls, config: Any, root: Path) -> Iterable[str]:
        return lacks(config, root)

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
