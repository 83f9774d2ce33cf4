"""Port to readings: opens the line, finds out who speaks, feeds the bytes to that meter. All knowledge is elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from agent.api import ByteStream, Io, Node, Plugin, Reading, RetryLater, Yielded

from .detect import Detector, LineSetting, settings_for
from .link import LinkWatch
from .meters import PROTOCOLS, Found, Meter, make_meter
from .properties import BY_NAME, PROPERTIES
from .pzem import ANY_ADDRESS, request
from .teleinfo import Mode

#: A read ends at the latest after this: the plugin must end within a second of being told to.
READ_S = 0.5
#: More than any port holds: a read takes what is there.
READ_BYTES = 4096
#: A line that says nothing readable for so long is opened anew, and looked at anew under ``auto``.
SILENT_S = 30.0
#: The meter's answer to a Modbus request takes 26 ms on the line and up to 0.1 s inside.
ANSWER_S = 0.5
PZEM_INTERVAL_S = 1.0
#: Times of patience for a line on which something is begun that looks right.
PROMISE = 3.0


class PowerMeterConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>]`` of agent.toml."""

    protocol: Literal["auto", "teleinfo", "dsmr", "sml", "pzem"] = "auto"
    port: str = "/dev/serial0"
    """Better a name that stays: /dev/serial/by-id/..."""
    baudrate: Annotated[int, Meta(ge=300, le=921_600)] | None = None
    """Left out: the protocol's own speeds are tried."""
    mode: Mode = "auto"
    """Téléinfo only: auto, historic or standard."""
    address: Annotated[int, Meta(ge=1, le=248)] = ANY_ADDRESS
    """PZEM only: its Modbus address; 248 (0xF8) is whichever meter is alone on the line."""
    interval_s: Annotated[float, Meta(gt=0, le=3600)] | None = None
    """At most one reading of a property in this time; left out, every telegram is reported. PZEM: how often it is
    asked (1 s)."""


