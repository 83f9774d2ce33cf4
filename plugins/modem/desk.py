"""What is on the plugin's desk: its queues over ``io.kept``, and what a command of the bus does with them. No modem."""

from __future__ import annotations

from typing import Any

from agent.api import CommandRefused, Io, RetryLater, Value

from .codes import Codes
from .config import ModemConfig
from .inbox import Inbox
from .numbers import dialable, normal, redacted
from .outbox import Held, Limits, Outbox
from .pdu import split
from .pin import Pin
from .when import Now

DISK_S = 3.0
"""An SMS is accepted once it is on disk; for so long that is waited for."""
TEXT_MOST = 3000
ID_MOST = 64
TOTALS = ("sms_sent_total", "sms_received_total", "held_back_total", "send_failures_total", "resets_total",
          "bad_units_total")


class Desk:
    def __init__(self, io: Io, config: ModemConfig) -> None:
        self._config = config
        self._boot = _boot_id(io)
        kept = io.kept
        self.outbox = Outbox(kept.setdefault("outbox", {}), Limits(
            config.per_10_min, 600.0, config.per_day, config.all_per_day))
        self.inbox = Inbox(kept.setdefault("inbox", {}), config.allow, config.country_code)
        self.codes = Codes(kept.setdefault("codes", {}))
        self.pin = Pin(kept.setdefault("pin", {}))
        self.totals: dict[str, int] = kept.setdefault("totals", {})
        for name in TOTALS:
            self.totals.setdefault(name, 0)
        self.ussd: list[str] = []
        """Asked for, not sent yet; worth nothing after a restart."""
        self.read_strangers = False
        self.lost_s: float | None = None
        """Monotonic: since when there is no network, over conversations."""
        self.told_units: set[bytes] = set()
        """Units that stay on the SIM and were spoken of, in whatever conversation."""

    def now(self, io: Io) -> Now:
        wall_us = io.clock.wall_us()
        return Now(self._boot, io.clock.boottime_us() / 1e6, None if wall_us is None else wall_us / 1e6)

    # --- commands of the bus ------------------------------------------------------------------------------------

    def send(self, io: Io, value: Value) -> Value:
        """``{"to", "text", "id"?, "report"?}``. Raises CommandRefused, RetryLater."""
        if not isinstance(value, dict):
            raise CommandRefused('send takes {"to": "+336...", "text": "...", "id": "optional", "report": true}')
        unknown = sorted(set(value) - {"to", "text", "id", "report"})
        to, text, id_, report = (value.get(name) for name in ("to", "text", "id", "report"))
        if unknown:
            raise CommandRefused(f"send: unknown key {unknown[0]!r}; there are to, text, id, report")
        if not isinstance(to, str) or not isinstance(text, str):
            raise CommandRefused("send: to and text are needed, both text")
        if id_ is not None and (not isinstance(id_, str) or not 1 <= len(id_) <= ID_MOST):
            raise CommandRefused(f"send: id is a text of 1 to {ID_MOST} characters")
        if report is not None and not isinstance(report, bool):
            raise CommandRefused("send: report is true or false")
        if id_ is not None and (state := self.outbox.known(id_)) is not None:
            return {"id": id_, "state": state, "again": True}
        entry = self._offer(io, self._number(to), text, id_, self._config.reports if report is None else report)
        self._on_disk(io, [entry])
        return {"id": entry["id"], "to": entry["to"], "state": "queued"}

    def text_message(self, io: Io, value: Value) -> Value:
        """To everybody of ``notify_to``; refused when it is held back for all of them."""
        if not self._config.notify_to:
            raise CommandRefused("text_message: nobody is in notify_to of agent.toml")
        entries, refusals = [], []
        for number in self._config.notify_to:
            try:
                entries.append(self._offer(io, self._number(number), str(value), None, self._config.reports))
            except CommandRefused as error:
                refusals.append(str(error))
        if not entries:
            raise CommandRefused(refusals[0])
        self._on_disk(io, entries)
        return value

    def _number(self, to: str) -> str:
        number = normal(to, self._config.country_code)
        if not dialable(number):
            raise CommandRefused("send: to is no telephone number: 3 to 15 digits, with + in front of the country")
        allowed = {normal(one, self._config.country_code) for one in self._config.send_to}
        if allowed and number not in allowed:
            raise CommandRefused(f"send: {redacted(number)} is not in send_to of agent.toml")
        return number

    def _offer(self, io: Io, to: str, text: str, id_: str | None, report: bool) -> dict[str, Any]:
        if not text.strip() or len(text) > TEXT_MOST:
            raise CommandRefused("send: the text is empty" if not text.strip() else
                                 f"send: {len(text)} characters, at most {TEXT_MOST}")
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # no half characters
        parts = len(split(text, 0, "gsm7" if self._config.letters == "plain" else None))
        if parts > self._config.max_parts:
            raise CommandRefused(f"send: the text makes {parts} SMS, at most {self._config.max_parts} (max_parts)")
        try:
            return self.outbox.offer(to, text, self.now(io), id_=id_, report=report)
        except Held as held:
            self.totals["held_back_total"] += str(held).startswith("held back")
            raise CommandRefused(f"send: {held}") from None

    def _on_disk(self, io: Io, entries: list[dict[str, Any]]) -> None:
        if io.committed(DISK_S):
            return
        for entry in entries:
            self.outbox.withdraw(entry)
        raise RetryLater("this device's disk did not take the message in time: send it again")

    def new_code(self, io: Io, value: Value) -> Value:
        """``{"minutes"?, "for"?}`` -> ``{"code", "minutes"}``."""
        if not isinstance(value, dict) or set(value) - {"minutes", "for"}:
            raise CommandRefused('new_code takes {"minutes": 60, "for": "+336..."}, or {}')
        minutes, number = value.get("minutes", self._config.code_minutes), value.get("for", "")
        if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 1 <= minutes <= 1440:
            raise CommandRefused("new_code: minutes: expected 1..1440")
        if not isinstance(number, str) or (number and not dialable(normal(number, self._config.country_code))):
            raise CommandRefused("new_code: for: expected a telephone number")
        if not self._config.allow:
            raise CommandRefused("new_code: nobody is in allow of agent.toml, so no command by SMS is heard")
        code = self.codes.issue(self.now(io), minutes, normal(number, self._config.country_code))
        return {"code": code, "minutes": minutes, **({"for": number} if number else {})}

    def ask_network(self, value: Value) -> Value:
        code = str(value).strip()
        if not (1 < len(code) <= 32 and code[0] in "*#" and code[-1] == "#" and set(code) <= set("0123456789*#")):
            raise CommandRefused("ussd: expected a code like *123#")
        if len(self.ussd) >= 5:
            raise CommandRefused("ussd: five codes wait already")
        self.ussd.append(code)
        return code

    def reply(self, io: Io, to: str, text: str) -> None:
        """An answer of our own, within the caps."""
        if not dialable(to):
            return
        try:
            self.outbox.offer(to, text, self.now(io))
        except Held as held:
            self.totals["held_back_total"] += str(held).startswith("held back")
            io.log.warning("no answer to %s: %s", redacted(to), held)


def _boot_id(io: Io) -> str:
    try:
        return (io.root / "proc/sys/kernel/random/boot_id").read_text().strip()
    except (OSError, RetryLater):
        return "replay"  # a capture has no files
