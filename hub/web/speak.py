"""Speaking and texting through a device: forms on its page, and what the seeds' calls share with them."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, abort, request
from msgspec.structs import replace
from werkzeug.wrappers import Response as BaseResponse

from hub.command.values import BadValue
from hub.live import NodeInfo
from hub.web.access import needs
from hub.web.command import Desk
from hub.web.desks import MAX_SAY, MAX_SMS, speaks, texts
from hub.web.house import Hut
from hub.web.sender import Outcome

NUMBER = re.compile(r"\+?[0-9]{3,15}\Z")


class Speaker:
    """``say`` and ``send`` as the nodes take them: JSON."""

    def __init__(self, hut: Hut, desk: Desk) -> None:
        self._t = hut.texts
        self._desk = desk

    def say(self, device: str, node: str, text: str, *, service: str, priority: str = "", volume: str = "",
            key: str = "") -> Outcome:
        def typed(_: object) -> dict[str, Any]:
            if not text.strip() or len(text) > MAX_SAY:
                raise BadValue(self._t("desk.no_text", n=MAX_SAY))
            value: dict[str, Any] = {"text": text.strip(), "service": service}
            if priority:
                value["priority"] = priority
            if volume:
                value["volume"] = self._volume(volume)
            if key:
                value["key"] = key
            return value

        outcome = self._desk.checked(device, node, "say", typed)
        if not outcome.ok:
            return outcome
        before = outcome.value.get("before") if isinstance(outcome.value, dict) else None
        words = self._t("desk.said_behind", n=before) if before else self._t("desk.said")
        return replace(outcome, text=words)

    def _volume(self, text: str) -> int:
        if not text.isdecimal() or len(text) > 3 or int(text) > 100:
            raise BadValue(self._t("desk.no_volume", volume=text[:20]))
        return int(text)

    def send(self, device: str, node: str, to: str, text: str) -> Outcome:
        def typed(_: object) -> dict[str, Any]:
            number = re.sub(r"[ ./()-]", "", to)
            if not NUMBER.match(number):
                raise BadValue(self._t("desk.no_to", to=to[:30]))
            if not text.strip() or len(text) > MAX_SMS:
                raise BadValue(self._t("desk.no_text", n=MAX_SMS))
            return {"to": number, "text": text}

        outcome = self._desk.checked(device, node, "send", typed)
        return replace(outcome, text=self._t("desk.sent")) if outcome.ok else outcome


def blueprint(hut: Hut, desk: Desk) -> Blueprint:
    bp = Blueprint("speak", __name__)
    speaker = Speaker(hut, desk)

    def node_of(device_id: str, takes: Any) -> str:
        device = hut.tree.device(device_id)
        name = request.form.get("node", "")
        node: NodeInfo | None = device.description.nodes.get(name) if device and device.description else None
        if node is None or not takes(node):
            abort(404, hut.texts("desk.not_here", node=name[:60], device=device_id[:60]))
        return name

    @bp.post("/device/<device_id>/say")
    @needs("operator")
    def say(device_id: str) -> BaseResponse:
        node = node_of(device_id, speaks)
        form = request.form
        outcome = speaker.say(device_id, node, form.get("text", "").replace("\r\n", "\n"), service="hub",
                              priority=form.get("priority", ""), volume=form.get("volume", "").strip())
        return desk.answer(outcome, f"/device/{device_id}#n-{node}")

    @bp.post("/device/<device_id>/send")
    @needs("operator")
    def send(device_id: str) -> BaseResponse:
        node = node_of(device_id, texts)
        outcome = speaker.send(device_id, node, request.form.get("to", ""),
                               request.form.get("text", "").replace("\r\n", "\n"))
        return desk.answer(outcome, f"/device/{device_id}#n-{node}")

    return bp
