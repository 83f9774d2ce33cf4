"""The newest Home Assistant that installs here reads every plugin's announcement with its own code.

Its schemas, its tables of device classes and its template engine, in an environment of its own (about 350 MB and half a
minute, once; kept in the user's cache). What is newer than that version is in ``test_announcement.py``.
"""

from __future__ import annotations

import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.discovery.rules import NEWER, NEWER_UNITS, OTHERS, SENSOR
from agent.homie.sysnode import sys_node
from tests.agent.discovery.announcements import config, everything
from tests.agent.discovery.other_python import environment, newest_python
from tests.agent.discovery.test_announcement import state_problem, templated

CONSTRAINTS = "{site}/homeassistant/package_constraints.txt"
PARTS = [
    "voluptuous",
    "PyYAML",
    "python-slugify",
    "aiozoneinfo",
    "ciso8601",
    "propcache",
    "orjson",
    "yarl",
    "PyJWT",
    "attrs",
    "atomicwrites-homeassistant",
    "ulid-transform",
    "Jinja2",
    "lru-dict",
    "packaging",
    "awesomeversion",
    "annotatedyaml",
    "voluptuous-serialize",
    "paho-mqtt",
    "webrtc-models",
    "aiohttp",
    "cryptography",
    "bcrypt",
    "ifaddr",
    "certifi",
    "aiohttp_cors",
    "async-interrupt",
]
"""What its MQTT schemas and templates import; its other requirements (a database, a cloud, codecs) are left out."""
ASK_S = 90.0


@functools.cache
def ask() -> dict[str, Any]:
    """One question to one Home Assistant for all tests: it takes seconds to import."""
    _, program = newest_python()
    python = environment("homeassistant", program, ["--no-deps", "homeassistant"], ["-c", CONSTRAINTS, *PARTS])
    configs = [config(node) for node, _ in everything()]
    renders = [[one["value_template"], text] for _, _, one, _, text in templated() if "value_template" in one]
    done = subprocess.run(
        [str(python), "-I", str(Path(__file__).with_name("home_assistant_oracle.py"))],
        input=json.dumps({"configs": [*configs, *WRONG], "renders": renders}),
        capture_output=True,
        text=True,
        timeout=ASK_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    answer["wrong"] = [one for one in answer["refused"] if one[0] >= len(configs)]
    answer["refused"] = [[configs[one[0]][0], *one[1:]] for one in answer["refused"] if one[0] < len(configs)]
    print(f"Home Assistant {answer['version']}, device discovery: {answer['device_discovery']}")
    return answer


def _broken(**changes: object) -> tuple[str, dict[str, Any]]:
    topic, payload = json.loads(json.dumps(config(sys_node())))
    payload["components"] = {"uptime-s": {**payload["components"]["uptime-s"], **changes}}
    return topic, payload


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("homeassistant/device/bc power/sys/config", _broken()[1]),
    _broken(device_class="nonsense"),
    _broken(state_class="sometimes"),
    _broken(expire_after=-1),
    _broken(options=["a"]),
    _broken(platform="nothing"),
    _broken(state_topic="a/#/b"),
    _broken(value_template="{{ value"),
    _broken(entity_category="hidden"),
    _broken(json_attributes_topic=""),
]
REASONS = [
    "does not look at this topic",
    "device_class",
    "state_class",
    "expire_after",
    "options",
    "nothing is not supported",
    "state_topic",
    "value_template",
    "entity_category",
    "json_attributes_topic",
]


def test_home_assistant_takes_every_announcement(capsys: pytest.CaptureFixture[str]) -> None:
    answer = ask()
    with capsys.disabled():
        print(f" [Home Assistant {answer['version']}]", end="")
    assert answer["refused"] == []
    newer = [(f"`{unit}`", f"`{name}`") for name, units in NEWER_UNITS.items() for unit in units]
    warned = [line for line in answer["warned"] if not any(unit in line and name in line for unit, name in newer)]
    assert warned == [], "a unit that does not go with its device class is only a warning there"


def test_home_assistant_refuses_what_is_wrong() -> None:
    answer = ask()
    said = [reason for _, key, reason in answer["wrong"] if key or "look at" in reason]
    assert len(said) == len(REASONS), answer["wrong"]
    for reason in REASONS:
        assert any(reason in one for one in said), (reason, said)


def test_home_assistants_template_engine_makes_a_state_of_every_payload() -> None:
    answer = ask()
    cases = [case for case in templated() if "value_template" in case[2]]
    assert len(cases) == len(answer["rendered"])
    for (node, key, one, prop, text), shown in zip(cases, answer["rendered"], strict=True):
        if one["platform"] == "text" and len(text) > 255:
            continue
        assert shown is not None, f"{node.id}/{key}: the template fails on {text[:80]!r}"
        assert state_problem(one, prop, shown) is None, f"{node.id}/{key}: {text[:80]!r} becomes {shown[:80]!r}"


def test_our_table_of_device_classes_is_home_assistants() -> None:
    answer = ask()
    theirs = answer["sensor"]
    for name, (units, states) in SENSOR.items():
        if name not in theirs:
            assert name in NEWER, f"{name}: Home Assistant {answer['version']} does not know this device class"
            continue
        wanted = theirs[name]
        if units is not None:
            known = {None if unit in (None, "None") else unit for unit in wanted["units"] or []}
            extra = units - known - NEWER_UNITS.get(name, set())
            assert not extra, f"{name}: {extra} are no units of it there"
        allowed = set(wanted["states"] or [])
        assert states <= allowed, f"{name}: {states - allowed} are no state classes of it there"
    for platform, classes in OTHERS.items():
        assert classes <= set(answer["others"][platform]), platform
