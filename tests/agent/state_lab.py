"""What the tests of the state plane share: a clock that they move, a broker's retained store, and declarations."""

from __future__ import annotations

from pathlib import Path

from agent.api import Property
from agent.bus import Command, Now
from agent.discovery import DeviceInfo
from agent.uplink.state import State
from agent.wire.messages import NodeDeclaration, PluginDeclaration

SETPOINT = Property(
    name="setpoint_c", datatype="float", unit="°C", settable=True, minimum=5, maximum=30, step=0.5,
    device_class="temperature",
)  # fmt: skip
ROOM = Property(name="room_temperature_c", datatype="float", unit="°C", device_class="temperature")
RELAY = Property(name="relay", datatype="boolean", options=("off", "on"))
TARIFF = Property(name="tariff", datatype="enum", options=("peak", "off_peak"), optional=True)
BOOT = Property(name="boot", datatype="string", event=True)
VOLUME = Property(name="volume_m3", datatype="float", unit="m³", device_class="gas", state_class="total_increasing")


class Clock:
    """Boot-relative and wall time that stand still until :meth:`State` is told otherwise; ``synced`` False: no NTP."""

    def __init__(self) -> None:
        self.now_us = 5_000_000_000
        self.synced = True

    def boottime_us(self) -> int:
        return self.now_us

    def wall_us(self) -> int | None:
        return self.now_us + 1_795_316_400_000_000 if self.synced else None

    def monotonic_s(self) -> float:
        return self.now_us / 1e6

    def sleep(self, seconds: float) -> bool:
        self.now_us += int(seconds * 1e6)
        return True


class Retained:
    """The publisher's other end: keeps order and what a broker would retain; answers subscriptions from that."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.times: list[int] = []
        """CLOCK_BOOTTIME (us) of each entry of ``log``."""
        self.log: list[tuple[str, bytes, int, bool]] = []
        self.store: dict[str, bytes] = {}
        self.subscriptions: list[str] = []
        self.fresh: list[str] = []
        """Subscribed and not answered yet."""

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        self.log.append((topic, payload, qos, retain))
        self.times.append(self.clock.now_us)
        if retain:
            self.store[topic] = payload
            if not payload:
                del self.store[topic]

    def subscribe(self, topic: str, *, commands: bool = False) -> None:
        self.subscriptions.append(topic)
        self.fresh.append(topic)

    def unsubscribe(self, topic: str) -> None:
        self.subscriptions.remove(topic)

    def answer(self) -> list[tuple[str, bytes]]:
        """Retained messages for what was subscribed since the last call."""

        def fits(pattern: str, topic: str) -> bool:
            parts, want = topic.split("/"), pattern.split("/")
            return len(parts) == len(want) and all(w in ("+", p) for w, p in zip(want, parts, strict=True))

        wanted, self.fresh = self.fresh, []
        return [(t, p) for t, p in self.store.items() if any(fits(one, t) for one in wanted)]

    def topics(self, since: int = 0) -> list[str]:
        return [topic for topic, *_ in self.log[since:]]


class House:
    """One device's State on a moved clock."""

    def __init__(
        self,
        *instances: str,
        device: str = "bc-power",
        data_dir: Path | None = None,
        broker: Retained | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.broker = broker or Retained(self.clock)
        self.commands: list[tuple[str, Command]] = []
        self.answering = True
        self.state = State(
            DeviceInfo(id=device, name="Boiler room", version="0.1.0"),
            self.broker,
            self._command,
            self.clock,
            instances=instances,
            data_dir=data_dir,
        )

    def _command(self, instance: str, command: Command) -> bool:
        self.commands.append((instance, command))
        return self.answering

    def connect(self) -> None:
        self.broker.subscriptions.clear()  # a new connection has none
        self.state.on_connect()
        self.deliver()

    def deliver(self) -> None:
        """The broker answers new subscriptions with what it has retained."""
        for topic, payload in self.broker.answer():
            self.state.on_message(topic, payload, True)

    def after(self, seconds: float, step: float | None = None) -> int | None:
        """Move the clock, calling tick when the state machine asked for it (and at the end)."""
        end = self.clock.now_us + int(seconds * 1e6)
        due = self.state.tick(self.clock.now_us)
        while due is not None and due < end:
            assert due > self.clock.now_us, "tick asks for the past: uplink would spin"
            self.clock.now_us = due
            due = self.state.tick(due)
            self.deliver()
        self.clock.now_us = end
        due = self.state.tick(end)
        self.deliver()
        return due

    def settled(self) -> None:
        """Connected, announced, swept."""
        self.connect()
        self.after(9)

    def now(self, node: str, name: str, value: object, quality: str | None = None, age_s: float = 0.0) -> None:
        t_us = self.clock.now_us - int(age_s * 1e6)
        self.state.on_now(Now(node, [(node, name, value, t_us, quality)]))

    def value(self, path: str) -> str | None:
        data = self.broker.store.get(f"homie/5/{self.state.device.id}/{path}")
        return None if data is None else data.decode()

    def values_of(self, path: str, since: int = 0) -> list[str]:
        topic = f"homie/5/{self.state.device.id}/{path}"
        return [payload.decode() for one, payload, *_ in self.broker.log[since:] if one == topic]


def declare(
    instance: str, *properties: Property, interval_s: float = 1.0, found: dict[str, tuple[Property, ...]] | None = None
) -> PluginDeclaration:
    nodes = [NodeDeclaration(instance, instance.title(), properties)]
    nodes += [NodeDeclaration(f"{instance}-{id_}", id_.title(), props) for id_, props in (found or {}).items()]
    return PluginDeclaration(instance, f"use_{instance}", instance.title(), interval_s, tuple(nodes))


HEATER = declare("heater", SETPOINT, ROOM)


def heater(data_dir: Path | None = None) -> House:
    """A house with one plugin that has said what it has; not connected yet."""
    house = House("heater", data_dir=data_dir)
    house.state.on_hello(HEATER, "run-1")
    return house
