"""A modem on a pty with a network behind it: what a stick does, and what sticks do wrong. For the demo and the tests.

Real gammu takes it for a modem too (``tests/plugins/modem/test_gammu.py``), so it is no mirror of our own driver.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

from . import at_replies, gsm7
from .fake_network import Submitted, decode_submit
from .pdu import Part, split
from .pdu_in import deliver, status_report

LOOK_S = 0.02
STICK_MEMORY = 50


class Stored(NamedTuple):
    status: int
    unit: bytes


class FakeModem:
    """``with FakeModem(folder) as modem: ... modem.port``. ``pin``: what its SIM asks for.

    Faults: ``mute`` (says nothing; with ``heals_by_restart`` until it is restarted), ``cms[number] = 38`` (error for
    one recipient), ``slow`` (no answer for these recipients). ``unplug`` and ``plug`` as a hand does."""

    def __init__(self, folder: Path, *, pin: str = "", tells_tries: bool = False,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.path = folder / "modem"
        self.pin, self.tries, self.unlocked = pin, 3, not pin
        self.tells_tries = tells_tries
        self._clock = clock
        self.sim_id: str | None = "8933209999999999999"
        self.csq, self.registered, self.operator, self.code = 17, 1, "F SFR", "20810"
        self.mute = False
        self.cms: dict[str, int] = {}
        self.slow: set[str] = set()
        self.swallowed = 0
        """SMS taken and never answered."""
        self.busy: set[str] = set()
        """Memories that cannot be chosen for now."""
        self.reports = "direct"
        """``direct`` (+CDS), ``stored`` (+CDSI), or none."""
        self.memories: dict[str, dict[int, Stored]] = {"SM": {}, "ME": {}, "SR": {}}
        self.commands: list[str] = []
        self.sent: list[Submitted] = []
        self.pin_entries: list[str] = []
        self.resets = 0
        self.heals_by_restart = False
        self.ussd: Callable[[str], str] = lambda code: f'+CUSD: 0,"Code {code}",15'
        self.after_submit: Callable[[Submitted], None] = lambda _: None
        self._memory, self._echo, self._notify, self._report_mode, self._format = "SM", True, 0, 0, 0
        self._prompt: int | None = None
        self._reference = 0
        self._buffer = b""
        self._master = self._slave = -1
        self._lock = threading.RLock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake-modem", daemon=True)
        self._held: list[bytes] = []
        self._due: list[tuple[float, Callable[[], None]]] = []

    @property
    def port(self) -> str:
        return str(self.path)

    # --- the plug -----------------------------------------------------------------------------------------------

    def plug(self) -> None:
        with self._lock:
            self._master, self._slave = os.openpty()
            tty.setraw(self._master)
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            self._begin()
            self.path.unlink(missing_ok=True)
            self.path.symlink_to(os.ttyname(self._slave))

    def unplug(self) -> None:
        with self._lock:
            self.path.unlink(missing_ok=True)
            for fd in (self._master, self._slave):
                if fd >= 0:
                    os.close(fd)
            self._master = self._slave = -1

    def _begin(self) -> None:
        """After power is back: the SIM asks again, settings are gone, messages stay."""
        self.unlocked = not self.pin
        self._echo, self._notify, self._report_mode, self._prompt, self._buffer = True, 0, 0, None, b""

    def __enter__(self) -> Self:
        self.plug()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(5)
        self.unplug()

    # --- the network --------------------------------------------------------------------------------------------

    def incoming(self, sender: str, text: str, *, parts: list[int] | None = None, reference: int = 7,
                 at: datetime | None = None) -> None:
        """An SMS comes; of a long one all parts, or those named, in that order."""
        units = split(text, reference)
        for number in parts or range(1, len(units) + 1):
            self.incoming_unit(deliver(sender, units[number - 1], at or datetime.now(UTC)))

    def incoming_part(self, sender: str, part: Part, at: datetime) -> None:
        self.incoming_unit(deliver(sender, part, at))

    def incoming_unit(self, unit: bytes, memory: str = "SM") -> None:
        with self._lock:
            there = self.memories[memory]
            if len(there) >= STICK_MEMORY:
                self._held.append(unit)  # the network keeps it until there is room
                return
            index = next(number for number in range(STICK_MEMORY) if number not in there)
            there[index] = Stored(0, unit)
            if self._notify == 1 and memory != "SR":
                self.say(f'+CMTI: "{memory}",{index}')

    def report(self, reference: int, recipient: str, status: int = 0) -> None:
        unit = status_report(reference, recipient, status, datetime.now(UTC))
        with self._lock:
            if self.reports == "stored" and self._report_mode == 2:
                self.incoming_unit(unit, "SR")
                self.say(f'+CDSI: "SR",{max(self.memories["SR"])}')
            elif self._report_mode == 1:
                self.say(f"+CDS: {len(unit) - 1 - unit[0]}\r\n{unit.hex().upper()}")

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        with self._lock:
            self._due.append((self._clock() + seconds, action))

    @property
    def units(self) -> list[bytes]:
        """What lies in all memories, and with the network for want of room."""
        with self._lock:
            return self._held + [stored.unit for memory in self.memories.values() for stored in memory.values()]

    def say(self, *lines: str) -> None:
        self._write("".join(f"\r\n{line}\r\n" for line in lines).encode("latin-1", "replace"))

    def _write(self, data: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._master >= 0 and not self.mute:
                os.write(self._master, data)

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._end.is_set():
            with self._lock:
                self.do_due()
                data = self._read()
                if data:
                    self.hear(data)
            if not data:
                self._wait()

    def do_due(self) -> None:
        now = self._clock()
        for due in [due for due in self._due if due[0] <= now]:
            self._due.remove(due)
            due[1]()

    def hear(self, data: bytes) -> None:
        """What was written to it."""
        if self.mute and self.heals_by_restart and b"AT+CFUN=1,1" in data:
            self.mute = False
        if not self.mute:
            if self._echo:
                self._write(data)
            self._buffer += data
            self._take()

    def _wait(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._master >= 0:
                select.select([self._master], [], [], LOOK_S)
                return
        self._end.wait(LOOK_S)

    def _read(self) -> bytes:
        with contextlib.suppress(OSError):
            if self._master >= 0:
                return os.read(self._master, 4096)
        return b""

    def _take(self) -> None:
        while True:
            if self._prompt is not None:
                ends = [at for at in (self._buffer.find(b"\x1a"), self._buffer.find(b"\x1b")) if at >= 0]
                if not ends:
                    return
                body, self._buffer = self._buffer[: min(ends)], self._buffer[min(ends) :]
                cancelled, self._buffer = self._buffer[:1] == b"\x1b", self._buffer[1:]
                self._prompt = None
                if cancelled:
                    self.say("OK")
                else:
                    self._submit(body)
                continue
            line, end, rest = self._buffer.partition(b"\r")
            if not end:
                return
            self._buffer = rest.removeprefix(b"\n")
            command = line.replace(b"\x1b", b"").strip().decode("latin-1")
            if command:
                self.commands.append(command)
                self._answer(command)

    def _submit(self, body: bytes) -> None:
        try:
            message = decode_submit(bytes.fromhex(body.strip().decode("ascii")))
        except ValueError:
            self.say("+CMS ERROR: 304")
            return
        if message.to in self.slow:
            self.swallowed += 1
            return
        if message.to in self.cms:
            self.say(f"+CMS ERROR: {self.cms[message.to]}")
            return
        self._reference = (self._reference + 1) % 256
        message = message._replace(reference=self._reference)
        self.sent.append(message)
        self.say(f"+CMGS: {self._reference}", "OK")
        self.after_submit(message)

    # --- commands -----------------------------------------------------------------------------------------------

    def _answer(self, line: str) -> None:
        name, equals, argument = line.partition("=")
        name = name.upper()
        if not self.unlocked and name.startswith(("AT+CMG", "AT+CPMS", "AT+CNMI", "AT+CSCA", "AT+COPS")):
            self.say("+CMS ERROR: 311")
            return
        handler = {"AT+CPIN": self._cpin, "AT+CMGL": self._cmgl, "AT+CMGD": self._cmgd, "AT+CMGR": self._cmgr,
                   "AT+CPMS": self._cpms, "AT+CNMI": self._cnmi, "AT+CMGS": self._cmgs, "AT+CUSD": self._cusd,
                   "AT+COPS": self._cops, "AT+CFUN": self._cfun, "AT+CMGF": self._cmgf}.get(name) if equals else None
        if handler is not None:
            handler(argument)
            return
        fixed = self._fixed(name + equals + argument)
        if fixed is None:
            self.say("ERROR")
        else:
            self.say(*fixed, "OK")

    def _fixed(self, line: str) -> list[str] | None:
        """What is asked with no argument, and what is taken and forgotten."""
        if line in ("ATE0", "ATE1"):
            self._echo = line == "ATE1"
            return []
        if line == "AT^CPIN?":
            return [f"^CPIN: {self._asks()},{self.tries},10,{self.tries},10,3"] if self.tells_tries else None
        if line == "AT+CCID":
            return [f'+CCID: "{self.sim_id}"'] if self.sim_id else None
        known = {
            "AT": [], "ATZ": [], "AT&F": [], "ATV1": [], "ATI": ["Manufacturer: huawei", "Model: E3131"],
            "AT+CGMI": ["huawei"], "AT+CGMM": ["E3131"], "AT+CGMR": ["21.157.31.00.00"], "AT+CGSN": ["350000000000006"],
            "AT+CIMI": ["208100000000001"], "AT+CPIN?": [f"+CPIN: {self._asks()}"], "AT+CSQ": [f"+CSQ: {self.csq},99"],
            "AT+CREG?": [f'+CREG: 1,{self.registered},"00C3","0001A2B3"'],
            "AT+CGREG?": [f'+CGREG: 2,{self.registered},"00C3","0001A2B3"'], "AT+CGATT?": ["+CGATT: 1"],
            "AT+COPS?": [f'+COPS: 0,{self._format},"{self.code if self._format == 2 else self.operator}",2'],
            "AT+CSCA?": ['+CSCA: "+33609001390",145'], "AT+CSMS?": ["+CSMS: 0,1,1,1"], "AT+CMGF?": ["+CMGF: 0"],
            "AT+CSCS?": ['+CSCS: "IRA"'], "AT+CCLK?": ['+CCLK: "26/11/26,18:00:00+04"'],
            "AT+CPMS?": [f'+CPMS: {",".join([self._use(named=True)] * 3)}'],
            "AT^CURC=0": [], "AT^PORTSEL=1": [],
        }
        if line in known:
            return known[line]
        taken = ("AT+CMEE=", "AT+CSCS=", "AT+CREG=", "AT+CGREG=", "AT+CSMS=", "AT+CSDH=", "AT+CSMP=", "AT+CLIP=")
        if line.endswith("=?"):
            return {"AT+CSCS=?": ['+CSCS: ("IRA","UCS2","GSM")']}.get(line)
        return [] if line.startswith(taken) else None

    def _asks(self) -> str:
        return "READY" if self.unlocked else "SIM PIN" if self.tries else "SIM PUK"

    def _cpin(self, argument: str) -> None:
        self.pin_entries.append(argument.strip('"'))
        if self.tries and argument.strip('"') == self.pin:
            self.unlocked, self.tries = True, 3
            self.say("OK")
            return
        self.tries = max(0, self.tries - 1)
        self.say("+CME ERROR: 16" if self.tries else "+CME ERROR: 12")

    def _use(self, named: bool) -> str:
        use = f"{len(self.memories[self._memory])},{STICK_MEMORY}"
        return f'"{self._memory}",{use}' if named else use

    def _cpms(self, argument: str) -> None:
        if argument == "?":
            names = "(" + ",".join(f'"{name}"' for name in self.memories) + ")"
            self.say(f"+CPMS: {names},{names},{names}", "OK")
            return
        name = at_replies.fields(argument)[0]
        if name not in self.memories or name in self.busy:
            self.say("+CMS ERROR: 314" if name in self.busy else "+CMS ERROR: 302")
            return
        self._memory = name
        self.say("+CPMS: " + ",".join([self._use(named=False)] * 3), "OK")

    def _cmgf(self, argument: str) -> None:
        self.say("+CMGF: (0)", "OK") if argument == "?" else self.say("OK" if argument == "0" else "ERROR")

    def _cmgl(self, argument: str) -> None:
        out = ""
        for index, stored in sorted(self.memories[self._memory].items()):
            if argument in ("4", str(stored.status)):
                out += f"\r\n+CMGL: {index},{stored.status},,{len(stored.unit) - 1 - stored.unit[0]}\r\n"
                out += stored.unit.hex().upper()
                self.memories[self._memory][index] = stored._replace(status=1)
        self._write((out + "\r\n").encode())
        self.say("OK")

    def _cmgr(self, argument: str) -> None:
        stored = self.memories[self._memory].get(int(argument)) if argument.isdecimal() else None
        if stored is None:
            self.say("+CMS ERROR: 321")
            return
        self.memories[self._memory][int(argument)] = stored._replace(status=1)
        length = len(stored.unit) - 1 - stored.unit[0]
        self._write(f"\r\n+CMGR: {stored.status},,{length}\r\n{stored.unit.hex().upper()}\r\n".encode())
        self.say("OK")

    def _cmgd(self, argument: str) -> None:
        self.memories[self._memory].pop(int(argument.partition(",")[0]), None)
        self.say("OK")
        if self._held and self._memory == "SM":
            self.incoming_unit(self._held.pop(0))

    def _cnmi(self, argument: str) -> None:
        reports = {"direct": "(0,1)", "stored": "(0,2)"}.get(self.reports, "(0)")
        if argument == "?":
            self.say(f"+CNMI: (0,1,2),(0,1,2,3),(0,2),{reports},(0,1)", "OK")
            return
        values = [int(one) if one.isdecimal() else 0 for one in argument.split(",")] + [0] * 5
        self._notify, self._report_mode = values[1], values[3]
        self.say("OK")

    def _cmgs(self, argument: str) -> None:
        if not argument.isdecimal():
            self.say("+CMS ERROR: 304")
            return
        self._prompt = int(argument)
        self._write(b"\r\n> ")

    def _cusd(self, argument: str) -> None:
        code = [*at_replies.fields(argument), ""][1]
        packed = bytes.fromhex(code) if code and not set(code) - set("0123456789ABCDEF") else b""
        self.say("OK")
        if code:
            asked = gsm7.decode(gsm7.unpack(packed, len(packed) * 8 // 7)) if packed else code
            self.later(0.05, lambda: self.say(self.ussd(asked)))

    def _cops(self, argument: str) -> None:
        if argument.startswith("3,"):
            self._format = int(argument[2:] or 0)
        self.say("OK")

    def _cfun(self, argument: str) -> None:
        self.say("OK")
        if argument == "1,1":
            self.resets += 1
            self._begin()
