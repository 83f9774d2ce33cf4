"""Sensor or serial line to readings; what was read is judged elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from agent.api import ByteStream, Io, Plugin, Property, Reading, RetryLater, Yielded
from firmware_bridges.printed_lines import Splitter, stamped

from . import iio
from .judge import Dark, Frozen
from .lines import Doubt, Measured, parse

READ_S = 0.5
READ_BYTES = 4096
THRESHOLDS_LX = (10.0, 20.0)
THRESHOLDS_PCT = (20.0, 25.0)
"""What the seed's night lights switched at: on below 20, off above 25."""
SILENT_INTERVALS = 3
SELDOM_S = 60.0
"""A board that speaks seldom is not kept waiting for two more lines."""
BAD_READS = 3
"""So many in a row, and the sensor is opened anew."""

LASTING_S = 30 * 86_400.0
"""Of counters, which are told when they change."""

PROPERTIES = (
    Property(name="illuminance_lx", datatype="float", unit="lx", title="Illuminance", device_class="illuminance",
             state_class="measurement", minimum=0, maximum=200_000, optional=True),
    Property(name="luminosity_pct", datatype="float", unit="%", title="Luminosity", state_class="measurement",
             minimum=0, maximum=100, optional=True),
    Property(name="dark", datatype="boolean", title="Dark", options=("light", "dark")),
    Property(name="frozen", datatype="boolean", title="Sensor frozen", device_class="problem", diagnostic=True),
    Property(name="saturated", datatype="boolean", title="Brighter than the sensor can see", diagnostic=True,
             optional=True),
    Property(name="bad_lines", datatype="integer", title="Bad lines since start", minimum=0, diagnostic=True,
             optional=True, max_age_s=LASTING_S, comes_and_goes=True),
    Property(name="bad_reads", datatype="integer", title="Failed readings of the sensor since start", minimum=0,
             diagnostic=True, optional=True, max_age_s=LASTING_S, comes_and_goes=True),
)


class LightConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>]`` of agent.toml."""

    sensor: str = "auto"
    """On the IIO bus: ``auto`` (the first with light), its name (``bh1750``) or ``iio:device0``."""
    port: str | None = None
    """A serial port instead, on which a board prints its values."""
    baudrate: Annotated[int, Meta(ge=300, le=921_600)] = 9600
    interval_s: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    """IIO: how often the sensor is read. Serial: how often the board speaks; a faster one is thinned to this."""
    dark_below: Annotated[float, Meta(ge=0)] | None = None
    """Left out: 10 lx, or 20 %."""
    light_above: Annotated[float, Meta(ge=0)] | None = None
    """Left out: 20 lx, or 25 %."""
    hold_s: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    """So long it must be dark, or light, before ``dark`` changes."""
    frozen_after_s: Annotated[float, Meta(ge=0)] = 1800.0
    """The very same value for so long where the sensor sees finely; 0: not looked at."""
    still_after_h: Annotated[float, Meta(ge=0)] = 36.0
    """The very same value for so long anyhow: covered, unplugged inside, dead; 0: not looked at."""
    root: str = ""
    """Another folder in which sys/ is found; left out: /."""

    def __post_init__(self) -> None:
        if (self.dark_below is None) != (self.light_above is None):
            raise ValueError(f"{'dark_below' if self.dark_below is None else 'light_above'}: needed with the other one")
        if self.dark_below is not None and self.light_above is not None and self.dark_below >= self.light_above:
            raise ValueError(f"dark_below: {self.dark_below:g} must be less than light_above = {self.light_above:g}, "
                             "or a lamp flickers at dusk")


class Light(Plugin, name="light"):
    """Illuminance, and whether it is dark."""

    title = "Light"
    Config = LightConfig
    properties = PROPERTIES
    interval_s = 10.0
    process = "quiet"

    def __init__(self, config: LightConfig) -> None:
        super().__init__(config)
        self._dark: Dark | None = None
        self._frozen = Frozen(config.frozen_after_s, config.still_after_h * 3600)
        self._told_s = float("-inf")
        self._told_dark: bool | None = None
        self._bad = self._bad_told = 0
        self._bad_told_s = float("-inf")
        self._degraded: str | None = None

    def run(self, io: Io) -> Iterator[Yielded]:
        if self.config.port is None:
            try:
                root = Path(self.config.root) if self.config.root else io.root
            except RetryLater:  # a capture without files is one of a serial line
                yield from self._listen(io, "capture")
                return
            yield from self._look(io, root)
        else:
            yield from self._listen(io, self.config.port)

    # --- a sensor on the IIO bus ------------------------------------------------------------------------------

    def _look(self, io: Io, root: Path) -> Iterator[Yielded]:
        failed = 0
        while not io.stopping:
            began_us = io.clock.boottime_us()
            folder = iio.find(Path(self.config.root) if self.config.root else io.root, self.config.sensor)
            try:
                sample = iio.read(folder)
                failed = 0
            except (OSError, ValueError) as error:
                failed += 1
                self._bad += 1
                yield Reading("bad_reads", self._bad)
                yield Reading("illuminance_lx", None, quality="sensor_error")
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                text = f"{folder.name}: {reason}: check the sensor's wires and its supply"
                io.log.warning("%s", text)
                if failed >= BAD_READS:
                    raise RetryLater(text) from None
            else:
                yield Reading("saturated", sample.saturated)
                yield from self._tell(io, "illuminance_lx", sample.illuminance_lx, sample.step_lx, sample.saturated)
            if not io.clock.sleep(max(0.0, self.config.interval_s - (io.clock.boottime_us() - began_us) / 1e6)):
                return

    # --- a serial line ----------------------------------------------------------------------------------------

    def _listen(self, io: Io, port: str) -> Iterator[Yielded]:
        stream = io.serial(port, baudrate=self.config.baudrate)
        try:
            yield from self._lines(io, stream, port)
        finally:
            stream.close()

    def _lines(self, io: Io, stream: ByteStream, port: str) -> Iterator[Yielded]:
        splitter, doubt = Splitter(), Doubt(3 if self.config.interval_s < SELDOM_S else 2)
        silent_s = SILENT_INTERVALS * self.config.interval_s + 60.0
        heard_s = io.clock.monotonic_s()
        first = True
        while not io.stopping:
            for line in splitter.feed(stream.read(READ_BYTES, READ_S)):
                try:
                    measured = parse(line)
                except ValueError as error:
                    if first:  # the rest of a line that began before we listened
                        first = False
                        continue
                    self._bad += 1
                    io.log.warning("%s: %r is no line of a light sensor: %s", port, line[:40], error)
                    continue
                first = False
                if measured is None:
                    continue
                heard_s = io.clock.monotonic_s()
                if doubt.believe(measured):
                    yield from self._measured(io, measured)
            now_s = io.clock.monotonic_s()
            if self._bad != self._bad_told and now_s - self._bad_told_s >= self.config.interval_s:
                self._bad_told, self._bad_told_s = self._bad, now_s
                yield Reading("bad_lines", self._bad)
            silence_s = io.clock.monotonic_s() - heard_s
            if silence_s > silent_s and not io.stopping:
                raise RetryLater(f"{port}: no value for {silence_s:.0f} s: check the board, its cable, and that it "
                                 f"speaks at {self.config.baudrate} baud")

    def _measured(self, io: Io, measured: Measured) -> Iterator[Yielded]:
        name = "luminosity_pct" if measured.percent else "illuminance_lx"
        yield from self._tell(io, name, measured.value, measured.step, False)

    # --- both -------------------------------------------------------------------------------------------------

    def _due(self, io: Io) -> bool:
        """Thinning, with half an interval of grace: a board that is late by a moment loses no turn."""
        return bool(io.clock.monotonic_s() - self._told_s >= self.config.interval_s / 2)

    def _tell(self, io: Io, name: str, value: float, step: float, saturated: bool) -> Iterator[Yielded]:
        now_s = io.clock.boottime_us() / 1e6
        if value < 0:  # told out of range, and no ground for a decision
            yield Reading(name, value)
            return
        if self._dark is None:
            config: LightConfig = self.config
            below, above = THRESHOLDS_PCT if name == "luminosity_pct" else THRESHOLDS_LX
            if config.dark_below is not None and config.light_above is not None:
                below, above = config.dark_below, config.light_above
            self._dark = Dark(below, above, config.hold_s)
        frozen = self._frozen.feed(now_s, value, step, saturated)
        dark = self._dark.dark if frozen else self._dark.feed(now_s, value)
        still_min = self._frozen.still_s / 60
        self._health(io, f"E_SENSOR_FROZEN: the very same value, {value:g}, for {still_min:.0f} min: covered, or its "
                         "wires are loose" if frozen else None)
        due = self._due(io)
        if due:
            self._told_s = io.clock.monotonic_s()
            yield Reading(name, value, quality="uncertain" if frozen or saturated else None)
            yield Reading("frozen", frozen)
        if dark is not None and (due or dark != self._told_dark):
            self._told_dark = dark
            yield Reading("dark", dark, quality="uncertain" if frozen else None)

    def _health(self, io: Io, reason: str | None) -> None:
        """Changes only: the minutes in the text grow."""
        if (reason is None) != (self._degraded is None):
            self._degraded = reason
            io.degraded(reason)

    @classmethod
    def captured(cls, config: Any, data: bytes) -> list[tuple[float, bytes]] | None:
        return stamped(data)

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)
