"""The real world, as handed to a plugin: :class:`agent.api.Io` over this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from agent.api import ByteStream, Log, MessageStream, Relay, Source
from agent.runner.messages import SourceStream
from agent.runner.serial_port import SerialPort
from agent.runner.worker import Worker, boottime_us

WallOffset = Callable[[], int | None]
"""Wall time minus boot time in microseconds, or None while this boot's clock is not known to be right."""


class RunnerClock:
    """Real time; ``sleep`` is the worker's wait, so it carries out commands and ends at a stop."""

    def __init__(self, worker: Worker, wall_offset_us: WallOffset) -> None:
        self._worker = worker
        self._wall_offset_us = wall_offset_us

    def boottime_us(self) -> int:
        return boottime_us()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_us(self) -> int | None:
        offset = self._wall_offset_us()
        return None if offset is None else boottime_us() + offset

    def sleep(self, seconds: float) -> bool:
        self._worker.wait(seconds)
        return not self._worker.stopping


class RunnerIo:
    """What ``poll``, ``run`` and ``command`` get."""

    root = Path("/")

    def __init__(self, worker: Worker, log: Log, wall_offset_us: WallOffset, run_dir: Path,
                 config: Path | None = None) -> None:
        """``config``: agent.toml, for a guard that has to be started from here."""
        self._worker = worker
        self._log = log
        self._clock = RunnerClock(worker, wall_offset_us)
        self._run_dir = run_dir
        self._config = config

    @property
    def instance(self) -> str:
        return self._worker.instance

    @property
    def log(self) -> Log:
        return self._log

    @property
    def clock(self) -> RunnerClock:
        return self._clock

    @property
    def kept(self) -> dict[str, Any]:
        self._worker.kept_used = True
        return self._worker.kept

    def committed(self, timeout_s: float) -> bool:
        return self._worker.committed(timeout_s)

    @property
    def stopping(self) -> bool:
        return self._worker.stopping

    def serial(
        self, port: str, *, baudrate: int, bytesize: int = 8, parity: str = "N", stopbits: int = 1
    ) -> ByteStream:
        return SerialPort(port, self._worker.wait, baudrate=baudrate, bytesize=bytesize, parity=parity,
                          stopbits=stopbits)

    def messages(self, open_source: Callable[[], Source]) -> MessageStream:
        return SourceStream(open_source(), self._worker.wait)

    def alert(self, alert_id: str, text: str | None) -> None:
        self._worker.alert(alert_id, text)

    def degraded(self, reason: str | None) -> None:
        self._worker.degraded(reason)

    def subscribe(self, *topics: str) -> Any:
        """:class:`agent.api.BusIo`: other plugins' readings, with no broker between."""
        from agent.runner.fan import FanSubscription

        return FanSubscription(self._run_dir, topics, self._worker)

    def mqtt(self, *filters: str) -> MessageStream:
        """:class:`agent.api.MqttIo`: topics of others on our broker, through uplink's one connection."""
        from agent.runner.messages import MqttSource

        return SourceStream(MqttSource(self._worker, filters), self._worker.wait)

    def order(self, node: str, property_name: str, value: Any, timeout_s: float = 15.0) -> Any:
        """:class:`agent.api.OrderIo`: another plugin of this device does something."""
        return self._worker.order(node, property_name, value, timeout_s)

    def relay(self) -> Relay:
        """:class:`agent.api.RelayIo`: the actuator of this instance, through its guard."""
        from agent.guard.client import GuardedRelay, guard_starter

        start = guard_starter(self._config, self.instance) if self._config is not None else None
        return GuardedRelay(self._run_dir, self.instance, self._log, self.alert, start)

    def edges(self, *lines: str, pull: Literal["none", "up", "down"] = "none", active_low: bool = False
              ) -> MessageStream:
        """:class:`agent.api.GpioIo`: input pins, real ones or simulated."""
        from agent.runner.gpio import EdgeSource

        return SourceStream(EdgeSource(lines, pull, active_low, self._log), self._worker.wait)
