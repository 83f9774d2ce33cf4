"""One foreign node and its properties, and how they are kept over restarts. Pure."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from agent.api import Node, Property

from .quantities import LASTING_S

ONLINE = Property(name="online", datatype="boolean", options=("offline", "online"), device_class="connectivity",
                  diagnostic=True, max_age_s=LASTING_S, comes_and_goes=True)


class Entry(Struct):
    """One property of a node."""

    prop: Property
    wanted: str
    """The name that it would have had."""
    restored: bool = False
    last: float | None = None
    """The last number that was believed."""
    told_s: float = -math.inf


class Member(Struct):
    """One foreign node. ``keys``: where the project has the value -> entry."""

    preset: str
    raw: str
    id: str
    title: str
    keys: dict[str, Entry]
    heard_s: float
    online: bool | None = None
    told_by_project: bool = False
    """The project says itself who is online."""
    silent: bool = False
    """It is offline because it said nothing, whatever the project says."""
    day: int | None = None

    @property
    def names(self) -> dict[str, str]:
        return {entry.prop.name: key for key, entry in self.keys.items()}

    def node(self) -> Node:
        return Node(id=self.id, title=self.title, properties=(ONLINE, *(entry.prop for entry in self.keys.values())))


class Kept(Struct):
    id: str
    preset: str
    raw: str
    title: str
    day: int | None
    """Days since 1970 when it was last heard, if that was known."""
    props: list[tuple[str, str, Property]]
    """(key, wanted name, property)"""


def packed(members: Iterable[Member]) -> str:
    """What is kept of them: one short text without a quote in it, for the agent encodes all of it at every reading."""
    kept = [Kept(one.id, one.preset, one.raw, one.title, one.day,
                 [(key, entry.wanted, entry.prop) for key, entry in one.keys.items()]) for one in members]
    return base64.b64encode(zlib.compress(msgspec.json.encode(kept))).decode()


def unpacked(text: Any, now_s: float) -> list[Member]:
    """Empty where nothing was kept, or by another version."""
    try:
        found = msgspec.json.decode(zlib.decompress(base64.b64decode(text or "")), type=list[Kept])
    except (TypeError, ValueError, zlib.error, msgspec.MsgspecError):
        return []
    return [Member(one.preset, one.raw, one.id, one.title,
                   {key: Entry(prop, wanted, True) for key, wanted, prop in one.props}, now_s, day=one.day)
            for one in found]
