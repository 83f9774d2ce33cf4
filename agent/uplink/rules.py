"""The rules of this device as ``uplink`` sees them: what the hub wants is kept on disk, what the process ``rules`` says
of itself goes out in ``reported``, its orders to the plugins. No rule is read here."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agent import bus
from agent.api import homie_id
from agent.clock import boottime_us
from agent.ruling import desired
from agent.uplink.orders import as_payload
from agent.wire import topics
from agent.wire.messages import Desired

if TYPE_CHECKING:
    from agent.uplink.service import Uplink

log = logging.getLogger(__name__)

DECLARED = "declared.json"


class Rules:
    """``wanted``: as on disk. ``state``: as the process said last."""

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink
        device = uplink.settings.device
        self._topic = topics.desired(device.id)
        self._data_dir, self._run_dir = device.data_dir, device.run_dir
        self.wanted = desired.read(device.data_dir)
        self.state: bus.RulesState | None = None
        self.refused = ""
        """Why the newest document was not taken."""

    def subscription(self) -> str:
        return self._topic

    def reported(self) -> dict[str, Any]:
        """The fields of :class:`agent.wire.messages.Reported`."""
        if self.wanted is None:
            return {"rules_refused": {"*": self.refused}} if self.refused else {}
        if not self.wanted.rules:
            return {"rules_version": self.wanted.version}
        if self.state is None:
            return {}
        refused = dict(self.state.refused) | ({"*": self.refused} if self.refused else {})
        return {"rules_version": self.state.version, "rules_refused": refused}

    def on_message(self, topic: str, payload: bytes) -> bool:
        """True when it was what the hub wants."""
        if topic != self._topic:
            return False
        try:
            wanted = desired.parse(payload)
        except desired.Refused as error:
            self.refused = str(error)
            log.warning("desired: %s; the rules of before go on", error)
            return True
        self.refused = ""
        if wanted == (self.wanted or Desired(0, {})):
            return True
        try:
            desired.write(self._data_dir, wanted)
        except OSError as error:
            self.refused = f"the rules cannot be kept: {error.strerror}; those of before go on"
            log.error("desired: %s", self.refused)
            return True
        for rule in set(self.wanted.rules if self.wanted else ()) - set(wanted.rules):
            self._uplink.state.on_alert(bus.Alert("rules", f"rule-{rule}", None))
        self.wanted = wanted
        log.info("rules: version %d of the hub has %d", wanted.version, len(wanted.rules))
        if not wanted.rules:
            self.state = None
            for path in (self._data_dir / "rules" / "firing.json", self._run_dir / "rules.json"):
                with contextlib.suppress(OSError):
                    path.unlink()  # a rule that comes again fires anew
        return True

    def lives_here(self, rule: str) -> bool:
        """Whether the hub wants it here. The process goes on with the rules it was started with until the watchdog has
        seen that there are others: a rule that has moved or is no more says and does nothing meanwhile."""
        return self.wanted is not None and rule in self.wanted.rules

    def on_alert(self, alert: bus.Alert) -> None:
        """Of the process ``rules``."""
        if alert.text is None or self.lives_here(alert.id.removeprefix("rule-")):
            self._uplink.state.on_alert(alert)

    def on_rules(self, message: bus.RulesState | bus.Order, answer: Callable[[bus.Done], object]) -> None:
        """Of the process ``rules``; an order may also come from a plugin. ``answer`` reaches who gave it."""
        if isinstance(message, bus.RulesState):
            if self.wanted is not None and self.wanted.rules:
                self.state = message
            return
        of_rules = message.instance == "rules"
        if of_rules and not self.lives_here(message.who.removeprefix("rule:")):
            log.info("%s lives here no more: %s/%s is not set", message.who, message.node, message.property)
            answer(bus.Done(message.id, False, "this rule lives here no more", None))
            return
        who = message.who if of_rules else f"plugin:{message.instance}"

        def done(now_true: Any, refusal: str | None) -> None:
            answer(bus.Done(message.id, refusal is None, refusal or "", now_true))
            if refusal is not None and of_rules:
                text = f"{message.who}: {message.node}/{message.property} was not set: {refusal}"
                log.warning("%s", text)
                self._uplink.state.on_log(bus.LogLine("rules", "warning", text, boottime_us()))

        self._uplink.state.order(message.node, homie_id(message.property), as_payload(message.value),
                                 who, done)

    def declared(self, payload: bytes) -> None:
        """What goes out as ``reported``, for the process ``rules``; nothing is written where there are none."""
        if self.wanted is None or not self.wanted.rules:
            return
        path = self._run_dir / DECLARED
        scratch = path.with_suffix(".part")
        with contextlib.suppress(OSError):
            scratch.write_bytes(payload)
            scratch.replace(path)
