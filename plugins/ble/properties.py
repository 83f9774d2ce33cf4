"""Every property: of the scanner itself, and of a device that was named."""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import replace

from agent.api import Node, Property

RSSI_MAX_AGE_S = 30.0
STATE_MAX_AGE_S = 150.0
"""Of what is told at each change and once a minute."""
SAID_MAX_AGE_S = 600.0
STATES = ("up", "stalled", "down")


def scanner(name: str, title: str) -> Property:
    return Property(name=name, datatype="enum", options=STATES, title=title, diagnostic=True)


def _count(name: str, title: str) -> Property:
    return Property(name=name, datatype="integer", title=title, state_class="total_increasing", minimum=0,
                    diagnostic=True)


OWN = (
    scanner("scanner", "Scanner"),
    Property(name="adverts_rate_hz", datatype="float", unit="Hz", title="Advertisements per second", minimum=0,
             device_class="frequency", state_class="measurement", diagnostic=True),
    Property(name="advertisers", datatype="integer", title="Advertisers heard in the last minute", minimum=0,
             state_class="measurement"),
    Property(name="unknown_advertisers", datatype="integer", title="Of these, not named in the configuration",
             minimum=0, state_class="measurement"),
    _count("bad_adverts", "Unreadable advertisements since start"),
    _count("lost_adverts", "Advertisements lost since start"),
    _count("repeated_lists", "Repeated badge lists since start"),
    Property(name="list_advertisers", datatype="boolean", settable=True, event=True, title="List the advertisers now"),
    Property(name="advertiser_list", datatype="json", event=True, optional=True, title="Advertisers, strongest first"),
)


def _rssi(name: str, title: str, interval_s: float) -> Property:
    return Property(name=name, datatype="integer", unit="dBm", title=title, minimum=-127, maximum=20,
                    device_class="signal_strength", state_class="measurement",
                    max_age_s=max(RSSI_MAX_AGE_S, 3 * interval_s), comes_and_goes=True)


def _said(name: str, datatype: Any, title: str, unit: str | None = None, **more: Any) -> Property:
    more.setdefault("max_age_s", SAID_MAX_AGE_S)
    return Property(name=name, datatype=datatype, unit=unit, title=title, optional=True, comes_and_goes=True,
                    **more)


SAID = (
    _said("beacons", "json", "Beacons that the badge hears (dBm)", max_age_s=RSSI_MAX_AGE_S),
    _said("beacon_count", "integer", "Number of beacons that the badge hears", minimum=0, maximum=15,
          state_class="measurement", max_age_s=RSSI_MAX_AGE_S),
    _said("motion", "boolean", "Motion", device_class="motion", max_age_s=STATE_MAX_AGE_S),
    _said("button", "boolean", "Button", max_age_s=STATE_MAX_AGE_S),
    _said("position", "string", "Position", max_age_s=STATE_MAX_AGE_S),
    _said("opposite_badge_id", "string", "Badge opposite", max_age_s=STATE_MAX_AGE_S),
    _said("battery_pct", "integer", "Battery", "%", minimum=0, maximum=100, device_class="battery",
          state_class="measurement", diagnostic=True),
    _said("battery_voltage_v", "float", "Battery voltage", "V", minimum=0.5, maximum=6, device_class="voltage",
          state_class="measurement", diagnostic=True),
    _said("temperature_c", "float", "Temperature", "°C", minimum=-40, maximum=85, device_class="temperature",
          state_class="measurement"),
    _said("sent_adverts", "integer", "Advertisements sent since the beacon's start", minimum=0,
          state_class="total_increasing", diagnostic=True),
    _said("beacon_uptime_s", "integer", "The beacon's uptime", "s", minimum=0, device_class="duration",
          state_class="measurement", diagnostic=True),
    _said("ibeacon", "string", "iBeacon (UUID/major/minor)", diagnostic=True),
    _said("power_at_1m_dbm", "integer", "Its strength at 1 m, as it says", "dBm", minimum=-127, maximum=127,
          device_class="signal_strength", diagnostic=True),
    _said("eddystone_uid", "string", "Eddystone UID (namespace and instance)", diagnostic=True),
    _said("power_at_0m_dbm", "integer", "Its strength at 0 m, as it says", "dBm", minimum=-127, maximum=127,
          device_class="signal_strength", diagnostic=True),
    _said("eddystone_url", "string", "Eddystone URL", diagnostic=True),
    _said("tx_power_dbm", "integer", "Its transmit power, as it says", "dBm", minimum=-127, maximum=20,
          device_class="signal_strength", diagnostic=True),
    _said("manufacturer_data", "string", "Manufacturer data (company:hex)", diagnostic=True,
          enabled_by_default=False),
)
LISTS = ("beacons", "beacon_count")
FLAGS = frozenset(prop.name for prop in SAID if prop.datatype in ("boolean",))
"""Changes of these are told at once."""


def word(receiver: str) -> str:
    """A receiver's name as part of a property's."""
    return re.sub(r"[^a-z0-9]+", "_", receiver.lower().replace(":", "")).strip("_")[:24] or "other"


def rssi_property(receiver: str, first: str) -> str:
    """``rssi_dbm`` for the first receiver, ``rssi_hci1_dbm`` for a further one."""
    return "rssi_dbm" if receiver == first else f"rssi_{word(receiver)}_dbm"


def device_node(name: str, title: str, receivers: dict[str, str], *, rssi_interval_s: float, dedup_s: float) -> Node:
    """``receivers``: property -> the receiver's name, in the order of their first packet. A strength is told every
    ``rssi_interval_s``, the same list again after ``dedup_s``."""
    strengths = tuple(_rssi(prop, "Signal strength" if prop == "rssi_dbm" else f"Signal strength at {receiver}",
                            rssi_interval_s) for prop, receiver in receivers.items())
    list_age_s = max(RSSI_MAX_AGE_S, 3 * dedup_s)
    said = tuple(replace(prop, max_age_s=list_age_s) if prop.name in LISTS else prop for prop in SAID)
    return Node(id=name, title=title or name, properties=(*strengths, *said))
