"""Real output lines and the probe through libgpiod v2, held by this process alone."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.api import AnyRelay, ConfigError
from agent.guard.pins import PinError, lines, outputs
from agent.runner import gpio_lines
from agent.runner.gpio_lines import GpioTrouble

CONSUMER = "hutkeeper-guard"


class GpioPins:
    """Every output is requested inactive: the moment the kernel gives the line to us, the relay is told OFF.

    ``active``: ON instead, for a relay that holds and was left so."""

    def __init__(self, relay: AnyRelay, dev: Path, active: bool = False) -> None:
        self._active = active
        self._requests: dict[str, tuple[Any, int]] = {}
        self._opened: list[Any] = []
        self._names = lines(relay)
        try:
            gpiod = gpio_lines.library()
            self._value = gpiod.line.Value
            taken: dict[tuple[Path, int], str] = {}
            for field, name in self._names.items():
                chip, offset = gpio_lines.find(gpiod, name, dev)
                if (chip, offset) in taken:
                    raise ConfigError(f"{name} and {taken[chip, offset]} are the same pin ({chip.name}/{offset})")
                taken[chip, offset] = name
                self._request(gpiod, field, name, chip, offset, relay)
        except GpioTrouble as error:
            self.close()
            raise PinError(str(error)) from None
        except BaseException:
            self.close()
            raise

    def _request(self, gpiod: Any, field: str, name: str, path: Path, offset: int, relay: AnyRelay) -> None:
        line = gpiod.line
        if field in outputs(relay):
            settings = gpiod.LineSettings(direction=line.Direction.OUTPUT, active_low=relay.active_low,
                                          output_value=line.Value.ACTIVE if self._active else line.Value.INACTIVE)
        else:
            settings = gpiod.LineSettings(direction=line.Direction.INPUT, active_low=relay.probe_active_low)
        with gpio_lines.opened(gpiod, path, name) as chip:
            try:
                request = chip.request_lines({offset: settings}, consumer=CONSUMER)
            except (OSError, ValueError) as error:
                raise gpio_lines.refused(chip, path, {offset: name}, error) from None
        self._opened.append(request)
        self._requests[field] = (request, offset)

    def write(self, field: str, active: bool) -> None:
        request, offset = self._requests[field]
        try:
            request.set_value(offset, self._value.ACTIVE if active else self._value.INACTIVE)
        except OSError as error:
            raise PinError(f"{self._names[field]}: cannot be written: {error.strerror}") from None

    def read(self, field: str) -> bool:
        request, offset = self._requests[field]
        try:
            return bool(request.get_value(offset) is self._value.ACTIVE)
        except OSError as error:
            raise PinError(f"{self._names[field]}: cannot be read: {error.strerror}") from None

    def close(self) -> None:
        for request in self._opened:
            with suppress(OSError):
                request.release()
        self._opened = []
