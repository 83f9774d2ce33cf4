"""Speech by an announcer plugin. It keeps its own quiet hours too, which only ``alarm`` passes."""

from __future__ import annotations

from agent.wire import private
from hub.notify.channels import ORDER_S, Ack, Outcome, ordered
from hub.notify.commander import Commander
from hub.notify.settings import Channel
from hub.store.outbox_rows import Message

GOOD_S = 300
"""What could not be said within this is not said: it would be news no more."""
DECLINED = ("quiet hours until", "announcements are disabled")
"""An announcer's own words for what is no trouble."""
PRIORITIES = {"critical": "alarm", "error": "high"}


class AnnouncerWay:
    def __init__(self, channel: Channel, commander: Commander) -> None:
        self._channel = channel
        self._commander = commander
        self.about = channel.announcer or ""
        self.limit_s = 2 * ORDER_S
        self.fault = ""

    def send(self, message: Message, ack: Ack) -> Outcome:
        priority = "normal" if message.kind == "resolved" else PRIORITIES.get(message.severity, "normal")
        value = {"text": message.text, "priority": priority, "service": "notify", "id": message.key, "good_s": GOOD_S}
        done = ordered(self._commander, self._channel.node, "say", value)
        if done.ok:
            return Outcome(True)
        return Outcome(False, private.without(done.text, value), later="locked by" in done.text,
                       declined=any(words in done.text for words in DECLINED),
                       unsure=done.sent and "did not answer" in done.text)
