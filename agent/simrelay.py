"""A simulated relay on the pin files of a guard (``sim:<path>``), for a plugin's ``simulate`` and for tests.

::

    with SimRelay(config.relay) as relay:       # config.relay already has its sim: lines
        relay.contact                           # True: closed
        relay.by_hand(True)                     # somebody presses its lever

It reads what the guard wrote to the outputs and writes the probe, as the coils and the contact of a real one do: a
latching relay moves when one coil had current for ``OPERATE_US``, stays where it is without, and does not move while
both have. Its contact is in the probe's file, so it outlives every process.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Self

from agent.api import AnyRelay, LatchingRelay
from agent.guard.pins import SIM_PREFIX, append_level, edges, last_level

OPERATE_US = 10_000
"""A small latching relay needs 4 to 10 ms (data sheets: "set time")."""
STEP_S = 0.005
REST_S = 0.05
"""Between looks while nothing moves: a pulse is in the file with its stamps, so none is missed."""


class _Coil:
    """One output file: its level, since when, and how long it ever had current."""

    def __init__(self, line: str, active_low: bool) -> None:
        self._path = Path(line.removeprefix(SIM_PREFIX)) if line.startswith(SIM_PREFIX) else None
        self._active_low = active_low
        self._mark: tuple[int, int] = (0, 0)
        """Inode and size that were read."""
        self.active = False
        self.since_us = 0
        self.longest_us = 0

    def news(self) -> list[tuple[int, bool]]:
        """Edges since the last look: (CLOCK_MONOTONIC in microseconds, active)."""
        if self._path is None:
            return []
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                # a history that was cut is another file
                begin = self._mark[1] if stat.st_ino == self._mark[0] and stat.st_size >= self._mark[1] else 0
                if stat.st_size == begin:
                    return []
                file.seek(begin)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._mark = stat.st_ino, begin + len(whole)
        told = []
        for line in whole.splitlines():
            stamp, _, level = line.partition(b" ")
            if stamp.isdigit() and level in (b"0", b"1") and int(stamp) >= self.since_us:
                told.append((int(stamp), (level == b"1") != self._active_low))
        return told

    def edge(self, t_us: int, active: bool) -> None:
        if active != self.active:
            if self.active:
                self.longest_us = max(self.longest_us, t_us - self.since_us)
            self.active = active
        self.since_us = t_us

    def ready(self, now_us: int) -> bool:
        return self.active and now_us - self.since_us >= OPERATE_US


class SimRelay:
    """``relay`` with ``sim:`` lines; one with real lines moves nothing. Every method may be called from any thread.

    ``stuck``: True or False, and the contact stays closed or open whatever the coils do (welded, worn); set it at any
    time."""

    def __init__(self, relay: AnyRelay, contact: bool = False) -> None:
        self._relay = relay
        self._latching = isinstance(relay, LatchingRelay)
        lines = (relay.set_line, relay.reset_line) if isinstance(relay, LatchingRelay) else (relay.line,)
        self._coils = [_Coil(line, relay.active_low) for line in lines]
        probe = relay.probe_line
        self._probe = Path(probe.removeprefix(SIM_PREFIX)) if probe.startswith(SIM_PREFIX) else None
        self.stuck: bool | None = None
        self.moves = 0
        """How often the contact has moved."""
        self._lock = threading.Lock()
        self._contact = contact
        self._past_us = 0
        """What the coils did until then is in the probe's file already."""
        if self._probe is not None:
            if before := list(edges(self._probe)):
                self._past_us = before[-1][0]
                self._contact = last_level(self._probe) != relay.probe_active_low
            else:
                self._probe.parent.mkdir(parents=True, exist_ok=True)
                self._tell()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def contact(self) -> bool:
        """Closed, as of the last look."""
        return self._contact

    @property
    def longest_us(self) -> int:
        """The longest that a coil of a latching relay had current, a pulse that still goes on included."""
        now_us = time.monotonic_ns() // 1000
        with self._lock:
            return max(max(coil.longest_us, now_us - coil.since_us if coil.active else 0) for coil in self._coils)

    def by_hand(self, closed: bool) -> None:
        """Somebody moves the armature."""
        with self._lock:
            self._move(closed)

    def step(self, now_us: int | None = None) -> bool:
        """Look at the outputs now (CLOCK_MONOTONIC in microseconds); returns :attr:`contact`."""
        now_us = time.monotonic_ns() // 1000 if now_us is None else now_us
        with self._lock:
            news = sorted((t_us, n, active) for n, coil in enumerate(self._coils) for t_us, active in coil.news())
            for t_us, n, active in news:
                if t_us > self._past_us:
                    self._judge(t_us)
                self._coils[n].edge(t_us, active)
                if t_us > self._past_us and not self._latching:
                    self._move(active)
            self._judge(now_us)
            return self._contact

    def _judge(self, now_us: int) -> None:
        if not self._latching:
            self._move(self._coils[0].active)
            return
        close, open_ = self._coils
        if close.active != open_.active:
            if close.ready(now_us):
                self._move(True)
            elif open_.ready(now_us):
                self._move(False)

    def _move(self, closed: bool) -> None:
        if self.stuck is not None:
            closed = self.stuck
        if closed != self._contact:
            self._contact = closed
            self.moves += 1
            self._tell()

    def _tell(self) -> None:
        if self._probe is not None:
            append_level(self._probe, self._contact != self._relay.probe_active_low)

    # --- on its own -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.wait(STEP_S if any(coil.active for coil in self._coils) else REST_S):
            self.step()

    def __enter__(self) -> Self:
        self.step()
        self._thread = threading.Thread(target=self._run, name="simulated-relay", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)
        self.step()
