"""Writing the logbook."""

from __future__ import annotations

from hub.logbook.model import Entry
from hub.notify.part import Part


class Logbook(Part):
    def add(self, entry: Entry) -> None:
        """May be called by every part within the second's transaction, or by a handler of the desk."""
