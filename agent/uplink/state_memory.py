"""What the state plane remembers over a restart: ``<data_dir>/identity.json``.

Without it every restart would shrink the tree (found nodes and optional properties come back only with their first
reading) and Home Assistant would see its entities go and come. Also here: the installation's id, which is part of
every ``unique_id`` and so must never change; the former ids of a renamed device, whose topics are to be cleared;
and the version of the last ``$description``, which must grow even on a machine that wakes up in 1970.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Collection
from pathlib import Path

import msgspec
from msgspec import Struct, field

from agent.wire.messages import NodeDeclaration, PluginDeclaration

log = logging.getLogger(__name__)

FILE = "identity.json"
FORGET_FOUND_US = 7 * 86400 * 1_000_000
"""A found node (a badge, an M-Bus meter) that was silent for a week is taken from the tree."""
MAX_FORMER = 5


class Found(Struct):
    """A found node and the wall time (us) when its plugin last named it; 0 while the clock was unknown."""

    declaration: NodeDeclaration
    seen_us: int


class Kept(Struct):
    """The file, as JSON."""

    device: str
    install: str
    former: list[str] = field(default_factory=list)
    version: int = 0
    digest: str = ""
    """Of the ``$description`` that has ``version``: the same text keeps its version."""
    found: dict[str, dict[str, Found]] = field(default_factory=dict)
    """instance -> node id -> node"""
    optional: dict[str, list[str]] = field(default_factory=dict)
    """node id -> names of optional properties that have had a reading"""


class Memory:
    """Read once, written when something changed. ``data_dir`` None keeps everything in this process."""

    def __init__(self, data_dir: Path | None, device: str) -> None:
        self._path = data_dir / FILE if data_dir else None
        self.kept = self._load(device)
        self._written = b""
        if self.kept.device != device:
            if self.kept.device not in self.kept.former:
                self.kept.former.append(self.kept.device)
            self.kept.former = [old for old in self.kept.former if old != device][-MAX_FORMER:]
            self.kept.device = device
        self.save()

    def _load(self, device: str) -> Kept:
        fresh = Kept(device=device, install=secrets.token_hex(4))
        if self._path is None:
            return fresh
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return fresh
        except (OSError, msgspec.DecodeError) as error:
            aside = self._path.with_suffix(".json.bad")
            log.error("%s cannot be read (%s): kept as %s, a new one is made; Home Assistant shows new entities",
                      self._path, error, aside.name)
            with contextlib.suppress(OSError):
                self._path.rename(aside)
            return fresh

    def save(self) -> None:
        """Write if changed: whole, then renamed, so a power cut leaves the old or the new file."""
        if self._path is None:
            return
        text = msgspec.json.encode(self.kept)
        if text == self._written:
            return
        part = self._path.with_suffix(".json.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
            self._written = text
        except OSError as error:
            log.warning("%s cannot be written (%s): found nodes are learned anew after a restart", self._path, error)

    def with_found(self, declaration: PluginDeclaration, wall_us: int | None) -> PluginDeclaration:
        """The declaration with the found nodes of earlier runs added, and those of this one remembered."""
        known = self.kept.found.setdefault(declaration.instance, {})
        for node in declaration.nodes:
            if node.id != declaration.instance:
                known[node.id] = Found(node, wall_us or known.get(node.id, Found(node, 0)).seen_us)
        if wall_us is not None:
            for id_, found in list(known.items()):
                if found.seen_us == 0:
                    found.seen_us = wall_us
                elif wall_us - found.seen_us > FORGET_FOUND_US:
                    del known[id_]
        if not known:
            del self.kept.found[declaration.instance]
        named = {node.id for node in declaration.nodes}
        extra = tuple(found.declaration for id_, found in known.items() if id_ not in named)
        return msgspec.structs.replace(declaration, nodes=(*declaration.nodes, *extra))

    def seen(self, ages_us: dict[str, int], wall_us: int) -> None:
        """Found nodes (by id) whose newest reading is this old: alive, although their plugin need not say so again."""
        for known in self.kept.found.values():
            for id_, found in known.items():
                if id_ in ages_us:
                    found.seen_us = max(found.seen_us, wall_us - ages_us[id_])

    def seen_optional(self, node: str, name: str) -> bool:
        return name in self.kept.optional.get(node, ())

    def see_optional(self, node: str, name: str) -> None:
        self.kept.optional.setdefault(node, []).append(name)

    def keep_only(self, instances: Collection[str]) -> None:
        """Plugins that were taken out of agent.toml while nobody ran."""
        for instance in [one for one in self.kept.found if one not in instances]:
            del self.kept.found[instance]
        for node in list(self.kept.optional):
            if not any(node == one or node.startswith(one + "-") for one in instances):
                del self.kept.optional[node]

    def forget_plugin(self, instance: str, nodes: list[str]) -> None:
        """A plugin that is gone from agent.toml takes its found nodes and optional properties with it."""
        self.kept.found.pop(instance, None)
        for node in nodes:
            self.kept.optional.pop(node, None)

    def version_of(self, digest: str, wall_us: int | None) -> int:
        """The version for a ``$description``: epoch seconds, but always above the one before."""
        if digest != self.kept.digest:
            self.kept.version = max(self.kept.version + 1, (wall_us or 0) // 1_000_000)
            self.kept.digest = digest
        return self.kept.version

    def outrun(self, version: int) -> None:
        """A retained description of this device has this version (the card was replaced): go above it."""
        if version > self.kept.version:
            self.kept.version = version
            self.kept.digest = ""
