"""Ask, listen, judge, tell: one round a few seconds. The knowledge is in :mod:`.verdict`, the debts in :mod:`.post`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from agent.api import (
    CommandRefused,
    Io,
    MessageStream,
    Plugin,
    Reading,
    RetryLater,
    Subscription,
    Yielded,
    zone_of,
)

from .asker import Asker
from .config import HubWatchConfig
from .events import Event, decode
from .post import Post, back, lost
from .properties import PROPERTIES
from .verdict import US, Watch

READ_S = 0.5
TELL_S = 60.0
MOST_AT_ONCE = 200
EPISODE = "episode"
COUNT = "episodes"


class HubWatch(Plugin, name="hub_watch"):
    """Notices that the hub is dead, and tells people by the modem of this device."""

    title = "Hub watch"
    Config = HubWatchConfig
    properties = PROPERTIES
    interval_s = 30.0
    process = "quiet"

    def __init__(self, config: HubWatchConfig) -> None:
        super().__init__(config)
        self._told: dict[str, tuple[float, Any]] = {}
        self._wall: tuple[int, int] | None = None
        """Of a capture: boot time and wall time, us."""
        self._alerted: str | None = ""
        """What the alert says; empty: not known."""
        self._bus: Subscription | None = None
        self._live = False

    def run(self, io: Io) -> Iterator[Yielded]:
        config: HubWatchConfig = self.config
        self._told, self._alerted = {}, ""
        watch = Watch(config, io.clock.boottime_us())
        post = Post(io.kept)
        ask_s = float("-inf")
        with contextlib.ExitStack() as stack:
            stream = io.messages(self._open)
            stack.callback(stream.close)
            self._bus = None
            if self._live:
                topics = [f"now/{node}" for node in ("sys", config.internet, config.mains) if node]
                self._bus = io.subscribe(*topics)  # type: ignore[attr-defined]
                stack.callback(self._bus.close)
            while not io.stopping:
                now_s = io.clock.monotonic_s()
                if config.url and now_s - ask_s >= config.interval_s:
                    ask_s = now_s
                    stream.write(b"ask")
                self._listen(io, stream, watch)
                yield from self._judge(io, watch, post)
                yield from self._deliver(io, post)

    def _open(self) -> Asker:
        self._live = True  # in a replay nobody opens anything
        return Asker(self.config)

    # --- in -----------------------------------------------------------------------------------------------------

    def _listen(self, io: Io, stream: MessageStream, watch: Watch) -> None:
        wait_s = min(READ_S, self.config.interval_s)
        message = stream.read(wait_s)
        while message is not None:
            if message.data.strip():
                self._line(io, watch, message.data)
            message = stream.read(0) if self._live else None
        for _ in range(MOST_AT_ONCE):
            heard = self._bus.get(0) if self._bus is not None else None
            if heard is None:
                return
            if heard.quality is None:
                watch.take(Event(node=heard.node, property=heard.property, value=heard.value), io.clock.boottime_us())

    def _line(self, io: Io, watch: Watch, data: bytes) -> None:
        try:
            event = decode(data)
            if event.now is not None:
                wall = datetime.fromisoformat(event.now)
                wall = wall if wall.tzinfo is not None else wall.replace(tzinfo=UTC)
                self._wall = io.clock.boottime_us(), round(wall.timestamp() * US)
        except (ValueError, OverflowError) as error:
            io.log.warning("left out: %s", str(error)[:300])
            return
        watch.take(event, io.clock.boottime_us())

    def _wall_us(self, io: Io) -> int | None:
        wall_us = io.clock.wall_us()
        if wall_us is None and self._wall is not None:
            wall_us = self._wall[1] + io.clock.boottime_us() - self._wall[0]
        return wall_us

    # --- judging ------------------------------------------------------------------------------------------------

    def _judge(self, io: Io, watch: Watch, post: Post) -> Iterator[Yielded]:
        config: HubWatchConfig = self.config
        now_us, wall_us = io.clock.boottime_us(), self._wall_us(io)
        state = watch.state(now_us)
        own = watch.own(now_us, lambda: _carrier(io) if self._live else None)
        episode: dict[str, Any] | None = io.kept.get(EPISODE)
        if state == "dead" and episode is None:
            io.kept[COUNT] = int(io.kept.get(COUNT, 0)) + 1
            silent_us = now_us - watch.life_us
            since_us = wall_us - silent_us if wall_us is not None else None
            episode = io.kept[EPISODE] = {"n": io.kept[COUNT], "since_us": since_us, "boot_us": watch.life_us,
                                         "why": watch.evidence(), "own": own}
            text = lost(config, self._clock(io, since_us, silent_us), watch.evidence(), own)
            post.owe(f"hub-watch-{episode['n']}-lost", config.to, text, wall_us)
            yield Reading("hub_event", "lost")
            yield Reading("message", text)
        elif episode is not None and state != "dead" and watch.steady_s(now_us) >= config.back_after_s:
            del io.kept[EPISODE]
            seconds = _length_s(episode, watch, now_us, wall_us)
            text = back(config, seconds / 60)
            post.owe(f"hub-watch-{episode['n']}-back", config.to, text, wall_us)
            yield Reading("hub_event", "returned")
            yield Reading("outage_s", round(seconds, 1))
            yield Reading("message", text)
        dead = io.kept.get(EPISODE) is not None
        self._alert(io, watch, state, io.kept.get(EPISODE))
        if state == "starting" and not dead:
            return
        yield from self._say(io, "hub_alive", not dead)
        yield from self._say(io, "state", "dead" if dead else state)
        yield from self._say(io, "silent_s", round(watch.silent_s(now_us)), rare=True)
        yield from self._say(io, "own_fault", own)
        if watch.web is not None:
            yield from self._say(io, "web", watch.web)
            if watch.web == "alive":
                yield from self._say(io, "latency_ms", watch.web_ms, rare=True)

    def _clock(self, io: Io, since_us: int | None, silent_us: int) -> str:
        """The time of day here; a replay has no place, so UTC."""
        if since_us is None:
            return f"for {silent_us / US / 60:.0f} min"
        zone = zone_of("", io.root) if self._live else UTC
        return datetime.fromtimestamp(since_us / US, zone).strftime("since %H:%M")

    def _alert(self, io: Io, watch: Watch, state: str, episode: dict[str, Any] | None) -> None:
        text = None
        if episode is not None:
            own = episode["own"]
            text = f"{self.config.name} is dead: {episode['why']}" + (f" ({own.replace('_', ' ')} here)"
                                                                     if own != "ok" else "")
        elif state == "web_down":
            text = f"{self.config.name} stores, and {watch.evidence()}"
        elif state == "not_storing":
            text = f"{self.config.name} answers, and has sent no receipt for minutes: samples wait on the devices"
        if text != self._alerted:
            self._alerted = text
            io.alert(io.instance, text)

    def _deliver(self, io: Io, post: Post) -> Iterator[Yielded]:
        config: HubWatchConfig = self.config
        due = post.due(io.clock.monotonic_s(), self._wall_us(io)) if config.modem else []
        if due:
            # on disk first: what the modem took and was not noted comes again, under the same id
            io.committed(5.0)
        for one in due:
            try:
                io.order(config.modem, "send", {key: one[key] for key in ("id", "to", "text")})  # type: ignore[attr-defined]
                post.taken(one["id"])
            except (CommandRefused, RetryLater) as error:
                io.log.warning("the modem did not take an SMS, it is tried again: %s", _without(str(error), one))
                post.later(one["id"], io.clock.monotonic_s())
        yield from self._say(io, "messages_waiting", len(post.owed))

    def _say(self, io: Io, name: str, value: Any, rare: bool = False) -> Iterator[Yielded]:
        now_s = io.clock.monotonic_s()
        told_s, told = self._told.get(name, (float("-inf"), None))
        if now_s - told_s >= TELL_S or (value != told and not rare):
            self._told[name] = now_s, value
            yield Reading(name, value)

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)


def _without(text: str, owed: dict[str, Any]) -> str:
    return text.replace(owed["to"], "…").replace(owed["text"], "…")


def _length_s(episode: dict[str, Any], watch: Watch, now_us: int, wall_us: int | None) -> float:
    if wall_us is not None and episode["since_us"] is not None:
        return max(0.0, (wall_us - episode["since_us"]) / US - watch.steady_s(now_us))
    return max(0.0, (now_us - int(episode["boot_us"])) / US - watch.steady_s(now_us))  # another boot: 0, not known


def _carrier(io: Io) -> bool | None:
    """False: no interface of this machine has a signal. None: nothing is known of any."""
    known = []
    for one in (io.root / "sys/class/net").glob("*"):
        if one.name == "lo":
            continue
        with contextlib.suppress(OSError):  # an interface that is down has no carrier to read
            known.append((one / "carrier").read_text().strip() == "1")
    return any(known) if known else None
