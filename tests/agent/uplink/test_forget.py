"""A device leaves its broker: real Mosquitto, the command as it is typed, and what stands there afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from agent import bus, settings
from agent.bus import Alert
from agent.supervision import install
from agent.testing.broker import Broker, free_port, mosquitto_path
from agent.uplink.forget import ForgetError, forget
from tests.agent.state_lab import HEATER
from tests.agent.test_state_real_broker import Agent, retained

pytestmark = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed (apt install mosquitto)")

AGENT = Path(sys.executable).with_name("hutkeeper-agent")
OTHERS = {"homie/5/pi-10/$state": b"ready", "homeassistant/device/pi-10/sys/config": b"{}",
          "hutkeeper/1/pi-1/desired": b"the hub's own"}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, broker: Broker) -> Path:
    return write(tmp_path, broker.port)


def write(folder: Path, port: int) -> Path:
    path = folder / "agent.toml"
    path.write_text('[device]\nid = "pi-1"\ndata_dir = "data"\nrun_dir = "run"\n'
                    f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n[plugins.heater]\nuse = "host"\n')
    return path


def live_a_life(port: int) -> set[str]:
    """A device that was there, another one, and the hub; returns the topics of the first."""
    agent = Agent(port, "pi-1", None, "heater").start(HEATER)
    agent.sweep()
    agent.read(("heater", "setpoint_c", 19.5))
    agent.state.on_alert(Alert("heater", "frost", "frost duty"))
    agent.link.publish("hutkeeper/1/pi-1/reported", b"{}", qos=1, retain=True)
    for topic, payload in OTHERS.items():
        agent.link.publish(topic, payload, qos=1, retain=True)
    agent.settle()
    agent.end()
    return set(retained(port)) - set(OTHERS)


def test_forget_clears_everything_of_the_device_and_nothing_of_others(broker: Broker, config: Path) -> None:
    stood = live_a_life(broker.port)
    assert {"homie/5/pi-1/$alert/frost", "homie/5/pi-1/heater/setpoint-c/$target", "hutkeeper/1/pi-1/reported",
            "homeassistant/device/pi-1/heater/config"} < stood
    done = subprocess.run([str(AGENT), "forget", "--config", str(config), "--json"], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"device": "pi-1", "broker": f"127.0.0.1:{broker.port}",
                                       "cleared": sorted(stood)}
    assert retained(broker.port) == OTHERS
    assert not (config.parent / "run").exists(), "it makes nothing of its own"


def test_state_goes_first(broker: Broker, config: Path) -> None:
    """Homie 5, "Device Lifecycle": the device ceases to exist before it falls apart."""
    live_a_life(broker.port)
    emptied: list[str] = []
    watcher = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    watcher.on_message = lambda _c, _u, m: emptied.append(m.topic) if not m.payload else None
    watcher.connect("127.0.0.1", broker.port)
    watcher.subscribe("#", qos=1)
    watcher.loop_start()
    gone = forget(settings.load(config), quiet_s=0.5)
    watcher.loop_stop()
    print(emptied)
    assert emptied[0] == "homie/5/pi-1/$state"
    assert set(emptied) == set(gone.cleared) and len(emptied) == len(gone.cleared)
    assert forget(settings.load(config), quiet_s=0.5).cleared == [], "a second time there is nothing"


def test_a_running_agent_is_not_forgotten(broker: Broker, config: Path) -> None:
    (config.parent / "run").mkdir()
    held = bus.lock(config.parent / "run", "uplink")
    try:
        with pytest.raises(ForgetError, match=rf"the agent is running .* held by process {os.getpid()}: stop it"):
            forget(settings.load(config), quiet_s=0.2)
    finally:
        os.close(held)
    assert forget(settings.load(config), quiet_s=0.2).cleared == []


def test_a_broker_that_lets_the_device_not_write_is_told(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite #\n")
    acl.chmod(0o644)
    with Broker(tmp_path, extra=[f"acl_file {acl}"]) as broker:
        stood = live_a_life(broker.port)
        acl.write_text("topic read #\ntopic readwrite marker/#\n")
        os.kill(broker.pid, signal.SIGHUP)  # Mosquitto reads its rights again
        # Mosquitto 2.0 ends the connection at a denied empty publish, others acknowledge it and do nothing.
        with pytest.raises(ForgetError, match="may not let this device write"):
            forget(settings.load(write(tmp_path, broker.port)), quiet_s=0.5)
        assert stood <= set(retained(broker.port))


def test_a_broker_that_is_away_is_one_line_and_exit_1(tmp_path: Path) -> None:
    config = write(tmp_path, free_port())
    done = subprocess.run([str(AGENT), "forget", "--config", str(config)], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert "Connection refused" in done.stderr and "forget again" in done.stderr and done.stderr.count("\n") == 1


def test_uninstall_takes_the_device_off_its_broker_and_is_not_held_up_by_one_that_is_away(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live_a_life(broker.port)
    said: list[str] = []
    machine = install.Machine(tmp_path, said.append)
    folder = tmp_path / "etc/hutkeeper"
    folder.mkdir(parents=True)
    write(folder, broker.port)
    install._forget(machine)
    assert said == ["  would run: hutkeeper-agent forget --config /etc/hutkeeper/agent.toml"]
    assert "homie/5/pi-1/$state" in retained(broker.port), "another root is an image, not this machine"
    machine.real = True
    install._forget(machine)
    assert said[-1].startswith("  cleared ") and said[-1].endswith(f"of pi-1 on 127.0.0.1:{broker.port}")
    assert retained(broker.port) == OTHERS
    broker.kill9()
    install._forget(machine)
    assert "this device is not taken off its broker" in said[-1] and "Connection refused" in said[-1]
    (folder / "agent.toml").write_text("[devise]\n")
    install._forget(machine)
    assert "agent.toml" in said[-1] and "not taken off" in said[-1]
