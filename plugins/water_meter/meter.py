"""Edges and readings in; index, flow and what the leak watch needs out. No clock and no Io: stamps are handed in."""

from __future__ import annotations

from collections.abc import Iterator

from .debounce import Debounce
from .flow import Flow
from .leak import LeakWatch
from .rules import Rules
from .turns import OneContact, Quadrature, Turn, Turns

US = 1_000_000
INDEX = "index"
"""The topic of a reading of the whole index, in litres: recordings of other meters have these and no pulses."""
NO_FLOW = 0.5
"""Of the smallest drip looked for: a flow whose bound has fallen below this is none."""


class Meter:
    """One meter's arithmetic. ``lines``: one contact, or two in quadrature."""

    def __init__(self, lines: tuple[str, ...], rules: Rules, *, debounce_us: int, max_flow_l_h: float,
                 index_l: float, levels: dict[int, bool]) -> None:
        self.index_l = index_l
        self.reverse_l = 0.0
        self.bad_inputs = 0
        self.impossible = 0
        """Pulses faster than the largest flow of the meter allows."""
        self.from_recording = False
        self.pulse_us: int | None = None
        """The last turn, either way."""
        self.leak = LeakWatch(rules)
        self._litres = rules.litres
        self._shortest_us = rules.litres * 3600 * US / max_flow_l_h
        self._flow = Flow(rules.litres, rules.litres * 3600 / (NO_FLOW * rules.drip_l_h))
        self._lines = lines
        self._stranger = ""
        """The line of a single contact, as the first message names it."""
        self._contacts = [Debounce(debounce_us) for _ in lines]
        self._turns: Turns = Quadrature() if len(lines) == 2 else OneContact(levels.get(0))

    # --- in ---------------------------------------------------------------------------------------------------

    def message(self, topic: str, data: bytes, t_us: int) -> str | None:
        """An edge, or a reading of the index. Returns what is wrong with it, else None."""
        if topic == INDEX:
            return self._reading(data, t_us)
        contact = self._contact(topic)
        if contact is None or data not in (b"0", b"1"):
            self.bad_inputs += 1
            if contact is None and data in (b"0", b"1"):
                return f"{topic[:40]!r} is none of {', '.join(self._lines)}"
            return f"{topic[:40]!r} {data[:40]!r} is no line with its level 0 or 1"
        self.settle(t_us)
        change = self._contacts[contact].edge(t_us, data == b"1")
        if change is not None:  # settle came first, so this is one of the same moment
            self._changed(contact, change.t_us, change.level)
        return None

    def _contact(self, topic: str) -> int | None:
        """A capture of a single contact may name another line than agent.toml: the first that comes is it."""
        if topic in self._lines:
            self._stranger = self._stranger or topic
            return self._lines.index(topic)
        if len(self._lines) > 1:
            return None
        if not self._stranger:
            self._stranger = topic
        return 0 if topic and topic == self._stranger else None

    def _reading(self, data: bytes, t_us: int) -> str | None:
        try:
            index_l = float(data)
            if not 0 <= index_l < 1e12:
                raise ValueError
        except ValueError:
            self.bad_inputs += 1
            return f"{data[:40]!r} is no index in litres"
        self.from_recording = True
        self.index_l = index_l
        self.leak.index(t_us / US, index_l)
        return None

    def settle(self, now_us: int) -> None:
        """Take in what has stood for the debounce time by now, in order."""
        due = [(contact.due_us, number) for number, contact in enumerate(self._contacts) if contact.due_us is not None]
        for _, number in sorted(due):
            change = self._contacts[number].settle(now_us)
            if change is not None:
                self._changed(number, change.t_us, change.level)

    def _changed(self, contact: int, t_us: int, level: bool) -> None:
        turn = self._turns.change(contact, t_us, level)
        if turn is None:
            return
        if turn.forward:
            self._forward(turn)
        else:
            self.pulse_us = t_us
            self.reverse_l = round(self.reverse_l + self._litres, 6)

    def _forward(self, turn: Turn) -> None:
        if self.pulse_us is not None and turn.t_us - self.pulse_us < self._shortest_us:
            self.impossible += 1
            return
        self.pulse_us = turn.t_us
        self.index_l = round(self.index_l + self._litres, 6)
        self._flow.pulse(turn.t_us / US)
        self.leak.pulse(turn.t_us / US)

    def hole(self, now_us: int, away_us: int) -> None:
        """The contacts were out of sight for a time that has just ended."""
        self._flow.forget()
        self.leak.hole(now_us / US, away_us / US)

    # --- out --------------------------------------------------------------------------------------------------

    @property
    def due_us(self) -> int | None:
        """When :meth:`settle` has something to take in."""
        dues = [contact.due_us for contact in self._contacts if contact.due_us is not None]
        return min(dues) if dues else None

    def flow_l_h(self, now_us: int) -> float:
        return self._flow.at(now_us / US)

    @property
    def rejected(self) -> int:
        return sum(contact.rejected for contact in self._contacts) + self.impossible

    @property
    def behind_l(self) -> float:
        """Flowed back and not yet forth again."""
        return self._turns.behind * self._litres

    def levels(self) -> Iterator[tuple[int, bool]]:
        """The contacts' levels that have stood."""
        for number, contact in enumerate(self._contacts):
            if contact.level is not None:
                yield number, contact.level

    @property
    def stuck(self) -> str | None:
        """The line that does not move although the other does."""
        return None if self._turns.stuck is None else self._lines[self._turns.stuck]
