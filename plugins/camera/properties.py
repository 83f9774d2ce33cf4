"""What a camera reports."""

from __future__ import annotations

from msgspec.structs import replace

from agent.api import Priority, Property

from .picture import PICTURES

STREAM = ("up", "stalled", "down", "off")

PROPERTIES: tuple[Property, ...] = (
    Property(name="motion", datatype="boolean", title="Motion", device_class="motion", options=("still", "motion"),
             priority=Priority.COUNTER),
    Property(name="motion_event", datatype="json", title="Motion event", event=True, priority=Priority.ALARM),
    Property(name="motion_score_pct", datatype="float", unit="%", title="Largest moving thing, part of the region",
             minimum=0, maximum=100, state_class="measurement"),
    Property(name="brightness_pct", datatype="float", unit="%", title="Brightness of the picture", minimum=0,
             maximum=100, state_class="measurement"),
    Property(name="picture", datatype="enum", title="Picture", options=PICTURES),
    Property(name="stream", datatype="enum", title="Stream", options=STREAM,
             max_age_s=86_400),  # told once: a reading would say that the plugin is well again
    Property(name="snapshot", datatype="enum", title="Snapshot", options=("take",), settable=True, event=True),
    Property(name="clip", datatype="enum", title="Clip", options=("save",), settable=True, event=True),
    Property(name="saved", datatype="json", title="Saved clip or snapshot", event=True),
    Property(name="clips", datatype="integer", title="Clips and snapshots kept", minimum=0, diagnostic=True,
             state_class="measurement", max_age_s=3600),
    Property(name="clips_bytes", datatype="integer", unit="B", title="Bytes of clips and snapshots", minimum=0,
             device_class="data_size", state_class="measurement", diagnostic=True, max_age_s=3600),
    Property(name="fps_hz", datatype="float", unit="Hz", title="Pictures looked at a second", minimum=0,
             device_class="frequency", state_class="measurement", diagnostic=True),
    Property(name="stream_errors", datatype="integer", title="Errors in the stream since start", minimum=0,
             diagnostic=True, state_class="total_increasing"),
    Property(name="stream_starts", datatype="integer", title="Starts of the stream since start", minimum=0,
             diagnostic=True, state_class="total_increasing"),
    Property(name="light_changes", datatype="integer", title="Changes of the light since start", minimum=0,
             diagnostic=True, state_class="total_increasing"),
)


def declared(off_hours: bool) -> tuple[Property, ...]:
    """``off_hours``: while the camera is shut no picture tells anything, and that is no fault."""
    if not off_hours:
        return PROPERTIES
    return tuple(prop if prop.event or prop.name == "stream" else replace(prop, comes_and_goes=True)
                 for prop in PROPERTIES)
