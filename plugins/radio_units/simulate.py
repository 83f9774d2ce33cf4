"""An operator with units behind a real pty, on air that loses frames: for ``simulate = true``, the demo and tests."""

from __future__ import annotations

import contextlib
import math
import os
import random
import select
import threading
import time
import tty
from collections.abc import Iterator
from typing import Any

import msgspec

from firmware_bridges.muta import (
    FRAME_BYTES,
    OPERATOR,
    BadFrame,
    Info,
    Kind,
    Message,
    Register,
    RegisterAnswer,
    Reset,
    Unit,
    Update,
    ValueField,
    parse_order,
    to_host,
)

OPERATOR_UID, STRANGER_UID = "00c0ffee", "0badcafe"
LOSS = 0.05
#: A unit repeats a report until it has its receipt, at most so often; its ear is open for so long after one.
REPEATS, EAR_S = 3, 0.4


class SimulatedUnit:
    """A unit with a thermometer, a light sensor and a battery. It knows nothing of the plugin, only of frames."""

    def __init__(self, uid: str, address: bytes, sleeping: bool, rng: random.Random, period_s: float) -> None:
        self.uid, self.address, self.sleeping, self.period_s = uid, address, sleeping, period_s
        self.accepted = False
        self.settings = {"UpF": 2 if not sleeping else 5, "Pwr": 0}
        self.battery_v = round(rng.uniform(2.6, 3.3), 2)
        self.temperature_c = round(rng.uniform(17, 22), 2)
        self.due_s = rng.uniform(0.05, 0.4)
        self.repeats = 0
        self.ear_until_s = 0.0
        self.muted = False
        self._rng = rng

    def report(self) -> list[Update]:
        """Five values in two messages, as a payload holds three."""
        hour = time.time() / 3600 % 24
        light = max(0, round(70 * math.sin((hour - 6) / 12 * math.pi) + self._rng.uniform(0, 8)))
        return [
            Update((ValueField("Tmp", self.temperature_c, Kind.FIXED16, Unit.CELSIUS, signed=True),
                    ValueField("Lit", light, Kind.UINT8, Unit.PERCENT),
                    ValueField("Vb1", self.battery_v, Kind.FIXED16, Unit.VOLT)), last=False),
            Update((ValueField("UpF", self.settings["UpF"], Kind.UINT8, Unit.MINUTE, writable=True),
                    ValueField("Pwr", self.settings["Pwr"], Kind.UINT8, Unit.NONE, writable=True))),
        ]

    def turn(self, now_s: float) -> list[Message]:
        """What it says now."""
        if self.muted or now_s < self.due_s:
            return []
        if not self.accepted:
            self.due_s = now_s + 0.5
            return [Register(self.uid, self.sleeping)]
        if self.repeats == 0:
            self.temperature_c = round(self.temperature_c + self._rng.gauss(0, 0.03), 2)
        self.repeats += 1
        if self.repeats > REPEATS:
            self.repeats = 0
            self.due_s = now_s + self.period_s
            return []
        self.due_s = self.ear_until_s = now_s + EAR_S
        return list(self.report())

    def hear(self, message: Message, now_s: float) -> None:
        if self.muted:
            return
        if isinstance(message, RegisterAnswer):
            self.accepted = message.accepted
            self.due_s = now_s + (0.05 if message.accepted else 5.0)
        elif isinstance(message, Update) and self.accepted and (not self.sleeping or now_s <= self.ear_until_s):
            for field in message.values:
                if field.label in self.settings:
                    self.settings[field.label] = int(field.value)
            if message.last:
                self.repeats = 0
                # an unit that is awake says at once what it has taken
                self.due_s = now_s + (0.02 if message.values and not self.sleeping else self.period_s)


class SimulatedGateway(threading.Thread):
    """Talks on the master side of a pty until stopped; loses each frame with probability ``loss``, both ways."""

    def __init__(self, master: int, uids: list[str], *, seed: int = 0, loss: float = LOSS, period_s: float = 2.0,
                 awake: frozenset[str] = frozenset()) -> None:
        super().__init__(name="simulated-muta", daemon=True)
        self._master = master
        self._rng = random.Random(seed)
        self._ending = threading.Event()
        self.loss = loss
        self.lost = 0
        self.open = False
        self.units = [
            SimulatedUnit(uid, bytes((number, 0x20)), uid not in awake, random.Random(seed + number), period_s)
            for number, uid in enumerate(uids, 1)]

    def stop(self) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        heard = bytearray()
        while not self._ending.is_set():
            if select.select([self._master], [], [], 0.02)[0]:
                with contextlib.suppress(OSError):
                    heard += os.read(self._master, 4096)
            while len(heard) >= FRAME_BYTES:
                frame = bytes(heard[:FRAME_BYTES])
                del heard[:FRAME_BYTES]
                with contextlib.suppress(BadFrame):
                    self._order(*parse_order(frame))
            if self.open:
                now_s = time.monotonic()
                for unit in self.units:
                    for message in unit.turn(now_s):
                        self._say(unit.address, message)

    def _order(self, address: bytes, message: Message) -> None:
        now_s = time.monotonic()
        if isinstance(message, Reset):
            self.open = False
            for unit in self.units:
                unit.accepted = False
            self._say(b"", Info("MUTA operator (simulated)"), sure=True)
            self._say(OPERATOR, Register(OPERATOR_UID, False), sure=True)
        elif address == OPERATOR and isinstance(message, RegisterAnswer):
            self.open = message.accepted
            for unit in self.units:
                unit.due_s = now_s + 0.1
        else:
            for unit in self.units:
                if unit.address == address and not self._loses():
                    unit.hear(message, now_s)

    def _loses(self) -> bool:
        lost = self._rng.random() < self.loss
        self.lost += lost
        return lost

    def _say(self, address: bytes, message: Message, sure: bool = False) -> None:
        """``sure``: between host and operator there is a wire, not air."""
        if not sure and self._loses():
            return
        if select.select([], [self._master], [], 0)[1]:
            with contextlib.suppress(OSError):
                os.write(self._master, to_host(address, message))


@contextlib.contextmanager
def gateway(uids: list[str], **how: Any) -> Iterator[tuple[str, SimulatedGateway]]:
    """The port of a pty that has a gateway with these units behind it."""
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        os.set_blocking(master, False)
        device = SimulatedGateway(master, uids, **how)
        device.start()
        try:
            yield os.ttyname(slave), device
        finally:
            device.stop()
    finally:
        os.close(master)
        os.close(slave)


@contextlib.contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """The config with ``port`` on a simulated gateway: the named units (or two), the first awake, and a stranger."""
    from .settings import UnitConfig

    units = config.units or {"living-room": UnitConfig(uid="1a2b3c4d", title="Living room"),
                             "bedroom": UnitConfig(uid="5e6f7081", title="Bedroom")}
    uids = [unit.uid.lower() for unit in units.values()]
    with gateway([*uids, STRANGER_UID], seed=seed, awake=frozenset(uids[:1])) as (port, _):
        yield msgspec.structs.replace(config, port=port, link="serial", units=units, gateway_uid=None)
