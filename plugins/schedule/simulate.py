"""A calendar of a house as a real file, with events that come within minutes; the clock is the real one."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from .settings import Reminder


def calendar(now: datetime) -> str:
    """The bins tomorrow, the kettle in five minutes and again every day."""
    soon = (now + timedelta(minutes=5)).astimezone(UTC)
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//hutkeeper//simulated//EN",
             "BEGIN:VEVENT", "UID:bins", f"DTSTAMP:{soon:%Y%m%dT%H%M%SZ}", "SUMMARY:Bins",
             f"DTSTART;VALUE=DATE:{now + timedelta(days=1):%Y%m%d}", "RRULE:FREQ=WEEKLY", "END:VEVENT",
             "BEGIN:VEVENT", "UID:kettle", f"DTSTAMP:{soon:%Y%m%dT%H%M%SZ}", "SUMMARY:The kettle",
             f"DTSTART:{soon:%Y%m%dT%H%M00Z}", "RRULE:FREQ=DAILY", "END:VEVENT",
             "END:VCALENDAR", ""]
    return "\r\n".join(lines)


@contextlib.contextmanager
def simulated(config: Any) -> Iterator[Any]:
    """The config with that calendar (where its library is installed), and a reminder 4, 2 and 0 minutes before."""
    with tempfile.TemporaryDirectory(prefix="hutkeeper-calendar-") as folder:
        changes: dict[str, Any] = {"reminders": (Reminder(lead_min=(4, 2, 0)),), "calendar": "", "phrases": ""}
        if find_spec("recurring_ical_events") is not None:
            path = Path(folder) / "house.ics"
            path.write_text(calendar(datetime.now().astimezone()))
            changes["calendar"] = str(path)
        yield msgspec.structs.replace(config, **changes)
