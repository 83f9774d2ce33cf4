"""One conversation with an open modem, from waking it to the end of the plugin or of the modem's patience."""

from __future__ import annotations

import os
from collections.abc import Iterator

from agent.api import Io, RetryLater, Yielded

from .config import ModemConfig
from .desk import Desk
from .heal import Ladder
from .mail import Mail
from .network import Network
from .pin import Locked
from .telling import Telling
from .transport import Arrived, NewMail, Refused, Transport

LISTEN_S = 0.5
"""A command of the bus waits at most so long for its turn."""
LOCKED_LOOK_S = 15.0
DISK_S = 10.0
OPERATOR_S = 100.0
"""Asked for so often: its value is good for three times as long."""
SIM_WORDS = {"puk": "the SIM asks for its PUK", "net_lock": "the modem is locked to another operator",
             "none": "no SIM in the modem", "failed": "the SIM does not work", "busy": "the SIM is busy"}


class Session:
    def __init__(self, io: Io, config: ModemConfig, transport: Transport, desk: Desk, telling: Telling,
                 ladder: Ladder) -> None:
        self._io = io
        self._config = config
        self._modem = transport
        self._desk = desk
        self._telling = telling
        self._ladder = ladder
        self._mail = Mail(io, config, transport, desk, telling)
        self._network = Network(io, config, desk, telling)

    def talk(self) -> Iterator[Yielded]:
        """Raises Mute, Refused, Stopping, and RetryLater of the port."""
        self._modem.wake()
        yield from self._unlock()
        if self._io.stopping:
            return
        self._modem.prepare()
        looks, look_at_s, operator_at_s, mail_waits = 0, 0.0, 0.0, False
        while not self._io.stopping:
            now_s = self._io.clock.monotonic_s()
            if looks == 0 or now_s >= look_at_s:
                operator = looks == 0 or now_s >= operator_at_s or self._network.new_operator
                operator_at_s = now_s + OPERATOR_S if operator else operator_at_s
                self._modem.look(operator=operator)
                looks, look_at_s, mail_waits = looks + 1, now_s + self._config.interval_s, True
                if self._ladder.answered(now_s):
                    self._telling.alert(self._io, "modem", None)
            if mail_waits:
                mail_waits = False
                yield from self._mail.collect()
            if self._network.registered:
                yield from self._mail.send_one()
                yield from self._network.ask(self._modem)
            busy = self._network.registered and self._desk.outbox.due(self._desk.now(self._io)) is not None
            for event in self._modem.events(0.0 if busy else LISTEN_S):
                if isinstance(event, NewMail):
                    mail_waits = True
                elif isinstance(event, Arrived):
                    yield from self._mail.arrived(event.unit)
                else:
                    yield from self._network.event(event)
            yield from self._mail.tend()
            yield from self._totals()

    def finish(self) -> Iterator[Yielded]:
        """What had come before the conversation broke off."""
        for event in self._modem.events(0.0):
            if isinstance(event, Arrived):
                yield from self._mail.arrived(event.unit)
            else:
                yield from self._network.event(event)
        if self._modem.damaged:
            yield from self._totals()

    def _totals(self) -> Iterator[Yielded]:
        self._desk.totals["bad_units_total"] = max(
            self._desk.totals["bad_units_total"], self._mail.unreadable_before + self._modem.damaged)
        for name, value in self._desk.totals.items():
            yield from self._telling.value(self._io, name, value)
        yield from self._telling.value(self._io, "queue", self._desk.outbox.depth)
        yield from self._telling.value(self._io, "strangers_unread", len(self._desk.inbox.strangers))

    # --- the SIM ------------------------------------------------------------------------------------------------

    def _unlock(self) -> Iterator[Yielded]:
        """Until the SIM is ready, however long that takes; the PIN is tried at most once."""
        reason = ""
        while not self._io.stopping:
            word = self._modem.sim()
            if word in ("ready", "unknown"):
                self._desk.pin.ready()
                self._telling.alert(self._io, "sim", None)
                return
            if word == "pin":
                try:
                    self._enter_pin()
                    continue
                except Locked as locked:
                    now_reason = str(locked)
            else:
                now_reason = SIM_WORDS.get(word, word)
            yield from self._telling.state(self._io, "no_sim" if word == "none" else
                                           "starting" if word == "busy" else "sim_locked")
            if now_reason != reason and word != "busy":
                reason = now_reason
                code = "E_SIM_ABSENT" if word in ("none", "failed") else "E_SIM_LOCKED"
                self._telling.alert(self._io, "sim", (
                    f"{code} {self._config.port}: {reason}; kept: messages wait in their queue; do: as it says, then "
                    "nothing: it goes on by itself"))
                self._io.log.warning("%s: %s", self._config.port, reason)
                self._io.degraded(reason)
            self._io.clock.sleep(min(LOCKED_LOOK_S, self._config.interval_s))

    def _enter_pin(self) -> None:
        """Raises Locked, and RetryLater while the booking of the try is not on disk."""
        pin, version = self._read_pin()
        self._desk.pin.begin(self._desk.now(self._io).boot, version, self._modem.sim_id(), self._modem.pin_tries())
        if not self._io.committed(DISK_S):
            raise RetryLater("the PIN is not tried before this device's disk has noted it: is uplink running?")
        try:
            self._modem.enter_pin(pin)
        except Refused as error:
            self._desk.pin.wrong()
            raise Locked(f"the SIM refused the PIN ({error}), which is not tried again; enter it with a phone, or "
                         "write the right one to pin_file and restart the machine") from None
        self._desk.pin.right()
        self._io.log.info("%s: the SIM took its PIN", self._config.port)

    def _read_pin(self) -> tuple[str, str]:
        """The PIN, and what changes when its file is written anew. Raises Locked."""
        name = self._config.pin_file
        if not name:
            raise Locked("the SIM asks for its PIN: write it to a file of mode 0600 and set pin_file")
        try:
            path = self._io.root / name.lstrip("/")
            with path.open() as file:
                about = os.fstat(file.fileno())
                pin = file.read(64).strip()
        except RetryLater:
            raise Locked("the SIM asks for its PIN, and a replay tries none") from None
        except (OSError, UnicodeDecodeError) as error:
            raise Locked(f"pin_file {name} cannot be read: {getattr(error, 'strerror', None) or error}") from None
        if about.st_mode & 0o077:
            raise Locked(f"pin_file {name} may be read by others, so it is not used: chmod 600 {name}")
        if not (pin.isdecimal() and pin.isascii() and 4 <= len(pin) <= 8):
            raise Locked(f"pin_file {name}: expected 4 to 8 digits")
        return pin, str(about.st_mtime_ns)
