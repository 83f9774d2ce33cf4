"""What an announcer tells and takes."""

from __future__ import annotations

from agent.api import Priority, Property

SOUND = ("unknown", "ok", "busy", "absent", "denied", "failed")

PROPERTIES = (
    Property(name="say", datatype="json", settable=True, event=True, title="Say"),
    Property(name="announce", datatype="string", settable=True, event=True, title="Announce"),
    Property(name="lock", datatype="json", settable=True, event=True, title="Take the lock", diagnostic=True),
    Property(name="release", datatype="json", settable=True, event=True, title="Give the lock back", diagnostic=True),
    Property(name="spoken", datatype="json", event=True, title="Spoken, or why not", priority=Priority.NORMAL),
    Property(name="busy", datatype="boolean", options=("silent", "speaking"), title="Speaking"),
    Property(name="enabled", datatype="boolean", settable=True, options=("off", "on"), title="Announcements"),
    Property(name="volume_pct", datatype="integer", unit="%", minimum=0, maximum=100, settable=True, title="Volume"),
    Property(name="queue", datatype="integer", minimum=0, state_class="measurement", title="Announcements waiting"),
    Property(name="lock_state", datatype="json", title="Who holds the lock"),
    Property(name="quiet", datatype="boolean", options=("no", "yes"), title="Quiet hours now"),
    Property(name="sound", datatype="enum", options=SOUND, title="Sound device", diagnostic=True),
    Property(name="refused", datatype="integer", minimum=0, title="Announcements refused since start",
             diagnostic=True, state_class="measurement"),
    Property(name="failed", datatype="integer", minimum=0, title="Announcements that could not be made since start",
             diagnostic=True, state_class="measurement"),
    Property(name="bad_events", datatype="integer", minimum=0, title="Unreadable events since start",
             diagnostic=True, state_class="measurement"),
    Property(name="cache_bytes", datatype="integer", unit="B", minimum=0, title="Speech kept", diagnostic=True,
             state_class="measurement"),
)
