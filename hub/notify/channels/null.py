"""A way to nobody: the canary's, which shows that the outbox moves."""

from __future__ import annotations

from hub.notify.channels import Ack, Outcome
from hub.store.outbox_rows import Message

CANARY = "-canary"
"""No channel of hub.toml can be called that."""


class NullWay:
    about = "nobody"
    limit_s = 5.0
    fault = ""

    def send(self, message: Message, ack: Ack) -> Outcome:
        return Outcome(True)
