"""The world of a replay: a clock that moves when the plugin waits, and a serial port that is a captured file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec

from agent.api import CommandRefused, ConfigError, Duty, Heard, Log, Message, RetryLater, mqtt_message
from agent.guard.inline import InlineRelay
from agent.replay.capture import Entry, Snapshot

US = 1_000_000
CHUNK_S = 0.05
"""A raw file comes in pieces of this much line time, as a real port is read."""
PATIENCE_S = 600.0
"""How long after a transcript's last stamp a plugin may go on waiting for what it expects."""
MESSAGE_BYTES = 1 << 24
IDLE_READS = 1000
"""Calls after the end before a plugin that does not look at ``io.stopping`` is stopped by an exception."""


class Ended(RetryLater):
    """The capture is over and the plugin goes on asking."""


class VirtualClock:
    """:class:`agent.api.Clock` that starts at 0 and moves when somebody waits. Wall time is unknown until it is set."""

    def __init__(self) -> None:
        self.now_us = 0
        self.wall_offset_us: int | None = None
        self.over: Callable[[], bool] = lambda: False

    def boottime_us(self) -> int:
        return self.now_us

    def monotonic_s(self) -> float:
        return self.now_us / US

    def wall_us(self) -> int | None:
        return None if self.wall_offset_us is None else self.now_us + self.wall_offset_us

    def set_wall(self, text: str) -> None:
        """It is this time (RFC 3339) now. Raises ValueError."""
        told = datetime.fromisoformat(text.strip())
        if told.tzinfo is None:
            raise ValueError("no zone")
        self.wall_offset_us = round(told.timestamp() * US) - self.now_us

    def sleep(self, seconds: float) -> bool:
        if self.over():
            return False
        self.advance(seconds)
        return not self.over()

    def advance(self, seconds: float) -> None:
        self.now_us += max(0, round(seconds * US))


class Source(Protocol):
    """What a replayed plugin reads."""

    @property
    def over(self) -> bool:
        """The plugin is to end: everything was read (and one read more was tried), or nothing will ever come."""
        ...

    @property
    def whole(self) -> bool:
        """Everything was read."""
        ...

    @property
    def place(self) -> object:
        """Changes with every step forward."""
        ...

    def read(self, size: int, timeout_s: float) -> bytes: ...

    def message(self, timeout_s: float) -> bytes | None:
        """The next whole message, or None after the time."""
        ...

    def write(self, data: bytes) -> None: ...

    def pace(self, baudrate: int, bits: float) -> None: ...


class RawSource:
    """Bytes without stamps: they come at the speed of the line that the plugin opened. What it sends is ignored."""

    def __init__(self, clock: VirtualClock, data: bytes) -> None:
        self._clock = clock
        self._data = data
        self._at = 0
        self._us_per_byte = 10 * US / 9600
        self.over = not data
        self._part_us = 0.0

    @property
    def whole(self) -> bool:
        return self._at >= len(self._data)

    @property
    def place(self) -> object:
        return self._at

    def pace(self, baudrate: int, bits: float) -> None:
        self._us_per_byte = bits * US / baudrate

    def read(self, size: int, timeout_s: float) -> bytes:
        if self._at >= len(self._data):
            self.over = True
            return b""
        most = max(1, int(min(timeout_s, CHUNK_S) * US / self._us_per_byte))
        chunk = self._data[self._at : self._at + min(size, most)]
        self._at += len(chunk)
        self._part_us += len(chunk) * self._us_per_byte
        whole = int(self._part_us)
        self._part_us -= whole
        self._clock.now_us += whole
        return chunk

    def message(self, timeout_s: float) -> bytes | None:
        """One line, however long it takes on the line."""
        if self.whole:
            self.over = True
            return None
        end = self._data.find(b"\n", self._at)
        end = len(self._data) if end < 0 else end + 1
        line, self._at = self._data[self._at : end], end
        self._clock.now_us += round(len(line) * self._us_per_byte)
        return line.rstrip(b"\r\n")

    def write(self, data: bytes) -> None:
        return  # nothing answers; what was captured comes anyway


