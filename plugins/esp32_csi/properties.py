"""What the receiver and each of its links report."""

from __future__ import annotations

from agent.api import Priority, Property

CALIBRATE = Property(
    name="calibrate", datatype="boolean", settable=True, event=True, title="Room is quiet now",
)

PROPERTIES = (
    Property(name="rows_hz", datatype="float", unit="Hz", title="Rows per second", minimum=0, diagnostic=True,
             state_class="measurement"),
    Property(name="corrupt_line_ratio", datatype="float", title="Corrupt lines, part of all rows", minimum=0,
             maximum=1, diagnostic=True, state_class="measurement", comes_and_goes=True),  # of no line it is not known
    Property(name="corrupt_lines", datatype="integer", title="Corrupt lines since start", minimum=0, diagnostic=True),
    Property(name="other_lines", datatype="integer", title="Lines that are no rows since start", minimum=0,
             diagnostic=True, enabled_by_default=False),
    Property(name="ignored_rows", datatype="integer", title="Rows of senders not followed since start", minimum=0,
             diagnostic=True, enabled_by_default=False),
    Property(name="links", datatype="integer", title="Links heard now", minimum=0, diagnostic=True),
    CALIBRATE,
)

LINK_PROPERTIES = (
    Property(name="motion", datatype="boolean", options=("idle", "motion"), device_class="motion", title="Motion"),
    Property(name="score", datatype="float", title="Motion score (1 is the threshold)", minimum=0,
             state_class="measurement"),
    Property(name="rate_hz", datatype="float", unit="Hz", title="Packets per second", minimum=0,
             device_class="frequency", state_class="measurement", diagnostic=True),
    Property(name="rssi_dbm", datatype="integer", unit="dBm", title="RSSI", minimum=-128, maximum=30,
             device_class="signal_strength", state_class="measurement", diagnostic=True, optional=True),
    Property(name="noise_floor_dbm", datatype="integer", unit="dBm", title="Noise floor", minimum=-128, maximum=0,
             device_class="signal_strength", state_class="measurement", diagnostic=True, optional=True,
             enabled_by_default=False),
    Property(name="channel", datatype="integer", title="Wi-Fi channel", minimum=1, maximum=196, diagnostic=True,
             optional=True),
    Property(name="calibration", datatype="enum", options=("learning", "teaching", "ready"), diagnostic=True,
             title="Knowledge of the quiet room"),
    Property(name="recalibrations", datatype="integer", title="Quiet room learned anew since start", minimum=0,
             diagnostic=True),
    CALIBRATE,
)

RAW = Property(name="csi", datatype="json", title="Channel state", priority=Priority.BULK, diagnostic=True,
               event=True, enabled_by_default=False)
