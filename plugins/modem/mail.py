"""Messages in and out of an open modem. What lies on the SIM is deleted only after its reading is on disk."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from agent.api import Io, Reading, Yielded

from .codes import COMMANDS, NoCommand
from .config import ModemConfig
from .desk import Desk
from .inbox import Full, Message, Unreadable
from .numbers import redacted
from .outbox import Held
from .pdu_in import StatusReport, rfc3339
from .telling import Telling
from .transport import Arrived, Mute, Refused, Stopping, Transport

DISK_S = 10.0
SENT_DISK_S = 2.0
UNSURE_MOST = 3
"""An SMS that a modem took without a word may have gone out each time: it is not tried for a day."""


class Mail:
    def __init__(self, io: Io, config: ModemConfig, transport: Transport, desk: Desk, telling: Telling) -> None:
        self._io = io
        self._config = config
        self._modem = transport
        self._desk = desk
        self._telling = telling
        self.unreadable_before = desk.totals["bad_units_total"]

    # --- in -----------------------------------------------------------------------------------------------------

    def collect(self) -> Iterator[Yielded]:
        """Take in what lies in the modem, and delete it there once it is on this machine's disk."""
        done: list[Arrived] = []
        for arrived in self._modem.stored():
            taken = yield from self.arrived(arrived.unit)
            if taken:
                done.append(arrived)
        if done and self._io.committed(DISK_S):
            for arrived in done:
                self._modem.delete(arrived)

    def arrived(self, unit: bytes) -> Generator[Yielded, None, bool]:
        """One unit; returns whether it may be deleted where it lies."""
        made = self._desk.inbox.take(unit, self._desk.now(self._io))
        if isinstance(made, Unreadable | Full):
            if unit not in self._desk.told_units:
                self._desk.told_units.add(unit)
                if isinstance(made, Unreadable):
                    self.unreadable_before += 1
                    # its octets hold a number, so they stay out of the log
                    self._io.log.warning("an SMS of %d octets cannot be read (%s) and stays on the SIM: look at it in "
                                         "a phone", len(unit), made.reason)
                else:
                    self._io.log.warning("no room for more unread SMS, they stay on the SIM: use read_strangers")
            return False
        if isinstance(made, StatusReport):
            yield from self._report(made)
        elif isinstance(made, Message):
            yield from self._message(made)
        return True

    def _message(self, message: Message) -> Iterator[Yielded]:
        self._desk.totals["sms_received_total"] += 1
        said: dict[str, Any] = {"from": message.sender, "sent_at": message.sent_at, "parts": message.parts}
        if message.missing:
            said["missing"] = list(message.missing)
        if message.allowed:
            # A stop may come after any reading: the code is used up and the command told before anything else is.
            yield from self._command(message)
        text = self._desk.codes.hidden(message.text, self._desk.now(self._io))
        if not message.allowed:
            said |= {"stranger": True, "characters": len(text)}
            if not self._config.strangers_text:
                self._desk.inbox.put_aside(message._replace(text=text))
            self._io.log.warning("an SMS of a stranger, %s, %d characters: it is kept, use read_strangers",
                                 redacted(message.sender), len(text))
        if message.allowed or self._config.strangers_text:
            said["text"] = text
        yield Reading("incoming", said)

    def _command(self, message: Message) -> Iterator[Yielded]:
        try:
            command = self._desk.codes.command(message.text, message.sender, self._desk.now(self._io))
        except NoCommand as error:
            self._io.log.warning(f"no command from %s: {error}", redacted(message.sender))
            if error.right_code and self._config.answer_commands:
                self._desk.reply(self._io, message.sender, f"hutkeeper: {error}")
            return
        if command is None:
            return
        if self._config.answer_commands:
            self._desk.reply(self._io, message.sender, self._answer(command.name, command.argument))
        yield Reading("command", {"from": message.sender, "command": command.name, "argument": command.argument,
                                  "sent_at": message.sent_at})

    def _answer(self, name: str, argument: str) -> str:
        if name == "help":
            return f"hutkeeper: CODE {', CODE '.join(COMMANDS)}"
        if name == "status":
            last, totals = self._telling.last, self._desk.totals
            return (f"hutkeeper: modem {last('state')}, {last('operator') or 'no operator'}, "
                    f"{self._desk.outbox.depth} waiting, {totals['sms_sent_total']} sent, "
                    f"{self._desk.outbox.held} held back")
        return f"hutkeeper: {name} {argument}".rstrip() + " passed on"

    def _report(self, report: StatusReport) -> Iterator[Yielded]:
        id_ = self._desk.outbox.reported(report.reference, report.recipient, report.outcome != "trying")
        yield Reading("report", {"id": id_, "to": report.recipient, "outcome": report.outcome, "status": report.status,
                                 "at": rfc3339(report.done_at)})

    # --- out ----------------------------------------------------------------------------------------------------

    def send_one(self) -> Iterator[Yielded]:
        """Try the message that is due, if one is. Raises Mute after booking the try."""
        now = self._desk.now(self._io)
        entry = self._desk.outbox.due(now)
        if entry is None:
            return
        if entry.get("unsure", 0) >= UNSURE_MOST:
            self._desk.outbox.failed(entry, now, True)
            yield from self._given_up(entry, f"the modem took it {UNSURE_MOST} times without a word")
            return
        try:
            parts = self._modem.split(entry["text"], entry["ref"], self._config.letters == "plain")
            while entry["done"] < len(parts):
                number = self._modem.send(entry["to"], parts[entry["done"]], entry["report"])
                self._desk.outbox.part_sent(entry, number, self._desk.now(self._io))
                self._io.committed(SENT_DISK_S)  # a kill from now on does not send it again
        except Stopping as stop:
            if stop.handed_over:  # its answer comes to nobody: it may be on its way
                entry["unsure"] = entry.get("unsure", 0) + 1
            raise
        except (Refused, Mute, ValueError) as error:
            permanent = isinstance(error, ValueError) or (isinstance(error, Refused) and error.permanent)
            if isinstance(error, Mute) and error.handed_over:
                entry["unsure"] = entry.get("unsure", 0) + 1
                permanent = entry["unsure"] >= UNSURE_MOST
            self._desk.totals["send_failures_total"] += 1
            now = self._desk.now(self._io)
            if self._desk.outbox.failed(entry, now, permanent):
                yield from self._given_up(entry, str(error))
            else:
                self._io.log.warning("SMS to %s: %s; tried again in %.0f s", redacted(entry["to"]), error,
                                     entry["next"][1] - now.up_s)
            if isinstance(error, Mute):
                self._modem.wake()  # slow network or dead modem? Raises Mute if the latter
            return
        self._desk.outbox.sent(entry)
        self._desk.totals["sms_sent_total"] += len(parts)
        yield Reading("sent", {"id": entry["id"], "to": entry["to"], "ok": True, "parts": len(parts),
                               "tries": entry["tries"] + 1, "waited_s": round(now.age_s(entry["at"]), 1)})

    def _given_up(self, entry: dict[str, Any], why: str) -> Iterator[Yielded]:
        self._io.log.warning("SMS to %s given up: %s", redacted(entry["to"]), why)
        yield Reading("sent", {"id": entry["id"], "to": entry["to"], "ok": False, "error": why,
                               "tries": entry["tries"]})

    # --- now and then -------------------------------------------------------------------------------------------

    def tend(self) -> Iterator[Yielded]:
        now = self._desk.now(self._io)
        for message in self._desk.inbox.overdue(now):  # one by one: a stop after one leaves the others where they are
            yield from self._message(message)
        if self._config.digest:
            for to, text in list(self._desk.outbox.digests(now)):
                try:
                    self._desk.outbox.offer(to, text, now, id_=None, free=True)
                except Held as held:
                    self._io.log.warning("digest to %s: %s", redacted(to), held)
        if self._desk.read_strangers:
            self._desk.read_strangers = False
            while self._desk.inbox.strangers:
                yield Reading("incoming", {**self._desk.inbox.strangers.pop(0), "stranger": True})
