"""What is true now: the Homie trees of all devices in memory, fed by one MQTT client, and who is told of a change.

``LiveTree`` (tree.py) is the state, ``Feed`` (feed.py) wakes the open pages, ``LiveClient`` (client.py) is the only
part that knows MQTT.
"""

from __future__ import annotations

from hub.live.client import Connection, LiveClient, NotConnected
from hub.live.feed import FLEET, HEATING, Feed, Subscriber
from hub.live.tree import Description, LiveDevice, LiveTree, LogLine, NodeInfo, PropertyInfo, Tapped

__all__ = [
    "FLEET",
    "HEATING",
    "Connection",
    "Description",
    "Feed",
    "LiveClient",
    "LiveDevice",
    "LiveTree",
    "LogLine",
    "NodeInfo",
    "NotConnected",
    "PropertyInfo",
    "Subscriber",
    "Tapped",
]
