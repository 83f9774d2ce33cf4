"""What was commanded is seen by a person, whoever did it: the devices' own record on the audit and the device page."""

from __future__ import annotations

import time
from typing import Any

from hub.store.writer import Writer
from tests.hub.store import lab as store_lab
from tests.hub.web.lab import Devices, Web, heater
from tests.waiting import until

HOUR_US = 3_600_000_000


def told(web: Web, device: str, *orders: dict[str, Any]) -> None:
    """Samples of ``sys/command``, a second apart, the last one now."""
    now_us = time.time_ns() // 1000
    boot_us = now_us - HOUR_US
    rows = [(HOUR_US - 1_000_000 * (len(orders) - n), order) for n, order in enumerate(orders)]
    with Writer(web.settings.samples_db) as writer:
        writer.commit([store_lab.batch(1, {"sys/command": rows}, device=device, received_us=now_us,
                                       offset_us=boot_us)])


def order(who: str, value: Any = None, result: str = "done", prop: str = "setpoint_c") -> dict[str, Any]:
    made = {"node": "heater", "property": prop, "who": who, "result": result}
    return made if value is None else {**made, "value": value}


def test_a_command_of_a_plain_mqtt_client_is_seen_on_the_audit_and_the_device_page(web: Web, devices: Devices) -> None:
    for device in ("heat", "other"):
        heater(devices, device)
        until("the heater", lambda device=device: web.hut.tree.device(device))
    told(web, "heat", order("anna (web)", 20.5), order("mqtt", 22, "refused by heater: locked by the installer"),
         order("mqtt", {"forced": None}, prop="levels"), order("request", prop="say"))
    told(web, "other", order("<script>window.hit=1</script>", "<b>x</b>"))
    page = web.login("anna").get("/audit").text
    commands = page.partition('id="commands"')[2]
    assert "locked by the installer" in commands and "heater/levels" in commands and '">heat</a>' in commands
    assert "&lt;script&gt;window.hit=1" in commands and "<script>window" not in page and "<b>x</b>" not in page
    assert commands.index("heater/say") < commands.index("locked by the installer")  # newest first
    of_heat = web.login("otto").get("/device/heat").text
    assert "Last commands" in of_heat and "locked by the installer" in of_heat and "window.hit" not in of_heat
    assert "Last commands" not in web.login("vera").get("/device/heat").text


def test_a_record_that_is_odd_breaks_no_page(web: Web, devices: Devices) -> None:
    heater(devices, "heat")
    until("the heater", lambda: web.hut.tree.device("heat"))
    told(web, "heat", {"what": 1}, {"node": ["x"], "property": None, "value": {"a": "b" * 5000}, "who": {}}, [1], "x")
    page = web.login("anna").get("/audit")
    assert page.status == 200 and "b" * 100 in page.text and "b" * 200 not in page.text
    assert web.login("anna").get("/device/heat").status == 200
