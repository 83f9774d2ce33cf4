"""Runs inside the environment of ``ebus-sdk``, another Homie 5 implementation: what its controller makes of a device.

Arguments: port, device id. Waits until the device is ready and everything retained has come, then prints
``{"version", "state", "description", "properties", "targets", "warnings"}`` as JSON.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import sys
import time

from ebus_sdk import Controller


class Lines(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


port, device_id = int(sys.argv[1]), sys.argv[2]
lines = Lines()
logging.getLogger().addHandler(lines)
controller = Controller(mqtt_cfg={"host": "127.0.0.1", "port": port}, homie_domain="homie", auto_start=True)
controller.start_discovery()
deadline, counts = time.monotonic() + 20, []
device = None
while time.monotonic() < deadline:
    time.sleep(0.1)
    device = controller.get_device(device_id)
    if device is None or device.description is None or device.state != "ready":
        continue
    counts.append(sum(len(props) for props in device.properties.values()))
    if len(counts) > 10 and len(set(counts[-10:])) == 1 and counts[-1]:
        break
nodes = {} if device is None else {node: device.get_node_properties(node) for node in device.get_nodes()}
print(
    json.dumps(
        {
            "version": importlib.metadata.version("ebus-sdk"),
            "state": device and device.state,
            "description": nodes,
            "properties": device.properties if device else {},
            "targets": device.property_targets if device else {},
            "json": device.get_property_json("all", "why") if device else None,
            "warnings": lines.lines,
        }
    )
)
sys.stdout.flush()
controller.stop()
