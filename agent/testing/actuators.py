"""An actuator at work in one process: the guard's own judging and moving code, on simulated pins."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from agent.api import Plugin
from agent.guard.inline import InlineRelay
from agent.guard.pins import SIM_PREFIX, lines, stand_in
from agent.runner.io import RunnerIo


@contextmanager
def on_stand_in_pins(kind: type[Plugin], config: Any, instance: str = "x") -> Iterator[Any]:
    """The config on simulated pins in a folder of their own, as ``simulate = true`` makes it; others as they are."""
    if not kind.actuator:
        yield config
        return
    with tempfile.TemporaryDirectory(prefix="hutkeeper-pins-") as folder:
        yield msgspec.structs.replace(config, relay=stand_in(config.relay, Path(folder), instance))


def lend_relay(io: RunnerIo, kind: type[Plugin], config: Any) -> None:
    """``io.relay()`` in this process, where the plugin is an actuator. Real pins are not touched."""
    if kind.actuator:
        relay = config.relay if all(one.startswith(SIM_PREFIX) for one in lines(config.relay).values()) else None
        io.relay = lambda: InlineRelay(io.instance, kind.duty(config), io.clock, relay)  # type: ignore[method-assign]
