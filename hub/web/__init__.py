"""The pages: fleet, device, series, people; the read API and the figures for Prometheus. ``main`` is the process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.settings import Settings


def main(settings: Settings) -> None:
    """Run the web process until it is told to stop. Ends the process with code 1 when it had to give up."""
    from hub.web.server import main as serve

    code = serve(settings)
    if code:
        sys.exit(code)
