"""Plugins and a process for tests of the runner: the real process object on a thread, the real bus, no mocks."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from agent import loader
from agent.api import CommandRefused, ConfigError, Io, Node, Plugin, Property, Reading, RetryLater, Value
from agent.runner.process import Process
from agent.settings import Settings, load


class NoConfig(Struct, frozen=True, forbid_unknown_fields=True):
    script: str = ""


class PortConfig(Struct, frozen=True, forbid_unknown_fields=True):
    port: str


class Scripted(Plugin, name="scripted"):
    """Does what the test's function says."""

    Config = NoConfig
    interval_s = 0.05
    properties = (
        Property(name="level", datatype="float", minimum=0, maximum=100),
        Property(name="count", datatype="integer"),
        Property(name="on", datatype="boolean", settable=True),
        Property(name="mode", datatype="enum", options=("off", "auto"), settable=True),
        Property(name="reboot", datatype="string", event=True),
        Property(name="energy_kwh", datatype="float", unit="kWh", state_class="total_increasing"),
        Property(name="tariff", datatype="string", optional=True),
    )


class Streaming(Scripted, name="streaming"):
    body: Callable[[Io], Iterator[Any]]

    def run(self, io: Io) -> Iterator[Any]:
        yield from type(self).body(io)

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        if value == "off":
            raise CommandRefused("mode off is for Sundays")
        io.kept["commands"] = io.kept.get("commands", 0) + 1
        return value


class Polled(Scripted, name="polled"):
    body: Callable[[Io], list[Any]]

    def poll(self, io: Io) -> list[Any]:
        return type(self).body(io)


class Async(Scripted, name="asynchronous"):
    async def run(self, io: Io) -> AsyncIterator[Reading]:  # type: ignore[override]
        import asyncio

        level = 0.0
        while True:
            yield Reading("level", level)
            level += 1
            await asyncio.sleep(0.01)


class SerialReader(Plugin, name="serial_reader"):
    Config = PortConfig
    properties = (Property(name="line", datatype="string"),)

    def run(self, io: Io) -> Iterator[Reading]:
        port = io.serial(self.config.port, baudrate=9600, bytesize=7, parity="E")
        try:
            tail = b""
            while not io.stopping:
                tail += port.read(4096, 5.0)
                *lines, tail = tail.split(b"\n")
                for line in lines:
                    yield Reading("line", line.decode())
        finally:
            port.close()


KINDS: dict[str, type[Plugin]] = {kind.name: kind for kind in (Streaming, Polled, Async, SerialReader)}

__all__ = [
    "KINDS",
    "Async",
    "ConfigError",
    "Node",
    "Polled",
    "Property",
    "RetryLater",
    "Running",
    "SerialReader",
    "Streaming",
    "settings_for",
]


def settings_for(folder: Path, plugins: str) -> Settings:
    path = folder / "agent.toml"
    path.write_text(f'[device]\nid = "dev"\ndata_dir = "{folder}/data"\nrun_dir = "{folder}/run"\nclock = "trust"\n'
                    + plugins)
    return load(path)


class Running:
    """A plugin process's own object on a thread: ``with Running(monkeypatch, settings, "x") as running``."""

    def __init__(self, monkeypatch: Any, settings: Settings, *instances: str) -> None:
        # Entry points need an installation; the classes are real, and the loader has tests of its own.
        monkeypatch.setattr(loader, "load", lambda use: KINDS[use])
        self.code: int | None = None
        self.process = Process(settings, instances)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self.code = self.process.run()

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def stop(self) -> int | None:
        self.process.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.code

    def __exit__(self, *_: object) -> None:
        self.stop()
