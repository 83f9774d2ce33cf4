"""The watchdog's hand on the machine: feeds the board's own watchdog where no guard does, and restarts the machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.clock import ClockState, boot_id
from agent.guard.hardware import STARVE, HardwareWatchdog
from agent.supervision import reboots
from agent.supervision.notices import Notices
from agent.supervision.reboots import Reboots

SERVICE = "HUTKEEPER_SERVICE"
"""Set by the systemd unit: a machine is restarted only where this agent is its service, never by a trial on a desk."""
BUDGET_ALERT = "reboot-budget"
ORDERLY_S = 90.0
"""What an orderly reboot may take before the board's watchdog is left to starve."""
STUCK_S = 180.0
"""Longer than anything the watchdog does at one go: with no round for so long it is not fed any more."""
FEED_LOOK_S = 2.0


class Machine:
    """One per watchdog process. ``plan``: what agent.supervision.conf wrote for it."""

    def __init__(self, run_dir: Path, notices: Notices, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._run_dir = run_dir
        self._notices = notices
        self._now = monotonic_s
        self._boot = boot_id()
        self._clock: ClockState | None = None
        self._how = "auto"
        self._data_dir: Path | None = None
        self._hardware: Path | None = None
        self._feeder: Feeder | None = None
        self._book: Reboots | None = None
        self._ordered_s: float | None = None

    def plan(self, plan: dict[str, Any]) -> None:
        machine = plan.get("machine") or {}
        self._how = machine.get("reboot", "never")
        self._data_dir = Path(machine["data_dir"]) if machine.get("data_dir") else None
        self._hardware = Path(machine["hardware_watchdog"]) if machine.get("hardware_watchdog") else None
        self._clock = ClockState(machine["clock"]) if machine.get("clock") else None
        wanted = self._hardware is not None and not machine.get("guards")
        if self._feeder is not None and not wanted:
            self._feeder.end()
            self._feeder = None
        elif self._feeder is None and wanted:
            self._feeder = Feeder(HardwareWatchdog(self._hardware, self._run_dir))
            self._feeder.start()

    def tell(self) -> None:
        """Once after a start: why the boot before this one was ended by us."""
        for why in self._reboots().untold() if self._data_dir is not None else ():
            self._notices.say("warning", f"this machine was restarted by its watchdog: {why}")

    def beat(self) -> None:
        """The watchdog moves."""
        if self._feeder is not None:
            self._feeder.beat()

    def tick(self) -> None:
        self.beat()
        if self._ordered_s is not None and self._now() - self._ordered_s >= ORDERLY_S:
            self._ordered_s = None
            if self._hardware is None:
                self._notices.say("error", "the machine was to be restarted and goes on; no device.hardware_watchdog "
                                           "would end it by force: restart it by hand")
                return
            self._starve()

    def restart(self, why: str) -> None:
        """Within its budget; each refusal is said once."""
        if self._how == "never" or (self._how == "auto" and not os.environ.get(SERVICE)):
            self._notices.say("warning", f"{why}: a restart of this machine may help; it is not restarted by itself "
                                         "(device.reboot, or this agent is not its service)")
            return
        if self._data_dir is None or self._ordered_s is not None:
            return
        book = self._reboots()
        if book.left() == 0:
            self._notices.fault(BUDGET_ALERT, "E_REBOOT_BUDGET", why=why, n=reboots.BUDGET,
                                more=f" ({book.problem})" if book.problem else "")
            return
        refused = book.note(why)
        if refused is not None:
            self._notices.say("error", f"{why}: this machine is not restarted, its book of reboots cannot be written: "
                                       f"{refused}")
            return
        self._notices.say("warning", f"this machine is restarted by its watchdog: {why}")
        refused = reboots.ask_system(command())
        self._ordered_s = self._now()
        if refused is not None:
            self._notices.say("warning", f"an orderly restart is refused: {refused}")
            self._ordered_s -= ORDERLY_S
            self.tick()

    def well(self) -> None:
        """Nobody is sick any more."""
        self._notices.clear(BUDGET_ALERT)

    def _starve(self) -> None:
        try:
            # whoever feeds it stops, without a goodbye: the board resets
            (self._run_dir / STARVE).write_text(self._boot)
        except OSError as error:
            self._notices.say("error", f"the hardware watchdog is fed on: {error}: restart this machine by hand")

    def _reboots(self) -> Reboots:
        assert self._data_dir is not None
        if self._book is None:
            self._book = Reboots(self._data_dir / reboots.FILE, self._boot, self._wall_us)
        return self._book

    def _wall_us(self) -> int | None:
        return self._clock.wall_us() if self._clock is not None else None


class Feeder(threading.Thread):
    """Feeds while the watchdog makes its rounds: to read agent.toml again may take longer than the board waits."""

    def __init__(self, hardware: HardwareWatchdog) -> None:
        super().__init__(name="hardware-watchdog", daemon=True)
        self._hardware = hardware
        self._beat_s = time.monotonic()
        self._over = threading.Event()

    def beat(self) -> None:
        self._beat_s = time.monotonic()

    def run(self) -> None:
        while not self._over.wait(FEED_LOOK_S):
            if time.monotonic() - self._beat_s < STUCK_S:
                self._hardware.feed()

    def end(self) -> None:
        """A clean end: the board is told that nobody feeds it any more."""
        self._over.set()
        self.join(5.0)
        self._hardware.close()


def command() -> tuple[str, ...]:
    """How the system is asked; another one for a machine without systemd."""
    words = os.environ.get("HUTKEEPER_REBOOT_COMMAND", "").split()
    return tuple(words) or reboots.COMMAND
