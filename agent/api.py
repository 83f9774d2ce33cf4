"""What a plugin sees: config in, readings out. Nothing else of the agent may be imported by a plugin.

A plugin is a class with a typed ``Config`` (msgspec), a declared table of ``properties`` and one of

* ``poll(io)``: called every ``interval_s``; returns or yields :class:`Reading` objects, then ends;
* ``run(io)``: a generator (or ``async def`` generator) that yields for as long as it lives.

The agent owns schedule, stamps, retries with back-off, health, topics, discovery and docs tables. A plugin
reaches the world only through the :class:`Io` it is handed, so every plugin also runs from a captured file.
"""

from __future__ import annotations

import enum
import importlib
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from msgspec import Struct

from agent.relays import AnyRelay as AnyRelay
from agent.relays import Duty as Duty
from agent.relays import LatchingRelay as LatchingRelay
from agent.relays import PlainRelay as PlainRelay
from agent.relays import RelayState as RelayState

Datatype = Literal["float", "integer", "boolean", "string", "enum", "datetime", "duration", "json"]
StateClass = Literal["measurement", "total", "total_increasing"]
#: What a value may be. ``None`` only together with a quality that says why.
Value = float | int | bool | str | dict[str, Any] | list[Any] | None


class Priority(enum.IntEnum):
    """Who is thrown out first when a spool is full: the lowest. One batch holds one priority."""

    BULK = 0
    NORMAL = 1
    COUNTER = 2
    ALARM = 3


