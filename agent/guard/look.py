"""What ``hutkeeper-agent check`` says of a relay. Looks only: a requested output is a moved one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from agent.api import AnyRelay, ConfigError, Duty, LatchingRelay
from agent.guard.gpio_out import CONSUMER
from agent.guard.pins import SIM_PREFIX, lines, outputs
from agent.runner import gpio_lines
from agent.runner.gpio_lines import GpioTrouble

_PI_PIN = re.compile(r"GPIO(\d+)\Z")
FIRST_PULLED_DOWN, LAST_PIN = 9, 27
"""GPIO 0 to 8 of a Pi come up with a pull-up, 9 to 27 with a pull-down (BCM2835 ARM Peripherals, section 6.2)."""


def problems(relay: AnyRelay, duty: Duty, dev: Path = Path("/dev")) -> Iterator[str]:
    """One line each, with its way out."""
    yield from at_power_on(relay, duty)
    real = {field: line for field, line in lines(relay).items() if not line.startswith(SIM_PREFIX)}
    if not real:
        return
    try:
        gpiod = gpio_lines.library()
        places: dict[tuple[Path, int], str] = {}
        for field, line in real.items():
            place = gpio_lines.find(gpiod, line, dev)
            if place in places:
                yield f"relay.{field} and relay.{places[place]} are the same pin ({place[0].name}/{place[1]})"
            places[place] = field
            holder = _holder(gpiod, place, line)
            if holder not in ("", CONSUMER):
                yield f"{line} is held by {holder}: stop it, or wire the relay to another line"
    except (GpioTrouble, ConfigError) as error:
        yield str(error)


def _holder(gpiod: object, place: tuple[Path, int], line: str) -> str:
    path, offset = place
    with gpio_lines.opened(gpiod, path, line) as chip, suppress(OSError):
        info = chip.get_line_info(offset)
        return (info.consumer or "the kernel") if info.used else ""
    return ""


def at_power_on(relay: AnyRelay, duty: Duty) -> Iterator[str]:
    """A heater that is ON from power-on until the guard runs, or that a dead board leaves ON."""
    if duty.kind != "heat":
        return
    if isinstance(relay, LatchingRelay):
        yield ("a latching relay stays ON through a crash and a power cut: use a non-latching, normally-open one for "
               "heat, or have a mechanical cut-out behind it")
        return
    for field, line in outputs(relay).items():
        pin = _PI_PIN.match(line)
        if pin is None:
            continue
        up = int(pin[1]) < FIRST_PULLED_DOWN
        if up != relay.active_low and int(pin[1]) <= LAST_PIN:
            pull = "up" if up else "down"
            better = "GPIO9 to GPIO27" if up else "GPIO0 to GPIO8, or a relay board that is on at high"
            yield (f"relay.{field} = {line}: a Pi comes up with a pull-{pull} there, which is ON for this relay until "
                   f"the guard runs; use {better}")
