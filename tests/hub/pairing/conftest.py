"""A real HTTPS server (cheroot) with the hub's blueprint, the real agent command, and the hub's own broker."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server
from flask import Flask

from agent.testing.broker import free_port
from hub import ca, pairing, settings
from hub.settings import Settings

HUB = """\
[hub]
name = "Test house"
data_dir = "data"
run_dir = "run"
[broker]
port = {port}
tls_listen = "127.0.0.1"
tls_port = {tls_port}
[[broker.foreign]]
device = "garden"
read = ["zigbee2mqtt/#"]
write = ["cmnd/#"]
[[broker.foreign]]
read = ["weather/#"]
"""


def serve(app: Any, tls: tuple[Path, Path] | None, stack: list[Callable[[], None]], port: int = 0) -> int:
    """Serve a WSGI app on a free port of loopback until the test ends; returns the port."""
    server = Server(("127.0.0.1", port), app, numthreads=4)
    if tls is not None:
        server.ssl_adapter = BuiltinSSLAdapter(*(str(path) for path in tls))
    server.expiration_interval = 0.05  # how often it looks whether to stop
    server.error_log = lambda *_, **__: None
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()

    def stop() -> None:
        server.stop()
        thread.join(10)

    stack.append(stop)
    return int(server.bind_addr[1])


@pytest.fixture
def closing() -> Iterator[list[Callable[[], None]]]:
    stack: list[Callable[[], None]] = []
    yield stack
    for stop in reversed(stack):
        stop()


class Hub(NamedTuple):
    settings: Settings
    url: str
    app: Flask

    def code(self, device: str | None = None, *, replace: bool = False) -> str:
        return pairing.Registry(self.settings.hub.data_dir).new_code(device, replace=replace).code


@pytest.fixture
def hub(tmp_path: Path, closing: list[Callable[[], None]]) -> Hub:
    folder = tmp_path / "hub"
    folder.mkdir()
    toml = folder / "hub.toml"
    toml.write_text(HUB.format(port=free_port(), tls_port=free_port()))
    loaded = settings.load(toml)
    authority = ca.ensure(loaded.hub.data_dir)
    app = Flask("hub")
    app.register_blueprint(pairing.blueprint(loaded))
    port = serve(app, (authority.cert_path, authority.hub_key_path), closing)
    return Hub(loaded, f"https://127.0.0.1:{port}", app)


@pytest.fixture
def broker_port(hub: Hub, closing: list[Callable[[], None]]) -> int:
    """Where no test speaks MQTT, anything with the hub's certificate ends the agent's look at the broker."""
    authority = ca.ensure(hub.settings.hub.data_dir)
    return serve(hub.app, (authority.cert_path, authority.hub_key_path), closing, hub.settings.broker.tls_port)


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def agent(*words: str | Path) -> Ran:
    """``hutkeeper-agent WORDS`` in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "agent.cli", *map(str, words)], capture_output=True, text=True,
                          timeout=120)
    return Ran(done.returncode, done.stdout, done.stderr)


class Box(NamedTuple):
    """A device: its agent.toml."""

    toml: Path

    def pair(self, url: str, code: str, *more: str) -> Ran:
        return agent("pair", url, code, "--config", self.toml, *more)

    @property
    def tls(self) -> tuple[Path, Path, Path]:
        folder = self.toml.parent / "tls"
        return folder / "ca.pem", folder / "device.pem", folder / "device.key"


@pytest.fixture
def box(tmp_path: Path) -> Callable[..., Box]:
    def make(device: str, more: str = "") -> Box:
        folder = tmp_path / f"box-{device}"
        folder.mkdir(exist_ok=True)
        toml = folder / "agent.toml"
        toml.write_text(f'# my garden\n[device]\nid = "{device}"   # painted on the lid\ndata_dir = "data"\n{more}')
        return Box(toml)

    return make
