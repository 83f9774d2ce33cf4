"""The log tail of a device, asked for over MQTT and read on the page."""

from __future__ import annotations

import json

from agent.wire import messages, topics
from hub.web.device import log_line
from tests.hub.web.lab import Devices, Web
from tests.waiting import until


def test_the_log_tail_comes_from_the_device(web: Web, devices: Devices) -> None:
    devices.device("bc-power")
    until("the device", lambda: web.hut.tree.device("bc-power"))

    def answer(client: object, userdata: object, message: object) -> None:
        request = messages.decode(message.payload, messages.Request)  # type: ignore[attr-defined]
        lines = [{"t": "2026-11-22T03:00:00Z", "level": "warning", "logger": "meter", "message": "no <b>frame</b>"}]
        devices.client.publish(topics.response("bc-power", "log_tail"),
                               messages.encode(messages.Response(request.id, "ok", {"lines": lines})), 1)

    devices.client.on_message = answer
    devices.client.subscribe(topics.request("bc-power", "log_tail"), 1)
    vera = web.login("vera")
    told = until("the lines", lambda: (reply := vera.post("/device/bc-power/log")).status == 200 and reply.json)
    assert told["lines"] == [["2026-11-22T03:00:00Z", "warn", "meter: no <b>frame</b>"]]
    assert vera.post("/device/nobody/log").status == 404


def test_any_line_is_readable() -> None:
    assert log_line("plain") == ["", "", "plain"]
    assert log_line({"message": "x" * 9000})[2] == "x" * 2000
    assert log_line(json.loads('{"t":1,"level":null,"message":{"a":1}}')) == ["1", "None", "{'a': 1}"]
