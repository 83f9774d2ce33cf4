"""Another project's Homie 5 controller reads our device: ``ebus-sdk`` from PyPI, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from agent.testing.broker import Broker, mosquitto_path
from tests.agent.discovery.other_python import environment, newest_python
from tests.agent.test_state_real_broker import EVERYTHING, READINGS, Agent


@pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed (apt install mosquitto)")
def test_another_implementation_of_homie_5_sees_the_same_device(tmp_path: Path) -> None:
    _, program = newest_python()
    python = environment("ebus-sdk", program, ["ebus-sdk"])
    with Broker(tmp_path) as broker:
        agent = Agent(broker.port, "pi-1", None, "all").start(EVERYTHING)
        agent.read(*READINGS)
        agent.pump(61)  # the optional tariff's round
        agent.read(("all", "setpoint_c", 21.0))
        agent.settle()
        done = subprocess.run(
            [str(python), "-I", str(Path(__file__).with_name("ebus_oracle.py")), str(broker.port), "pi-1"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        seen = json.loads(done.stdout)
        print(f"ebus-sdk {seen['version']}")
        assert seen["state"] == "ready"
        ours = agent.state.tree.description()["nodes"]
        assert {node: set(props) for node, props in seen["description"].items()} == {
            node: set(one["properties"]) for node, one in ours.items()
        }
        assert seen["properties"]["all"]["room-temperature-c"] == "18.25"
        assert seen["properties"]["all"]["tiny"] == "0.0000001"
        assert seen["properties"]["all"]["tariff"] == "peak"
        assert seen["targets"]["all"]["setpoint-c"] == seen["properties"]["all"]["setpoint-c"] == "21.0"
        assert seen["json"] == {"a": [1, 2.5, None]}
        assert "boot" not in seen["properties"]["all"], "an event leaves nothing behind"
        assert seen["warnings"] == []
        agent.end()
