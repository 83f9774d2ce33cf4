"""The plugin and the modem on one clock that moves when somebody waits: hours in milliseconds, and transcripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.api import Reading, RetryLater
from agent.replay.capture import escape
from agent.replay.world import ReplayIo, VirtualClock
from agent.testing import Lines, io_over
from plugins.modem.config import ModemConfig
from plugins.modem.fake_modem import FakeModem
from plugins.modem.plugin import Modem

BYTE_S = 10 / 115_200
ANSWER_S = 0.02


class VirtualModem(FakeModem):
    """As a :class:`agent.api.ByteStream`; ``wire`` is what went over it, as a transcript."""

    def __init__(self, clock: VirtualClock, **options: Any) -> None:
        super().__init__(Path("/nonexistent"), clock=clock.monotonic_s, **options)
        self._virtual = clock
        self._out = b""
        self.wire: list[str] = []
        self.gone = False

    def _write(self, data: bytes) -> None:
        if not self.mute:
            self._out += data

    def read(self, size: int, timeout_s: float) -> bytes:
        if self.gone:
            raise RetryLater("the device went away")
        until = self._virtual.monotonic_s() + timeout_s
        while not self._out:
            now = self._virtual.monotonic_s()
            due = min([at for at, _ in self._due if at <= until], default=None)
            if due is None:
                self._virtual.advance(max(0.0, until - now))
                self.do_due()
                break
            self._virtual.advance(max(1e-6, due - now))  # the clock counts whole microseconds: never stand before it
            self.do_due()
        data, self._out = self._out[:size], self._out[size:]
        if data:
            self._virtual.advance(ANSWER_S + len(data) * BYTE_S)
            self.wire.append(f"< {self._virtual.monotonic_s():.3f} {escape(data)}")
        return data

    def write(self, data: bytes) -> None:
        if data:
            self.wire.append(f"> {self._virtual.monotonic_s():.3f} {escape(data)}")
        self.hear(data)

    def reconfigure(self, **_: object) -> None:
        return

    def close(self) -> None:
        return


class Played:
    """``values`` is everything that was told: (seconds, property, value)."""

    def __init__(self, io: ReplayIo, plugin: Modem, modem: VirtualModem, lines: Lines) -> None:
        self.io, self.plugin, self.modem, self.lines = io, plugin, modem, lines
        self.values: list[tuple[float, str, Any]] = []
        self.alerts: dict[str, str | None] = {}
        self.raised: list[str] = []
        self._run: Iterator[Any] | None = None

    def alert(self, alert_id: str, text: str | None) -> None:
        self.alerts[alert_id] = text
        if text is not None:
            self.raised.append(alert_id)

    @property
    def now_s(self) -> float:
        return self.io.clock.monotonic_s()

    def until(self, check: Callable[[], Any], most_s: float = 3600.0) -> None:
        """Let the plugin run until then. Its RetryLater is waited over, as the runner does."""
        end = self.now_s + most_s
        while not check():
            assert self.now_s < end, f"not within {most_s:.0f} s: {self.values[-5:]} {self.lines.lines[-5:]}"
            if self._run is None:
                self._run = iter(self.plugin.run(self.io))
            try:
                item = next(self._run)
            except (RetryLater, StopIteration):
                self._run = None
                self.io.clock.advance(5.0)
                continue
            if isinstance(item, Reading):
                self.values.append((self.now_s, item.property, item.value))

    def of(self, name: str) -> list[Any]:
        return [value for _, prop, value in self.values if prop == name]

    def send(self, to: str, text: str, **more: Any) -> Any:
        return self.plugin.command(self.io, "send", {"to": to, "text": text, **more})


@contextmanager
def played(config: ModemConfig | None = None, **options: Any) -> Iterator[Played]:
    lines = Lines()
    with io_over(b"x", lines) as io:
        modem = VirtualModem(io.clock, **options)
        io.serial = lambda port, **_: modem  # type: ignore[method-assign,assignment,return-value]
        play = Played(io, Modem(config or ModemConfig(port="/dev/ttyUSB2")), modem, lines)
        io.alert = play.alert  # type: ignore[method-assign]
        yield play
