"""A Homie 5 device as Homie 4.0.0 writes it: retained topic -> payload. Pure.

Source: the Homie convention 4.0.0 (homieiot.github.io), sections "Device", "Node" and "Property Attributes". It has no
JSON, dates and durations (text here), no open ranges and no labels of booleans (left out), and a state ``alert``.
"""

from __future__ import annotations

from hub.live import LiveDevice, PropertyInfo

VERSION = "4.0.0"
EXTENSION = "eu.hutkeeper.mirror:1.0.0:[4.x]"
"""``$extensions`` has to be there, and an empty retained message is none."""
IMPLEMENTATION = "hutkeeper-mirror"
"""By which a later mirror knows what an earlier one left."""
DATATYPES = ("integer", "float", "boolean", "enum", "string")


def base(device_id: str) -> str:
    return f"homie/{device_id}"


def state_topic(device_id: str) -> str:
    return f"{base(device_id)}/$state"


def can_be_mirrored(device: LiveDevice) -> bool:
    """Of this domain, described, and not called ``5``: that is where Homie 5 lives."""
    return device.domain == "homie" and device.description is not None and device.id != "5"


def state(device: LiveDevice) -> str:
    return "alert" if device.state == "ready" and device.alerts else device.state


def attributes(device: LiveDevice) -> dict[str, str]:
    """Everything but ``$state`` and the values."""
    if device.description is None:
        return {}
    top = base(device.id)
    nodes = device.description.nodes
    found = {f"{top}/$homie": VERSION, f"{top}/$name": device.description.name or device.id,
             f"{top}/$extensions": EXTENSION, f"{top}/$implementation": IMPLEMENTATION,
             f"{top}/$nodes": ",".join(nodes)}
    for node in nodes.values():
        at = f"{top}/{node.id}"
        found |= {f"{at}/$name": node.name, f"{at}/$type": node.type or node.id,
                  f"{at}/$properties": ",".join(node.properties)}
        for prop in node.properties.values():
            found |= {f"{at}/{prop.id}/{name}": text for name, text in _property(prop).items()}
    return {topic: text for topic, text in found.items() if text}


def _property(prop: PropertyInfo) -> dict[str, str]:
    datatype, form = _datatype(prop)
    return {"$name": prop.name, "$datatype": datatype, "$format": form, "$unit": prop.unit,
            "$settable": "true" if prop.settable else "false", "$retained": "true" if prop.retained else "false"}


def _datatype(prop: PropertyInfo) -> tuple[str, str]:
    """(datatype, format); the format is empty where Homie 4 cannot say it."""
    if prop.datatype in ("integer", "float"):
        ends = prop.format.split(":")[:2]
        return prop.datatype, ":".join(ends) if len(ends) == 2 and all(ends) else ""
    if prop.datatype == "enum" and prop.format:
        return "enum", prop.format
    return prop.datatype if prop.datatype in ("boolean", "string") else "string", ""


def values(device: LiveDevice) -> dict[str, str]:
    """Values of the retained properties; an empty text cannot be retained."""
    if device.description is None:
        return {}
    return {f"{base(device.id)}/{node.id}/{prop.id}": text
            for node in device.description.nodes.values() for prop in node.properties.values()
            if prop.retained and (text := device.values.get((node.id, prop.id)))}