class Property(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One value that a plugin can report, declared before the first reading.

    ``name`` is the field's own word with its unit (``active_power_l1_w``); it is the name everywhere, and its
    Homie id is the same with ``-`` for ``_``. ``max_age_s``: after this a value is stale; default three intervals.
    """

    name: str
    datatype: Datatype
    unit: str | None = None
    title: str = ""
    """What a person reads ("Active power L1"); default: made from the name."""
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    options: tuple[str, ...] = ()
    """The allowed words of an enum; for a boolean (false label, true label)."""
    settable: bool = False
    event: bool = False
    """Momentary (a reboot, a detection): recorded, published unretained, has no "now"."""
    device_class: str | None = None
    state_class: StateClass | None = None
    max_age_s: float | None = None
    comes_and_goes: bool = False
    """Silence is no fault (a badge that leaves the house): the value is stale after its age, and no alert says so."""
    priority: Priority = Priority.NORMAL
    diagnostic: bool = False
    enabled_by_default: bool = True
    optional: bool = False
    """Announced only once a reading has come (a tariff that this contract does not have)."""
    max_rate_per_h: float | None = None
    """For ``total_increasing``: the fastest growth that is possible, in ``unit`` per hour (counter ledger)."""


class Node(Struct, frozen=True, kw_only=True):
    """Something that a plugin found while running (an M-Bus meter, a badge): yields become ``<instance>-<id>``.

    Yield the node itself before its first reading."""

    id: str
    """``[a-z0-9-]+``"""
    title: str
    properties: tuple[Property, ...]


class Reading(Struct, frozen=True, omit_defaults=True):
    """One value of one declared property.

    ``t_us`` is CLOCK_BOOTTIME in microseconds (``io.clock.boottime_us()``); left out, the agent stamps it.
    ``node`` is the id of a :class:`Node` that was yielded before; left out, the plugin's own node.
    ``quality``: left out means good; else a word of ``QUALITIES``."""

    property: str
    value: Value
    t_us: int | None = None
    node: str | None = None
    quality: str | None = None


#: Why a value is not simply good. "uncertain" and "estimated" carry a value, the others may carry ``None``.
QUALITIES = ("uncertain", "estimated", "out_of_range", "not_finite", "sensor_error", "bad")

Yielded = Reading | Node


# --- errors, sorted by what the agent does next -------------------------------------------------------------


class PluginError(Exception):
    """What went wrong, where, and the next step, in one line."""


class ConfigError(PluginError):
    """Refuse to start: the operator must change agent.toml."""


class RetryLater(PluginError):
    """The world is not ready (port missing, device mute): the agent retries with back-off 1 to 300 s."""


class CommandRefused(PluginError):
    """A command that the plugin will not carry out; the text goes back to the sender."""


# --- the world, as handed to a plugin -----------------------------------------------------------------------


class Clock(Protocol):
    """Time as a plugin may use it; in ``replay`` and tests it is virtual."""

    def boottime_us(self) -> int:
        """Microseconds since boot (CLOCK_BOOTTIME): stamps of readings."""
        ...

    def monotonic_s(self) -> float:
        """Seconds for intervals and time-outs; never jumps."""
        ...

    def wall_us(self) -> int | None:
        """Microseconds since 1970 UTC, or None while this boot's clock is not known to be right."""
        ...

    def sleep(self, seconds: float) -> bool:
        """Wait; False at once when the plugin is to stop."""
        ...


class ByteStream(Protocol):
    """An open serial port (or the captured bytes of one)."""

    def read(self, size: int, timeout_s: float) -> bytes:
        """At least one and at most ``size`` bytes, or ``b""`` after ``timeout_s``.

        Raises RetryLater when the device is gone."""
        ...

    def write(self, data: bytes) -> None: ...

    def reconfigure(self, *, baudrate: int, bytesize: int = 8, parity: str = "N", stopbits: int = 1) -> None:
        """Change speed and frame of the open port."""
        ...

    def close(self) -> None: ...


class Message(Struct, frozen=True):
    """One whole thing that came: a datagram, an advertisement, an edge, a line, an MQTT message."""

    data: bytes
    t_us: int | None = None
    """CLOCK_BOOTTIME in microseconds; None from a :class:`Source` means now."""
    topic: str = ""
    """MQTT only."""
    retained: bool = False
    """MQTT only: it stood on the broker before we asked, so it is no sample of now."""


class Source(Protocol):
    """What a plugin opens itself where the agent has no port for it: a socket, a D-Bus client, a child process.

    A factory of these goes to :meth:`Io.messages`; in a replay it is never called and the captured messages come."""

    def fileno(self) -> int:
        """A descriptor that is readable while :meth:`receive` has something to give."""
        ...

    def receive(self) -> Iterable[Message | bytes]:
        """Everything that is there, without waiting. Raises RetryLater when the source is gone."""
        ...

    def send(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class MessageStream(Protocol):
    """Whole messages, in order, each with its stamp."""

    def read(self, timeout_s: float) -> Message | None:
        """The next one, or None after ``timeout_s`` (or earlier, when the plugin is to stop). Raises RetryLater."""
        ...

    def write(self, data: bytes) -> None:
        """To the device. Over MQTT: :func:`mqtt_line`."""
        ...

    def close(self) -> None: ...


class Inbox:
    """The queue of a :class:`Source` whose messages come on another thread (asyncio, a callback): :meth:`put` there.

    Bounded in number and bytes: the oldest is dropped and counted, so a plugin that is held up never eats the memory.
    After :meth:`close` nothing is taken any more, from whichever thread it comes."""

    def __init__(self, limit: int = 10_000, limit_bytes: int = 8 << 20) -> None:
        self.dropped = 0
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._queue: deque[Message | bytes] = deque()
        self._error: Exception | None = None
        self._lock = threading.Lock()
        self._eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def put(self, item: Message | bytes) -> None:
        """From any thread."""
        with self._lock:
            if self._eventfd < 0:
                return
            self._queue.append(item)
            self._bytes += _size(item)
            while len(self._queue) > self._limit or (self._bytes > self._limit_bytes and len(self._queue) > 1):
                self._bytes -= _size(self._queue.popleft())
                self.dropped += 1
            self._ring()

    def fail(self, error: Exception) -> None:
        """From any thread: what the reader gets once the queue is empty (a RetryLater, a ConfigError)."""
        with self._lock:
            self._error = error
            self._ring()

    def _ring(self) -> None:
        if self._eventfd >= 0:
            with suppress(BlockingIOError):  # full: it is readable anyway
                os.eventfd_write(self._eventfd, 1)

    def fileno(self) -> int:
        return self._eventfd

    def receive(self) -> list[Message | bytes]:
        with self._lock:
            if self._eventfd >= 0:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._eventfd)
            if not self._queue and self._error is not None:
                raise self._error
            items = list(self._queue)
            self._queue.clear()
            self._bytes = 0
            if self._error is not None:
                self._ring()  # the error comes with the next look
            return items

    def close(self) -> None:
        with self._lock:
            fd, self._eventfd = self._eventfd, -1
            if fd >= 0:
                os.close(fd)


def _size(item: Message | bytes) -> int:
    return len(item.data if isinstance(item, Message) else item)


class Log(Protocol):
    """``logging``'s calls. Changes of state only; the agent caps repeats at one a minute and message."""

    def debug(self, msg: str, *args: object) -> None: ...
    def info(self, msg: str, *args: object) -> None: ...
    def warning(self, msg: str, *args: object) -> None: ...
    def error(self, msg: str, *args: object) -> None: ...


class Io(Protocol):
    """Everything outside the plugin. A family that needs more (gpio, audio, bus, model) extends this protocol."""

    @property
    def instance(self) -> str:
        """The id in ``[plugins.<id>]``."""
        ...

    @property
    def log(self) -> Log: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def root(self) -> Path:
        """``/``, or the folder that stands for it in a test: read ``io.root / "sys/class/thermal"``."""
        ...

    @property
    def kept(self) -> dict[str, Any]:
        """Small JSON-able state that survives a restart and a power cut: committed with the next batch."""
        ...

    def committed(self, timeout_s: float) -> bool:
        """Wait until all that was yielded, and ``kept`` as it is now, is on this device's disk: what a device holds may
        be deleted after it, and what must not happen twice may be done. False: not within the time, or stopping.

        Commands are carried out meanwhile. A reading counts from the moment its ``yield`` has returned."""
        ...

    @property
    def stopping(self) -> bool:
        """True once the plugin is to end; ``run`` must return within a second."""
        ...

    def serial(
        self, port: str, *, baudrate: int, bytesize: int = 8, parity: str = "N", stopbits: int = 1
    ) -> ByteStream:
        """Open a serial port exclusively. Raises RetryLater naming port, holder or missing group."""
        ...

    def messages(self, open_source: Callable[[], Source]) -> MessageStream:
        """Open a source of whole messages. Raises what ``open_source`` raises (RetryLater, ConfigError)."""
        ...

    def alert(self, alert_id: str, text: str | None) -> None:
        """Raise (text) or resolve (None) the alert ``$alert/<alert_id>`` of this device."""
        ...

    def degraded(self, reason: str | None) -> None:
        """Say that the plugin works badly (reason) or well again (None): its ``health`` property."""
        ...


class Heard(Struct, frozen=True):
    """A reading of another plugin, off the local bus."""

    device: str | None
    """None: this device."""
    node: str
    property: str
    value: Value
    t_us: int
    """CLOCK_BOOTTIME of this device; for another device's reading its arrival less the age it had."""
    quality: str | None


class Subscription(Protocol):
    """Readings of others, newest last; what nobody reads in time is dropped, oldest first."""

    def get(self, timeout_s: float) -> Heard | None:
        """The next one, or None after ``timeout_s`` (may return None earlier)."""
        ...

    def close(self) -> None: ...


class BusIo(Io, Protocol):
    """For plugins that decide on other plugins' readings, with no broker between."""

    def subscribe(self, *topics: str) -> Subscription:
        """Topics are prefixes: ``now/<node>`` of this device, ``live/<device>/<plugin>`` of inputs of others."""
        ...


class OrderIo(Io, Protocol):
    """For plugins that have another plugin of this device do something."""

    def order(self, node: str, property_name: str, value: Value, timeout_s: float = 15.0) -> Value:
        """Give a settable property of this device a value, over the local bus; what is true now, as its plugin says.

        Recorded as a command of ``plugin:<instance>``. Raises CommandRefused with its plugin's line, or RetryLater when
        no answer came: it may have been carried out all the same, so what must not happen twice carries an id."""
        ...


class GpioIo(Io, Protocol):
    """For plugins on input pins."""

    def edges(self, *lines: str, pull: Literal["none", "up", "down"] = "none", active_low: bool = False
              ) -> MessageStream:
        """Changes of input lines, each stamped by the kernel at its edge, not debounced.

        ``lines``: ``GPIO17`` (the line's name), ``gpiochip0/17``, or ``sim:<path of a unix socket>`` of a simulated
        source. A message has the line as its ``topic`` and ``b"1"`` (active) or ``b"0"`` as its data; the first one of
        each line is its level at the start. In a transcript a message is the line, a space and the level.
        Raises RetryLater naming chip, holder or missing group."""
        ...


class Relay(Protocol):
    """The control side of one actuator. Nothing here waits: the pin is ``guard``'s."""

    def ask(self, on: bool, *, sample_us: int | None = None, sample_max_age_s: float = 0.0, frost: bool = False,
            heats: bool = False, insist: bool = False, why: str = "") -> RelayState:
        """Say what is wanted and renew the lease: call it every second or two, also when nothing changes.

        ``sample_us``: CLOCK_BOOTTIME of the reading that the decision rests on, good for ``sample_max_age_s``; kind
        ``heat`` is ON with none only as ``frost`` duty.
        ``heats``: the room or the meter showed that it heats. ``insist``: move a ``hold``
        actuator there even if the wish is the same as before and a hand has moved it since (the state then says
        "moved by hand")."""
        ...

    @property
    def state(self) -> RelayState: ...

    def close(self) -> None: ...


class RelayIo(Io, Protocol):
    """For actuators (``actuator = True``, :meth:`Plugin.duty`)."""

    def relay(self) -> Relay:
        """The one relay of this instance, held by its ``guard``."""
        ...


class Climate(Struct, frozen=True, kw_only=True):
    """Which properties of a plugin make one thermostat (Home Assistant's ``climate``). ``mode`` is an enum with
    ``off``; ``action`` an enum of ``off, idle, heating``; ``preset`` an enum."""

    mode: str
    setpoint: str
    temperature: str
    action: str
    preset: str = ""


class MqttIo(Io, Protocol):
    """For plugins that take in what others say on our broker, through ``uplink``'s one connection."""

    def mqtt(self, *filters: str) -> MessageStream:
        """Messages on these topics (MQTT filters with a plain first level; not our own trees). A plugin has one such
        stream: a new one takes the place of the one before. The stream's ``write``
        publishes, not retained. In a transcript a message is an :func:`mqtt_line`."""
        ...


class Plugin:
    """Base class: ``class CpuThermal(Plugin, name="cpu_thermal")``, named once more in the entry points."""

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    Config: ClassVar[type[Struct]]
    properties: ClassVar[tuple[Property, ...]] = ()
    interval_s: ClassVar[float] = 10.0
    """How often ``poll`` is called, or ``run`` is expected to yield; a Config field ``interval_s`` beats it."""
    process: ClassVar[str | None] = None
    """Plugins of the same word share one process on boards with little memory."""
    actuator: ClassVar[bool] = False
    """It switches something: its Config has ``relay: AnyRelay``, a ``guard`` process holds it, and it is never in a
    shared process."""
    climate: ClassVar[Climate | None] = None

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name:
            cls.name = name

    def __init__(self, config: Any) -> None:
        self.config = config

    def declare(self) -> tuple[Property, ...]:
        """The properties of this configured instance (default: all of the class)."""
        return self.properties

    def poll(self, io: Io) -> Iterable[Yielded]:
        raise NotImplementedError(f"{self.name} has neither poll nor run")

    def run(self, io: Io) -> Iterator[Yielded] | AsyncIterator[Yielded]:
        raise NotImplementedError(f"{self.name} has neither poll nor run")

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        """Carry out a command on a settable property and return the value now true. Raises CommandRefused."""
        raise CommandRefused(f"{self.name} takes no commands")

    def node_command(self, io: Io, node: str, property_name: str, value: Value) -> Value:
        """The same for a settable property of a :class:`Node` that the plugin found; ``node`` is its id."""
        raise CommandRefused(f"{self.name}: {node} takes no commands")

    @classmethod
    def duty(cls, config: Any) -> Duty:
        """For an actuator: what its guard holds it to. Both processes ask, with the same config."""
        raise NotImplementedError(f"{cls.name} has no duty")

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        """A context that stands for the real device (a pty with a meter behind it) and gives the config for it.

        Used by ``simulate = true`` in agent.toml, the demo and the tests."""
        raise ConfigError(f"{cls.name} has no simulated source")

    @classmethod
    def look(cls, config: Any, root: Path) -> Iterable[str]:
        """For ``hutkeeper-agent check``: what this machine lacks for it (an adapter, a program, a group), one line each
        with its way out. Serial ports below ``/dev`` are looked at without it. Opens nothing that others use."""
        return ()

    @classmethod
    def hears(cls, config: Any) -> Iterable[str]:
        """For ``hutkeeper-agent check``: the topics of :meth:`BusIo.subscribe`, each ``now/<node>`` or
        ``live/<device>/<node>``; a plugin that is not there, or no input of this device, is named."""
        return ()

    @classmethod
    def capture(cls, config: Any, data: bytes) -> bytes:
        """The wire bytes in a captured file: override where people keep captures in another dress (hex, literals)."""
        return data

    @classmethod
    def captured(cls, config: Any, data: bytes) -> Iterable[tuple[float, bytes]] | None:
        """Whole messages with their seconds since the start, in order, from a captured file that has stamps of its own
        (NDJSON, CSV). None: the file has none; then one line is one message, at the speed of a 9600-baud line."""
        return None


def mqtt_line(topic: str, payload: bytes, *, retained: bool = False) -> bytes:
    """An MQTT message in one piece, as :meth:`MessageStream.write` and captures have it: topic, a space, the payload.

    A topic with a space in it stands between two NULs, which no topic can hold; a retained message has one more in
    front: ``NUL NUL topic NUL payload``."""
    name = topic.encode()
    if retained or b" " in name:
        return (b"\0\0" if retained else b"\0") + name + b"\0" + payload
    return name + b" " + payload


def mqtt_message(line: bytes, t_us: int | None = None) -> Message:
    """The message of an :func:`mqtt_line`; never raises: what is no UTF-8 in the topic is replaced."""
    retained = line.startswith(b"\0\0")
    if line.startswith(b"\0"):
        topic, _, payload = line[2 if retained else 1 :].partition(b"\0")
    else:
        topic, _, payload = line.partition(b" ")
    return Message(payload, t_us, topic.decode("utf-8", "replace"), retained)


def homie_id(name: str) -> str:
    """``active_power_l1_w`` -> ``active-power-l1-w`` (Homie 5, section "Topic IDs": a-z 0-9 -)."""
    return name.replace("_", "-")


def title_of(prop: Property) -> str:
    """What a person reads: the declared title, else the name in words and without its unit, which stands beside the
    value (``active_power_w``: "Active power")."""
    if prop.title:
        return prop.title
    words = prop.name.split("_")
    unit = "".join(_SPELT.get(sign, sign) for sign in (prop.unit or "").lower()).split()
    if unit and len(words) > len(unit) and words[-len(unit) :] == unit:
        words = words[: -len(unit)]
    return " ".join(words).capitalize()


_SPELT = {"%": "pct", "°": "", "/": " ", "³": "3", "²": "2", "µ": "u"}
"""How a unit's signs are written in a property's name: ``temperature_c``, ``flow_l_h``, ``volume_m3``."""


LENT = {"Outages": "agent.outages", "Place": "agent.places", "SimPins": "agent.simpins",
        "SimRelay": "agent.simrelay", "plugin_place": "agent.places", "property_place": "agent.places",
        "topics_of": "agent.places", "zone_of": "agent.zones"}
"""What few plugins need, from where it is: ``from agent.api import SimPins`` imports it for them alone.

``property_place``, ``plugin_place``, ``topics_of``: what others' readings are called in agent.toml. ``zone_of``: a time
zone by its name. ``SimPins``: input pins of a simulated source. ``SimRelay``: a relay behind simulated output pins.
``Outages``: the running outage and its length, over restarts."""


def __getattr__(name: str) -> Any:
    if name in LENT:
        return getattr(importlib.import_module(LENT[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
