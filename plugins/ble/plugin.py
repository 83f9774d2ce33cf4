"""Adverts to readings: whose they are, what they say, and how well the radio does. All knowledge is elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from agent.api import (
    CommandRefused,
    ConfigError,
    Io,
    Message,
    MessageStream,
    Plugin,
    Property,
    Reading,
    Source,
    Value,
    Yielded,
)

from . import adverts, dialects, payloads, properties
from .adverts import Advert
from .dedup import Dedup
from .device import MAX_RECEIVERS, Heard, Window
from .payloads import Decoded
from .radio import Radio
from .settings import BleConfig, Names
from .strangers import Crowd, pseudonym

READ_S = 0.25
"""A read ends at the latest after this: windows are closed in time, and the plugin ends within a second."""
LOOK_S = 0.2
FROZEN = "the strength of %s has been exactly %d dBm for %.0f min: restart bluetooth"


class Ble(Plugin, name="ble"):
    """Bluetooth low energy advertisements: named beacons and badges one by one, strangers as a count."""

    title = "Bluetooth scanner"
    Config = BleConfig
    properties = properties.OWN

    def __init__(self, config: BleConfig) -> None:
        super().__init__(config)
        self._names = Names(config.devices)
        self._devices: dict[str, Heard] = {}
        self._crowd = Crowd()
        self._dedup = Dedup(config.dedup_s)
        self._bad = self._lost = 0
        self._radio: Radio | None = None
        self._list_asked = False
        self._key = b""
        self._look_s = self._stats_s = float("-inf")

    def declare(self) -> tuple[Property, ...]:
        further = tuple(properties.scanner(f"scanner_{properties.word(name)}", f"Scanner {name}")
                        for name in self.config.adapters[1:])
        return (*properties.OWN, *further)

    def run(self, io: Io) -> Iterator[Yielded]:
        config: BleConfig = self.config
        if self._names.need_pseudonym:
            self._pseudonym_key(io)
        self._look_s, self._stats_s = _now_s(io), _now_s(io) + config.interval_s
        if self._radio is None:  # one that goes on from an earlier attempt knows of its standing alerts
            self._radio = Radio(config, io)
        stream = io.messages(self._open)
        try:
            while not io.stopping:
                message = stream.read(READ_S)
                if message is not None:
                    yield from self._message(io, message)
                now_s = _now_s(io)
                if now_s - self._look_s >= LOOK_S or message is None:
                    self._look_s = now_s
                    yield from self._look(io, stream, now_s)
                    if self._radio.anew(now_s):
                        stream.close()
                        stream = io.messages(self._open)
            yield from self._windows(io, float("inf"))
            yield from self._stats(_now_s(io))
        finally:
            stream.close()

    def _open(self) -> Source:
        try:
            from .bluez import BluezSource  # bleak and asyncio: only who scans pays for them
        except ImportError as error:
            raise ConfigError(f"{error}: install the extra: pip install 'hutkeeper[ble]'") from None
        config: BleConfig = self.config
        return BluezSource(config.adapters, config.or_patterns(), every_packet=config.every_packet, bus=config.bus)

    # --- one line -----------------------------------------------------------------------------------------------

    def _message(self, io: Io, message: Message) -> Iterator[Yielded]:
        t_s = _now_s(io) if message.t_us is None else message.t_us / 1e6
        try:
            line = adverts.decode(message.data)
            if not line.address and not line.event:
                line = dialects.from_line(message.data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            try:
                line = dialects.from_line(message.data)
            except dialects.NoAdvert as error:
                self._refuse(io, str(error))
                return
        except dialects.NoAdvert as error:
            if message.data.strip():
                self._refuse(io, str(error))
            return
        assert self._radio is not None
        if line.event:
            if line.event == "lost":
                self._lost += max(0, line.count)
            elif line.event == "note":
                io.log.warning("%s", line.reason)
            elif line.event in ("scanning", "failed"):
                yield from self._radio.event(line, t_s)
            else:
                self._refuse(io, f"event {line.event[:40]!r} is unknown")
            return
        yield from self._radio.heard(line.receiver, t_s)
        yield from self._advert(io, line, t_s)

    def _refuse(self, io: Io, reason: str) -> None:
        self._bad += 1
        io.log.warning("unreadable advertisement, left out: %s", reason)

    def _advert(self, io: Io, advert: Advert, t_s: float) -> Iterator[Yielded]:
        address = advert.address.upper() if len(advert.address) == 17 else advert.address
        name = self._names.address(address)
        rssi_dbm = advert.rssi_dbm if adverts.usable_rssi(advert.rssi_dbm) else None
        said: Decoded | None = None
        if name is not None or not self._names.by_address_only:
            said = payloads.decode(advert, self.config.badge_company, self.config.badge_beacons)
            name = name or self._names.sign(address, advert, said, self._pseudonym(address), t_s)
            if said.bad and name is not None:
                self._refuse(io, f"{name}: {said.bad}")
            elif said.bad:
                self._bad += 1  # a stranger's mistake is not worth a line
        company = next(iter(advert.manufacturer), "")
        self._crowd.saw(address, t_s, rssi_dbm, advert.name, name, company)
        if name is None:
            return
        device = self._devices.get(name)
        if device is None:
            device = self._devices[name] = Heard()
        if rssi_dbm is not None:
            yield from self._strength(io, name, device, advert.receiver, rssi_dbm, t_s)
        elif advert.rssi_dbm is not None and advert.rssi_dbm != -127:
            self._refuse(io, f"{name}: {advert.rssi_dbm} dBm is no strength")
        if said is not None:
            if not device.receivers:  # something that it says before any strength
                yield self._place(name, device, self.config.adapters[0])
            yield from self._said(name, device, said, t_s)

    def _place(self, name: str, device: Heard, receiver: str) -> Yielded:
        """The node, with a property for one more receiver."""
        prop = properties.rssi_property(receiver, self.config.adapters[0])
        device.receivers[prop] = receiver
        device.windows[prop] = Window()
        return properties.device_node(name, self.config.devices[name].title, device.receivers)

    def _strength(self, io: Io, name: str, device: Heard, receiver: str, rssi_dbm: int, t_s: float
                  ) -> Iterator[Yielded]:
        first = self.config.adapters[0]
        prop = properties.rssi_property(receiver or first, first)
        if prop not in device.receivers:
            if len(device.receivers) >= MAX_RECEIVERS:
                return
            yield self._place(name, device, receiver or first)
        window = device.windows[prop]
        if window.over(t_s, self.config.rssi_interval_s):
            yield self._window(io, name, prop, window)
        window.add(rssi_dbm, t_s)
        if self.config.rssi_interval_s == 0:
            yield self._window(io, name, prop, window)

    def _said(self, name: str, device: Heard, said: Decoded, t_s: float) -> Iterator[Yielded]:
        t_us = round(t_s * 1e6)
        values = said.values
        badge = said.badge
        if badge is not None:
            if self._dedup.new((name, tuple(badge.beacons.items())), t_s):
                yield Reading("beacons", dict(badge.beacons), t_us=t_us, node=name)
                yield Reading("beacon_count", len(badge.beacons), t_us=t_us, node=name)
            more = {"motion": badge.motion, "button": badge.button, "battery_pct": badge.battery_pct,
                    "position": badge.position, "opposite_badge_id": badge.opposite_badge_id}
            values = values | {key: value for key, value in more.items() if value is not None}
        for key, value in device.news(values, t_s):
            yield Reading(key, value, t_us=t_us, node=name)

    # --- what time brings -----------------------------------------------------------------------------------------

    def _look(self, io: Io, stream: MessageStream, now_s: float) -> Iterator[Yielded]:
        assert self._radio is not None
        yield from self._windows(io, now_s)
        yield from self._radio.look(stream, now_s)
        if self._list_asked:
            self._list_asked = False
            key = self._pseudonym_key(io) if self.config.pseudonyms else None
            yield Reading("advertiser_list", self._crowd.listed(now_s, key))
        if now_s >= self._stats_s:
            self._stats_s = now_s + self.config.interval_s
            yield from self._stats(now_s)
            yield from self._radio.states()

    def _windows(self, io: Io, now_s: float) -> Iterator[Yielded]:
        for name, device in self._devices.items():
            for prop, window in device.windows.items():
                if window.over(now_s, self.config.rssi_interval_s):
                    yield self._window(io, name, prop, window)

    def _window(self, io: Io, name: str, prop: str, window: Window) -> Reading:
        """The median of the packets, as of the last one."""
        frozen, rssi_dbm = window.frozen, window.take()
        if frozen and not window.told:
            io.log.warning(FROZEN, name, rssi_dbm, window.still_s / 60)
        window.told = frozen
        return Reading(prop, rssi_dbm, t_us=round(window.last_s * 1e6), node=name,
                       quality="uncertain" if frozen else None)

    def _stats(self, now_s: float) -> Iterator[Yielded]:
        everybody, unknown = self._crowd.count(now_s)
        yield Reading("adverts_rate_hz", self._crowd.rate_hz(now_s))
        yield Reading("advertisers", everybody)
        yield Reading("unknown_advertisers", unknown)
        yield Reading("bad_adverts", self._bad)
        yield Reading("lost_adverts", self._lost)
        yield Reading("repeated_lists", self._dedup.repeats)

    # --- strangers ------------------------------------------------------------------------------------------------

    def _pseudonym_key(self, io: Io) -> bytes:
        """Made once, and kept on this device alone."""
        if not self._key:
            kept = io.kept.get("pseudonym_key")
            if not isinstance(kept, str) or len(kept) != 64:
                kept = io.kept["pseudonym_key"] = secrets.token_hex(32)
            self._key = bytes.fromhex(kept)
        return self._key

    def _pseudonym(self, address: str) -> str:
        return pseudonym(address, self._key) if self._names.need_pseudonym else ""

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        if property_name != "list_advertisers" or value is not True:
            raise CommandRefused(f"{property_name}: the only command is list_advertisers = true")
        self._list_asked = True
        return True

    # --- captures and the simulated radio -------------------------------------------------------------------------

    @classmethod
    def look(cls, config: Any, root: Path) -> Iterable[str]:
        from .look import lacks

        return lacks(config, root)

    @classmethod
    def captured(cls, config: Any, data: bytes) -> Iterable[tuple[float, bytes]] | None:
        from .captures import stamped  # csv: only a replay pays for it

        return stamped(data)

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)


def _now_s(io: Io) -> float:
    return io.clock.boottime_us() / 1e6
