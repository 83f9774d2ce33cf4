"""A modem that speaks AT (3GPP TS 27.005, 27.007) behind :class:`plugins.modem.transport.Transport`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from agent.api import ByteStream, Io

from . import at_replies as replies
from . import pdu
from .at_lines import Line
from .dialogue import Dialogue
from .transport import (
    Arrived,
    Event,
    Model,
    Mute,
    NewMail,
    OperatorName,
    Refused,
    Registered,
    Signal,
    Stopping,
    Storage,
    UssdReply,
)

WAKE_TRIES, WAKE_S = 3, 2.0
PROMPT_S = 8.0
SEND_S = 40.0
"""The network's answer to one SMS; with the tries to wake the modem after it, others wait under a minute (B70)."""
LIST_S = 20.0
RESTART_S = 8.0
MEMORIES = ("SM", "ME")


class AtTransport:
    def __init__(self, io: Io, stream: ByteStream) -> None:
        self._stream = stream
        self._at = Dialogue(io, stream)
        self._memories: list[str] = []
        self._packed_ussd = False
        self._lte = True
        self._stored_reports = False
        self._events: list[Event] = []

    @property
    def damaged(self) -> int:
        return self._at.damaged

    def wake(self) -> None:
        for number in range(WAKE_TRIES):
            try:
                self._at.ask("AT", timeout_s=WAKE_S)
                break
            except Refused:
                break
            except Mute:
                if number == WAKE_TRIES - 1:
                    raise
                self._at.escape()
        self._try("ATE0")
        self._try("AT+CMEE=1")
        named = [*self._try("AT+CGMI", ""), *self._try("AT+CGMM", "")]
        words = [line.text.partition(":")[2].strip() if line.text.startswith("+CGM") else line.text for line in named
                 if not line.text.startswith(("^", "+")) or line.text.startswith("+CGM")]
        if words:
            self._events.append(Model(" ".join(words)[:60]))

    def _try(self, command: str, prefix: str | tuple[str, ...] = (), timeout_s: float | None = None) -> list[Line]:
        """A command that not every modem knows."""
        try:
            return self._at.ask(command, prefix, timeout_s=timeout_s)
        except Refused:
            return []

    # --- SIM ----------------------------------------------------------------------------------------------------

    def sim(self) -> str:
        try:
            for line in self._at.ask("AT+CPIN?", "+CPIN:"):
                return replies.pin_state(line.text) or "unknown"
        except Refused as error:
            text = str(error)
            for code, word in (("CME 10", "none"), ("CME 11", "pin"), ("CME 12", "puk"), ("CME 13", "failed"),
                               ("CME 14", "busy"), ("CME 5", "pin"), ("CME 15", "failed")):
                if text.startswith(code + ",") or text == code:
                    return word
            return "unknown"
        return "unknown"

    def sim_id(self) -> str | None:
        for command, prefix in (("AT+CCID", ""), ("AT^ICCID?", "^ICCID:")):
            for line in self._try(command, prefix):
                digits = "".join(filter(str.isdigit, line.text))
                if 18 <= len(digits) <= 22:
                    return digits
        return None

    def pin_tries(self) -> int | None:
        for command, prefix in (('AT+CPINR="SIM PIN"', "+CPINR:"), ("AT^CPIN?", "^CPIN:")):
            for line in self._try(command, prefix):
                left = replies.pin_tries(line.text)
                if left is not None:
                    return left
        return None

    def enter_pin(self, pin: str) -> None:
        self._at.ask(f'AT+CPIN="{pin}"', timeout_s=20.0)

    def prepare(self) -> None:
        self._at.ask("AT+CMGF=0", timeout_s=10.0)
        self._try("AT+CSMS=0")
        self._try("AT+CREG=1")
        self._notify()
        self._memories = []  # none named: the modem lists the one it uses
        for line in self._try("AT+CPMS=?", "+CPMS:"):
            there = replies.memories(line.text) or [[]]
            wanted = (*MEMORIES, "SR") if self._stored_reports else MEMORIES
            self._memories = [memory for memory in wanted if there and memory in there[0]]

    def _notify(self) -> None:
        """New messages and reports are stored and told, as far as this modem can (TS 27.005, 3.4.1)."""
        can: list[set[int]] = []
        for line in self._try("AT+CNMI=?", "+CNMI:"):
            can = replies.ranges(line.text) or []
        can += [{0, 1, 2}, {0, 1}, {0}, {0, 1, 2}, {0}][len(can) :]
        mode = next((word for word in (2, 1, 3, 0) if word in can[0]), 2)
        new = 1 if 1 in can[1] else 0
        reports = next((word for word in (1, 2, 0) if word in can[3]), 0)
        self._stored_reports = reports == 2
        self._try(f"AT+CNMI={mode},{new},0,{reports},{min(can[4] or {0})}")

    # --- what is so now -----------------------------------------------------------------------------------------

    def look(self, operator: bool) -> None:
        self._told(self._try("AT+CSQ", "+CSQ:"))
        lines = self._try("AT+CREG?", "+CREG:")
        words = [replies.registration(line.text) for line in lines]
        if self._lte and not any(one and one.word in ("home", "roaming") for one in words):
            try:
                more = self._at.ask("AT+CEREG?", "+CEREG:")
                if any((one := replies.registration(line.text)) and one.word in ("home", "roaming") for line in more):
                    lines = more
            except Refused:
                self._lte = False
        self._told(lines)
        if operator:
            for form in (0, 2):
                self._try(f"AT+COPS=3,{form}")
                self._told(self._try("AT+COPS?", "+COPS:", 10.0))

    def _told(self, lines: list[Line]) -> None:
        for line in lines:
            self._events += _events(line)

    # --- messages -----------------------------------------------------------------------------------------------

    def stored(self) -> list[Arrived]:
        found: list[Arrived] = []
        fullest: tuple[int, int] | None = None
        for memory in self._memories or [""]:
            used = None
            if memory:
                try:
                    lines = self._at.ask(f'AT+CPMS="{memory}"', "+CPMS:")
                except Refused:
                    continue  # another memory is still the chosen one: what is listed now would bear the wrong name
                for line in lines:
                    used = replies.memory_use(line.text)
                if used is not None and used[1] and (fullest is None or used[0] * fullest[1] > fullest[0] * used[1]):
                    fullest = used
                if used is not None and used[0] == 0:
                    continue
            for line in self._at.ask("AT+CMGL=4", "+CMGL:", timeout_s=LIST_S):
                place = replies.listed_index(line.text)
                if place is not None and place[1] in (0, 1) and line.unit is not None:
                    found.append(Arrived(bytes.fromhex(line.unit), memory, place[0]))
        if fullest is not None:
            self._events.append(Storage(*fullest))
        return found

    def delete(self, arrived: Arrived) -> None:
        if arrived.slot is None:
            return
        try:
            if arrived.memory:
                self._at.ask(f'AT+CPMS="{arrived.memory}"')
            self._at.ask(f"AT+CMGD={arrived.slot}", timeout_s=10.0)
        except Refused:
            return  # it is listed again; in another memory this slot may hold what nobody has read

    def split(self, text: str, reference: int, plain: bool) -> list[pdu.Part]:
        return pdu.split(text, reference, "gsm7" if plain else None)

    def send(self, to: str, part: pdu.Part, report: bool) -> int | None:
        unit = pdu.submit(to, part, report=report)
        try:
            lines = self._at.submit(f"AT+CMGS={pdu.length(unit)}", unit.hex().upper(), "+CMGS:", prompt_s=PROMPT_S,
                                    timeout_s=SEND_S)
        except (Mute, Refused):
            self._at.escape()
            self._at.drop()
            raise
        for line in lines:
            number = (replies.after(line.text, "+CMGS") or "").partition(",")[0].strip()
            if number.isdecimal():
                return int(number)
        return None

    def ussd(self, code: str) -> None:
        for _ in range(2):
            text = replies.ussd_packed(code) if self._packed_ussd else code
            try:
                self._told(self._at.ask(f'AT+CUSD=1,"{text}",15', "+CUSD:", timeout_s=15.0))
                return
            except Refused:
                self._packed_ussd = not self._packed_ussd
        raise Refused(f"{code}: the modem takes this code in no form")

    # --- by itself ----------------------------------------------------------------------------------------------

    def events(self, timeout_s: float) -> list[Event]:
        for line in self._at.listen(0.0 if self._events else timeout_s):
            self._events += _events(line)
        events, self._events = self._events, []
        return events

    def restart(self) -> None:
        with suppress(Mute, Refused, Stopping):
            self._at.escape()
            self._at.ask("AT+CFUN=1,1", timeout_s=RESTART_S)

    def close(self) -> None:
        self._stream.close()


def _events(line: Line) -> Iterator[Event]:
    text = line.text
    if line.unit is not None and text.startswith(("+CMT:", "+CDS:", "+CMGL:", "+CMGR:")):
        listed = replies.listed_index(text)
        if listed is None or listed[1] in (0, 1):
            yield Arrived(bytes.fromhex(line.unit))
    elif text.startswith(("+CMTI:", "+CDSI:")):
        yield NewMail()
    elif (signal := replies.signal_dbm(text)) is not None:
        yield Signal(signal[0])
    elif (registered := replies.registration(text)) is not None:
        yield Registered(registered.word)
    elif (operator := replies.operator(text)) is not None:
        yield OperatorName(*operator)
    elif (answer := replies.ussd(text)) is not None:
        yield UssdReply(answer.text, answer.status != 1)
