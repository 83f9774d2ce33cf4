"""Answers: commands by SMS whose code the modem has checked, a button in the house, and what the modem could not
deliver.

Both are read from the store of samples, so one that came while this process was down is found too; each is acted on
once. A number alone acknowledges nothing: the modem passes a command on only with a code that was sent to that number.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from agent.wire import private
from hub.notify.asks import Refused
from hub.notify.settings import Channel, Notify, same_number
from hub.store import outbox_rows as rows
from hub.store.alerts_db import AlertsDb
from hub.store.errors import StoreError
from hub.store.reader import Reader, Sample

log = logging.getLogger(__name__)

FRESH_US = 1_800_000_000
"""An older answer is not acted on: it was meant for another evening."""
LOOK = 20
SILENCE_MIN = 60
SILENCE_MOST_MIN = 1440
Ask = Callable[[str, dict[str, Any], str], Any]
"""A handler of the desk: (name, args, who)."""


class Replies:
    """``is_event`` (device, node, property): each sample is a happening of its own, also one with the same value."""

    def __init__(self, db: AlertsDb, settings: Notify, reader: Reader, ask: Ask,
                 is_event: Callable[[str, str, str], bool] = lambda device, node, prop: False) -> None:
        self._db = db
        self._settings = settings
        self._reader = reader
        self._ask = ask
        self._is_event = is_event
        self._modems: dict[tuple[str, str], list[Channel]] = {}
        for one in settings.channel:
            if one.kind == "modem":
                self._modems.setdefault(one.node, []).append(one)

    def look(self, now_us: int) -> None:
        """In the transaction: act on what is new."""
        for (device, node), channels in self._modems.items():
            for sample in self._fresh(f"{device}/{node}/command", self._samples(device, node, "command"), now_us):
                if isinstance(sample.value, dict):
                    self._command(channels, sample.value)
            for sample in self._fresh(f"{device}/{node}/sent", self._samples(device, node, "sent"), now_us):
                told = sample.value
                if isinstance(told, dict) and told.get("ok") is False and isinstance(told.get("id"), str):
                    # the modem took it and could not deliver it: nobody was told by it, so the ladder goes on
                    error = private.without(str(told.get("error", "given up by the modem")), {"to": told.get("to")})
                    rows.take_back(self._db, told["id"], error[:200], now_us)
        if self._settings.button is not None and self._pressed(self._settings.button, now_us):
            self._acknowledge(rows.told_open(self._db, None, None), "button in the house")

    def _pressed(self, button: str, now_us: int) -> bool:
        device, node, prop = button.replace("_", "-").split("/")
        every = self._samples(device, node, prop)
        before = {one.t_us: earlier.value for earlier, one in pairwise(every)}
        event = self._is_event(device, node, prop)
        # a boolean that stays true is told again and again, and is pressed once
        return any(event or (one.value is True and before.get(one.t_us) is not True)
                   for one in self._fresh(f"{device}/{node}/{prop}", every, now_us)
                   if one.value is not None and one.value is not False)

    def _samples(self, device: str, node: str, prop: str) -> list[Sample]:
        """The last ones, oldest first."""
        try:
            found = self._reader.newest(node, prop, LOOK, device)
        except StoreError:
            return []  # no store yet, or it is busy: next second
        return sorted((sample for _, sample in found), key=lambda one: one.t_us)

    def _fresh(self, source: str, samples: list[Sample], now_us: int) -> list[Sample]:
        return [one for one in samples if now_us - FRESH_US < one.t_us <= now_us + FRESH_US
                and rows.reply_is_new(self._db, source, one.t_us)]

    def _command(self, channels: list[Channel], told: dict[str, Any]) -> None:
        number, name, word = (str(told.get(key, "")) for key in ("from", "command", "argument"))
        lane = next(((one.name, to) for one in channels for to in one.to if same_number(to, number)), None)
        if lane is None:
            log.warning("a command by SMS of a number that is in no channel: nothing done")
            return
        who = f"SMS by {lane[0]}"
        if name == "ack":
            mine = rows.told_open(self._db, *lane)
            if word:
                mine = [one for one in mine if str(one) == word]
            self._acknowledge(mine, who)
        elif name == "silence":
            minutes = int(word) if word.isdecimal() and len(word) < 6 and int(word) else SILENCE_MIN
            self._do("alert.silence", {"match": "*", "minutes": min(minutes, SILENCE_MOST_MIN), "why": "asked by SMS"},
                     who)

    def _acknowledge(self, alert_ids: list[int], who: str) -> None:
        for one in alert_ids:
            self._do("alert.acknowledge", {"id": one}, who)

    def _do(self, name: str, args: dict[str, Any], who: str) -> None:
        try:
            self._ask(name, args, who)
        except Refused as error:
            log.info("%s %s: %s", who, name, error)
