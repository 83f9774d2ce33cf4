"""SMS by a modem plugin: it takes a message with an ``id`` once, keeps it over power cuts and tries for a day."""

from __future__ import annotations

import logging

from agent.wire import private
from hub.notify.channels import ORDER_S, Ack, Outcome, ordered
from hub.notify.commander import Commander
from hub.notify.settings import Channel
from hub.notify.texts import REPLY
from hub.store.outbox_rows import Message

log = logging.getLogger(__name__)

CODE_MIN = 720
"""How long a reply acknowledges."""


class ModemWay:
    def __init__(self, channel: Channel, commander: Commander) -> None:
        self._channel = channel
        self._commander = commander
        self.about = channel.modem or ""
        self.limit_s = 3 * ORDER_S
        self.fault = ""

    def send(self, message: Message, ack: Ack) -> Outcome:
        text = message.text
        if ack.code:
            code = self._code(message.recipient)
            if code:
                text += REPLY.format(code=code)
        value = {"to": message.recipient, "text": text, "id": message.key}
        done = ordered(self._commander, self._channel.node, "send", value)
        if done.ok:
            return Outcome(True)
        error = private.without(done.text, value)
        return Outcome(False, error, later="held back" in done.text, unsure=done.sent and "did not answer" in done.text)

    def _code(self, number: str) -> str:
        """Good once, for this number; '' where the modem gives none (nobody in its ``allow``): then a reply does
        nothing, and the SMS does not ask for one."""
        done = ordered(self._commander, self._channel.node, "new_code", {"minutes": CODE_MIN, "for": number})
        answer = done.value.get("value") if done.ok and isinstance(done.value, dict) else None
        code = answer.get("code") if isinstance(answer, dict) else None
        if not isinstance(code, str) or not code.isdigit():
            log.info("channel %s: no code to reply with: %s", self._channel.name,
                     private.without(done.text, {"for": number}) or "the modem gave none")
            return ""
        return code
