"""Signal, registration, operator, balance: what the modem says of its network, as readings and alerts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.api import Io, Reading, Yielded

from .config import ModemConfig
from .desk import Desk
from .telling import Telling
from .transport import Event, Model, OperatorName, Refused, Registered, Signal, Storage, Transport, UssdReply

FULL_PCT, ROOM_PCT = 90.0, 80.0
USSD_S = 90.0
AMOUNT = re.compile(r"(?<![\d.,])(-?\d{1,3}(?:[ .\u00a0]\d{3})+,\d{2}|-?\d+[.,]\d{1,2}|-?\d+)(?![\d.,]*\d)")
STATE_OF = {"home": "ready", "roaming": "ready", "denied": "denied"}


class Network:
    def __init__(self, io: Io, config: ModemConfig, desk: Desk, telling: Telling) -> None:
        self._io = io
        self._config = config
        self._desk = desk
        self._telling = telling
        self.registered = False
        self.new_operator = True
        """Not asked for since the network was found."""
        self._name: str | None = None
        self._asked_s: float | None = None
        """When the network was asked by USSD last, until it answers."""
        self._balance_asked = False
        self._balance_failed_s: float | None = None
        self._full = False

    def event(self, event: Event) -> Iterator[Yielded]:
        if isinstance(event, Signal):
            yield Reading("rssi_dbm", event.rssi_dbm, quality=None if event.rssi_dbm is not None else "sensor_error")
        elif isinstance(event, Registered):
            yield from self._registered(event.word)
        elif isinstance(event, OperatorName):
            yield from self._operator(event)
        elif isinstance(event, Model):
            yield Reading("model", event.name)
        elif isinstance(event, Storage):
            yield from self._storage(event)
        elif isinstance(event, UssdReply):
            yield from self._ussd(event)

    def _registered(self, word: str) -> Iterator[Yielded]:
        before, self.registered = self.registered, word in ("home", "roaming")
        self.new_operator |= self.registered and not before
        yield from self._telling.value(self._io, "registration", word)
        yield from self._telling.state(self._io, STATE_OF.get(word, "searching"))
        self._telling.alert(self._io, "network", self._lost(word))
        self._io.degraded(None if self.registered else f"no network ({word}): messages wait")

    def _lost(self, word: str) -> str | None:
        """The alert: at once where the network says no, else once it is away for ``no_network_min``."""
        now_s, config = self._io.clock.monotonic_s(), self._config
        if self.registered:
            self._desk.lost_s = None
            return None
        if self._desk.lost_s is None:
            self._desk.lost_s = now_s
        if word == "denied":
            reason, do = "the network denies this SIM", "ask the operator whether its contract is alive"
        elif now_s - self._desk.lost_s >= config.no_network_min * 60.0:
            reason = f"no network for {config.no_network_min:g} min and more"
            do = "move the stick to a window with a longer USB cable, look at its antenna, ask the operator"
        else:
            return None
        return f"E_MODEM_NETWORK {config.port}: {reason}; kept: messages wait in their queue; do: {do}"

    def _operator(self, event: OperatorName) -> Iterator[Yielded]:
        if event.name:
            self.new_operator = False
            yield from self._telling.value(self._io, "operator", event.name)
        if event.code:
            yield from self._telling.value(self._io, "network_code", event.code)
            wanted = self._config.network_codes
            wrong = bool(wanted) and event.code not in wanted
            text = f"the modem is in network {event.code}, expected {' or '.join(wanted)}: SMS may cost more there"
            self._telling.alert(self._io, "wrong-network", text if wrong else None)

    def _storage(self, storage: Storage) -> Iterator[Yielded]:
        pct = round(100.0 * min(storage.used, storage.total) / storage.total, 1)
        yield from self._telling.value(self._io, "sms_storage_pct", pct)
        self._full = pct >= (ROOM_PCT if self._full else FULL_PCT)
        self._telling.alert(self._io, "storage", (
            f"the memory for SMS is full to {pct:.0f} %, soon no more will come in: use read_strangers, and look at "
            "what cannot be read") if self._full else None)

    # --- USSD ---------------------------------------------------------------------------------------------------

    def ask(self, modem: Transport) -> Iterator[Yielded]:
        """Send what is to be asked, one code at a time. Raises Mute."""
        now_s = self._io.clock.monotonic_s()
        if self._asked_s is not None:
            if now_s - self._asked_s < USSD_S:
                return
            self._asked_s, self._balance_asked = None, False
            self._io.log.warning("the network did not answer a USSD code in %.0f s", USSD_S)
        code = self._desk.ussd.pop(0) if self._desk.ussd else self._balance_due(now_s)
        if not code:
            return
        self._asked_s = now_s
        try:
            modem.ussd(code)
        except Refused as error:
            self._asked_s, self._balance_asked = None, False
            yield Reading("ussd_reply", f"refused: {error}")

    def _balance_due(self, now_s: float) -> str:
        if not self._config.balance_ussd or (
                self._balance_failed_s is not None and now_s - self._balance_failed_s < 3600.0):
            return ""
        kept, now = self._io.kept, self._desk.now(self._io)
        if "balance_at" in kept and now.age_s(kept["balance_at"]) < self._config.balance_every_h * 3600.0:
            return ""
        self._balance_asked, self._balance_failed_s = True, now_s
        return self._config.balance_ussd

    def _ussd(self, reply: UssdReply) -> Iterator[Yielded]:
        balance, self._asked_s, self._balance_asked = self._balance_asked, None, False
        if not balance:
            yield Reading("ussd_reply", reply.text)
            return
        self._io.kept["balance_at"] = self._desk.now(self._io).stamp()
        yield Reading("balance", reply.text)
        amount = amount_of(reply.text, self._config.currency)
        if amount is not None:
            yield Reading("balance_value", amount)


def amount_of(text: str, currency: str) -> float | None:
    """The amount in a network's words: the one at the currency, else the only one with cents; None: not sure which."""
    signs = {"EUR": "€|eur|euros?", "GBP": "£|gbp", "USD": r"\$|usd", "CHF": "chf|fr"}.get(currency, currency.lower())
    found = [match for match in AMOUNT.finditer(text)]
    marked = [match for match in found
              if re.match(rf"\s*(?:{signs})(?![a-z])", text[match.end() :], re.I)
              or re.search(rf"(?<![a-z])(?:{signs})\s*\Z", text[: match.start()], re.I)]
    cents = [match for match in found if re.search(r"[.,]\d{2}\Z", match[0])]
    chosen = marked[:1] or (cents if len(cents) == 1 else [])
    return _amount(chosen[0][0]) if chosen else None


def _amount(text: str) -> float:
    digits = re.sub(r"[ \u00a0]", "", text)
    if "," in digits:
        digits = digits.replace(".", "").replace(",", ".")
    return float(digits)
