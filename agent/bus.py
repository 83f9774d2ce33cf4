"""The local bus: typed messages between ``uplink`` (binds) and plugin processes (connect), ZeroMQ over ipc.

Two sockets in the device's run directory. ``lane``: uplink ROUTER, plugins DEALER with the instance id as identity;
data up, acknowledgements and commands down. ``fan``: uplink PUB, readings of this device (topic ``now/<node>``) and
remote inputs (topic ``live/<device>/<plugin>``) to whoever subscribes. Sends are bounded and never block for ever;
what matters is repeated until acknowledged, so a lost message costs time and not data.
Messages are msgpack by msgspec, tagged by their class name.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import msgspec
import zmq
from msgspec import Struct

from agent.wire.messages import PluginDeclaration
from agent.wire.records import Columns

MAX_IPC_PATH = 107
"""sun_path of a unix socket (unix(7)) less its end mark."""
SEND_TIMEOUT_MS = 2000
HIGH_WATER = 1000


# --- plugin -> uplink ---------------------------------------------------------------------------------------


class Hello(Struct, tag=True, frozen=True):
    """First message of a run, repeated until welcomed; again whenever something new was found."""

    instance: str
    run: str
    """Random per process start; batches are numbered within it from 1."""
    pid: int
    declaration: PluginDeclaration


class Part(Struct, frozen=True):
    """Samples of one priority, columns per ``<node>/<property>``."""

    prio: int
    series: dict[str, Columns]


class Batch(Struct, tag=True, frozen=True):
    """Samples to be committed. Kept by the plugin and repeated until :class:`Ack` covers ``n``."""

    instance: str
    run: str
    n: int
    boot: str
    parts: list[Part]
    kept: bytes | None = None
    """New value of ``io.kept`` (JSON), committed in the same transaction; None: unchanged."""
    oldest: int = 0
    """The oldest batch that the plugin still holds, as of this sending: what is missing before ``n`` and is not older
    than this was lost on the way, and ``uplink`` asks for it with :class:`Again`. 0: not said."""


class Now(Struct, tag=True, frozen=True):
    """The newest values, for the state plane and other plugins; may be lost without harm."""

    instance: str
    values: list[tuple[str, str, Any, int, str | None]]
    """(node, property, value, t_us boot-relative, quality)"""


class Health(Struct, tag=True, frozen=True):
    """State of the plugin; also its heartbeat (at least every 30 s), so that silence means a hang."""

    instance: str
    state: str
    """ok, degraded, failed or disabled"""
    reason: str
    errors: int
    progress_us: int
    """CLOCK_BOOTTIME of the last reading."""
    dropped: int = 0
    """Readings of this run given up because ``uplink`` did not take them for 10 minutes."""


class Alert(Struct, tag=True, frozen=True):
    """``$alert/<id>`` of the device: text raises it, None resolves it."""

    instance: str
    id: str
    text: str | None


class LogLine(Struct, tag=True, frozen=True):
    """WARNING and above, for ``$log`` and the hub's logbook."""

    instance: str
    level: str
    message: str
    t_us: int


class Listen(Struct, tag=True, frozen=True):
    """MQTT topics of others that the plugin wants to hear, all of them; said anew to every uplink."""

    instance: str
    filters: tuple[str, ...]


class Publish(Struct, tag=True, frozen=True):
    """To a topic of others, never retained; may be lost."""

    instance: str
    topic: str
    payload: bytes


class Answer(Struct, tag=True, frozen=True):
    """What became of a :class:`Command`."""

    instance: str
    id: str
    ok: bool
    message: str
    value: Any = None


class RulesState(Struct, tag=True, frozen=True):
    """Of the process ``rules``: what is in force."""

    instance: str
    version: int
    refused: dict[str, str]


class Order(Struct, tag=True, frozen=True):
    """Give ``value`` to a property of this device. Said once; answered with :class:`Done`.

    ``who`` counts only from the process ``rules``: ``rule:<id>``; a plugin is ``plugin:<instance>``."""

    instance: str
    id: str
    who: str
    node: str
    property: str
    value: Any


# --- uplink -> plugin ---------------------------------------------------------------------------------------


class Welcome(Struct, tag=True, frozen=True):
    """Answer to Hello: the kept state, and the highest batch of this run that is committed."""

    run: str
    committed: int
    kept: bytes | None


class Ack(Struct, tag=True, frozen=True):
    """Batches of ``run`` up to ``n`` are committed to the spool."""

    run: str
    n: int


class Again(Struct, tag=True, frozen=True):
    """Uplink does not know this run (it restarted): say Hello again, then repeat what is not acknowledged."""


