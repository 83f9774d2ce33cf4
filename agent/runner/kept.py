"""What survives a restart and a power cut: the plugin's ``io.kept`` and the counters, as one JSON in ``Batch.kept``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from agent.counters import of_another_boot
from agent.runner.intake import Intake
from agent.runner.logs import CappedLog
from agent.runner.worker import Worker


class State(Struct, omit_defaults=True):
    """The JSON. Stamps of counters are of ``boot``; their wall times are in them where it was known."""

    boot: str
    plugin: msgspec.Raw = msgspec.Raw(b"{}")
    counters: dict[str, dict[str, Any]] = {}


class Kept:
    """Keeps plugin state and counter state in step with the batches they belong to."""

    def __init__(self, intake: Intake, worker: Worker, log: CappedLog, boot: str,
                 clock_offset_us: Callable[[], int | None]) -> None:
        self._intake = intake
        self._worker = worker
        self._log = log
        self._boot = boot
        self._clock_offset_us = clock_offset_us
        self._plugin = b"{}"
        self._last = b""
        self.restored = False
        self._waiting: dict[str, dict[str, Any]] = {}
        """Counters of nodes or properties that were not found again yet."""
        self._foreign = False
        """The restored state is of another boot."""

    @property
    def needs_wall(self) -> bool:
        return self._foreign and any(counter.needs_wall for _, counter in self._intake.counters())

    def plugin_changed(self, packed: bytes) -> None:
        self._plugin = packed

    def restore(self, packed: bytes | None) -> None:
        """The committed state, at the first Welcome of a run; a later one is older than what is in memory."""
        if self.restored:
            return
        self.restored = True
        if not packed:
            return
        try:
            state = msgspec.json.decode(packed, type=State)
            plugin = msgspec.json.decode(state.plugin, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._log.error("kept state cannot be read, started without it: %s", error)
            return
        self._foreign = state.boot != self._boot
        for key, value in plugin.items():
            self._worker.kept.setdefault(key, value)
        if self._plugin == b"{}":
            self._plugin = bytes(state.plugin)
        self._waiting = {name: of_another_boot(counter) if self._foreign else counter
                         for name, counter in state.counters.items()}
        self.attach()

    def attach(self) -> None:
        """Give restored state to the counters that are declared by now."""
        if not self._waiting:
            return
        for name, counter in self._intake.counters():
            state = self._waiting.pop(name, None)
            if state is None:
                continue
            try:
                counter.restore(state)
            except ValueError as error:
                self._log.error("%s: %s; it starts anew", name, error)

    def packed(self) -> bytes | None:
        """The state as of the last reading of the batch that is being cut; None while unchanged.

        Nothing is sent before the committed state was read: it would overwrite what it should go on from."""
        if not self.restored:
            return None
        offset = self._clock_offset_us() if self._intake.counters() else None
        counters = {**self._waiting, **self._intake.counters_state(offset)}
        if not counters and self._plugin == b"{}" and not self._last:
            return None
        state = State(self._boot, msgspec.Raw(self._plugin), counters)
        packed = msgspec.json.encode(state)
        if packed == self._last:
            return None
        self._last = packed
        return packed
