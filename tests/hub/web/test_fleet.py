"""The fleet page, served by the real server, from a real broker."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

from agent.testing.broker import Broker
from tests.hub.web.lab import Devices, Web, description, events, fill_store, stamp
from tests.waiting import until


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_retained_devices_are_on_the_page_with_all_that_the_fleet_needs(web: Web, devices: Devices) -> None:
    devices.device("bc-power", "Boiler room", sys__outbox_samples="1234", sys__outbox_oldest_age_s="3.2")
    until("the device", lambda: web.hut.tree.device("bc-power"))
    until("its state", lambda: web.hut.tree.device("bc-power").state == "ready")
    page = words(web.login("vera").get("/").text)
    assert "Everything is all right. 1 device" in page
    assert re.search(r"Boiler room bc-power Live \d s ago in step 1,234 \(3 s\) even 2 well 0\.1\.0", page), page


def test_plugins_are_counted_by_instance_and_not_by_what_they_found(web: Web, devices: Devices) -> None:
    described = description("Boiler room")
    nodes = sorted(node for node in described["nodes"] if node != "sys")
    assert len(nodes) > 1
    devices.device("bc-power", described=described)
    plugin = {"instance": "one", "use": "host", "title": "One", "interval_s": 3600,
              "nodes": [{"id": node, "title": node, "properties": []} for node in nodes]}
    devices.send("hutkeeper/1/bc-power/reported",
                 json.dumps({"name": "Boiler room", "agent_version": "1", "plugins": {"one": plugin}}))
    until("the declaration", lambda: web.hut.tree.device("bc-power") and web.hut.tree.device("bc-power").reported)
    until("its state", lambda: web.hut.tree.device("bc-power").state == "ready")
    viewer = web.login("vera")
    assert " even 1 well " in words(viewer.get("/").text)
    for node in nodes:
        devices.send(f"homie/5/bc-power/{node}/health", "failed")
    until("the last of them", lambda: web.hut.tree.device("bc-power").value(nodes[-1], "health") == "failed")
    assert " even 1 of 1: one " in words(viewer.get("/").text)


def test_no_device_says_how_to_add_one_to_those_who_may(web: Web, devices: Devices) -> None:
    until("ingest", lambda: web.hut.tree.hub_state[0])
    assert 'href="/add">Add your first device' in web.login("anna").get("/").text
    viewer = web.login("vera").get("/").text
    assert "Ask an admin" in viewer and 'href="/add"' not in viewer


def test_lost_degraded_unsynced_and_silent_are_answered_with_what_to_do(web: Web, devices: Devices) -> None:
    devices.device("a", state="lost", ago_s=4000)
    devices.device("b", main_meter__health="degraded")
    devices.device("c", sys__clock_quality="unsynced")
    devices.device("d", ago_s=4000)
    devices.device("e", state="disconnected", ago_s=4000)
    until("five devices", lambda: len(web.hut.tree.devices()) == 5 and web.hut.tree.device("e").state == "disconnected")
    page = words(web.login("vera").get("/").text)
    assert "4 things need you." in page
    for said in ("a : no longer connected", "check its power", "b : plugin Main meter works badly",
                 "W_CLOCK_UNSYNCED", "d : connected, but no new sample"):
        assert said in page, (said, page)
    assert "e :" not in page  # stopped on purpose


def test_B28_a_stamp_in_the_future_is_shown_as_such_and_never_as_live(web: Web, devices: Devices) -> None:
    devices.device("bc-power", "Boiler room", host__last_update=stamp(-365 * 86400))
    until("the device", lambda: web.hut.tree.device("bc-power") and web.hut.tree.device("bc-power").state == "ready")
    client = web.login("vera")
    page = words(client.get("/").text)
    assert "Clock ahead" in page and "364 d ahead" in page and "E_TS_FUTURE" in page
    assert " Live " not in page
    assert "Clock ahead" in words(client.get("/device/bc-power").text)


def test_without_the_broker_one_line_is_said_and_not_one_a_device(web: Web, devices: Devices, broker: Broker) -> None:
    devices.device("a", state="lost")
    until("the device", lambda: web.hut.tree.device("a"))
    broker.stop()
    until("the loss", lambda: not web.hut.client.connected[0])
    page = words(web.login("vera").get("/").text)
    assert "One thing needs you." in page and "E_BROKER_DOWN" in page and "no longer connected" not in page


def test_ingest_down_is_said(web: Web, devices: Devices) -> None:
    devices.send("hutkeeper/1/hub/$state", '{"state":"lost","term":1,"generation":"g"}')
    until("the state", lambda: web.hut.tree.hub_state[0] and web.hut.tree.hub_state[0].state == "lost")
    assert "ingest is down" in web.login("vera").get("/").text


def test_an_alert_reaches_an_open_page_by_its_stream(web: Web, devices: Devices) -> None:
    devices.device("bc-power", "Boiler room")
    until("the device", lambda: web.hut.tree.device("bc-power"))
    client = web.login("vera")
    with client.stream("/events/fleet") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        stream = events(response)
        first = next(stream)
        assert first["all"] == ["bc-power"] and "Boiler room" in first["rows"]["bc-power"]
        devices.send("homie/5/bc-power/$alert/spool",
                     "E_SPOOL_FULL the spool is full; kept: the newest; do: bring the hub back")
        top = next(event["top"] for event in stream if "E_SPOOL_FULL" in event.get("top", ""))
        assert "Do: bring the hub back" in top and "Safe: the newest" in top
        devices.send("homie/5/bc-power/$alert/spool", b"")
        next(event for event in stream if "Everything is all right" in event.get("top", ""))
        devices.send("homie/5/bc-power/$state", b"")
        assert next(event["gone"] for event in stream if "gone" in event) == ["bc-power"]


def test_a_stream_goes_on_where_the_page_was_drawn(web: Web, devices: Devices) -> None:
    for n in range(3):
        devices.device(f"d{n}")
    until("three devices", lambda: len(web.hut.tree.devices()) == 3 and web.hut.tree.device("d2").state == "ready")
    client = web.login("vera")
    since = re.search(r'data-since="([^"]+)"', client.get("/").text)
    assert since is not None
    devices.send("homie/5/d1/$state", "lost")  # between the page and its stream
    until("the state", lambda: web.hut.tree.device("d1").state == "lost")
    with client.stream(f"/events/fleet?since={since[1]}") as response:
        event = next(event for event in events(response) if event.get("rows"))
        assert list(event["rows"]) == ["d1"] and "Lost" in event["rows"]["d1"]


def test_500_devices_are_under_100_kb_on_the_wire(web: Web, devices: Devices) -> None:
    """Figure of issue 2: the fleet page without the chart library."""
    for n in range(500):
        devices.device(f"bc-{n:03d}", f"Room {n}", state="lost" if n % 50 == 0 else "ready")
    until("500 devices", lambda: len(web.hut.tree.devices()) == 500 and web.hut.tree.device("bc-499").state == "ready")
    client = web.login("anna")
    page = client.get("/", Accept_Encoding="gzip")
    total = len(page.body)
    html = gzip.decompress(page.body).decode()
    assert html.count('<tr role="row" id="d-bc-') == 500
    for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', html):
        total += len(client.get(asset, Accept_Encoding="gzip").body)
    assert "uPlot" not in html
    print(f"fleet page of 500 devices: {total} bytes with its style and scripts")
    assert total < 100_000


def test_a_device_of_the_history_alone_is_shown_until_it_is_removed(
    tmp_path: Path, web: Web, devices: Devices
) -> None:
    fill_store(web.settings.samples_db, hours=1)
    client = web.login("anna")
    until("the overview", lambda: web.hut.history.overview().devices)
    page = words(client.get("/").text)
    assert "bc-power Not heard" in page and "in the history, but not on the broker" in page
    assert client.post("/device/bc-power/remove").status == 303
    assert "Not heard" not in client.get("/").text
    assert client.get("/device/bc-power").status == 200  # its history is kept


def test_removing_a_device_clears_what_the_broker_keeps_and_nothing_else(web: Web, devices: Devices) -> None:
    devices.device("bc-power", "Boiler room")
    devices.device("bc-other")
    devices.send("homeassistant/device/bc-power/host/config", "{}")
    devices.send("hutkeeper/1/bc-power/reported", '{"name":"x","agent_version":"1","plugins":{}}')
    until("both", lambda: len(web.hut.tree.devices()) == 2)
    client = web.login("anna")
    refused = client.post("/device/bc-power/remove")
    assert refused.status == 303 and "stop" in client.get(refused.headers["Location"]).text  # still connected
    assert "Call us" not in client.get("/device/bc-power?error=Call+us").text  # no link puts words on our page
    devices.send("homie/5/bc-power/$state", "lost")
    until("the loss", lambda: web.hut.tree.device("bc-power").state == "lost")
    assert client.post("/device/bc-power/remove").headers["Location"] == "/?removed=bc-power"
    until("the end", lambda: web.hut.tree.device("bc-power") is None)
    left = web.hut.client.retained(["homie/5/bc-power/#", "homeassistant/#", "hutkeeper/1/bc-power/#"])
    assert left == set()
    assert web.hut.tree.device("bc-other") is not None
    actions = [row.action for row in web.accounts.db.audit_rows()]
    assert actions.count("remove device") == 2