class TranscriptSource:
    """Entries with stamps. What the plugin sends is compared, and an answer comes as long after it as it did then."""

    def __init__(self, clock: VirtualClock, entries: list[Entry], complain: Callable[[str], None]) -> None:
        self._clock = clock
        self._entries = entries
        self._at = 0
        self._part = 0
        """Bytes of the current entry that were read."""
        self._shift_us = 0
        self._sent = b""
        """What the plugin has written of the next expected chunk."""
        self._complain = complain
        self._listens = not any(entry.sent for entry in entries)
        """Nothing was ever sent to the device: what the plugin sends is its search for another kind of meter."""
        self._ended = False

    @property
    def over(self) -> bool:
        if not self._ended and self._clock.now_us > self._due_us(self._entries[-1]) + PATIENCE_S * US:
            self._ended = True
            if not self.whole:
                self._complain(f"waited {PATIENCE_S:.0f} s past the end of the transcript, stopped before line "
                               f"{self._entries[self._at].line}")
        return self._ended

    @property
    def whole(self) -> bool:
        return self._at >= len(self._entries)

    @property
    def place(self) -> object:
        return self._at, self._part

    def pace(self, baudrate: int, bits: float) -> None:
        return  # the stamps say when

    def _due_us(self, entry: Entry) -> int:
        return round(entry.t_s * US) + self._shift_us

    def read(self, size: int, timeout_s: float) -> bytes:
        deadline_us = self._clock.now_us + max(0, round(timeout_s * US))
        while self._at < len(self._entries):
            entry = self._entries[self._at]
            if entry.sent:
                break  # the device answers what it is asked, and was not asked yet
            due_us = self._due_us(entry)
            if due_us > deadline_us:
                break
            self._clock.now_us = max(self._clock.now_us, due_us)
            if self._part >= len(entry.data):
                self._at, self._part = self._at + 1, 0
                continue
            chunk = entry.data[self._part : self._part + size]
            self._part += len(chunk)
            if self._part >= len(entry.data):
                self._at, self._part = self._at + 1, 0
            return chunk
        self._clock.now_us = deadline_us
        if self.whole:
            self._ended = True
        return b""

    def message(self, timeout_s: float) -> bytes | None:
        """One entry is one message."""
        return self.read(MESSAGE_BYTES, timeout_s) or None

    def write(self, data: bytes) -> None:
        if self._listens:
            return
        expected = next((i for i in range(self._at, len(self._entries)) if self._entries[i].sent), None)
        if expected is None:
            self._complain(f"sent {data[:40].hex(' ')} where the transcript sends nothing more")
            return
        entry = self._entries[expected]
        self._sent += data
        if entry.data == self._sent:
            self._sent = b""
            if expected == self._at:
                self._shift_us = self._clock.now_us - round(entry.t_s * US)
                self._at += 1
            else:  # sent before everything was read that came earlier: that is still to come, the answer after it
                self._entries = self._entries[:expected] + self._entries[expected + 1 :]
        elif not entry.data.startswith(self._sent):
            self._complain(f"line {entry.line}: sent {self._sent[:40].hex(' ')}, the transcript says "
                           f"{entry.data[:40].hex(' ')}")
            self._sent = b""


class TreeSource:
    """Nothing to read but files: over once the last snapshot was looked at (``poll``) or slept over (``run``)."""

    def __init__(self, clock: VirtualClock, trees: list[Snapshot], streams: bool) -> None:
        self._clock = clock
        self._trees = trees
        self._streams = streams
        self._looked = False

    @property
    def over(self) -> bool:
        return self._looked or (self._streams and self._clock.now_us / US > self._trees[-1].t_s)

    @property
    def whole(self) -> bool:
        return self.over

    @property
    def place(self) -> object:
        return self.root

    @property
    def root(self) -> Path:
        now_s = self._clock.now_us / US
        return [tree for tree in self._trees if tree.t_s <= now_s or tree is self._trees[0]][-1].root

    def looked(self) -> None:
        """A poll has ended."""
        if self._clock.now_us / US >= self._trees[-1].t_s:
            self._looked = True

    def pace(self, baudrate: int, bits: float) -> None:
        return

    def read(self, size: int, timeout_s: float) -> bytes:
        raise RetryLater("this capture is a folder and has no serial port")

    def message(self, timeout_s: float) -> bytes | None:
        raise RetryLater("this capture is a folder and has no messages")

    def write(self, data: bytes) -> None:
        raise RetryLater("this capture is a folder and has no serial port")


