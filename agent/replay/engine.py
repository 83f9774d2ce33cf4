"""Real plugin code over a captured file, on a virtual clock: one dict a reading, a warning or an error."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

from agent.api import ConfigError, Node, Plugin, Reading, RetryLater
from agent.replay.capture import is_transcript, parse_transcript, snapshots, stamped_entries
from agent.replay.world import US, Ended, RawSource, ReplayIo, Source, TranscriptSource, TreeSource, VirtualClock
from agent.runner.intake import Accepted, Intake
from agent.runner.logs import CappedLog

STUCK = 20
"""Attempts that read nothing more, after which a plugin that fails again and again is given up."""


class Replay:
    """One run of one plugin over one capture; iterate :meth:`records`.

    ``whole`` says afterwards whether the capture was read to its end; ``errors`` counts error lines."""

    def __init__(self, kind: type[Plugin], config: Any, capture: Path | bytes, *, instance: str | None = None,
                 interval_s: float | None = None, name: str = "capture") -> None:
        self.kind = kind
        self.instance = instance or kind.name.replace("_", "-")
        self.clock = VirtualClock()
        self.errors = 0
        self.whole = False
        self._out: list[dict[str, Any]] = []
        self._log = CappedLog(self._line, monotonic_s=self.clock.monotonic_s)
        self.source, root = self._open(kind, config, capture, name)
        self.clock.over = lambda: self.source.over
        self._io = ReplayIo(self.instance, self.clock, self.source, self._log, root,
                            kind.duty(config) if kind.actuator else None)
        self._plugin = kind(config)
        self._io.command = lambda name, value: self._plugin.command(self._io, name, value)
        self._config = config
        self.interval_s = float(interval_s or getattr(config, "interval_s", None) or kind.interval_s)
        self._intake = Intake(self.instance, kind.title or kind.name, self._plugin.declare(), self._log.error,
                              ledger=False)

    def _open(self, kind: type[Plugin], config: Any, capture: Path | bytes, name: str) -> tuple[Source, Any]:
        if isinstance(capture, Path):
            if capture.is_dir():
                tree = TreeSource(self.clock, snapshots(capture), kind.run is not Plugin.run)
                return tree, lambda: tree.root
            name, capture = capture.name, capture.read_bytes()
        if is_transcript(capture):
            return TranscriptSource(self.clock, parse_transcript(capture, name), self._mismatch), _no_root
        stamped = kind.captured(config, capture)
        if stamped is not None:
            return TranscriptSource(self.clock, stamped_entries(stamped, name), self._mismatch), _no_root
        return RawSource(self.clock, kind.capture(config, capture)), _no_root

    def _mismatch(self, text: str) -> None:
        self._line("error", text)

    def _line(self, level: str, text: str) -> None:
        if level in ("warning", "error"):
            self.errors += level == "error"
            self._out.append({"t": self.clock.now_us / US, "log": level, "message": text})

    # --- the run ----------------------------------------------------------------------------------------------

    def records(self) -> Iterator[dict[str, Any]]:
        """Everything in order. A plugin's own failure is an error record and a new attempt, as on a device."""
        streams = type(self._plugin).run is not Plugin.run
        attempt, place = 0, self.source.place
        while not self.source.over:
            if self.source.place != place:
                attempt, place = 0, self.source.place
            try:
                yield from self._stream() if streams else self._poll()
                if streams and not self.source.over:
                    raise RetryLater("the plugin's run ended on its own")
            except Ended:
                pass
            except ConfigError as error:
                self._line("error", str(error))
                yield from self._flush()
                return
            except RetryLater as error:
                if not self.source.over:
                    self._log.warning(str(error))
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                place_in_code = f"{Path(where.filename).name}:{where.lineno}"
                self._log.error(f"bug: {type(error).__name__}: {error} ({place_in_code})")
                self._plugin = self.kind(self._config)
            yield from self._flush()
            attempt += 1
            if attempt >= STUCK:
                self._line("error", "given up: the plugin fails without reading on")
                yield from self._flush()
                return
            if not self.source.over and not isinstance(self.source, RawSource):
                self.clock.advance(min(300.0, 2.0 ** min(attempt - 1, 9)))  # back-off as the runner's, without jitter
        self.whole = self.source.whole
        yield from self._flush()

    def _flush(self) -> Iterator[dict[str, Any]]:
        out, self._out = self._out, []
        yield from out

    def _stream(self) -> Iterator[dict[str, Any]]:
        stream: Any = self._plugin.run(self._io)
        yield from self._consume(_in_step(stream) if isinstance(stream, AsyncIterator) else stream)

    def _poll(self) -> Iterator[dict[str, Any]]:
        """On the grid of the first poll, as on a device."""
        due_us = self.clock.now_us
        while not self.source.over:
            yield from self._consume(self._plugin.poll(self._io))
            self._looked()
            due_us += round(self.interval_s * US)
            if not self.source.over:
                self.clock.now_us = max(self.clock.now_us, due_us)

    def _looked(self) -> None:
        if isinstance(self.source, TreeSource):
            self.source.looked()

    def _consume(self, items: Iterable[Any]) -> Iterator[dict[str, Any]]:
        for item in items:
            if isinstance(item, Reading):
                for accepted in self._intake.accept(item, self.clock.now_us):
                    self._out.append(self._record(accepted))
            elif isinstance(item, Node):
                self._intake.add_node(item)
            else:
                self._line("error", f"{type(item).__name__} is neither a Reading nor a Node")
            yield from self._flush()
        yield from self._flush()

    def _record(self, accepted: Accepted) -> dict[str, Any]:
        sample, node, prop = accepted
        record: dict[str, Any] = {"t": sample.t_us / US, "plugin": self.kind.name}
        if node != self.instance:
            record["node"] = node.removeprefix(f"{self.instance}-")
        record |= {"property": prop.name, "value": sample.value, "unit": prop.unit}
        if sample.quality is not None:
            record["quality"] = sample.quality
        return record


def _no_root() -> Path:
    raise RetryLater("this capture has no files: replay a folder with root/ in it")


def _in_step(stream: AsyncIterator[Any]) -> Iterator[Any]:
    """An asynchronous run, item by item, on a loop of its own."""
    loop = asyncio.new_event_loop()
    try:
        while True:
            try:
                yield loop.run_until_complete(anext(stream))
            except StopAsyncIteration:
                return
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
