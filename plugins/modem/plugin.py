"""Port to readings: opens the modem, holds one conversation, and climbs the ladder when it falls silent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from agent.api import CommandRefused, Io, Plugin, Property, Reading, RetryLater, Value, Yielded

from .at_transport import AtTransport
from .config import ModemConfig
from .desk import Desk
from .heal import Ladder, reset_power
from .properties import PROPERTIES, with_currency
from .session import Session
from .telling import Telling
from .transport import Mute, Refused, Stopping

KEPT_S = 5.0
AFTER_RESTART_S = 15.0
"""A stick needs so long until it is back on the bus."""


class Modem(Plugin, name="modem"):
    """SMS by a 3G or 4G stick."""

    title = "Modem"
    Config = ModemConfig
    properties = PROPERTIES
    interval_s = 20.0

    def __init__(self, config: ModemConfig) -> None:
        super().__init__(config)
        self._telling = Telling()
        self._ladder = Ladder()
        self._desk: Desk | None = None

    def declare(self) -> tuple[Property, ...]:
        return with_currency(self.config.currency)

    def run(self, io: Io) -> Iterator[Yielded]:
        config: ModemConfig = self.config
        if self._desk is None:
            yield from self._telling.state(io, "starting")
            while not io.committed(KEPT_S):  # before that, what an earlier life kept is not known
                if io.stopping:
                    return
        desk = self._at_desk(io)
        while not io.stopping:
            try:
                transport = AtTransport(io, io.serial(config.port, baudrate=config.baudrate))
            except RetryLater:
                yield from self._telling.state(io, "absent")
                raise
            session = Session(io, config, transport, desk, self._telling, self._ladder)
            try:
                yield from session.talk()
                return
            except Stopping:
                yield from session.finish()
                return
            except Mute as error:
                yield from session.finish()
                step = self._ladder.mute(io.clock.monotonic_s())
                yield from self._hung(io, transport, step, str(error))
            except Refused as error:
                raise RetryLater(f"{config.port}: {error}: the modem refuses what it needs to work") from None
            except RetryLater:
                yield from self._telling.state(io, "absent")
                raise
            finally:
                transport.close()

    def _hung(self, io: Io, transport: AtTransport, step: str | None, reason: str) -> Iterator[Yielded]:
        """One step of the ladder. Raises RetryLater at its end."""
        config: ModemConfig = self.config
        if step != "reopen":
            yield from self._telling.state(io, "hung")
            self._telling.alert(io, "modem", f"E_MODEM_HUNG {config.port}: {reason}; kept: messages wait in their "
                                "queue; do: nothing yet, it is restarted; look at the stick if this stays")
        if step == "reopen":
            io.log.info("%s: %s; the port is opened anew", config.port, reason)
            return
        if step is None:
            raise RetryLater(f"{config.port}: {reason}; reopening, AT+CFUN and the reset of its power did not help: "
                             "pull the stick and put it in again")
        self._at_desk(io).totals["resets_total"] += 1
        yield Reading("resets_total", self._at_desk(io).totals["resets_total"])
        if step == "restart":
            io.log.warning("%s: %s; the modem is told to start anew", config.port, reason)
            transport.restart()
            transport.close()
            io.clock.sleep(AFTER_RESTART_S)
            return
        transport.close()
        try:
            io.log.warning("%s: %s; %s", config.port, reason, reset_power(io, config.port, config.reset_command))
        except RetryLater as error:
            io.log.warning("%s: %s; its power was not reset: %s", config.port, reason, error)

    # --- commands -----------------------------------------------------------------------------------------------

    def _at_desk(self, io: Io) -> Desk:
        if self._desk is None:
            self._desk = Desk(io, self.config)
        return self._desk

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        desk = self._at_desk(io)
        if property_name == "send":
            return desk.send(io, value)
        if property_name == "text_message":
            return desk.text_message(io, value)
        if property_name == "new_code":
            return desk.new_code(io, value)
        if property_name == "ussd":
            return desk.ask_network(value)
        if property_name == "read_strangers":
            desk.read_strangers = bool(value)
            return value
        raise CommandRefused(f"{property_name}: not settable")

    # --- captures, the machine, the simulated modem -------------------------------------------------------------

    @classmethod
    def capture(cls, config: Any, data: bytes) -> bytes:
        """A file of nothing but units in hexadecimal becomes what a modem hands over; all else is the modem's bytes."""
        lines = data.split()
        if lines and all(re.fullmatch(rb"(?:[0-9A-Fa-f]{2}){12,200}", line) for line in lines):
            return b"".join(b"\r\n+CMT: ,%d\r\n%s\r\n" % (len(line) // 2 - 1 - int(line[:2], 16), line)
                            for line in lines)
        return data

    @classmethod
    def look(cls, config: ModemConfig, root: Path) -> Iterator[str]:
        if config.pin_file:
            path = root / config.pin_file.lstrip("/")
            if not path.exists():
                yield f"{config.pin_file} (pin_file) is absent: write the SIM's PIN into it, chmod 600"
            elif path.stat().st_mode & 0o077:
                yield f"{config.pin_file} (pin_file) may be read by others: chmod 600 {config.pin_file}"

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)
