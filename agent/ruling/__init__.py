"""The rules of this device: evaluated here and nowhere else, hub up or not, in the process ``rules``.

``uplink`` keeps what the hub wants on disk (:mod:`agent.ruling.desired`); the process exists only while there is
something in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.settings import Settings


def main(settings: Settings) -> int:
    """Run until SIGTERM; returns the exit code."""
    from agent import bus
    from agent.ruling.service import Ruling

    try:
        return Ruling(settings).run()
    except bus.BusTaken as error:
        import sys

        print(f"hutkeeper-agent: {error}", file=sys.stderr)
        return 1
