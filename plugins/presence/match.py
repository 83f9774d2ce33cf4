"""Which sign an event is about, and what it says of it. Pure: events with stamps in, words to signs out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .decide import Person, Sign
from .events import Event
from .files import leases, log_words, stations
from .settings import ArpSign, BleSign, MqttSign, PingSign, PresenceConfig, WifiFileSign
from .settings import Sign as SignConfig

LEASE_HOLD_S, STATIONS_HOLD_S, STATIONS_SILENCE_S = 7200.0, 60.0, 120.0
SCANNER_IS = "the scanner is"
PROBE_TURNS = 3
"""Turns of a ping without any word after which its source counts as dead."""


class Unreadable(ValueError):
    """A source said something that means nothing here, in one line."""


class Matcher:
    def __init__(self, config: PresenceConfig) -> None:
        self.persons: dict[str, Person] = {}
        self._by_name: dict[str, Sign] = {}
        self._ble: list[tuple[BleSign, Sign]] = []
        self._mqtt: list[tuple[MqttSign, Sign]] = []
        self._probes: list[tuple[PingSign | ArpSign, Sign]] = []
        self._files: list[tuple[WifiFileSign, Sign]] = []
        self._seen_by: dict[int, str | None] = {}
        """Which device's scanner saw a sign last."""
        self._leases: dict[tuple[str, str], str] = {}
        for person, settings in config.persons.items():
            signs = []
            for wanted in settings.signs:
                name = wanted.name
                while f"{person}/{name}" in self._by_name:
                    name = _next(name)
                sign = self._by_name[f"{person}/{name}"] = Sign(name, _kind(wanted), *_times(wanted))
                signs.append(sign)
                self._add(wanted, sign)
            self.persons[person] = Person(signs, settings.arrival_delay_s, settings.departure_delay_s)

    def _add(self, wanted: SignConfig, sign: Sign) -> None:
        match wanted:
            case BleSign():
                self._ble.append((wanted, sign))
            case MqttSign():
                self._mqtt.append((wanted, sign))
            case WifiFileSign():
                self._files.append((wanted, sign))
            case PingSign() | ArpSign():
                self._probes.append((wanted, sign))

    # --- what a plugin has to open ------------------------------------------------------------------------------

    def bus_topics(self) -> tuple[str, ...]:
        topics = {f"now/{wanted.scanner}" for wanted, _ in self._ble}
        topics |= {f"live/{device}/{wanted.scanner}" for wanted, _ in self._ble for device in wanted.on}
        return tuple(sorted(topics))

    def mqtt_topics(self) -> tuple[str, ...]:
        return tuple(sorted({topic for wanted, _ in self._mqtt for topic in (wanted.topic, wanted.available_topic)
                             if topic is not None}))

    def files(self) -> tuple[str, ...]:
        return tuple(sorted({wanted.path for wanted, _ in self._files}))

    def probes(self) -> tuple[PingSign | ArpSign, ...]:
        return tuple(wanted for wanted, _ in self._probes)

    # --- events -------------------------------------------------------------------------------------------------

    def take(self, event: Event, t_s: float) -> None:
        """Raises Unreadable; whatever it says, the signs are as good as before."""
        if event.sign is not None:
            sign = self._by_name.get(event.sign)
            if sign is None:
                raise Unreadable(f"no sign {event.sign!r}; there are {', '.join(self._by_name)}")
            _said(sign, event, t_s)
        elif event.probe is not None:
            for probe, sign in self._probes:
                mac = (probe.mac or "").lower() if isinstance(probe, ArpSign) else ""
                if (_kind(probe), probe.host, mac) == (event.probe, event.host, event.mac):
                    _said(sign, event, t_s)
        elif event.bus is not None:
            self._on_bus(event, t_s)
        elif event.mqtt is not None:
            self._on_mqtt(event, t_s)
        elif event.file is not None:
            for wifi, sign in self._files:
                if wifi.path == event.file:
                    self._on_file(wifi, sign, event, t_s)

    def _on_bus(self, event: Event, t_s: float) -> None:
        node, value = event.bus or "", event.value
        for wanted, sign in self._ble:
            if event.device is not None and event.device not in wanted.on:
                continue
            if (node == f"{wanted.scanner}-{wanted.device}" and event.property.startswith("rssi_")
                    and isinstance(value, int | float) and event.quality is None and value >= wanted.min_rssi_dbm):
                sign.seen(t_s)
                self._seen_by[id(sign)] = event.device
            elif id(sign) in self._seen_by and self._seen_by[id(sign)] != event.device:
                continue  # of several scanners, the one that saw it last can say that it is gone
            elif node == wanted.scanner and event.property == "scanner":
                if value == "up":
                    sign.source_up(t_s)
                else:
                    sign.source_down(f"{SCANNER_IS} {value}")
            elif node == wanted.scanner and not sign.why.startswith(SCANNER_IS):
                # Its own node, which speaks every 10 s: ``ble-garage`` may be a badge of it or another scanner. And one
                # that is down goes on counting nothing.
                sign.source_up(t_s)

    def _on_mqtt(self, event: Event, t_s: float) -> None:
        wrong: list[str] = []
        for wanted, sign in self._mqtt:
            if event.mqtt == wanted.available_topic:
                word = event.payload.strip().lower()
                if word in ("offline", "false", "0", "off", "lost", "disconnected"):
                    sign.source_down(f"{wanted.available_topic} says {word}")
                else:
                    sign.source_up(t_s)
            elif event.mqtt == wanted.topic and not (event.retained and wanted.hold_s is not None):
                said = _word(event.payload, wanted.key)
                if said is not None and said in wanted.home:
                    sign.seen(t_s)
                elif said is not None and (said in wanted.away or wanted.others_are_away):
                    sign.gone(t_s)
                else:
                    wrong.append(f"{event.mqtt} says {event.payload[:60]!r}"
                                 + (f" ({wanted.key}: {said!r})" if wanted.key else "")
                                 + f": neither in home nor in away of sign {sign.name}")
        if wrong:
            raise Unreadable(wrong[0])

    def _on_file(self, wanted: WifiFileSign, sign: Sign, event: Event, t_s: float) -> None:
        mac, text = wanted.mac.lower(), event.text
        if event.down is not None:
            sign.source_down(event.down)
            return
        if text is None:
            sign.source_up(t_s)
            return
        if wanted.format == "stations":
            if event.age_s > (sign.source_silence_s or STATIONS_SILENCE_S):
                sign.source_down(f"{wanted.path} was last written {event.age_s:.0f} s ago")
            elif mac in stations(text):
                sign.seen(t_s - event.age_s)
            else:
                sign.source_up(t_s)
        elif wanted.format == "hostapd_log":
            connected = log_words(text).get(mac)
            if connected is None:
                sign.source_up(t_s)
            elif connected:
                sign.seen(t_s)
            else:
                sign.gone(t_s)
        else:
            ends = leases(text).get(mac, "")
            before = self._leases.get((wanted.path, mac))
            self._leases[wanted.path, mac] = ends
            if before is not None and ends and ends != before:
                sign.seen(t_s)
            elif before and not ends:
                sign.gone(t_s)
            else:
                sign.source_up(t_s)

    def sources_down(self, t_s: float) -> Iterator[str]:
        """``anna/ble`` of every sign that nobody can see at the moment."""
        for name, sign in self._by_name.items():
            if sign.sight(t_s) == "unknown":
                yield name


