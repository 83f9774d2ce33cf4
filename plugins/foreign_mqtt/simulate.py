"""A small house of foreign nodes on a real broker: a private Mosquitto, and an MQTT client that plays the nodes."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from agent.api import ConfigError

from .config import BrokerConfig
from .sim_nodes import Nodes

PERIOD_S = 2.0
"""Real nodes take 10 to 300 s; who looks at a demo does not."""
START_S = 10.0
TRIES = 5


class Player(threading.Thread):
    """The MQTT client behind the nodes, until stopped."""

    def __init__(self, port: int, nodes: Nodes) -> None:
        super().__init__(name="simulated-nodes", daemon=True)
        self._nodes = nodes
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="simulated-nodes", protocol=mqtt.MQTTv311)
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port, keepalive=30)
        self.client.loop_start()

    def _on_connect(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        for topic in self._nodes.subscriptions():
            client.subscribe(topic, 1)
        self._say(self._nodes.hello())

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        with self._lock:
            answers = list(self._nodes.told(message.topic, message.payload.decode("utf-8", "replace")))
        self._say(iter(answers))

    def _say(self, said: Iterator[tuple[str, str, bool]]) -> None:
        for topic, payload, retain in said:
            self.client.publish(topic, payload, qos=1, retain=retain)

    def run(self) -> None:
        while not self._ending.is_set():
            with self._lock:
                said = list(self._nodes.tick(time.time()))
            self._say(iter(said))
            self._ending.wait(PERIOD_S)

    def stop(self) -> None:
        self._ending.set()
        self.join()
        self.client.disconnect()
        self.client.loop_stop()


@contextlib.contextmanager
def private_broker() -> Iterator[int]:
    """A Mosquitto of our own on a free port of loopback, which it gives. Raises ConfigError where there is none."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise ConfigError("simulate: the simulated nodes need a broker of their own: apt install mosquitto "
                          "mosquitto-clients, or leave simulate out")
    # If we are killed, the broker is not to stay: the kernel ends it with its parent (setpriv is of util-linux).
    with_us = [setpriv, "--pdeathsig", "TERM"] if (setpriv := shutil.which("setpriv")) else []
    with tempfile.TemporaryDirectory(prefix="hutkeeper-nodes-") as folder:
        for _ in range(TRIES):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            config = Path(folder) / "mosquitto.conf"
            user = "user root\n" if os.geteuid() == 0 else ""
            config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n{user}")
            process = subprocess.Popen([*with_us, program, "-c", str(config)], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                if _answers(process, port):
                    yield port
                    return
            finally:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(5)
    raise ConfigError("simulate: mosquitto did not start; run it by hand to see why")


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
            continue
        time.sleep(0.02)  # somebody else's may sit on the port: ours is ready only if it lives after its bind
        return process.poll() is None
    return False


@contextlib.contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """The config with ``broker`` on a private Mosquitto on which the nodes of the named projects live."""
    with private_broker() as port:
        player = Player(port, Nodes(config, seed))
        player.start()
        try:
            yield msgspec.structs.replace(config, broker=BrokerConfig(host="127.0.0.1", port=port))
        finally:
            player.stop()
