"""The read API, its document, /metrics and the downloads."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub.store.writer import Writer
from hub.watch.pulse import Pulse
from hub.web.api import DeviceOut
from hub.web.openapi import OPERATIONS, openapi_path
from tests.hub.alerts.house import House
from tests.hub.store import lab as store_lab
from tests.hub.web.lab import Client, Devices, Web, fill_store
from tests.waiting import until


@pytest.fixture
def filled(web: Web, devices: Devices) -> Web:
    fill_store(web.settings.samples_db, hours=6)
    devices.device("bc-power", "Boiler room", sys__outbox_samples="77", sys__outbox_oldest_age_s="3.5")
    until("the device", lambda: web.hut.tree.device("bc-power") and web.hut.tree.device("bc-power").state == "ready")
    return web


def follow(schema: dict[str, Any], value: Any, document: dict[str, Any], at: str = "$") -> None:
    """Our own small check of a value against the kinds of JSON Schema that the document uses."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return follow(document["components"]["schemas"][name], value, document, at)
    if "anyOf" in schema:
        errors = []
        for one in schema["anyOf"]:
            try:
                return follow(one, value, document, at)
            except AssertionError as error:
                errors.append(str(error))
        raise AssertionError(errors)
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None), "array": list,
             "object": dict}
    if "type" in schema:
        assert isinstance(value, kinds[schema["type"]]), f"{at}: {value!r} is no {schema['type']}"
    for name in schema.get("required", ()):
        assert name in value, f"{at}: {name} is missing"
    if isinstance(value, dict):
        for name, one in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            if isinstance(inner, dict):
                follow(inner, one, document, f"{at}.{name}")
    if isinstance(value, list):
        for n, one in enumerate(value):
            inner = schema["prefixItems"][n] if n < len(schema.get("prefixItems", ())) else schema.get("items", {})
            if isinstance(inner, dict):
                follow(inner, one, document, f"{at}[{n}]")
    return None


def test_the_document_names_every_route_and_every_answer_follows_it(filled: Web, tmp_path: Path) -> None:
    with House(tmp_path, settings=filled.settings) as house:
        house.ingest = None
        house.run(12)  # there is an alert to be shown
    client = filled.login("vera")
    document = client.get("/api/v1/openapi.json").json
    routes = {rule.rule.removeprefix("/api/v1") for rule in filled.app.url_map.iter_rules()
              if rule.rule.startswith("/api/v1/")}
    assert routes == {operation.path for operation in OPERATIONS}
    assert set(document["paths"]) == {openapi_path(route) for route in routes}
    assert document["openapi"].startswith("3.1")
    methods = {(rule.rule, method) for rule in filled.app.url_map.iter_rules() for method in rule.methods or ()}
    for operation in OPERATIONS:
        assert (f"/api/v1{operation.path}", operation.method.upper()) in methods
        told = document["paths"][openapi_path(operation.path)][operation.method]
        assert ("requestBody" in told) == (operation.body is not None) and "401" in told["responses"]
        assert {f"{{{p['name']}}}" for p in told["parameters"] if p["in"] == "path"} == set(
            re.findall(r"\{\w+\}", openapi_path(operation.path)))
    series = client.get("/api/v1/series").json
    for operation in OPERATIONS:
        if operation.method == "post" or operation.path == "/status":
            continue  # they need a device that answers: test_command.py, test_seeds.py
        path = operation.path.replace("<int:series_id>", str(series[0]["id"])).replace("<device_id>", "bc-power")
        path = path.replace("<int:alert_id>", "1")
        query = {"/latest": "?series=1,2", "/energy": "?device=bc-power&node=main-meter"}.get(path, "?range=day")
        answer = client.get(f"/api/v1{path}{query}")
        assert answer.status == 200, (path, answer.text)
        schema = document["paths"][openapi_path(operation.path)]["get"]["responses"]["200"]["content"]
        follow(schema["application/json"]["schema"], answer.json, document, path)


def test_devices_as_they_are_now(filled: Web) -> None:
    client = filled.login("vera")
    (one,) = msgspec.json.decode(client.get("/api/v1/devices").body, type=list[DeviceOut])
    assert (one.id, one.name, one.state, one.waiting_samples) == ("bc-power", "Boiler room", "live", 77)
    assert one.nodes["main-meter"].values["active-power-l1-w"] == "412"
    assert client.get("/api/v1/devices/nobody").status == 404
    assert "nobody" in client.get("/api/v1/devices/nobody").json["error"]


def test_charts_and_samples_over_a_range(filled: Web) -> None:
    client = filled.login("vera")
    row = next(row for row in client.get("/api/v1/series?device=bc-power").json
               if row["property"] == "active_power_l1_w")
    chart = client.get(f"/api/v1/series/{row['id']}/chart?range=day&points=50").json
    assert 0 < len(chart["t_us"]) <= 50
    assert all(low <= mean <= high for low, mean, high in
               zip(chart["min"], chart["mean"], chart["max"], strict=True))
    samples = client.get(f"/api/v1/series/{row['id']}/samples?range=day").json
    assert len(samples) == 360 and samples == sorted(samples)
    first, last = samples[0][0], samples[-1][0]
    some = client.get(f"/api/v1/series/{row['id']}/samples?start={samples[10][0]}&end={samples[20][0]}").json
    assert [one[0] for one in some] == [one[0] for one in samples[10:20]]
    assert len(client.get(f"/api/v1/series/{row['id']}/samples?start={first}&end={last}&limit=7").json) == 7
    text = client.get(f"/api/v1/series/{row['id']}/samples?range=day&format=csv")
    assert "attachment" in text.headers["Content-Disposition"]
    lines = list(csv.reader(io.StringIO(text.text)))
    assert lines[0][0] == "time" and len(lines) == 361
    assert [float(line[1]) for line in lines[1:]] == [one[1] for one in samples]
    newest = client.get(f"/api/v1/latest?series={row['id']},999999").json
    assert newest == {str(row["id"]): samples[-1]}


