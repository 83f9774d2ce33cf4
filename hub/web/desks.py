"""Forms for commands of machines: a node with a settable ``say`` speaks, one with ``send`` texts; by shape alone."""

from __future__ import annotations

from msgspec import Struct

from hub.command.values import words
from hub.live import LiveDevice, NodeInfo

PRIORITIES = ("low", "normal", "high", "alarm")
MAX_SAY = 500
MAX_SMS = 1000
MAX_TO = 20


class SpeechView(Struct, frozen=True):
    kind: str
    priorities: tuple[str, ...]
    instead_of: tuple[str, ...]
    """Properties whose own control is left out for the form."""


class MessageView(Struct, frozen=True):
    kind: str
    instead_of: tuple[str, ...]


def speaks(node: NodeInfo) -> bool:
    return _takes(node, "say")


def texts(node: NodeInfo) -> bool:
    return _takes(node, "send")


def desk_of(device: LiveDevice, node: NodeInfo) -> SpeechView | MessageView | None:
    if speaks(node):
        own = node.properties.get("priority")
        return SpeechView("say", (words(own) if own is not None else ()) or PRIORITIES,
                          ("say", "announce", "lock", "release"))
    if texts(node):
        return MessageView("send", ("send", "text-message"))
    return None


def _takes(node: NodeInfo, name: str) -> bool:
    prop = node.properties.get(name)
    return prop is not None and prop.settable and prop.datatype == "json" and not prop.retained