class Command(Struct, tag=True, frozen=True):
    """A typed command to carry out at most once, before ``deadline_us`` (CLOCK_BOOTTIME)."""

    id: str
    node: str
    property: str
    value: Any
    deadline_us: int


class Done(Struct, tag=True, frozen=True):
    """What became of an :class:`Order`: the value that is true now, or one line of refusal."""

    id: str
    ok: bool
    message: str
    value: Any = None


class Mqtt(Struct, tag=True, frozen=True):
    """A message on a topic that the plugin listens to."""

    topic: str
    payload: bytes
    retained: bool
    t_us: int
    """CLOCK_BOOTTIME of its arrival."""


# --- fan-out ------------------------------------------------------------------------------------------------


class Remote(Struct, tag=True, frozen=True):
    """A reading of another device (the live lane), with its age when it was sent."""

    device: str
    node: str
    property: str
    value: Any
    age_s: float
    quality: str | None


ToUplink = Hello | Batch | Now | Health | Alert | LogLine | Answer | Listen | Publish | RulesState | Order
ToPlugin = Welcome | Ack | Again | Command | Mqtt | Done
FanOut = Now | Remote

encode = msgspec.msgpack.Encoder().encode
decode_to_uplink = msgspec.msgpack.Decoder(ToUplink).decode
decode_to_plugin = msgspec.msgpack.Decoder(ToPlugin).decode
decode_fan = msgspec.msgpack.Decoder(FanOut).decode


class BusTaken(RuntimeError):
    """Another uplink holds this run directory."""


def endpoint(run_dir: Path, name: str) -> str:
    """``ipc://<run_dir>/<name>``. Raises ValueError when the path is too long for a unix socket."""
    path = str(run_dir / name)
    if len(path.encode()) > MAX_IPC_PATH:
        raise ValueError(f"{path}: longer than {MAX_IPC_PATH} bytes, set [device] run_dir to a shorter one")
    return f"ipc://{path}"


def lock(run_dir: Path, name: str) -> int:
    """Take ``<run_dir>/<name>.lock`` until this process ends; returns its descriptor. Raises BusTaken.

    A second bind on a live ipc path succeeds and steals it, so the lock comes before every bind; one per plugin
    instance keeps an orphan and its successor from writing both."""
    path = run_dir / f"{name}.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(fd, 20, 0).decode(errors="replace").strip()
        os.close(fd)
        raise BusTaken(f"{path} is held by process {holder or '?'}: stop it first") from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def bounded(socket: zmq.Socket[bytes]) -> None:
    """No send or close of ours waits for ever."""
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
    socket.setsockopt(zmq.SNDTIMEO, SEND_TIMEOUT_MS)
    socket.setsockopt(zmq.LINGER, 0)


def bind(context: zmq.Context[zmq.Socket[bytes]], run_dir: Path) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """Uplink's end: ``(lane ROUTER, fan PUB)``. Call :func:`lock` first."""
    lane = context.socket(zmq.ROUTER)
    bounded(lane)
    lane.setsockopt(zmq.SNDTIMEO, 0)  # a plugin that is gone must not hold the others
    lane.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a restarted plugin takes its name over
    lane.setsockopt(zmq.ROUTER_MANDATORY, 1)
    lane.bind(endpoint(run_dir, "lane"))
    fan = context.socket(zmq.PUB)
    bounded(fan)
    fan.bind(endpoint(run_dir, "fan"))
    for name in ("lane", "fan"):
        (run_dir / name).chmod(0o660)
    return lane, fan


def connect(context: zmq.Context[zmq.Socket[bytes]], run_dir: Path, instance: str) -> zmq.Socket[bytes]:
    """A plugin's end of the lane."""
    lane = context.socket(zmq.DEALER)
    bounded(lane)
    lane.setsockopt(zmq.IDENTITY, instance.encode())
    lane.setsockopt(zmq.RECONNECT_IVL, 50)
    lane.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    lane.setsockopt(zmq.IMMEDIATE, 1)  # queue nothing while uplink is away: it is all repeated anyway
    lane.connect(endpoint(run_dir, "lane"))
    return lane


def subscribe(
    context: zmq.Context[zmq.Socket[bytes]], run_dir: Path, topics: list[str]
) -> zmq.Socket[bytes]:
    """A reader's end of the fan. Topics are prefixes: ``now/main-meter``, ``live/bc-power/heater``."""
    fan = context.socket(zmq.SUB)
    bounded(fan)
    for topic in topics:
        fan.setsockopt(zmq.SUBSCRIBE, topic.encode())
    fan.connect(endpoint(run_dir, "fan"))
    return fan