@pytest.mark.parametrize("query", ["range=forever", "start=yesterday", "start=5&end=3", "range=day&points=0",
                                   "range=day&points=1e9", "start=2026-13-45T99:99"])
def test_a_bad_range_is_said_in_one_line(filled: Web, query: str) -> None:
    answer = filled.login("vera").get(f"/api/v1/series/1/chart?{query}")
    assert answer.status == 400 and len(answer.json["error"].splitlines()) == 1


def test_the_ledger_is_even_and_metrics_say_so(filled: Web) -> None:
    secret = filled.accounts.make_token("prometheus", "anna", 30)
    client = Client(filled.port)
    (row,) = client.get("/api/v1/ledger", Authorization=f"Bearer {secret}").json
    misspelt = client.get("/api/v1/ledgr", Authorization=f"Bearer {secret}")
    assert misspelt.status == 404 and "error" in misspelt.json
    assert client.get("/api/v1/ledgr", Authorization="Bearer wrong").status == 401
    assert row["difference"] == 0 and row["stored"] == 3 * 360
    text = client.get("/metrics", Authorization=f"Bearer {secret}").text
    values = {(sample.name, tuple(sample.labels.items())): sample.value
              for family in text_string_to_metric_families(text) for sample in family.samples}
    assert values["hutkeeper_devices", (("state", "live"),)] == 1
    assert values["hutkeeper_devices", (("state", "lost"),)] == 0
    assert values["hutkeeper_samples_stored_total", (("device", "bc-power"),)] == 1080
    assert values["hutkeeper_ledger_difference_samples", (("device", "bc-power"),)] == 0
    assert values["hutkeeper_spool_samples", (("device", "bc-power"),)] == 77
    assert values["hutkeeper_ingest_ready", ()] == 1 and values["hutkeeper_store_readable", ()] == 1
    assert values["hutkeeper_ingest_lag_seconds", ()] == 3.5


def test_without_a_store_pages_and_metrics_still_answer(web: Web, devices: Devices) -> None:
    devices.device("bc-power")
    until("the device", lambda: web.hut.tree.device("bc-power"))
    client = web.login("vera")
    assert client.get("/").status == 200 and client.get("/device/bc-power").status == 200
    assert "hutkeeper_devices" in client.get("/metrics").text
    answer = client.get("/api/v1/series")
    assert answer.status == 503 and "hutkeeper-hub run" in answer.json["error"]
    assert client.get("/series/1").status == 503


def test_alive_tells_no_detail_and_when_something_stands_still(web: Web) -> None:
    client = Client(web.port)
    assert (client.get("/alive").status, client.get("/alive").json) == (503, {"alive": False})
    run_dir = web.settings.hub.run_dir
    pulses = [Pulse(run_dir, part) for part in ("ingest", "notify")]
    pulses[0].beat()
    assert client.get("/alive").status == 503
    pulses[1].beat()
    assert (client.get("/alive").status, client.get("/alive").json) == (200, {"alive": True})
    still_ns = time.monotonic_ns() - 31_000_000_000
    os.utime(run_dir / "pulse" / "notify", ns=(still_ns, still_ns))
    assert client.get("/alive").status == 503
    os.utime(run_dir / "pulse" / "notify", ns=(time.monotonic_ns(), time.monotonic_ns()))
    (run_dir / "pulse" / "ingest").write_text("999999999 1\n")  # its process is gone
    assert client.get("/alive").status == 503
    pulses[0].end()
    pulses[0] = Pulse(run_dir, "ingest")
    pulses[0].beat()
    assert client.get("/alive").status == 200
    web.hut.client.fault = "the live tree's thread ended"
    answer = client.get("/alive")
    assert answer.status == 503 and json.loads(answer.body) == {"alive": False}


def test_the_series_page_says_what_to_do_without_the_chart_library(
    filled: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hub.web import series as page

    client = filled.login("vera")
    row = next(row for row in client.get("/api/v1/series").json if row["property"] == "active_power_l1_w")
    monkeypatch.setattr(page, "BUILT", page.BUILT / "not-built")
    html = client.get(f"/series/{row['id']}").text
    assert "make assets" in html and "<svg viewBox" in html and "uPlot" not in html
    assert html.count("<tr>") > 50  # the table
    empty = client.get(f"/series/{row['id']}?start=2020-01-01&end=2020-01-02").text
    assert "Nothing in this range" in empty
    assert client.get("/series/99999").status == 404
    assert client.get(f"/series/{row['id']}?range=nonsense").status == 400


def test_a_series_of_three_minutes_has_a_line_already(web: Web, devices: Devices) -> None:
    """Sparklines cover six hours, 48 points: what is younger is drawn from its first minutes."""
    now_us = web.now_us()
    boot_at = now_us - 3_600_000_000
    with Writer(web.settings.samples_db) as writer:
        writer.commit([store_lab.batch(1, {"main-meter/active_power_l1_w": [
            (3_600_000_000 - (180 - n) * 1_000_000, 400.0 + n % 7) for n in range(180)]},
            device="bc-power", received_us=now_us, offset_us=boot_at)])
    devices.device("bc-power", "Boiler room")
    until("the device", lambda: web.hut.tree.device("bc-power"))
    (svg,) = web.login("vera").get("/device/bc-power/sparks").json.values()
    assert svg.startswith("<svg") and svg.count("L") >= 8, svg
