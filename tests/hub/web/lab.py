"""The real web process in this one: a real broker, a real store, cheroot on a free port, devices that speak Homie 5."""

from __future__ import annotations

import http.client
import json
import math
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import paho.mqtt.client as mqtt
from argon2 import PasswordHasher

from agent.testing.broker import free_port
from agent.wire import messages, topics
from hub import settings as hub_settings
from hub.store.batch import Counts
from hub.store.writer import Writer
from hub.web.accounts import Accounts
from hub.web.history import History
from hub.web.limits import LoginLimits
from hub.web.server import make_hut, make_server
from tests.hub.store import lab as store_lab
from tests.waiting import until

PASSWORD = "olive kettle north"
FAST = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
USERS = {"vera": "viewer", "otto": "operator", "anna": "admin"}
TOML = """\
[hub]
name = "Basecamp"
data_dir = "data"
run_dir = "run"
[broker]
port = {mqtt}
[web]
port = {web}
"""


class Web:
    """``with Web(tmp_path, broker.port) as web: web.login("anna").get("/")``"""

    def __init__(self, folder: Path, mqtt_port: int, *, toml: str = "", streams: int = 64, heartbeat_s: float = 0.3,
                 ahead_us: int = 0) -> None:
        self.port = free_port()
        path = folder / "hub.toml"
        path.write_text(TOML.format(mqtt=mqtt_port, web=self.port) + toml)
        self.settings = hub_settings.load(path)
        self.clock_s = 1000.0
        """What the login limits take for time."""
        self.ahead_us = ahead_us
        """How far sessions think it is later than it is."""
        self.accounts = Accounts(self.settings.web_db, now_us=self.now_us, hasher=FAST)
        self.hut = make_hut(
            self.settings, accounts=self.accounts, streams=streams, heartbeat_s=heartbeat_s,
            limits=LoginLimits(lambda: self.clock_s), history=History(self.settings.samples_db), now_us=self.now_us,
        )
        self.server = make_server(self.hut)
        self.app = self.server.wsgi_app
        self.scheme = "https" if self.settings.web.cert else "http"
        self._thread = threading.Thread(target=self.server.serve, daemon=True)

    def now_us(self) -> int:
        return time.time_ns() // 1000 + self.ahead_us

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> Web:
        self.server.prepare()
        self.hut.client.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hut.feed.close()
        self.hut.client.stop()
        self.server.stop()
        self._thread.join(10)
        self.hut.history.close()
        self.accounts.close()

    def people(self) -> None:
        for name, role in USERS.items():
            self.accounts.add_user(name, role, PASSWORD)

    def rules(self, devices: Devices) -> None:
        """This hub has a term of its own, and it is the one on the broker."""
        with Writer(self.settings.samples_db) as writer:
            state = messages.HubState("ready", writer.new_term(1), writer.generation)
        devices.send(topics.HUB_STATE, messages.encode(state))
        until("our term", lambda: self.hut.tree.hub_state[0] == state)

    def login(self, name: str, password: str = PASSWORD) -> Client:
        client = Client(self.port)
        answer = client.post("/login", {"name": name, "password": password}, page="/login")
        assert answer.status == 303, answer.text
        return client

    def synced(self) -> None:
        until("the live tree", lambda: self.hut.client.connected[0] and self.hut.tree._confirmed is None)


