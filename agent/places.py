"""Where a plugin hears from, as people write it in agent.toml: ``plugin/property`` of this device, or
``device/plugin/property`` of another one, which comes on the live lane (``[device] inputs``)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from agent.api import Heard

_PROPERTY = re.compile(r"(?:([a-z0-9-]+)/)?([a-z0-9-]+)/([a-z0-9_-]+)")
_PLUGIN = re.compile(r"(?:([a-z0-9-]+)/)?([a-z0-9-]+)")


class Place(NamedTuple):
    """A property of a plugin, or a whole plugin (``name`` is empty)."""

    device: str | None
    """None: this one."""
    node: str
    name: str = ""

    @property
    def topic(self) -> str:
        """What to subscribe to on the local bus."""
        return f"now/{self.node}" if self.device is None else f"live/{self.device}/{self.node}"

    def is_of(self, heard: Heard) -> bool:
        """Topics are prefixes, so a subscription hears more than it named."""
        return (heard.device, heard.node) == (self.device, self.node) and self.name in (
            "", heard.property.replace("-", "_"))


def property_place(text: str) -> Place:
    """Raises ValueError in the words of agent.toml."""
    found = _PROPERTY.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text[:80]}": expected "<plugin>/<property>", or "<device>/<plugin>/<property>" of another '
                         "device")
    return Place(found[1], found[2], found[3].replace("-", "_"))


def plugin_place(text: str) -> Place:
    """Raises ValueError in the words of agent.toml."""
    found = _PLUGIN.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text[:80]}": expected "<plugin>", or "<device>/<plugin>" of another device')
    return Place(found[1], found[2])


def topics_of(places: Iterable[Place | None]) -> tuple[str, ...]:
    """Each once."""
    return tuple(sorted({one.topic for one in places if one is not None}))
