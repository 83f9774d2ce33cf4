"""The pages: fleet, device, series, people; the read API and the figures for Prometheus. ``main`` is the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.settings import Settings


def main(settings: Settings) -> int:
    """Run the web process until it is told to stop; returns its exit code."""
    from hub.web.server import main as serve

    return serve(settings)