class ReplayStream:
    """:class:`agent.api.ByteStream` over a source. Opening it again goes on where the capture stands."""

    def __init__(self, source: Source, *, baudrate: int, bytesize: int, parity: str, stopbits: int) -> None:
        self._source = source
        self._idle = 0
        self.reconfigure(baudrate=baudrate, bytesize=bytesize, parity=parity, stopbits=stopbits)

    def read(self, size: int, timeout_s: float) -> bytes:
        if self._source.over:
            self._idle += 1
            if self._idle > IDLE_READS:
                raise Ended("the capture is over")
        return self._source.read(size, timeout_s)

    def write(self, data: bytes) -> None:
        self._source.write(data)

    def reconfigure(self, *, baudrate: int, bytesize: int = 8, parity: str = "N", stopbits: int = 1) -> None:
        self._source.pace(baudrate, 1 + bytesize + (parity != "N") + stopbits)

    def close(self) -> None:
        return


class ReplayMessages:
    """:class:`agent.api.MessageStream` over a source; ``topics``: each message is an :func:`mqtt_line`."""

    def __init__(self, source: Source, clock: VirtualClock, topics: bool = False) -> None:
        self._source = source
        self._clock = clock
        self._topics = topics
        self._idle = 0

    def read(self, timeout_s: float) -> Message | None:
        if self._source.over:
            self._idle += 1
            if self._idle > IDLE_READS:
                raise Ended("the capture is over")
        data = self._source.message(timeout_s)
        if data is None:
            return None
        if not self._topics:
            return Message(data, self._clock.now_us)
        return mqtt_message(data, self._clock.now_us)

    def write(self, data: bytes) -> None:
        self._source.write(data)

    def close(self) -> None:
        return


class Sorter:
    """One capture, two readers: who meets a message of the other one keeps it for it. ``lines``: the input pins."""

    def __init__(self) -> None:
        self.lines: set[str] = set()
        self.edges: deque[Message] = deque()
        self.readings: deque[Message] | None = None
        """None: nobody has subscribed, so every message is a pin's."""


class ReplayEdges(ReplayMessages):
    """The input pins of a plugin that may also listen to readings."""

    def __init__(self, source: Source, clock: VirtualClock, sorter: Sorter) -> None:
        super().__init__(source, clock, topics=True)
        self._sorter = sorter

    def read(self, timeout_s: float) -> Message | None:
        if self._sorter.edges:
            return self._sorter.edges.popleft()
        message = super().read(timeout_s)
        if message is None or self._sorter.readings is None or message.topic in self._sorter.lines:
            return message
        self._sorter.readings.append(message)
        return None


