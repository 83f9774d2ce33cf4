"""Pins to readings: opens the lines, keeps the index over power cuts, says what leaks. The rest is in pure modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from agent.api import CommandRefused, ConfigError, GpioIo, MessageStream, Plugin, Property, Reading, Value

from .meter import Meter
from .properties import PROPERTIES
from .rules import Verdict, rules_for
from .words import Health, alert_text

US = 1_000_000
IDLE_S = 60.0
SLOW_S = 300.0
"""What moves slowly is told this often, or when it changes."""
RECORDING_WAIT_S = 3600.0
RECORDING_SLOW_S = 86400.0
WATERING_S = 2 * 3600.0
RESUME_S = 600.0
"""How long after the start a clock that becomes known still bridges the hole of a restart."""
BACKFLOW_L = 5.0
SLOWEST_PULSE_H = 4.0

Positive = Annotated[float, Meta(gt=0, le=100_000)]


class WaterMeterConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>]`` of agent.toml."""

    line: str = "GPIO17"
    """The contact: a line's name, gpiochip0/17, or sim:<socket>."""
    second_line: str | None = None
    """A second contact, a quarter turn behind the first: tells the direction."""
    litres_per_pulse: Annotated[float, Meta(gt=0, le=10_000)] = 1.0
    pull: Literal["none", "up", "down"] = "up"
    active_low: bool = True
    """A contact from the pin to ground is closed when the pin is low."""
    debounce_ms: Annotated[float, Meta(ge=0, le=1000)] = 20.0
    index_start_l: Annotated[float, Meta(ge=0, le=1e11)] = 0.0
    """The meter's figures at the very first start; later the agent's own count stands."""
    price_per_m3: Annotated[float, Meta(ge=0, le=1000)] | None = None
    currency: str = "EUR"
    drip_l_h: Positive | None = None
    """The smallest drip looked for; left out, one pulse an hour, at least 1 L/h."""
    running_l_h: Positive | None = None
    """Left out, a pulse in two minutes, at least 60 L/h and at most half of burst_l_h."""
    running_min: Annotated[float, Meta(ge=5, le=600)] = 40.0
    burst_l_h: Positive = 1800.0
    vacation_l: Positive = 5.0
    max_flow_l_h: Positive = 6000.0
    silent_h: Annotated[float, Meta(ge=0, le=8784)] = 72.0
    """No pulse for so long, and no vacation: perhaps the contact is broken. 0: never said."""
    interval_s: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    """Index and flow are told at most this often."""


