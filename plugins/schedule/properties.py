"""What a schedule tells and takes."""

from __future__ import annotations

from agent.api import Property

PROPERTIES = (
    Property(name="announcement", datatype="json", event=True, title="To be announced"),
    Property(name="enabled", datatype="boolean", settable=True, options=("off", "on"), title="Schedule"),
    Property(name="presence", datatype="enum", options=("home", "away", "unknown", "any"), title="Presence as seen"),
    Property(name="holiday", datatype="boolean", options=("no", "yes"), title="Holiday"),
    Property(name="next_announcement", datatype="datetime", device_class="timestamp", title="Next announcement",
             optional=True, comes_and_goes=True),
    Property(name="next_reminder", datatype="json", title="Next reminder", optional=True, comes_and_goes=True),
    Property(name="announced", datatype="integer", minimum=0, title="Announced since start",
             state_class="measurement", diagnostic=True),
    Property(name="kept_silent", datatype="integer", minimum=0, title="Kept silent since start (nobody at home, off)",
             state_class="measurement", diagnostic=True),
    Property(name="calendar_events", datatype="integer", minimum=0, title="Events in the calendar in the coming days",
             state_class="measurement", diagnostic=True, optional=True),
    Property(name="bad_files", datatype="integer", minimum=0, title="Calendar files that cannot be read",
             state_class="measurement", diagnostic=True),
    Property(name="bad_events", datatype="integer", minimum=0, title="Unreadable events since start",
             state_class="measurement", diagnostic=True),
)
