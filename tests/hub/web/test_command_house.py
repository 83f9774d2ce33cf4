"""A command the whole way with the README's commands: HTTP, real hub, real broker, real agent, plugin, answer."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.house import House
from tests.waiting import until

WATER = """
[plugins.water]
use = "water_meter"
line = "GPIO17"
simulate = true
"""


def test_a_command_reaches_the_plugin_and_its_answer_comes_back(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_hub()
        house.start_agent("cellar", WATER)
        password = tmp_path / "password"
        password.write_text("olive kettle north\n")
        config = ("--config", str(house.hub_toml))
        until("the store", lambda: (tmp_path / "hub" / "samples.db").exists(), timeout_s=60)
        add = house.start("user", "hutkeeper-hub", "user", "add", *config, "--role", "operator", "--password-file",
                          str(password), "otto")
        assert add.wait(60) == 0
        secret = house.command("hutkeeper-hub", "token", "make", *config, "--user", "otto", "--scope", "command",
                               "automation")["token"]

        def call(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
            request = urllib.request.Request(house.url + path, json.dumps(body).encode() if body else None, {
                "Authorization": f"Bearer {secret}", "Content-Type": "application/json", **headers}, method=method)
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return answer.status, json.loads(answer.read())
            except urllib.error.HTTPError as error:
                return error.code, json.loads(error.read())
            except OSError:
                return 0, None  # the page is not up yet

        def vacation() -> str | None:
            status, told = call("GET", "/api/v1/devices/cellar")
            return told["nodes"].get("water", {}).get("values", {}).get("vacation") if status == 200 else None

        until("the meter", lambda: vacation() == "false", timeout_s=90)
        path = "/api/v1/devices/cellar/nodes/water/properties/vacation"
        # a request issued before the agent began is refused: that is what the first second is about
        until("a command that is taken", lambda: call("POST", path, {"value": True})[0] == 200, timeout_s=30)
        until("the value", lambda: vacation() == "true", timeout_s=15)
        key = {"Idempotency-Key": "back"}
        first = call("POST", path, {"value": False}, **key)
        assert first[0] == 200 and first[1]["value"] is False
        assert call("POST", path, {"value": False}, **key) == first
        status, told = call("POST", "/api/v1/devices/cellar/nodes/water/properties/volume_l", {"value": 1})
        assert status in (404, 409) and "error" in told
