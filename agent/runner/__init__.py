"""One plugin process: reads the world through plugins and hands what they give to ``uplink``, exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.settings import Settings


def main(settings: Settings, *instances: str) -> int:
    """Run these instances of agent.toml until SIGTERM. Returns 0, 1 (failed) or 2 (configuration refused, one line)."""
    from agent.runner.process import Process

    return Process(settings, instances).run()
