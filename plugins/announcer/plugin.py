"""Commands, the bus and the speaker's words to the desk, and what it decides back to them. Thin."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from agent.api import CommandRefused, Io, Plugin, Reading, Subscription, Value, Yielded, zone_of

from . import asking
from .cache import Cache, Journal
from .desk import Desk, Moment
from .events import Event, decode, recorded
from .gate import Refused
from .programs import sound_trouble, template
from .properties import PROPERTIES
from .settings import AnnouncerConfig
from .speaker import Speaker

TICK_S = 0.5
MOST_AT_ONCE = 100
DATA_DIR = "/var/lib/hutkeeper"


class Announcer(Plugin, name="announcer"):
    """Speaks, one announcement at a time."""

    title = "Announcer"
    Config = AnnouncerConfig
    properties = PROPERTIES

    def __init__(self, config: AnnouncerConfig) -> None:
        super().__init__(config)
        self._desk = Desk(config, zone_of(config.timezone))
        self._speaker: Speaker | None = None
        self._cache = Cache(None, 0)
        self._journal = Journal(None)
        self._bad = 0
        self._wall: tuple[float, int] | None = None
        """A replay's own time: seconds since boot, and the wall time then."""
        self._told: dict[str, Any] = {}
        self._alerted: str | None = None

    # --- life -----------------------------------------------------------------------------------------------------

    def run(self, io: Io) -> Iterator[Yielded]:
        config: AnnouncerConfig = self.config
        self._desk = Desk(config, zone_of(config.timezone, _root(io)), _boot(io))
        self._told = {}
        with contextlib.ExitStack() as stack:
            stream = io.messages(lambda: self._open(io))
            stack.callback(stream.close)
            bus: Subscription | None = None
            if self._speaker is not None and config.listen:
                bus = io.subscribe(*self.hears(config))  # type: ignore[attr-defined]
                stack.callback(bus.close)
            self._desk.restore(io.kept, self._journal.begun, self._at(io))
            retell_s = float("-inf")
            while not io.stopping:
                at = self._at(io)
                self._desk.turn(at)
                self._journal.take_back(_all(self._desk.taken_back))  # before it is perhaps begun once more
                for id_ in _all(self._desk.begun):
                    self._journal.begin(id_)
                self._keep(io)
                for order in _all(self._desk.orders):
                    stream.write(msgspec.json.encode(order))
                if at.now_s - retell_s >= config.interval_s:
                    retell_s, self._told = at.now_s, {}
                yield from self._tell(io, at)
                message = stream.read(TICK_S)
                while message is not None:
                    if message.data.strip():
                        self._event(io, message.data)
                    message = stream.read(0) if self._speaker is not None else None
                self._overhear(io, bus)
            self._keep(io)

    def _open(self, io: Io) -> Speaker:
        """Live only: a replay has neither programs nor a disk."""
        config: AnnouncerConfig = self.config
        folder: Path | None = config.cache_dir or Path(os.environ.get("HUTKEEPER_DATA_DIR", DATA_DIR)) / "voice" \
            / io.instance
        try:
            assert folder is not None
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            io.log.warning("cache_dir: %s: %s: speech is made anew each time", folder, error.strerror)
            folder = None
        self._cache = Cache(folder, config.cache_max_mb << 20)
        self._journal = Journal(None if folder is None else folder / "begun")
        self._speaker = Speaker(config, self._cache)
        return self._speaker

    def _at(self, io: Io) -> Moment:
        now_s = io.clock.boottime_us() / 1e6
        wall_us = io.clock.wall_us()
        if wall_us is None and self._wall is not None:
            wall_us = self._wall[1] + round((now_s - self._wall[0]) * 1e6)
        return Moment(now_s, wall_us)

    def _keep(self, io: Io) -> None:
        for name, value in self._desk.kept().items():
            if io.kept.get(name) != value:
                io.kept[name] = value

    # --- what comes -----------------------------------------------------------------------------------------------

    def _event(self, io: Io, line: bytes) -> None:
        try:
            event = decode(line)
            if event.now is not None:
                wall = datetime.fromisoformat(event.now)
                wall = wall if wall.tzinfo is not None else wall.replace(tzinfo=UTC)
                self._wall = (io.clock.boottime_us() / 1e6, round(wall.timestamp() * 1e6))
        except (ValueError, OverflowError) as error:
            self._bad += 1
            io.log.warning("left out: %s", str(error)[:300])
            return
        if event.did is not None:
            self._did(io, event)
        elif event.set is not None:
            try:
                self.command(io, event.set, event.value)
            except CommandRefused as error:
                io.log.warning(f"{event.set}: refused: {error}")
        elif event.bus is not None and event.bus in self.config.listen:
            self._announcement(io, event.bus, event.property, event.value)

    def _did(self, io: Io, event: Event) -> None:
        state, why = "failed", event.why
        if event.did == "plain":
            io.log.warning("spoken without the effect: %s", why)
            return
        if event.did == "failed" and event.at == "sound":
            state, why = sound_trouble(self.config.device, event.why)
        self._desk.heard(event.job, event.did or "", self._at(io), seconds=event.seconds, where=event.at, why=why,
                         state=state)

    def _overhear(self, io: Io, bus: Subscription | None) -> None:
        for _ in range(MOST_AT_ONCE):
            heard = None if bus is None else bus.get(0)
            if heard is None:
                return
            if heard.device is None and heard.node in self.config.listen:
                age_s = max(0.0, (io.clock.boottime_us() - heard.t_us) / 1e6)  # uplink may have been away
                self._announcement(io, heard.node, heard.property, heard.value, age_s)

    def _announcement(self, io: Io, node: str, name: str, value: Any, age_s: float = 0.0) -> None:
        """What another plugin of this device says is to be said. Nobody waits for an answer: a refusal is an event."""
        if name != "announcement":
            return
        try:
            known = {key: value[key] for key in asking.SAY_KEYS if key in value} if isinstance(value, dict) else value
            wish = asking.say(known, self.config.max_chars)._replace(service=node)
        except Refused as error:
            self._bad += 1
            io.log.warning("%s: announcement left out: %s", node, error)
            return
        try:
            self._desk.ask(wish, self._at(io), age_s)
        except Refused as error:
            self._desk.told.append({"id": wish.id, "text": wish.text, "service": node, "priority": wish.priority,
                                    "result": "refused", "why": str(error)})

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        """The answers of ``say``, ``announce``, ``lock`` and ``release`` are for the asker alone: a key is in them."""
        config: AnnouncerConfig = self.config
        desk, at = self._desk, self._at(io)
        answer: Value
        try:
            if property_name == "say":
                answer = desk.ask(asking.say(value, config.max_chars), at)
            elif property_name == "announce":
                desk.ask(asking.Wish(asking.plain(value, config.max_chars), service="announce"), at)
                answer = value
            elif property_name == "lock":
                service = asking.service_of(value, "lock")
                answer = {"key": desk.gate.lock(service, at.now_s), "service": service, "expires_s": config.lock_s}
            elif property_name == "release":
                service = asking.service_of(value, "release", ("service", "key"))
                answer = {"released": desk.gate.release(service, at.now_s)}
            elif property_name == "enabled" and isinstance(value, bool):
                desk.gate.enabled = answer = value
                self._told["enabled"] = value
            elif property_name == "volume_pct" and isinstance(value, int | float) and 0 <= value <= 100:
                desk.volume_pct = answer = round(value)
                self._told["volume_pct"] = answer
            else:
                raise Refused(f"{property_name} = {str(value)[:40]}: not to be set to this")
        except Refused as error:
            raise CommandRefused(str(error)) from None
        self._keep(io)
        if self._speaker is not None:
            self._speaker.wake()
        return answer

    # --- what goes out --------------------------------------------------------------------------------------------

    def _tell(self, io: Io, at: Moment) -> Iterator[Reading]:
        desk = self._desk
        for event in _all(desk.told):
            if event["result"] in ("failed", "cut_off", "expired", "dropped") and event.get("why") != desk.trouble:
                io.log.warning("not spoken (%s): %s", event["result"], event.get("why", ""))
            yield Reading("spoken", event)
        if desk.trouble != self._alerted:
            self._alerted = desk.trouble
            if desk.trouble is not None:
                io.log.warning(desk.trouble)
            io.alert(f"sound-{io.instance}", None if desk.trouble is None else f"E_SOUND {desk.trouble}")
            io.degraded(desk.trouble)
        holder = desk.gate.holder(at.now_s)
        now: dict[str, Any] = {
            "busy": desk.current is not None, "enabled": desk.gate.enabled, "volume_pct": desk.volume_pct,
            "queue": len(desk.line), "quiet": desk.quiet_until(at) is not None, "sound": desk.sound,
            "lock_state": {"service": holder, "until": None if holder is None else
                           _wall_text(at, desk.gate.until_s)},
            "refused": desk.refused, "failed": desk.failed, "bad_events": self._bad, "cache_bytes": self._cache.bytes}
        for name, value in now.items():
            if name not in self._told or self._told[name] != value:
                self._told[name] = value
                yield Reading(name, value)

    # --- the rest -------------------------------------------------------------------------------------------------

    @classmethod
    def captured(cls, config: Any, data: bytes) -> list[tuple[float, bytes]] | None:
        return recorded(data)

    @classmethod
    def look(cls, config: Any, root: Path) -> Iterable[str]:
        package = {"aplay": "alsa-utils"}
        programs = [template(config)[0], config.player, *([config.sox] if config.effect == "radio" else [])]
        for program in programs:
            if shutil.which(program) is None:
                yield f"no program {program}: sudo apt install {package.get(program, program)}"

    @classmethod
    def hears(cls, config: Any) -> Iterable[str]:
        return [f"now/{node}" for node in config.listen]

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config)


def _all(items: list[Any]) -> list[Any]:
    """What is in the list, which is empty then."""
    taken = items[:]
    items.clear()
    return taken


def _wall_text(at: Moment, then_s: float) -> str | None:
    if at.wall_us is None:
        return None
    then = at.wall_us / 1e6 + then_s - at.now_s
    return datetime.fromtimestamp(round(then), UTC).isoformat().replace("+00:00", "Z")


def _root(io: Io) -> Path:
    try:
        return io.root
    except Exception:  # a replay of a stream has no files
        return Path("/nonexistent")


def _boot(io: Io) -> str:
    try:
        return (_root(io) / "proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
