"""The pins of an actuator: real lines through libgpiod, or files that outlive every process (``sim:<path>``).

A simulated output is a file to which each edge is appended as one line ``<CLOCK_MONOTONIC us> <0|1>``, so it keeps its
level when its process dies, as a latching relay and most pin controllers do. A simulated input is such a file that
somebody else writes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec

from agent.api import AnyRelay, ConfigError, LatchingRelay, PlainRelay

SIM_PREFIX = "sim:"
MAX_SIM_BYTES = 1 << 20
"""An older half of a simulated pin's history goes."""


class PinError(Exception):
    """Which line, why, and what to do, in one line."""


class Pins(Protocol):
    """The lines of one relay, by the name of their field; outputs are active (True) or not, whatever their wiring."""

    def write(self, field: str, active: bool) -> None:
        """Raises PinError."""
        ...

    def read(self, field: str) -> bool:
        """Raises PinError."""
        ...

    def close(self) -> None: ...


def outputs(relay: AnyRelay) -> dict[str, str]:
    """Field -> line."""
    if isinstance(relay, LatchingRelay):
        return {"set_line": relay.set_line, "reset_line": relay.reset_line}
    return {"line": relay.line}


def lines(relay: AnyRelay) -> dict[str, str]:
    """Every line of a relay, field -> line."""
    return outputs(relay) | ({"probe_line": relay.probe_line} if relay.probe_line else {})


def stand_in(relay: AnyRelay, run_dir: Path, instance: str) -> AnyRelay:
    """The same relay on simulated pins below ``run_dir``, one file a field: what ``simulate = true`` switches.

    Guard and plugin each make it from the same agent.toml, so both know the files."""
    folder = run_dir / "pins" / instance
    fields = {field: f"{SIM_PREFIX}{folder / field}" for field in (*outputs(relay), "probe_line")}
    # a probe that nobody wired is none; a latching relay has one here, or nobody could see what it does
    if isinstance(relay, PlainRelay) and not relay.probe_line:
        del fields["probe_line"]
    return msgspec.structs.replace(relay, **fields)


def open_pins(relay: AnyRelay, dev: Path = Path("/dev"), active: bool = False) -> Pins:
    """All outputs inactive from here on; ``active``: a plain relay that holds (no heater) goes on as it is, without
    falling off for a moment. Raises PinError (later perhaps), ConfigError (never)."""
    active = active and isinstance(relay, PlainRelay)
    wired = lines(relay)
    if len(set(wired.values())) != len(wired):
        raise ConfigError(f"relay: {', '.join(f'{key} = {line}' for key, line in wired.items())}: each needs its own "
                          "line")
    simulated = {field for field, line in wired.items() if line.startswith(SIM_PREFIX)}
    if simulated == set(wired):
        return SimPinFiles(relay, active)
    if simulated:
        raise ConfigError("relay: some lines are simulated and some are not; simulate all of them or none")
    from agent.guard.gpio_out import GpioPins

    return GpioPins(relay, dev, active)


class SimPinFiles:
    """Files as pins. The history of an output is cut in half when it has grown long."""

    def __init__(self, relay: AnyRelay, active: bool = False) -> None:
        self._paths = {field: Path(line.removeprefix(SIM_PREFIX)) for field, line in lines(relay).items()}
        self._inverted = {field: relay.probe_active_low if field == "probe_line" else relay.active_low
                          for field in self._paths}
        for field in outputs(relay):
            self.write(field, active)

    def write(self, field: str, active: bool) -> None:
        append_level(self._paths[field], active != self._inverted[field])

    def read(self, field: str) -> bool:
        return last_level(self._paths[field]) != self._inverted[field]

    def close(self) -> None:
        return


def append_level(path: Path, level: bool) -> None:
    """One edge, whole or not at all (a short append). Raises PinError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, b"%d %d\n" % (time.monotonic_ns() // 1000, level))
            long = os.fstat(fd).st_size > MAX_SIM_BYTES
        finally:
            os.close(fd)
        if long:
            scratch = path.with_name(f".{path.name}.short")
            scratch.write_bytes(path.read_bytes()[MAX_SIM_BYTES // 2 :].partition(b"\n")[2])
            scratch.replace(path)
    except OSError as error:
        raise PinError(f"{SIM_PREFIX}{path}: {error.strerror}") from None


def last_level(path: Path) -> bool:
    """The level now; a pin that nobody has written is low."""
    with suppress(OSError, ValueError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 64))
        written = file.read().splitlines()
        if written:
            return int(written[-1].split()[-1]) == 1
    return False


def edges(path: Path) -> Iterable[tuple[int, bool]]:
    """The whole history of a simulated pin: (CLOCK_MONOTONIC in microseconds, level)."""
    with suppress(OSError):
        for line in path.read_bytes().splitlines():
            stamp, _, level = line.partition(b" ")
            if stamp.isdigit() and level in (b"0", b"1"):
                yield int(stamp), level == b"1"
