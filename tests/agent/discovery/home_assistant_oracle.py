"""Runs inside Home Assistant's environment, not inside the tests': asks its own code about our announcements.

stdin: ``{"configs": [[topic, payload], ...], "renders": [[template, value], ...]}``
stdout: ``{"version", "device_discovery", "refused": [[index of the config, component, reason]], "warned": [...],
"rendered": [text or null], "sensor": {class: {"units", "states"}}, "others": {platform: [class]}}``
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.abc
import importlib.machinery
import json
import logging
import re
import sys
import tempfile
import types

CLOUD = "hass_nabucasa"
"""The client of Home Assistant's cloud: half of its dependencies, imported by its network helper, never called here."""


class _Nobody(types.ModuleType):
    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


class _Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] == CLOUD else None

    def create_module(self, spec):
        return _Nobody(spec.name)

    def exec_module(self, module):
        pass


class _Lines(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


async def main() -> None:
    asked = json.load(sys.stdin)
    warned = _Lines()
    logging.getLogger("homeassistant.components").addHandler(warned)
    from homeassistant.components.mqtt import const, discovery, schemas
    from homeassistant.const import __version__
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers import frame

    # A core that is made but never started: its validators want one to hang templates on.
    hass = HomeAssistant(tempfile.mkdtemp())
    getattr(frame, "async_setup", lambda _: None)(hass)

    device_schema = getattr(schemas, "DEVICE_DISCOVERY_SCHEMA", None)
    shared = getattr(schemas, "SHARED_OPTIONS", [])
    refused = []
    for index, (topic, payload) in enumerate(asked["configs"]):
        below = topic.removeprefix("homeassistant/")
        if not re.fullmatch(discovery.TOPIC_MATCHER, below):
            refused.append([index, None, "Home Assistant does not look at this topic"])
        if device_schema is not None:
            try:
                device_schema(json.loads(json.dumps(payload)))
            except Exception as error:  # voluptuous.Invalid, or whatever its validators raise
                refused.append([index, None, str(error)])
        for key, component in payload["components"].items():
            config = {
                option: payload[option]
                for option in (*shared, "availability", "availability_mode")
                if option in payload
            } | {k: v for k, v in component.items() if k != "platform"}
            config |= {"device": payload["device"], "origin": payload["origin"]}
            try:
                platform = component["platform"]
                if platform not in getattr(const, "SUPPORTED_COMPONENTS", [platform]):
                    raise ValueError(f"platform {platform} is not supported")
                importlib.import_module(f"homeassistant.components.mqtt.{platform}").DISCOVERY_SCHEMA(config)
            except Exception as error:
                refused.append([index, key, str(error)])
    print(
        json.dumps(
            {
                "version": __version__,
                "device_discovery": device_schema is not None,
                "refused": refused,
                "warned": warned.lines,
                "rendered": [_render(*one) for one in asked["renders"]],
                **_tables(),
            }
        )
    )


def _render(template: str, value: str) -> str | None:
    """With Home Assistant's own template environment (without its states, which a discovery template cannot need)."""
    from homeassistant.helpers import template as templates

    variables = {"value": value}
    try:
        variables["value_json"] = json.loads(value)
    except ValueError:
        pass
    try:
        return templates.TemplateEnvironment(None).from_string(template).render(**variables)
    except Exception as error:
        print(f"{template!r} on {value!r}: {error}", file=sys.stderr)
        return None


def _tables() -> dict:
    from homeassistant.components.sensor import const as sensor

    others = {}
    for platform, name in (
        ("binary_sensor", "BinarySensorDeviceClass"),
        ("switch", "SwitchDeviceClass"),
        ("button", "ButtonDeviceClass"),
        ("event", "EventDeviceClass"),
    ):
        module = importlib.import_module(f"homeassistant.components.{platform}")
        others[platform] = [one.value for one in getattr(module, name)]
    found = {}
    for one in sensor.SensorDeviceClass:
        units = sensor.DEVICE_CLASS_UNITS.get(one)
        states = sensor.DEVICE_CLASS_STATE_CLASSES.get(one)
        found[one.value] = {
            "units": None if units is None else [None if unit is None else str(unit) for unit in units],
            "states": None if states is None else [str(state) for state in states],
        }
    return {"sensor": found, "others": others}


sys.meta_path.append(_Absent())
asyncio.run(main())
