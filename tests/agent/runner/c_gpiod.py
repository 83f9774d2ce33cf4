"""A stand-in for the C part of the real gpiod library: no machine of the tests has a gpiochip."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

gpiod = pytest.importorskip("gpiod", reason="the extra gpio is not installed")


class Pins:
    """What the kernel would be: chips by path, each line with level, holder and queued edges."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.levels: dict[int, int] = {}
        self.held: dict[int, str] = {}
        self.errors: dict[str, int] = {}
        self.events: list[Any] = []
        self.written: list[tuple[str, int, int]] = []
        """(chip, offset, level) of each write to an output."""
        self.seqnos: dict[int, int] = {}
        self.buffer: int | None = None
        self.consumer: str | None = None
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.gone = False

    def edge(self, offset: int, rising: bool, t_ns: int | None = None, seqno: int | None = None) -> None:
        seqno = self.seqnos.get(offset, 0) + 1 if seqno is None else seqno
        self.seqnos[offset] = seqno
        kind = gpiod._ext.EDGE_EVENT_TYPE_RISING if rising else gpiod._ext.EDGE_EVENT_TYPE_FALLING
        stamp = time.monotonic_ns() if t_ns is None else t_ns
        self.events.append(gpiod.EdgeEvent(kind, stamp, offset, seqno, seqno))
        os.eventfd_write(self.fd, 1)


class CChip:
    """The C extension's Chip, as gpiod/chip.py calls it."""

    pins: Pins

    def __init__(self, path: str) -> None:
        self.path = path
        if path in self.pins.errors:
            number = self.pins.errors[path]
            raise OSError(number, os.strerror(number))
        if not Path(path).exists():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        self.names = self.pins.names[Path(path).name]

    def close(self) -> None: ...

    def get_info(self) -> Any:
        return gpiod.ChipInfo(Path(self.path).name, "stand-in", len(self.names))

    def line_offset_from_id(self, name: str) -> int:
        if name not in self.names:
            raise OSError(errno.ENOENT, "no such line")
        return self.names.index(name)

    def get_line_name(self, offset: int) -> str:
        return self.names[offset]

    def get_line_info(self, offset: int, watch: bool) -> Any:
        ext, held = gpiod._ext, self.pins.held.get(offset, "")
        return gpiod.LineInfo(offset, self.names[offset], bool(held), held, ext.DIRECTION_INPUT, False,
                              ext.BIAS_UNKNOWN, ext.DRIVE_PUSH_PULL, ext.EDGE_NONE, ext.CLOCK_MONOTONIC, False, 0)

    def request_lines(self, config: Any, consumer: str, event_buffer_size: int) -> CRequest:
        if self.pins.held:
            raise OSError(errno.EBUSY, "Device or resource busy")
        self.pins.consumer, self.pins.buffer = consumer, event_buffer_size
        return CRequest(self.pins, Path(self.path).name)


class CRequest:
    def __init__(self, pins: Pins, chip_name: str) -> None:
        self.pins, self.chip_name, self.offsets, self.fd = pins, chip_name, list[int](), pins.fd

    def get_values(self, offsets: list[int], out: list[Any]) -> None:
        for number, offset in enumerate(offsets):
            out[number] = gpiod.line.Value(self.pins.levels.get(offset, 0))

    def set_values(self, values: dict[int, Any]) -> None:
        if self.pins.gone:
            raise OSError(errno.ENODEV, "No such device")
        for offset, value in values.items():
            self.pins.levels[offset] = int(value.value)
            self.pins.written.append((self.chip_name, offset, int(value.value)))

    def read_edge_events(self, most: int | None) -> list[Any]:
        if self.pins.gone:
            raise OSError(errno.ENODEV, "No such device")
        os.eventfd_read(self.fd)
        events, self.pins.events = self.pins.events, []
        return events

    def release(self) -> None: ...


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Pins]:
    pins = Pins()
    for number, names in enumerate((["ID_SDA", "GPIO16", "GPIO17"], ["EXP0", "EXP1"])):
        (tmp_path / f"gpiochip{number}").touch()
        pins.names[f"gpiochip{number}"] = names
    CChip.pins = pins
    monkeypatch.setattr(gpiod._ext, "Chip", CChip)
    yield pins
    os.close(pins.fd)
