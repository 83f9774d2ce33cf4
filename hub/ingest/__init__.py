"""``hutkeeper-hub ingest``: MQTT -> validate -> store -> receipts. The only writer of samples."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from types import FrameType

from hub.settings import Settings


def main(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Exits 1 with one line when the store or the configuration forbids to go on."""
    from hub.ingest.service import Ingest, Stuck
    from hub.logbook import handler
    from hub.store.connect import set_aside
    from hub.store.errors import StoreCorrupt, StoreError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s ingest: %(message)s", stream=sys.stderr)
    handler.install(settings.hub.run_dir, "ingest")
    stopping = threading.Event()

    ingest = Ingest(settings, stopping)

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()
        ingest.wake()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        ingest.run()
    except StoreCorrupt as error:
        if settings.samples_db.exists():  # found while running; at the start it is set aside already
            set_aside(settings.samples_db, str(error))
        sys.exit(f"ingest: {error}")
    except (StoreError, Stuck) as error:
        sys.exit(f"ingest: {error}")