class Answer:
    def __init__(self, response: http.client.HTTPResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A browser without a screen: cookies, and forms that carry the page's token."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}
        self.origin = f"http://127.0.0.1:{port}"

    def request(self, method: str, path: str, body: str = "", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            sent = {key.replace("_", "-"): value for key, value in headers.items()}
            if self.cookies:
                sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            connection.request(method, path, body or None, sent)
            response = connection.getresponse()
            self._keep(response)
            return Answer(response, response.read())
        finally:
            connection.close()

    def _keep(self, response: http.client.HTTPResponse) -> None:
        for header in response.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(header).items():
                if morsel.value:
                    self.cookies[name] = morsel.value
                else:
                    self.cookies.pop(name, None)

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    def form_token(self, page: str) -> str:
        found = re.search(r'(?:data-form|name="_form" value)="([0-9a-f]{64})"', self.get(page).text)
        assert found is not None, f"no form on {page}"
        return found[1]

    def post(self, path: str, form: dict[str, str] | None = None, page: str = "/", **headers: str) -> Answer:
        fields = {"_form": self.form_token(page), **(form or {})}
        return self.request("POST", path, urlencode(fields), Origin=self.origin,
                            Content_Type="application/x-www-form-urlencoded", **headers)

    @contextmanager
    def stream(self, path: str) -> Iterator[http.client.HTTPResponse]:
        """An open event stream."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={
                "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())})
            yield connection.getresponse()
        finally:
            connection.close()


def events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Data of an event stream as it comes."""
    while True:
        line = response.readline()
        if not line:
            return
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


# --- devices ------------------------------------------------------------------------------------------------


def stamp(ago_s: float = 0.0) -> str:
    return (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat()


PROPERTIES = {
    "host": {
        "cpu-percent": {"name": "CPU", "datatype": "float", "unit": "%"},
        "soc-temperature-c": {"name": "SoC temperature", "datatype": "float", "unit": "°C"},
        "disk-free-b": {"name": "Disk free", "datatype": "integer", "unit": "B"},
        "under-voltage": {"name": "Under-voltage", "datatype": "boolean"},
    },
    "main-meter": {
        "active-power-l1-w": {"name": "Active power L1", "datatype": "float", "unit": "W"},
        "active-energy-import-kwh": {"name": "Energy imported", "datatype": "float", "unit": "kWh"},
        "tariff": {"name": "Tariff", "datatype": "enum", "format": "HC,HP"},
    },
}
OWN = {"health": {"datatype": "enum"}, "last-update": {"datatype": "datetime"}, "errors": {"datatype": "integer"}}
NAMES = {"host": "This machine", "main-meter": "Main meter", "sys": "Agent"}
VALUES = {
    "host/cpu-percent": "12.5", "host/soc-temperature-c": "48.7", "host/disk-free-b": "21474836480",
    "host/under-voltage": "false", "main-meter/active-power-l1-w": "412",
    "main-meter/active-energy-import-kwh": "12841.337",
    "main-meter/tariff": "HC", "sys/version": "0.1.0", "sys/clock-quality": "synced", "sys/uptime-s": "86400",
    "sys/outbox-batches": "1", "sys/outbox-samples": "12", "sys/outbox-oldest-age-s": "0.8",
    "sys/address": "192.168.1.20",
}


def description(name: str) -> dict[str, Any]:
    nodes = {
        node: {"name": NAMES[node], "type": node, "properties": deepcopy({**of, **OWN})}
        for node, of in PROPERTIES.items()
    }
    nodes["sys"] = {"name": "Agent", "type": "agent", "properties": {
        "uptime-s": {"name": "Uptime", "datatype": "integer", "unit": "s"},
        "version": {"name": "Version", "datatype": "string"},
    }}
    return {"homie": "5.0", "version": 1, "name": name, "nodes": nodes}


class Devices:
    """Homie devices over one connection. ``publish`` waits until the broker has taken everything."""

    def __init__(self, port: int) -> None:
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.max_inflight_messages_set(1000)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def __enter__(self) -> Devices:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def send(self, topic: str, payload: str | bytes, retain: bool = True) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(20)

    def hub_ready(self) -> None:
        self.send(topics.HUB_STATE, messages.encode(messages.HubState("ready", 1, "g")))

    def device(self, device: str, name: str = "", *, state: str = "ready", ago_s: float = 1.0,
               described: dict[str, Any] | None = None, **values: str) -> None:
        """Announce a device. ``values``: ``sys__version="1"`` sets ``sys/version``; ``-`` is written ``_``."""
        base = topics.homie(device)
        self.client.publish(f"{base}/$state", "init", 1, True)
        self.client.publish(f"{base}/$description", json.dumps(described or description(name or device)), 1, True)
        now = stamp(ago_s)
        sent = dict(VALUES) if described is None or "host" in described["nodes"] else {}
        for node in PROPERTIES if sent else ():
            sent |= {f"{node}/health": "ok", f"{node}/last-update": now, f"{node}/errors": "0"}
        sent["sys/last-receipt"] = now
        sent |= {key.replace("__", "/").replace("_", "-"): value for key, value in values.items()}
        for topic, value in sent.items():
            self.client.publish(f"{base}/{topic}", value, 1, True)
        self.send(f"{base}/$state", state)


class Obedient:
    """The side of a device that takes the request ``set``: an MQTT client of its own. ``taken`` are the requests;
    ``refuse`` a line for the next ones, ``mute``: it gives no answer; ``says``: property -> what it answers."""

    def __init__(self, port: int, device: str) -> None:
        self.device = device
        self.taken: list[messages.Request] = []
        self.refuse = ""
        self.mute = False
        self.says: dict[str, Any] = {}
        self.whole: dict[str, dict[str, Any]] = {"schedule": deepcopy(SCHEDULE), "levels": {
            "base": {"profile": "work_week"}, "supplementary": None, "exceptional": None, "forced": None}}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port)
        ready = threading.Event()
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.subscribe(topics.request(device, "set"), 1)
        self.client.loop_start()
        assert ready.wait(10)

    def __enter__(self) -> Obedient:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    @property
    def asked(self) -> list[tuple[str, str, Any]]:
        """(node, property, value) of each request, in turn."""
        return [(one.args["node"], one.args["property"], one.args["value"]) for one in self.taken]

    def _on_message(self, client: Any, userdata: Any, message: mqtt.MQTTMessage) -> None:
        assert not message.retain
        request = messages.decode(message.payload, messages.Request)
        self.taken.append(request)
        if self.mute:
            return
        prop, value = request.args["property"], request.args["value"]
        if self.refuse:
            answer = messages.Response(request.id, "error", error=self.refuse)
        else:
            answer = messages.Response(request.id, "ok", {"value": self.says.get(prop, value)})
            if prop in self.whole:  # only what is named is changed
                value = self.whole[prop] = self.whole[prop] | value
            text = value if isinstance(value, str) else json.dumps(value)
            self.client.publish(topics.homie(self.device, request.args["node"], prop), text, 1, prop not in EVENTS)
        self.client.publish(topics.response(self.device, "set"), messages.encode(answer), 1)


EVENTS = ("say", "send", "lock", "release", "announce", "text-message")
PROFILE_WEEK = [["06:00-08:00", "17:00-22:30"]] * 5 + [["08:00-24:00"], ["22:00-02:00", "09:00-21:00"]]
SCHEDULE = {"profiles": {
    "work_week": {"comfort_c": 20.5, "eco_c": 18.5, "delta_plus_c": 0.1, "delta_minus_c": 0.25,
                  "calendar": PROFILE_WEEK},
    "frost": {"comfort_c": 16, "eco_c": 16, "delta_plus_c": 0.5, "delta_minus_c": 0.5, "calendar": [[]] * 7}},
    "holidays": [{"from": "2026-12-24", "to": "2027-01-03", "profile": "frost"}], "main_sensor_calendar": {}}
HEATER = {
    "room-temperature-c": {"name": "Room temperature", "datatype": "float", "unit": "°C"},
    "setpoint-c": {"name": "Set point", "datatype": "float", "unit": "°C", "format": "5:30:0.1", "settable": True},
    "mode": {"name": "Mode", "datatype": "enum", "format": "off,auto,forced", "settable": True},
    "profile": {"name": "Profile", "datatype": "enum", "format": "work_week,frost", "settable": True},
    "until": {"name": "Until", "datatype": "datetime", "settable": True},
    "levels": {"name": "Levels", "datatype": "json", "settable": True},
    "schedule": {"name": "Schedule", "datatype": "json", "settable": True},
    "action": {"name": "Action", "datatype": "enum", "format": "off,idle,heating"},
    "relay": {"name": "Relay", "datatype": "boolean"},
    "contact": {"name": "Contact", "datatype": "boolean"},
    "power-pct": {"name": "Power", "datatype": "float", "unit": "%"},
    "heat-demand": {"name": "Heat demand", "datatype": "boolean"},
    "window-open": {"name": "Window open", "datatype": "boolean"},
    "failsafe": {"name": "Fail-safe", "datatype": "boolean"},
    "shed": {"name": "Shed", "datatype": "boolean"},
    "why": {"name": "Why", "datatype": "string"},
    "next-change": {"name": "Next change", "datatype": "datetime"},
    "next-setpoint-c": {"name": "Next set point", "datatype": "float", "unit": "°C"},
}

SPEECH = {"homie": "5.0", "version": 1, "name": "Hall", "nodes": {"voice": {"name": "Voice", "type": "announcer",
          "properties": {
              "say": {"name": "Say", "datatype": "json", "settable": True, "retained": False},
              "announce": {"name": "Announce", "datatype": "string", "settable": True, "retained": False},
              "lock": {"name": "Take the lock", "datatype": "json", "settable": True, "retained": False},
              "release": {"name": "Give it back", "datatype": "json", "settable": True, "retained": False},
              "enabled": {"name": "Announcements", "datatype": "boolean", "settable": True, "format": "off,on"},
              "lock-state": {"name": "Who holds the lock", "datatype": "json"}}}}}
MODEM = {"homie": "5.0", "version": 1, "name": "Watch", "nodes": {"modem": {"name": "Modem", "type": "modem",
         "properties": {"send": {"name": "Send", "datatype": "json", "settable": True, "retained": False},
                        "state": {"name": "State", "datatype": "string"}}}}}


def heater(devices: Devices, device: str, name: str = "Living room", node: str = "heater", state: str = "ready",
           **values: str) -> None:
    """A device with one heater, in the middle of an evening at home."""
    told = {"homie": "5.0", "version": 1, "name": f"Pi of {name}",
            "nodes": {node: {"name": name, "type": "relay_heater", "properties": {**HEATER, **OWN}}}}
    later = (datetime.now(UTC) + timedelta(hours=2)).isoformat(timespec="seconds")
    has = {
        "room_temperature_c": "19.6", "setpoint_c": "20.5", "mode": "auto", "profile": "work_week",
        "levels": json.dumps({"base": {"profile": "work_week"}, "supplementary": None, "exceptional": None,
                              "forced": None}),
        "schedule": json.dumps(SCHEDULE), "action": "heating", "relay": "true", "contact": "true", "power_pct": "45",
        "heat_demand": "true", "window_open": "false", "failsafe": "false", "shed": "false", "next_change": later,
        "next_setpoint_c": "18.5", "why": "on: 19.6 °C is below 20.5 °C, comfort of work_week until 22:30",
        "last_update": stamp(1), "health": "ok",
    } | values
    values_of = {f"{node.replace('-', '_')}__{key}": value for key, value in has.items()}
    devices.device(device, described=told, state=state, **values_of)


def fill_store(path: Path, device: str = "bc-power", hours: int = 24) -> None:
    """A day of samples of one device, and its own side of the ledger."""
    now_us = time.time_ns() // 1000
    boot_at = now_us - 2 * hours * 3_600_000_000
    first = now_us - hours * 3_600_000_000 - boot_at
    with Writer(path) as writer:
        n = seq = 0
        for start in range(0, hours * 60, 240):
            rows = [first + minute * 60_000_000 for minute in range(start, min(start + 240, hours * 60))]
            seq += 1
            n += 3 * len(rows)
            power = [(t, 400 + 300 * math.sin(t / 4e9) + 50 * math.sin(t / 3e8)) for t in rows]
            energy = [(t, 12000 + t / 1e10) for t in rows]
            writer.commit([store_lab.batch(seq, {
                "main-meter/active_power_l1_w": power, "main-meter/active_energy_import_kwh": energy,
                "main-meter/tariff": [(t, "HC") for t in rows],
            }, device=device, received_us=now_us, offset_us=boot_at)])
        writer.commit([Counts(device, now_us, messages.LedgerCounts(store_lab.EPOCH, n, n, {}, 0, 0, seq, seq + 1))])
