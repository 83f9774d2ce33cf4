"""Notices become messages, one lane at a time, and messages are delivered at least once.

A lane (one channel, one recipient) has one message under way; what happens meanwhile waits and is told together, so a
storm makes few messages with an exact count. A message's text and key stay the same at every try.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from hub.notify import texts
from hub.notify.ladder import S_US, unpacked
from hub.notify.links import MOST
from hub.notify.settings import SEVERITIES, Channel, Notify, same_number
from hub.notify.texts import Style, Text, Told
from hub.store import outbox_rows as rows
from hub.store.alerts_db import AlertsDb
from hub.store.outbox_rows import Message, Notice

log = logging.getLogger(__name__)

TEN_MIN_US = 600 * S_US
DAY_US = 86_400 * S_US
GAP_US = 15 * S_US
"""Between two messages to one recipient once half of its cap is used."""
SETTLED_US, SETTLE_MOST_US = 30 * S_US, 120 * S_US
"""The last message that the cap leaves waits for this much calm, so that its count is whole; at most so long."""
URGENT_US, URGENT_MOST_US = 10 * S_US, 60 * S_US
"""The same where something critical waits."""
BACKOFF_S, BACKOFF_MOST_S = 2.0, 60.0
HELD_S = 60.0
SPEECH_GOOD_US = 300 * S_US
RANK: dict[str, int] = {name: n for n, name in enumerate(SEVERITIES)}
OVER = "over before it could be told"


class Outbox:
    """``children``: how many alerts are listed under one by now, and titles of some of them."""

    def __init__(self, db: AlertsDb, settings: Notify, style: Callable[[Channel, int], Style],
                 children: Callable[[int], tuple[int, tuple[str, ...]]] = lambda alert_id: (0, ())) -> None:
        self._db = db
        self._children = children
        self._settings = settings
        self._style = style

    def pick(self, now_us: int, busy: Callable[[str, str], bool]) -> list[Message]:
        """In the transaction: what is to leave now; it is marked as being sent. ``busy``: the lane has a message under
        way in this process."""
        taken: dict[tuple[str, str], Message] = {}
        for one in rows.open_messages(self._db):
            lane = (one.channel, one.recipient)
            if lane in taken or busy(*lane):
                continue
            if self._ended(one, now_us):
                continue
            taken[lane] = one
        for lane in rows.due_lanes(self._db, now_us):
            channel = self._settings.named(lane[0])
            if lane in taken or busy(*lane) or channel is None:
                continue
            made = self._make(channel, lane[1], now_us)
            if made is not None:
                taken[lane] = made
        found = [one for one in taken.values() if one.next_us <= now_us]
        for one in found:
            rows.begin_sending(self._db, one.id)
        return found

    def _ended(self, one: Message, now_us: int) -> bool:
        if not one.unsure and rows.all_over(self._db, one):
            rows.end_without(self._db, one, "dropped", OVER, now_us)
            return True
        channel = self._settings.named(one.channel)
        brief = one.kind == "test" or (channel is not None and channel.kind == "announcer")
        good_us = SPEECH_GOOD_US if brief else self._settings.give_up_h * 3600 * S_US
        if now_us - one.made_us > good_us:
            rows.end_without(self._db, one, "given_up", one.error or "not delivered in time", now_us, again=not brief)
            return True
        return False

    def _make(self, channel: Channel, recipient: str, now_us: int) -> Message | None:
        """A message of all that waits in the lane, or None: not yet."""
        wait = rows.waiting(self._db, channel.name, recipient, now_us)
        if wait is None:
            return None
        ten, day = channel.caps
        # a number has one cap, by however many modems it is reached
        sent = sorted(one for lane in self._same(channel, recipient)
                      for one in rows.sent_since(self._db, *lane, now_us - DAY_US))
        lately = [one for one in sent if one[0] > now_us - TEN_MIN_US]
        left = min(ten - len(lately), day - len(sent))
        if left <= 0:
            return None
        if left == 1:
            settled, most = (URGENT_US, URGENT_MOST_US) if wait.critical else (SETTLED_US, SETTLE_MOST_US)
            if now_us - wait.last_us < settled and now_us - wait.first_us < most:
                return None
        elif lately and 2 * len(lately) >= ten and now_us - lately[-1][0] < GAP_US:
            return None
        notices = rows.take_waiting(self._db, channel.name, recipient, now_us)
        if not notices:
            return None
        capped = left == 1 and len(notices) > 1
        if capped:
            rows.count(self._db, channel.name, recipient, "held", len(notices))
        burst = lately if left == ten - len(lately) else sent
        return self._compose(channel, recipient, notices, now_us, burst if capped else None)

    def _same(self, channel: Channel, recipient: str) -> list[tuple[str, str]]:
        if channel.kind != "modem":
            return [(channel.name, recipient)]
        return [(one.name, to) for one in self._settings.channel if one.kind == "modem" for to in one.to
                if same_number(to, recipient)]

    def _compose(self, channel: Channel, recipient: str, notices: Sequence[Notice], now_us: int,
                 burst: list[tuple[int, int]] | None) -> Message:
        latest: dict[int, Told] = {}  # an alert that was opened and got worse meanwhile is one alert
        for one in notices:
            carried = unpacked(one.alert)
            latest.pop(one.alert_id, None)
            late = one.why in ("quiet", "digest")
            # what no channel could take while it lasted is told as what it is now
            what = "resolved" if one.over and not late else one.what
            latest[one.alert_id] = Told(carried.alert, what, carried.children, one.over, late)
        told = list(latest.values())
        if len(told) == 1:
            n, under = self._children(told[0].alert.id)
            told = [replace(told[0], children=max(told[0].children, n), under=under)]
        style = self._style(channel, now_us)
        total = since_us = None
        if burst:
            since_us = min(min(one[0] for one in burst), min(one.t_us for one in notices))
            total = len(told) + sum(n for _, n in burst)
        try:
            text = texts.compose(told, style, total=total, since_us=since_us)
        except Exception:  # words that cannot be put well must still come
            log.exception("a message of %d alerts", len(told))
            text = Text(style.place, "; ".join(one.alert.title for one in told[:3])[:140])
        whats = {one.what for one in told}
        kind = ("digest" if burst or any(one.late for one in told) else "resolved" if whats == {"resolved"}
                else "mixed" if "resolved" in whats else "alert")
        severity = max((one.severity for one in notices), key=RANK.__getitem__)
        way = {"url": bool(style.page) and self._settings.ack_link_h > 0, "modem": self._settings.ack_sms}
        ack = (way.get(channel.kind, False) and len(told) <= MOST
               and any(not one.over and one.what != "resolved" for one in told))
        message = Message(0, new_key(), channel.name, recipient, kind, severity, len(told), text.title, text.body, ack,
                          "ready", now_us, now_us, 0, 0, None, "")
        return rows.add_message(self._db, message, [one.id for one in notices])

    def test(self, channel: Channel, now_us: int) -> list[Message]:
        """One test message to each recipient, beyond the caps."""
        text = texts.test(self._style(channel, now_us), channel.name)
        return [rows.add_message(self._db, Message(0, new_key(), channel.name, recipient, "test", "info", 0, text.title,
                                                   text.body, False, "ready", now_us, now_us, 0, 0, None, ""), [])
                for recipient in channel.recipients]


def new_key() -> str:
    return f"hk-{secrets.token_hex(12)}"


def backoff_us(tries: int) -> int:
    """Until the next try, after ``tries`` of them; with jitter, so that many messages do not come at once."""
    wait_s: float = min(BACKOFF_MOST_S, BACKOFF_S * 2 ** min(tries, 10))
    return round(wait_s * random.uniform(0.8, 1.2) * S_US)
