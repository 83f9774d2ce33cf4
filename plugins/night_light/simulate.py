"""A latching relay behind the simulated pins. The light itself comes from another plugin of the same device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agent.api import SimRelay


@contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """The config as it is; its relay moves."""
    with SimRelay(config.relay):
        yield config
