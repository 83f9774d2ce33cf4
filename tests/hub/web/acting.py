"""A house that acts: real hub and broker, one agent with the real heater, announcer and modem, each at a real end.

The heater's pins are files to which its guard writes each edge; the announcer speaks into ALSA's null device; the modem
has a stick on a pty with a network behind it (:class:`plugins.modem.fake_modem.FakeModem`), in the test's process."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from jinja2.sandbox import ImmutableSandboxedEnvironment

from plugins.modem.fake_modem import FakeModem
from tests.house import House
from tests.hub.web.lab import Client
from tests.waiting import until

PASSWORD = "olive kettle north"
OWNER = "+33612345678"
PLUGINS = """
[plugins.heating]
use = "relay_heater"
simulate = true
relay = {{ driver = "plain", line = "GPIO17", probe_line = "GPIO27" }}
min_on_s = 10
min_off_s = 10
[plugins.heating.sensors.main]
source = "w1:28-0316a2799fff"
interval_s = 2
[plugins.voice]
use = "announcer"
simulate = true
cache_dir = "{speech}"
[plugins.modem]
port = "{port}"
allow = ["{owner}"]
notify_to = ["{owner}"]
"""


class Watcher:
    """An MQTT client as anybody has one: what is retained, and what it publishes."""

    def __init__(self, port: int) -> None:
        self.seen: dict[str, str] = {}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = self._take
        self.client.on_connect = lambda client, *_: client.subscribe([("homie/5/home/#", 1), ("homeassistant/#", 1)])
        until("the broker", lambda: self._connected(port), timeout_s=60)
        self.client.loop_start()

    def _connected(self, port: int) -> bool:
        try:
            return self.client.connect("127.0.0.1", port) == 0
        except OSError:
            return False

    def _take(self, client: Any, userdata: Any, message: mqtt.MQTTMessage) -> None:
        self.seen[message.topic] = message.payload.decode()

    def value(self, node: str, prop: str) -> str | None:
        return self.seen.get(f"homie/5/home/{node}/{prop}")

    def publish(self, topic: str, payload: str) -> None:
        self.client.publish(topic, payload, 1).wait_for_publish(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Assistant:
    """What Home Assistant does with one announced component: topics and templates, nothing else is known of us."""

    def __init__(self, watcher: Watcher, node: str, component: str) -> None:
        self._watcher = watcher
        self._jinja = ImmutableSandboxedEnvironment()
        topic = f"homeassistant/device/home/{node}/config"
        text = until(f"the announcement of {node}", lambda: watcher.seen.get(topic), timeout_s=60)
        self.config: dict[str, Any] = json.loads(text)["components"][component]

    def state(self, of: str) -> str | None:
        """``mode``, ``temperature``, ``current_temperature``, ``action``, ``preset_mode``."""
        topic = self.config.get(f"{of}_state_topic") or self.config[f"{of}_topic"]
        raw = self._watcher.seen.get(topic)
        template = self.config.get(f"{of}_state_template") or self.config.get(f"{of}_template") \
            or self.config.get(f"{of}_value_template")
        return raw if raw is None or template is None else self._render(template, raw)

    def command(self, of: str, value: Any) -> None:
        template = self.config.get(f"{of}_command_template")
        self._watcher.publish(self.config[f"{of}_command_topic"],
                              str(value) if template is None else self._render(template, value))

    def notify(self, words: str) -> None:
        assert self.config["platform"] == "notify"
        template = self.config.get("command_template")
        self._watcher.publish(self.config["command_topic"], words if not template else self._render(template, words))

    def _render(self, template: str, value: Any) -> str:
        return self._jinja.from_string(template).render(value=value)


class Acting:
    """``with Acting(folder) as acting``: everything is there and answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.speech = folder / "speech"
        self._stack = ExitStack()

    def __enter__(self) -> Acting:
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _begin(self) -> None:
        (self.folder / "stick").mkdir()
        self.modem = self._stack.enter_context(FakeModem(self.folder / "stick"))
        self.house = self._stack.enter_context(House(self.folder))
        self.house.start_hub()
        self.house.start_agent("home", PLUGINS.format(speech=self.speech, port=self.modem.port, owner=OWNER))
        self.mqtt = Watcher(self.house.mqtt)
        self._stack.callback(self.mqtt.close)
        until("the store", lambda: (self.folder / "hub" / "samples.db").exists(), timeout_s=60)
        self.token = self.person(self.house.hub_toml)
        self.pin = self.house.run / "home" / "pins" / "heating" / "line"
        until("the page", lambda: self.api("GET", "/api/v1/devices/home")[0] == 200, timeout_s=60)
        until("the heater", lambda: self.mqtt.value("heating", "why"), timeout_s=60)
        until("the modem", lambda: self.mqtt.value("modem", "state") == "ready", timeout_s=60)
        until("the announcer", lambda: self.mqtt.value("voice", "enabled") == "true", timeout_s=60)
        # a request issued before the agent began is refused: that is what the first second is about
        until("a command that is taken", lambda: self.set("voice", "volume_pct", 30)[0] == 200, timeout_s=30)

    def person(self, hub_toml: Path) -> str:
        """A user otto, and a token that may command."""
        password = self.folder / "password"
        password.write_text(PASSWORD + "\n")
        config = ("--config", str(hub_toml))
        add = self.house.start("user", "hutkeeper-hub", "user", "add", *config, "--role", "operator",
                               "--password-file", str(password), "otto")
        assert add.wait(60) == 0
        made = self.house.command("hutkeeper-hub", "token", "make", *config, "--user", "otto", "--scope", "command",
                                  "automation")
        return str(made["token"])

    def api(self, method: str, path: str, body: Any = None, *, port: int = 0, token: str = "",
            **headers: str) -> tuple[int, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{port or self.house.web}{path}",
                                         json.dumps(body).encode() if body is not None else None, {
            "Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json", **headers},
            method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, _read(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _read(error.read())
        except OSError:
            return 0, None  # not up yet

    def set(self, node: str, prop: str, value: Any, **how: Any) -> tuple[int, Any]:
        return self.api("POST", f"/api/v1/devices/home/nodes/{node}/properties/{prop}", {"value": value}, **how)

    def login(self) -> Client:
        client = Client(self.house.web)
        assert client.post("/login", {"name": "otto", "password": PASSWORD}, page="/login").status == 303
        return client

    def follows(self, what: str, check: Callable[[], Any], timeout_s: float = 20.0) -> Any:
        return until(what, check, timeout_s=timeout_s,
                     found=lambda: {topic: value[:200] for topic, value in self.mqtt.seen.items()
                                    if topic.startswith("homie/5/home/heating/") or "/$log/" in topic})

    def levels(self) -> list[int]:
        """Of the heater's pin, edge by edge."""
        return [int(line[-1]) for line in self.pin.read_text("ascii").splitlines() if line[-2:] in (" 0", " 1")]

    def commanded(self, **words: Any) -> list[dict[str, Any]]:
        """Samples of ``sys/command`` in the hub's store that hold these words."""
        from hub.store.reader import Reader

        reader = Reader(self.folder / "hub" / "samples.db")
        try:
            told = [sample.value for _, sample in reader.newest("sys", "command", 1000)]
        finally:
            reader.close()
        return [one for one in told if all(one.get(key) == value for key, value in words.items())]


def in_hours(hours: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600 * hours))


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()