class WaterMeter(Plugin, name="water_meter"):
    """Water index, flow and leaks from a meter's pulse contact on an input pin."""

    title = "Water meter"
    Config = WaterMeterConfig
    properties = PROPERTIES

    def __init__(self, config: WaterMeterConfig) -> None:
        super().__init__(config)
        rules = self._rules = rules_for(
            config.litres_per_pulse, drip_l_h=config.drip_l_h, running_l_h=config.running_l_h,
            running_min=config.running_min, burst_l_h=config.burst_l_h, vacation_l=config.vacation_l)
        if not rules.drip_l_h < rules.running_l_h < rules.burst_l_h < config.max_flow_l_h:
            raise ConfigError("drip_l_h < running_l_h < burst_l_h < max_flow_l_h must hold; they are "
                              f"{rules.drip_l_h:g}, {rules.running_l_h:g}, {rules.burst_l_h:g}, "
                              f"{config.max_flow_l_h:g}")
        if rules.litres / rules.drip_l_h > SLOWEST_PULSE_H:
            raise ConfigError(f"drip_l_h = {rules.drip_l_h:g} is a pulse in {rules.litres / rules.drip_l_h:.0f} h, and "
                              f"no house is still for so long each day: at least {rules.litres / SLOWEST_PULSE_H:g}")
        self._lines = (config.line,) if config.second_line is None else (config.line, config.second_line)
        self._health = Health(config.silent_h)
        self._meter: Meter | None = None
        self._seen_us = 0
        self._resume_until_us = 0
        self._vacation = False
        self._watering_us: int | None = None
        self._kind = ""
        self._blind = True
        """Since the pins were opened, nothing is known of leaks yet."""
        self._backflow = False
        self._told: tuple[float, float] | None = None
        """Index and flow as told last."""
        self._told_us = 0
        self._due_us = 0
        self._slow_us = 0

    def declare(self) -> tuple[Property, ...]:
        config: WaterMeterConfig = self.config
        changed: dict[str, dict[str, Any]] = {"index_l": {"max_rate_per_h": config.max_flow_l_h},
                                              "leak_cost": {"unit": config.currency}}
        return tuple(replace(prop, max_age_s=max(prop.max_age_s or 0.0, 3 * config.interval_s),
                             **changed.get(prop.name, {})) for prop in PROPERTIES)

    # --- life -------------------------------------------------------------------------------------------------

    def run(self, io: GpioIo) -> Iterator[Reading]:  # type: ignore[override]  # the runner's Io has edges
        config: WaterMeterConfig = self.config
        stream = io.edges(*self._lines, pull=config.pull, active_low=config.active_low)
        try:
            meter = self._start(io)
            while not io.stopping:
                self._take(io, stream, meter)
                now_us = self._seen_us = io.clock.boottime_us()
                yield from self._readings(io, meter, now_us)
        finally:
            stream.close()

    def _take(self, io: GpioIo, stream: MessageStream, meter: Meter) -> None:
        now_us = io.clock.boottime_us()
        if meter.from_recording:
            wait_s = RECORDING_WAIT_S
        else:
            due_us = min(meter.due_us or self._due_us, self._due_us)
            wait_s = min(self.config.interval_s, max(0.0, (due_us - now_us) / US))
        message = stream.read(wait_s)
        if message is None:
            # Only by an empty read has a level stood: behind a message others may wait, and be its bounce.
            meter.settle(min(io.clock.boottime_us(), now_us + round(wait_s * US)))
            return
        wrong = meter.message(message.topic, message.data, now_us if message.t_us is None else message.t_us)
        if wrong is not None:
            io.log.warning("%s: %s", self.config.line, wrong)

    def _start(self, io: GpioIo) -> Meter:
        """Go on with what is kept, or after a hole in the watch."""
        config: WaterMeterConfig = self.config
        now_us = io.clock.boottime_us()
        self._blind = True
        if self._meter is not None:
            self._meter.hole(now_us, max(0, now_us - self._seen_us))
            return self._meter
        kept = io.kept
        index_l, levels = kept.get("index_l"), kept.get("levels")
        self._meter = Meter(
            self._lines, self._rules, debounce_us=round(config.debounce_ms * 1000), max_flow_l_h=config.max_flow_l_h,
            index_l=float(index_l) if isinstance(index_l, int | float) else config.index_start_l,
            levels={int(number): bool(level) for number, level in levels} if isinstance(levels, list) else {})
        self._meter.leak.look(now_us / US)
        self._resume_until_us = now_us + round(RESUME_S * US)
        self._vacation = kept.get("vacation") is True
        self._meter.leak.vacation(self._vacation, now_us / US)
        self._health.began(now_us / US)
        return self._meter

    def _resume(self, io: GpioIo, meter: Meter, now_us: int) -> None:
        """Take up the leak watch of before the restart, once both clocks are known."""
        if not self._resume_until_us:
            return
        watch, wall_us = io.kept.get("watch"), io.clock.wall_us()
        if now_us > self._resume_until_us or not isinstance(watch, dict) or not watch.get("wall_us"):
            self._resume_until_us = 0
        elif wall_us is not None:
            self._resume_until_us = 0
            away_s = (wall_us - watch["wall_us"]) / US
            if away_s >= 0:
                meter.leak.restore(watch, now_us / US, away_s)

    # --- out --------------------------------------------------------------------------------------------------

    def _readings(self, io: GpioIo, meter: Meter, now_us: int) -> Iterator[Reading]:
        config: WaterMeterConfig = self.config
        self._resume(io, meter, now_us)
        if self._watering_us is not None and now_us >= self._watering_us:
            self._set_watering(meter, None)
        verdict = meter.leak.look(now_us / US)
        io.kept["index_l"] = meter.index_l
        io.kept["levels"] = list(meter.levels())
        turned = verdict.kind != self._kind
        if turned:
            self._kind = verdict.kind
            self._blind = self._blind and verdict.kind == "unknown"
            if not self._blind:  # while nothing is known, neither good nor bad is said
                io.alert("leak", alert_text(verdict, now_us / US, config.price_per_m3, config.currency))
        backflow = meter.behind_l >= BACKFLOW_L
        if backflow != self._backflow:
            self._backflow = backflow
            io.alert("backflow", f"{meter.behind_l:g} L flowed backwards: are line and second_line swapped, or does a "
                     "non-return valve leak?" if backflow else None)
        now = meter.index_l, meter.flow_l_h(now_us)
        if now[0] != (self._told or (None,))[0]:
            self._due_us = min(self._due_us, self._told_us + round(config.interval_s * US))
        if now_us >= self._due_us or (meter.from_recording and self._told != now):
            # the ledger books a grown index when it is told once more, so one more comes soon after a change
            lively = self._told is None or self._told[0] != now[0] or abs(self._told[1] - now[1]) > 0.1 * self._told[1]
            self._told, self._told_us = now, now_us
            self._due_us = now_us + round((config.interval_s if lively else IDLE_S) * US)
            yield Reading("index_l", now[0], t_us=now_us)
            if not meter.from_recording:
                yield Reading("flow_l_h", round(now[1], 3), t_us=now_us)
        slow_s = RECORDING_SLOW_S if meter.from_recording else IDLE_S if verdict.volume_l else SLOW_S
        if turned or now_us - self._slow_us >= slow_s * US:
            self._slow_us = now_us
            yield from self._slowly(io, meter, verdict, now_us)

    def _slowly(self, io: GpioIo, meter: Meter, verdict: Verdict, now_us: int) -> Iterator[Reading]:
        config: WaterMeterConfig = self.config
        if not self._resume_until_us:
            io.kept["watch"] = {"wall_us": io.clock.wall_us(), **meter.leak.state(now_us / US)}
        values: list[tuple[str, Value]] = [("leak", verdict.kind), ("leak_volume_l", round(verdict.volume_l, 2))]
        if config.price_per_m3 is not None:
            values.append(("leak_cost", round(verdict.volume_l * config.price_per_m3 / 1000, 4)))
        if verdict.base_flow_l_h is not None:
            values.append(("base_flow_l_h", round(verdict.base_flow_l_h, 3)))
        if verdict.quiet_age_s is not None:
            values.append(("quiet_age_h", round(verdict.quiet_age_s / 3600, 2)))
        values += [("vacation", self._vacation), ("watering", self._watering_us is not None)]
        if config.second_line is not None:
            values.append(("reverse_volume_l", meter.reverse_l))
        values += [("rejected_edges", meter.rejected), ("bad_inputs", meter.bad_inputs)]
        for name, value in values:
            yield Reading(name, value, t_us=now_us)
        if not meter.from_recording:
            self._health.look(io, meter, now_us / US, self._vacation)

    # --- orders -----------------------------------------------------------------------------------------------

    def command(self, io: GpioIo, property_name: str, value: Value) -> Value:  # type: ignore[override]
        meter = self._meter
        if meter is None:
            raise CommandRefused(f"{self.config.line} is not open yet; try again when it is")
        now_us = io.clock.boottime_us()
        if property_name == "vacation":
            self._vacation = bool(value)
            io.kept["vacation"] = self._vacation
            meter.leak.vacation(self._vacation, now_us / US)
        elif property_name == "watering":
            self._set_watering(meter, now_us + round(WATERING_S * US) if value else None)
        else:
            raise CommandRefused(f"{property_name} cannot be set")
        self._slow_us = -round(SLOW_S * US)
        return bool(value)

    def _set_watering(self, meter: Meter, until_us: int | None) -> None:
        self._watering_us = until_us
        meter.leak.running_is_meant = until_us is not None

    # --- recordings and the simulated meter -------------------------------------------------------------------

    @classmethod
    def captured(cls, config: Any, data: bytes) -> Iterable[tuple[float, bytes]] | None:
        from .recordings import messages  # csv and gzip: only a replay pays for them

        return messages(data, config.line)

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)
