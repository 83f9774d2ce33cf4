"""The process that watches, remembers and wakes people: rules, alerts, logbook, channels. ``service`` is its loop,
``part`` what each part is given, ``asks`` how pages and commands talk to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.settings import Settings


def main(settings: Settings) -> None:
    """Run it in the foreground until SIGTERM."""
    from hub.notify.service import main as run

    run(settings)
