"""The process ``uplink``: local bus, spool, and the only connection to our broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.settings import Settings


def main(settings: Settings) -> int:
    """Run until SIGTERM; returns the exit code."""
    from agent import bus
    from agent.spool.database import SpoolBusy
    from agent.uplink import logs
    from agent.uplink.service import Uplink

    handler = logs.install()
    try:
        uplink = Uplink(settings, handler)
    except (bus.BusTaken, SpoolBusy, OSError) as error:
        import logging

        logging.getLogger(__name__).critical("uplink cannot start: %s", error)
        return 1
    return uplink.run()
