"""A modem that says nothing: what to try next, and how a stick's power is taken and given back (FAULTS B70)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from agent.api import Io, RetryLater

STEPS = ("reopen", "restart", "usb")
WELL_S = 60.0
"""A modem that answered for so long begins at the first step again."""
USB_EVERY_S = 600.0
OFF_S, BACK_S = 2.0, 10.0
COMMAND_S = 30.0


class Ladder:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._step = 0
        self._usb_at_s: float | None = None
        self._well_since_s: float | None = None

    @property
    def climbing(self) -> bool:
        return self._step > 0

    def answered(self, now_s: float) -> bool:
        """It answers; True once it is to be believed."""
        if self._well_since_s is None:
            self._well_since_s = now_s
        if now_s - self._well_since_s >= WELL_S:
            self._step = 0
        return self._step == 0

    def mute(self, now_s: float) -> str | None:
        """What to do now; None: everything was tried, wait."""
        self._well_since_s = None
        if self._step < len(STEPS):
            step = STEPS[self._step]
            self._step += 1
            if step != "usb" or self._usb_at_s is None or now_s - self._usb_at_s >= USB_EVERY_S:
                if step == "usb":
                    self._usb_at_s = now_s
                return step
        self._step = 0
        return None


def usb_device(io: Io, port: str) -> Path | None:
    """The stick's folder below /sys, from the port's name; None: it is no USB device."""
    real = io.root / os.path.relpath(os.path.realpath(io.root / port.lstrip("/")), os.path.realpath(io.root))
    place = Path(os.path.realpath(io.root / "sys/class/tty" / real.name / "device"))
    top = Path(os.path.realpath(io.root / "sys"))
    while place.is_relative_to(top) and place != top:
        if (place / "idVendor").exists() and (place / "authorized").exists():
            return place
        place = place.parent
    return None


def reset_power(io: Io, port: str, command: tuple[str, ...]) -> str:
    """Restart the stick from outside; what was done. Raises RetryLater saying why it could not."""
    if command:
        return _run(io, command)
    device = usb_device(io, port)
    if device is None:
        raise RetryLater(f"{port} is no USB device: set reset_command to what cuts its power")
    try:
        (device / "authorized").write_text("0")
        io.clock.sleep(OFF_S)
        (device / "authorized").write_text("1")
    except OSError as error:
        raise RetryLater(
            f"{device.name}: {error.strerror}: let this user write its file `authorized` (README, udev rule), or set "
            "reset_command") from None
    io.clock.sleep(BACK_S)
    return f"USB device {device.name} was taken off and put on again"


def _run(io: Io, command: tuple[str, ...]) -> str:
    if not (io.root / "proc").exists():  # raises in a replay, which runs no program
        raise RetryLater("no program is run here")
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
    except OSError as error:
        raise RetryLater(f"reset_command: {command[0]}: {error.strerror}") from None
    until_s = io.clock.monotonic_s() + COMMAND_S
    while process.poll() is None and io.clock.monotonic_s() < until_s and io.clock.sleep(0.1):
        pass
    if process.poll() is None:
        process.kill()
        process.wait()
        raise RetryLater(f"reset_command: {command[0]} did not end in {COMMAND_S:.0f} s and was killed")
    if process.returncode:
        raise RetryLater(f"reset_command: {command[0]} ended with {process.returncode}")
    io.clock.sleep(BACK_S)
    return f"{command[0]} was run"
