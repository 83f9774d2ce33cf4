"""One command: checked, sent as the request ``set``, answered, audited with what was before and what came of it.

B13: the hub that rules is the one with the highest term. Ours is in our store; where the broker keeps a higher one,
another hub rules and this one commands nothing. B50: a request is good for a few seconds and has an id, so a late or
repeated one does nothing.
"""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from agent.wire import faults
from agent.wire.private import without
from hub.command.values import words
from hub.live import LiveDevice, NotConnected, PropertyInfo
from hub.web.audit import Audit
from hub.web.house import Hut
from hub.web.pages import plain

MAX_NOTED = 160
PRIVATE = ("send", "text-message", "new-code", "ussd")
"""What goes over the telephone network: that it was commanded is written down, to whom and what is not."""
CONNECTED = ("ready", "init", "sleeping")


class Outcome(Struct, frozen=True):
    """``status`` is an HTTP one; ``value``: what is true now, as the device says."""

    status: int
    text: str
    value: Any = None
    before: str | None = None
    sent: bool = False
    """It left this hub; False: nothing has happened and nothing will."""

    @property
    def ok(self) -> bool:
        return self.status == 200


class Commands:
    def __init__(self, hut: Hut, audit: Audit) -> None:
        self._hut = hut
        self._audit = audit

    def settable(self, device_id: str, node: str, prop: str) -> tuple[LiveDevice, PropertyInfo] | Outcome:
        """The device and the property, or why not. ``prop``: its Homie id or plain name."""
        t = self._hut.texts
        device = self._hut.tree.device(device_id)
        if device is None:
            return Outcome(404, t("device.not_found", device=device_id[:80]))
        of = device.description.nodes.get(node) if device.description else None
        info = of.properties.get(prop.replace("_", "-")) if of else None
        if info is None:
            return Outcome(404, t("command.not_found", node=node[:80], property=prop[:80]))
        if not info.settable:
            return Outcome(409, t("command.not_settable", name=info.name))
        return device, info

    def send(self, device: LiveDevice, node: str, info: PropertyInfo, value: Any, who: str) -> Outcome:
        """``value`` fits ``info`` already. ``who``: for device and audit."""
        before = device.value(node, info.id)
        outcome = self._send(device, node, info, value, who)
        told = "…" if info.id in PRIVATE else _short(_without_key(value))
        detail = f"{_short(before)} -> {told}" if info.retained else told
        text = without(outcome.text, value) if info.id in PRIVATE else outcome.text
        self._audit.note("set", f"{device.id}/{node}/{info.id}", detail, "done" if outcome.ok else f"refused: {text}")
        return replace(outcome, before=before)

    def refusal(self) -> Outcome | None:
        """Why this hub may command nothing at all now."""
        rival = self._hut.rival()
        if rival is not None:
            return Outcome(409, faults.line("E_SECOND_HUB", who=self._hut.texts(
                "command.rival", term=rival.term, generation=rival.generation[:20])))
        if self._hut.own_term() is None:
            return Outcome(503, self._hut.texts("command.no_term"))
        return None

    def _send(self, device: LiveDevice, node: str, info: PropertyInfo, value: Any, who: str) -> Outcome:
        t = self._hut.texts
        refused = self.refusal()
        if refused is not None:
            return refused
        if device.domain != "homie":
            return Outcome(409, t("command.foreign", device=device.id))
        if device.state not in CONNECTED:
            return Outcome(503, t("command.not_connected", device=device.id))
        try:
            answer = self._hut.client.request(
                device.id, "set", {"node": node, "property": info.id, "value": value, "who": who}, self._hut.command_s)
        except NotConnected as error:
            return Outcome(504, t("command.no_answer", error=_sentence(str(error))), sent=True)
        if answer.status != "ok":
            return Outcome(409, answer.error or answer.status, sent=True)
        now = answer.data.get("value") if isinstance(answer.data, dict) else answer.data
        if not info.retained:
            said = t("command.answered", name=info.name, value=_short(now)) if isinstance(now, dict) and now else \
                t("command.done", name=info.name)
            return Outcome(200, said, now, sent=True)
        if isinstance(now, dict | list):
            return Outcome(200, t("command.done", name=info.name), now, sent=True)
        return Outcome(200, t("command.sent", name=info.name, value=_said(now, info)), now, sent=True)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _without_key(value: Any) -> Any:
    """A lock's key opens something: it is not written down."""
    return {name: "…" if name == "key" else one for name, one in value.items()} if isinstance(value, dict) else value


def _said(value: Any, info: PropertyInfo) -> str:
    """A value in the answer to a person."""
    if isinstance(value, bool):
        labels = words(info)
        value = labels[value] if len(labels) == 2 else str(value).lower()
    elif isinstance(value, int | float):
        value = plain(value)
    return f"{_short(value)[:60]} {info.unit}".rstrip()


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else "–" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_NOTED else text[:MAX_NOTED] + "…"
