"""What a heater says: its properties, its alerts, and when each is said again."""

from __future__ import annotations

from agent.api import Property

LASTING_S = 3600.0
"""How often what hardly ever changes is said again."""
AGE_S = 3 * LASTING_S
MODES = ("off", "auto", "forced")
ACTIONS = ("off", "idle", "heating")

_FIXED = (
    Property(name="room_temperature_c", datatype="float", unit="°C", title="Room temperature",
             device_class="temperature", state_class="measurement"),
    Property(name="second_temperature_c", datatype="float", unit="°C", title="Second temperature",
             device_class="temperature", state_class="measurement", optional=True),
    Property(name="setpoint_c", datatype="float", unit="°C", title="Setpoint", minimum=5, maximum=30, step=0.1,
             settable=True, device_class="temperature"),
    Property(name="mode", datatype="enum", title="Mode", options=MODES, settable=True),
    Property(name="until", datatype="datetime", title="In force until", settable=True, optional=True,
             comes_and_goes=True),
    Property(name="levels", datatype="json", title="Levels", settable=True, max_age_s=AGE_S),
    Property(name="schedule", datatype="json", title="Schedule", settable=True, max_age_s=AGE_S),
    Property(name="action", datatype="enum", title="Action", options=ACTIONS),
    Property(name="relay", datatype="boolean", title="Relay", options=("off", "on")),
    Property(name="contact", datatype="boolean", title="Relay's contact", options=("open", "closed"), optional=True,
             diagnostic=True),
    Property(name="power_pct", datatype="float", unit="%", title="Power", minimum=0, maximum=100,
             state_class="measurement"),
    Property(name="heat_demand", datatype="boolean", title="Heat demand", options=("none", "wanted")),
    Property(name="window_open", datatype="boolean", title="Window", options=("shut", "open"), device_class="window"),
    Property(name="failsafe", datatype="boolean", title="Failsafe: the sensor that counts is lost",
             device_class="problem"),
    Property(name="shed", datatype="boolean", title="Shed: the house draws too much"),
    Property(name="why", datatype="string", title="Why it is on or off"),
    Property(name="next_change", datatype="datetime", title="Next change", optional=True, comes_and_goes=True),
    Property(name="next_setpoint_c", datatype="float", unit="°C", title="Next setpoint", device_class="temperature",
             optional=True, comes_and_goes=True),
    Property(name="bogus_samples", datatype="integer", title="Samples not believed since start", minimum=0,
             state_class="measurement", diagnostic=True),
    Property(name="room_model", datatype="json", title="Room model", diagnostic=True, optional=True,
             max_age_s=AGE_S),
)


def properties(profiles: tuple[str, ...]) -> tuple[Property, ...]:
    preset = Property(name="profile", datatype="enum", title="Profile", options=profiles, settable=True)
    return (*_FIXED[:4], preset, *_FIXED[4:])


AT_ONCE = {"setpoint_c", "mode", "profile", "until", "levels", "schedule", "action", "relay", "contact", "heat_demand",
           "window_open", "failsafe", "shed", "next_change", "next_setpoint_c", "why"}
"""Said when they change; the others with them, or when their time has come."""
SELDOM = {"levels", "schedule", "room_model"}

DO = {
    "E_SENSOR_ABSENT": "check the thermometer, its battery or its wires",
    "E_SENSOR_FROZEN": "restart the thermometer, check its wires; replace it if it comes back",
    "E_SENSOR_LIES": "check the thermometer's supply and wires",
    "E_NO_HEATING_RESPONSE": "see whether the thermometer hangs in its place, the heater is on and a window is open",
    "E_RELAY_STUCK": "switch the appliance off by its fuse or its own switch, then replace the relay",
    "E_RELAY_DEAD": "check the relay's wiring and the fuse of what it switches",
    "W_WINDOW_OPEN": "shut the window, or look at its contact",
    "W_OVERRIDE_FORGOTTEN": "set mode to auto, or let it end",
}
"""Code -> the operator's next step, as ``agent/wire/faults.py`` has it."""


def alert_id(instance: str, code: str) -> str:
    """``E_RELAY_STUCK`` of ``heater``: ``heater-relay-stuck``."""
    return f"{instance}-{code.partition('_')[2].lower().replace('_', '-')}"


def alert_text(code: str, text: str) -> str:
    """A guard's own line stays as it is."""
    return text if text.startswith(code) else f"{code} {text}; do: {DO[code]}"