class PowerMeter(Plugin, name="power_meter"):
    """Electricity (and by M-Bus gas, water, heat) from a meter's serial line."""

    title = "Power meter"
    Config = PowerMeterConfig
    properties = PROPERTIES

    def __init__(self, config: PowerMeterConfig) -> None:
        super().__init__(config)
        self._meters: dict[str, Meter] = {}
        self._known: tuple[str, LineSetting] | None = None
        """What was found on this line, so that a replugged cable does not begin the search anew."""
        self._watch = LinkWatch(config.port)
        self._told: dict[tuple[str | None, str], float] = {}
        self._unknown_told: set[str] = set()

    def run(self, io: Io) -> Iterator[Yielded]:
        config: PowerMeterConfig = self.config
        settings = settings_for(config.protocol, config.mode, config.baudrate)
        if self._known is None and config.protocol != "auto" and len(settings) == 1:
            self._known = config.protocol, settings[0]
        first = self._known[1] if self._known else settings[0]
        stream = io.serial(config.port, baudrate=first.baudrate)
        try:
            kept: list[tuple[float, bytes]] = []
            if self._known is None:
                kept = self._find(io, stream, settings)
            if self._known is not None:
                yield from self._read(io, stream, *self._known, kept)
        finally:
            stream.close()

    # --- who speaks here? ---------------------------------------------------------------------------------------

    def _find(self, io: Io, stream: ByteStream, settings: tuple[LineSetting, ...]) -> list[tuple[float, bytes]]:
        """Listen with each setting in turn until a frame is right; sets ``_known``. Returns the bytes heard so far.

        Raises RetryLater when every setting stayed without a right frame."""
        config: PowerMeterConfig = self.config
        protocols = PROTOCOLS if config.protocol == "auto" else (config.protocol,)
        heard = 0
        for number, setting in enumerate(settings):
            if number:
                stream.reconfigure(baudrate=setting.baudrate)
            detector = Detector(protocols, mode=config.mode, address=config.address)
            kept: list[tuple[float, bytes]] = []
            asks = 3 if setting.ask and "pzem" in protocols else 0
            began = _now_s(io)
            while not io.stopping:
                try:
                    data = stream.read(READ_BYTES, READ_S)
                except RetryLater:
                    found = detector.finish()
                    if found is None:
                        raise
                    return self._found(io, stream, detector, found, setting, kept)
                if data:
                    heard += len(data)
                    kept.append((_now_s(io), data))
                    found = detector.feed(data)
                    if found is not None:
                        return self._found(io, stream, detector, found, setting, kept)
                elapsed = _now_s(io) - began
                if elapsed > setting.patience_s and (elapsed > PROMISE * setting.patience_s or not detector.promising):
                    if not asks:
                        break
                    asks -= 1
                    stream.write(request(config.address))
                    began = _now_s(io) - setting.patience_s + ANSWER_S
            if io.stopping:
                found = detector.finish()
                if found is not None:
                    return self._found(io, stream, detector, found, setting, kept)
                if heard:
                    io.log.warning("%s: no right frame in %d bytes, up to the end", config.port, heard)
                return []
        tried = ", ".join(str(setting) for setting in settings)
        raise RetryLater(
            f"{config.port}: {f'{heard} bytes but no right frame' if heard else 'silent'} at {tried}: "
            "check the wiring, and that the meter's customer interface is switched on"
        )

    def _found(
        self, io: Io, stream: ByteStream, detector: Detector, protocol: str, setting: LineSetting,
        kept: list[tuple[float, bytes]],
    ) -> list[tuple[float, bytes]]:
        """Remember it. Where the source has no speed (a pty, a capture) any setting finds anything: take the meter's
        own, which paces a replay rightly."""
        own = detector.natural(protocol)
        if self.config.baudrate is None:
            if setting.baudrate != own.baudrate:
                stream.reconfigure(baudrate=own.baudrate)
            setting = own
        io.log.info("%s: %s at %s", self.config.port, protocol, setting)
        self._known = protocol, setting
        return kept

    # --- reading ------------------------------------------------------------------------------------------------

    def _read(
        self, io: Io, stream: ByteStream, protocol: str, setting: LineSetting, kept: list[tuple[float, bytes]]
    ) -> Iterator[Yielded]:
        config: PowerMeterConfig = self.config
        meter = self._meters.get(protocol)
        if meter is None:
            meter = self._meters[protocol] = make_meter(protocol, mode=config.mode, address=config.address)
        meter.reset()
        yield Reading("protocol", f"{protocol} {setting}")
        for t_s, data in kept:
            yield from self._readings(io, meter, meter.feed(data, t_s), t_s)
        good_s, good_total = _now_s(io), meter.outcomes.good_total
        asking = protocol == "pzem"
        try:
            while not io.stopping:
                if asking:
                    yield from self._ask(io, stream, meter)
                else:
                    data = stream.read(READ_BYTES, READ_S)
                    if data:
                        yield from self._readings(io, meter, meter.feed(data, _now_s(io)), _now_s(io))
                now = _now_s(io)
                if meter.outcomes.good_total != good_total:
                    good_s, good_total = now, meter.outcomes.good_total
                self._watch.look(io, meter.outcomes, now)
                if now - good_s > SILENT_S:
                    if config.protocol == "auto":
                        self._known = None
                    raise RetryLater(
                        f"{config.port}: no right {protocol} frame for {now - good_s:.0f} s at {setting}: "
                        "check the cable and the meter")
        except RetryLater:
            # The port is gone, but not what it had sent: a last frame may be whole.
            yield from self._readings(io, meter, meter.finish(_now_s(io)), _now_s(io))
            raise
        yield from self._readings(io, meter, meter.finish(_now_s(io)), _now_s(io))

    def _ask(self, io: Io, stream: ByteStream, meter: Meter) -> Iterator[Yielded]:
        """One Modbus request and its answer, then wait for the next turn."""
        config: PowerMeterConfig = self.config
        began = _now_s(io)
        before = meter.outcomes.good_total + meter.outcomes.bad_total
        stream.write(request(config.address))
        while not io.stopping and meter.outcomes.good_total + meter.outcomes.bad_total == before:
            data = stream.read(64, ANSWER_S)
            if data:
                yield from self._readings(io, meter, meter.feed(data, _now_s(io)), _now_s(io))
            elif _now_s(io) - began >= ANSWER_S:
                for _ in meter.finish(_now_s(io)):  # half an answer is no sample, it only counts as bad
                    pass
                break
        io.clock.sleep(max(0.0, (config.interval_s or PZEM_INTERVAL_S) - (_now_s(io) - began)))

    def _readings(self, io: Io, meter: Meter, found: Iterable[Found], t_s: float) -> Iterator[Yielded]:
        good = False
        for item in found:
            if isinstance(item, Node):
                yield item
                continue
            good = True
            value, t_value = item.measured, item.t_s
            if self._too_soon(value.node, value.property, t_value):
                continue
            yield Reading(value.property, value.value, t_us=round(t_value * 1e6), node=value.node)
        if (good or meter.outcomes.bad_total) and self._watch.due(t_s):
            yield Reading("link_quality_pct", meter.outcomes.quality_pct, t_us=round(t_s * 1e6))
            yield Reading("bad_frames", meter.outcomes.bad_total, t_us=round(t_s * 1e6))
        for name in meter.unknown.keys() - self._unknown_told:
            self._unknown_told.add(name)
            io.log.debug("%s: %s has no meaning here, left out", self.config.port, name)

    def _too_soon(self, node: str | None, name: str, t_s: float) -> bool:
        """Thinning by ``interval_s``; words (a tariff change) are never held back."""
        interval_s = self.config.interval_s
        if interval_s is None or (node is None and BY_NAME[name].datatype in ("enum", "boolean")):
            return False
        # half a second of grace: a telegram every 10 s is not to become one every 20 s by jitter
        if t_s - self._told.get((node, name), float("-inf")) < interval_s - min(0.5, interval_s / 4):
            return True
        self._told[node, name] = t_s
        return False

    # --- captures and the simulated meter -----------------------------------------------------------------------

    @classmethod
    def capture(cls, config: Any, data: bytes) -> bytes:
        from .captures import wire_bytes  # csv and ast: only a replay pays for them

        return wire_bytes(data)

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)


def _now_s(io: Io) -> float:
    return io.clock.boottime_us() / 1e6