def _said(sign: Sign, event: Event, t_s: float) -> None:
    if event.down is not None:
        sign.source_down(event.down)
    elif event.here is None:
        sign.source_up(t_s)
    elif event.here:
        sign.seen(t_s)
    elif event.probe is None:
        sign.gone(t_s)
    else:  # an unanswered ping ends nothing: a phone sleeps
        sign.source_up(t_s)


def _kind(wanted: SignConfig) -> str:
    return str(type(wanted).__struct_config__.tag)


def _times(wanted: SignConfig) -> tuple[float | None, float | None]:
    """``hold_s`` and ``source_silence_s`` of a sign."""
    match wanted:
        case PingSign() | ArpSign():
            return wanted.hold_s, PROBE_TURNS * wanted.every_s + 10
        case WifiFileSign(format="stations"):
            return wanted.hold_s or STATIONS_HOLD_S, wanted.source_silence_s or STATIONS_SILENCE_S
        case WifiFileSign(format="leases"):
            return wanted.hold_s or LEASE_HOLD_S, wanted.source_silence_s
        case _:
            return wanted.hold_s, wanted.source_silence_s


def _next(name: str) -> str:
    head, _, number = name.rpartition("-")
    return f"{head}-{int(number) + 1}" if head and number.isdigit() else f"{name}-2"


def _word(payload: str, key: str | None) -> str | None:
    """The word in a payload, lower case; JSON's true is ``true``."""
    value: Any = payload.strip()
    if key is not None:
        try:
            value = json.loads(value)
            for part in key.split("."):
                value = value[part]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip().lower() if isinstance(value, str | int | float) else None
