"""The Mosquitto fixture itself: everybody's fault tests stand on it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from agent.testing.broker import Broker, mosquitto_path

pytestmark = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed (apt install mosquitto)")


def publish_retained(port: int, text: str) -> None:
    subprocess.run(
        ["mosquitto_pub", "-p", str(port), "-t", "kept", "-m", text, "-r", "-q", "1"], check=True, timeout=10
    )


def retained(port: int) -> str:
    """The retained message, or "" : a second one, published afterwards, ends the wait."""
    subscriber = ["mosquitto_sub", "-p", str(port), "-t", "kept", "-t", "last", "-C", "2", "-W", "20"]
    process = subprocess.Popen(subscriber, stdout=subprocess.PIPE)
    publish = ["mosquitto_pub", "-p", str(port), "-t", "last", "-m", "end", "-r"]
    subprocess.run(publish, check=True, timeout=20)
    assert process.stdout is not None
    first = process.stdout.readline().decode().strip()
    process.terminate()
    process.communicate()
    subprocess.run([*publish[:-3], "-r", "-n"], check=True, timeout=20)
    return "" if first == "end" else first


def test_a_killed_broker_comes_back_on_its_port_with_what_it_saved(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        port, first = broker.port, broker.pid
        publish_retained(port, "hello")
        store = broker.folder / "mosquitto.db"
        deadline = time.monotonic() + 20
        while not (store.exists() and b"hello" in store.read_bytes()) and time.monotonic() < deadline:
            time.sleep(0.01)  # it saves a moment after it acknowledged
        broker.kill9()
        broker.start()
        assert (broker.port, broker.pid != first) == (port, True)
        assert retained(port) == "hello"
        broker.stop()
        broker.forget()
        broker.start()
        assert retained(port) == ""


def test_a_broker_without_persistence_forgets(tmp_path: Path) -> None:
    with Broker(tmp_path, persistence=False) as broker:
        publish_retained(broker.port, "hello")
        broker.kill9()
        broker.start()
        assert retained(broker.port) == ""


def test_a_paused_broker_accepts_and_moves_nothing_and_still_stops(tmp_path: Path) -> None:
    broker = Broker(tmp_path).start()
    broker.pause()
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-t", "x", "-m", "1", "-q", "1"], timeout=0.5)
    broker.stop()
    with pytest.raises(RuntimeError, match="did not start"):
        Broker(tmp_path / "bad", extra=["no_such_option 1"]).start()