class ReplayReadings:
    """:class:`agent.api.Subscription` over a source: each message is a line ``now/<node>/<property> <JSON value>`` or
    ``live/<device>/<node>/<property> <JSON value>``; a value that is not good is ``{"v": 85.0, "q": "bad"}``.

    Between them ``set/<property> <JSON value>`` is a command to the plugin, and ``clock <RFC 3339>`` says what time it
    is."""

    def __init__(self, messages: ReplayMessages, topics: tuple[str, ...], log: Log, clock: VirtualClock,
                 command: Callable[[str, Any], object], sorter: Sorter) -> None:
        self._messages = messages
        self._sorter = sorter
        self._waiting: deque[Message] = deque()
        sorter.readings = self._waiting
        self._topics = topics
        self._log = log
        self._clock = clock
        self._command = command

    def get(self, timeout_s: float) -> Heard | None:
        message = self._waiting.popleft() if self._waiting else self._messages.read(timeout_s)
        if message is None:
            return None
        if message.topic in self._sorter.lines:
            self._sorter.edges.append(message)
            return None
        lane, *place = message.topic.split("/")
        if message.topic == "clock":
            try:
                self._clock.set_wall(message.data.decode("ascii"))
            except ValueError:
                self._log.error("clock %r: expected a time as 2026-11-26T22:30:00Z", message.data[:40])
            return None
        if lane == "set" and len(place) == 1:
            self._set(place[0], message.data)
            return None
        if (lane, len(place)) not in (("now", 2), ("live", 3)):
            self._log.error("%r is no reading: expected now/<node>/<property> <value>", message.topic[:80])
            return None
        if not any(message.topic.startswith(topic) for topic in self._topics):
            return None
        try:
            value: Any = msgspec.json.decode(message.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._log.error("%s: no JSON value: %s", message.topic[:80], error)
            return None
        quality = None
        if isinstance(value, dict) and "v" in value and not value.keys() - {"v", "q"}:
            value, quality = value["v"], value.get("q")
        device = place[0] if lane == "live" else None
        return Heard(device, place[-2], place[-1], value, message.t_us or 0, quality)

    def _set(self, name: str, data: bytes) -> None:
        try:
            self._command(name, msgspec.json.decode(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._log.error("set/%s: no JSON value: %s", name[:80], error)
        except CommandRefused as error:
            self._log.warning(f"set/{name} refused: {error}")

    def close(self) -> None:
        return


class ReplayIo:
    """:class:`agent.api.Io` of a replay. ``duty``: what the relay of an actuator is held to; it moves nothing."""

    def __init__(self, instance: str, clock: VirtualClock, source: Source, log: Log, root: Callable[[], Path],
                 duty: Duty | None = None) -> None:
        self.instance = instance
        self.clock = clock
        self.log = log
        self.kept: dict[str, Any] = {}
        self._source = source
        self._root = root
        self._duty = duty
        self._sorter = Sorter()
        self.command: Callable[[str, Any], object] = lambda name, value: None
        """What a ``set`` line of the capture is given to."""

    @property
    def root(self) -> Path:
        return self._root()

    def committed(self, timeout_s: float) -> bool:
        return True  # a replay has no disk to wait for

    @property
    def stopping(self) -> bool:
        return self._source.over

    def serial(
        self, port: str, *, baudrate: int, bytesize: int = 8, parity: str = "N", stopbits: int = 1
    ) -> ReplayStream:
        return ReplayStream(self._source, baudrate=baudrate, bytesize=bytesize, parity=parity, stopbits=stopbits)

    def messages(self, open_source: Callable[[], object]) -> ReplayMessages:
        return ReplayMessages(self._source, self.clock)

    def edges(self, *lines: str, pull: str = "none", active_low: bool = False) -> ReplayMessages:
        self._sorter.lines.update(lines)
        return ReplayEdges(self._source, self.clock, self._sorter)

    def subscribe(self, *topics: str) -> ReplayReadings:
        return ReplayReadings(ReplayMessages(self._source, self.clock, topics=True), topics, self.log, self.clock,
                              lambda name, value: self.command(name, value), self._sorter)

    def relay(self) -> InlineRelay:
        if self._duty is None:
            raise ConfigError("this plugin is no actuator")
        return InlineRelay(self.instance, self._duty, self.clock)

    def order(self, node: str, property_name: str, value: Any, timeout_s: float = 15.0) -> Any:
        self.log.info("order %s/%s", node, property_name)  # a replay has no other plugins: it is taken
        return value

    def mqtt(self, *filters: str) -> ReplayMessages:
        return ReplayMessages(self._source, self.clock, topics=True)

    def alert(self, alert_id: str, text: str | None) -> None:
        if text is not None:
            self.log.warning(f"alert {alert_id}: {text}")  # each its own line: repeats are capped by their template

    def degraded(self, reason: str | None) -> None:
        if reason is not None:
            self.log.warning(f"degraded: {reason}")
