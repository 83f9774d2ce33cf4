"""Telling people: what happens to alerts goes by the ladder into the outbox, and from there by the channels."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

from agent.wire import faults
from hub.alerts.graph import INTERNET
from hub.alerts.model import Alert, Condition, Event
from hub.notify import links
from hub.notify.asks import Refused
from hub.notify.channels import Ack, Way
from hub.notify.channels.announcer import AnnouncerWay
from hub.notify.channels.modem import ModemWay
from hub.notify.channels.null import CANARY, NullWay
from hub.notify.channels.url import UrlWay
from hub.notify.hours import Hours
from hub.notify.ladder import S_US, Ladder
from hub.notify.outbox import Outbox, new_key
from hub.notify.part import Hall, Part
from hub.notify.replies import Replies
from hub.notify.sending import Sending
from hub.notify.settings import Channel
from hub.notify.texts import UNDER, Style
from hub.store import alert_rows
from hub.store import outbox_rows as rows
from hub.store.errors import StoreError
from hub.store.outbox_rows import Message
from hub.web.zones import machine_zone

log = logging.getLogger(__name__)

DOWN_US = 60 * S_US
"""A channel that fails for so long is an alert of its own."""
DOWN_FAILS = 2
PRUNE_US = 3600 * S_US
STORE_QUIET_US = 600 * S_US
"""alerts.db has to work for so long before its next failure is told again."""


class Notifier(Part):
    def __init__(self, hall: Hall) -> None:
        super().__init__(hall)
        self.settings = hall.settings.notify
        name = hall.settings.energy.timezone
        self.zone = ZoneInfo(name) if name else machine_zone()
        self.hours = Hours(self.settings, self.zone)
        self.ways: dict[str, Way] = {one.name: self._way(one) for one in self.settings.channel}
        self.ways[CANARY] = NullWay()
        self.ladder = Ladder(hall.db, self.settings, self.hours, self._current,
                             lambda: alert_rows.is_open(hall.db, INTERNET))
        self.outbox = Outbox(hall.db, self.settings, self._style,
                             lambda alert_id: alert_rows.under(hall.db, alert_id, UNDER))
        self.sending = Sending(hall.db, self.ways, hall.now_us, self._ack)
        self.replies = Replies(hall.db, self.settings, hall.reader, self._ask, self._is_event)
        self._leaving: list[Message] = []
        self._began_us = 0
        self._pruned_us = 0
        self._store_down = False
        self._store_failed_us: int | None = None

    def _way(self, channel: Channel) -> Way:
        if channel.kind == "modem":
            return ModemWay(channel, self.hall.commander)
        if channel.kind == "announcer":
            return AnnouncerWay(channel, self.hall.commander)
        return UrlWay(channel, self.hall.settings.hub.name)

    # --- the second ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._began_us = self._pruned_us = self.hall.now_us()
        lanes = [(one.name, to, self.ways[one.name].about, self.ways[one.name].fault)
                 for one in self.settings.channel for to in one.recipients]
        dropped = rows.keep_lanes(self.hall.db, lanes, self._began_us)
        if dropped:
            log.warning("%d notices waited for channels that are no longer in hub.toml: dropped", dropped)
        again = rows.recover(self.hall.db)
        if again:
            log.warning("%d messages were on their way when the last process ended: they are sent again", again)
        for name, way in self.ways.items():
            if way.fault:
                log.error("channel %s: %s", name, way.fault)
        if not self.settings.channel:
            log.info("no channel in hub.toml: alerts are only shown on the page")
        self.hall.desk.handlers["channel.test"] = self._test
        self.hall.desk.handlers["link.acknowledge"] = self._acknowledge_link

    def jumped(self, by_us: int, now_us: int) -> None:
        self._began_us += by_us
        self._pruned_us = now_us
        if self._store_failed_us is not None:
            self._store_failed_us += by_us
        rows.shift(self.hall.db, by_us, now_us)

    def step(self, now_us: int) -> None:
        self.sending.settle()
        self.replies.look(now_us)
        if now_us - self._pruned_us > PRUNE_US:
            self._pruned_us = now_us
            rows.prune(self.hall.db, now_us)

    def conditions(self, now_us: int) -> Iterable[Condition]:
        for name, way in self.ways.items():
            if way.fault:
                yield Condition(f"channel:{name}", "hub", "error", f"channel {name} cannot be used",
                                self._began_us, "E_NOTIFY_DOWN", faults.FAULTS["E_NOTIFY_DOWN"].kept,
                                f"{way.fault}; then restart the hub")
        down: dict[str, rows.Lane] = {}
        for lane in rows.lanes(self.hall.db):
            if (lane.failing_since_us is not None and lane.fails >= DOWN_FAILS and lane.channel in self.ways
                    and now_us - lane.failing_since_us >= DOWN_US and not self.ways[lane.channel].fault):
                worst = down.get(lane.channel)
                if worst is None or lane.failing_since_us < (worst.failing_since_us or 0):
                    down[lane.channel] = lane
        for name, lane in down.items():
            fault = faults.FAULTS["E_NOTIFY_DOWN"]
            channel = self.settings.named(name)
            # a push needs the internet, a modem its device: with that gone it is explained, and said once
            subject = "hub" if channel is None or channel.kind == "url" else f"plugin:{'/'.join(channel.node)}"
            title = fault.what.format(channel=name, error=lane.error)
            yield Condition(f"channel:{name}", subject, fault.severity, title,
                            lane.failing_since_us or now_us, "E_NOTIFY_DOWN", fault.kept, fault.do, True)

    def take(self, events: list[Event], now_us: int) -> None:
        self._leaving = []  # of a second that was not committed: those messages never left
        self.ladder.take(events, now_us)
        self.ladder.climb(now_us)
        self._leaving = self.outbox.pick(now_us, self.sending.busy)

    def after(self, now_us: int) -> None:
        self.sending.settled()
        leaving, self._leaving = self._leaving, []
        for message in leaving:
            self.sending.start(message)
        self.sending.overdue()
        if self._store_down:
            self._store_down, self._store_failed_us = False, now_us

    def close(self) -> None:
        self.sending.close()

    # --- of a message --------------------------------------------------------------------------------------

    def _style(self, channel: Channel, now_us: int) -> Style:
        public = self.hall.settings.web.public_url
        return Style(channel.kind, self.zone, now_us, self.settings.language, self.hall.settings.hub.name,
                     f"{public.rstrip('/')}/alerts" if public else "")

    def _ack(self, message: Message) -> Ack:
        """On the thread that sends."""
        channel = self.settings.named(message.channel)
        if not message.ack or channel is None:
            return Ack()
        public, hours = self.hall.settings.web.public_url, self.settings.ack_link_h
        if channel.kind == "modem":
            return Ack(code=self.settings.ack_sms)
        if channel.kind != "url" or not public or not hours:
            return Ack()
        try:
            token = links.issue(self.hall.db, message.id, self.hall.now_us() + hours * 3600 * S_US)
        except StoreError:
            return Ack()  # the message matters more than its link
        return Ack(link=f"{public.rstrip('/')}/a/{token}")

    def _current(self, alert_id: int) -> Alert | None:
        row = alert_rows.one(self.hall.db, alert_id)
        return None if row is None else alert_rows.alert(row)

    def _is_event(self, device: str, node: str, prop: str) -> bool:
        known = self.hall.tree.device(device)
        of = known.description.nodes.get(node) if known is not None and known.description is not None else None
        found = of.properties.get(prop) if of is not None else None
        return found is not None and not found.retained

    # --- asked by pages and people -------------------------------------------------------------------------

    def _ask(self, name: str, args: dict[str, Any], who: str) -> Any:
        handler = self.hall.desk.handlers.get(name)
        if handler is None:
            raise Refused(f"this hub knows no {name}")
        return handler(args, who)

    def _test(self, args: dict[str, Any], who: str) -> Any:
        name = args.get("name")
        channel = self.settings.named(name) if isinstance(name, str) else None
        if channel is None:
            raise Refused(f"no channel {str(name)[:40]!r} in hub.toml")
        if any(one.kind == "test" and one.channel == channel.name for one in rows.open_messages(self.hall.db)):
            raise Refused(f"a test of {channel.name} is under way: wait for its end")
        made = self.outbox.test(channel, self.hall.now_us())
        log.info("test of channel %s asked for by %s", channel.name, who)
        return {"messages": [one.id for one in made]}

    def _acknowledge_link(self, args: dict[str, Any], who: str) -> Any:
        """By a link in a message: for the alerts of that message, whoever has it."""
        token = args.get("token")
        found = links.find(self.hall.db, token, self.hall.now_us()) if isinstance(token, str) else None
        if found is None or not self.settings.ack_link_h:
            raise Refused("this link is not good any more")
        done, refused = 0, ""
        for alert in found.alerts:
            try:
                self._ask("alert.acknowledge", {"id": alert.id}, f"link by {found.message.channel}")
                done += 1
            except Refused as error:
                refused = str(error)
        if not done:
            raise Refused(refused or "there is nothing to acknowledge")
        return {"acknowledged": done}

    # --- B18 -----------------------------------------------------------------------------------------------

    def store_failed(self, error: str) -> None:
        """Once, by a channel that needs no database."""
        now = self.hall.now_us()
        if self._store_down:
            return
        self._store_down = True
        if self._store_failed_us is not None and now - self._store_failed_us < STORE_QUIET_US:
            return
        title = f"{self.hall.settings.hub.name}: critical: alerts cannot be kept"
        text = (f"{error}\nUntil then this hub tells of nothing else: look at the pages.\n"
                "What to do: free space on the hub's disk, then look at the log of notify.")
        threading.Thread(target=self._say_store_failed, args=(title, text, now), daemon=True, name="store").start()

    def _say_store_failed(self, title: str, text: str, now_us: int) -> None:
        """The first channel that takes it is enough."""
        for step in self.settings.steps("critical"):
            for name in step.channels:
                channel = self.settings.named(name)
                if channel is None:
                    continue
                body = text if channel.kind == "url" else text.replace("\n", " ")
                for to in channel.recipients:
                    message = Message(0, new_key(), name, to, "alert", "critical", 1, title, body, False, "sending",
                                      now_us, now_us, 1, 0, None, "")
                    outcome = self.ways[name].send(message, Ack())
                    if outcome.ok:
                        log.warning("alerts.db cannot be written: said by channel %s", name)
                        return
                    log.warning("channel %s: %s", name, outcome.error)


