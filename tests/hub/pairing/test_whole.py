"""As a person does it: the hub's own processes, `pair-code` on the console, `pair` on the device, pages by HTTPS."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.testing.broker import free_port
from tests.hub.broker.conftest import needs_mosquitto
from tests.hub.broker.mqtt import Client
from tests.hub.pairing.conftest import Box, agent

HUB = """\
[hub]
data_dir = "data"
run_dir = "run"
[broker]
port = {port}
tls_listen = "127.0.0.1"
tls_port = {tls}
[web]
host = "0.0.0.0"
port = {web}
"""


def hub(toml: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "hub.cli", words[0], "--config", str(toml), *words[1:]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., None]]:
    running = []

    def run(*command: str) -> None:
        log = (tmp_path / f"{len(running)}.log").open("ab")
        running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    yield run
    for process in running:
        process.terminate()
    for process in running:
        process.wait(30)


def listening(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5):
                return
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens on {port}"
            time.sleep(0.05)


@needs_mosquitto
def test_a_code_from_the_console_pairs_a_device_through_the_real_pages(
    tmp_path: Path, start: Callable[..., None]
) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    toml = folder / "hub.toml"
    port, tls, web = free_port(), free_port(), free_port()
    toml.write_text(HUB.format(port=port, tls=tls, web=web))
    start(*hub(toml, "broker"))
    start(*hub(toml, "web"))
    listening(web)
    made = subprocess.run(hub(toml, "pair-code", "--device", "garden"), capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    words = made.stdout.splitlines()[1].split()
    assert words[4:8] == ["sudo", "hutkeeper-agent", "pair", f"https://{socket.gethostname().split('.')[0]}.local:{web}"]
    box = Box(tmp_path / "agent.toml")
    ran = agent("pair", f"https://127.0.0.1:{web}", words[8], "--device", "garden", "--config", box.toml)
    assert ran.code == 0 and "garden is paired with Hutkeeper" in ran.out and "note:" not in ran.out, ran
    with Client(tls, tls=box.tls) as client:
        assert client.publish("homie/5/garden/$state") == "Success"
    # the pages show the same CA's certificate, and speak no plain HTTP to others
    context = ssl.create_default_context(cafile=str(box.tls[0]))
    page = http.client.HTTPSConnection("127.0.0.1", web, timeout=30, context=context)
    page.request("GET", "/login")
    assert page.getresponse().status == 200
    page.close()
    plain = http.client.HTTPConnection("127.0.0.1", web, timeout=30)
    try:
        plain.request("GET", "/alive")
        assert plain.getresponse().status >= 400
    except (OSError, http.client.HTTPException):
        pass  # cut off, which is as good
    finally:
        plain.close()
    assert os.stat(box.tls[2]).st_mode & 0o777 == 0o600
