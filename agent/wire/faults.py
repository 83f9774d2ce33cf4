"""Every error code, once: what it means, what is safe, what the operator does. Texts of FAULTS rows B01 ff.

A fault is shown as one line: ``CODE what happened, since when; what is kept; what to do``. Both the agent
(``$alert/<id>``, ``$log``) and the hub (event log, banner) make their line here, so a code reads alike everywhere.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct

Severity = Literal["info", "warning", "error", "critical"]


class Fault(Struct, frozen=True):
    severity: Severity
    what: str
    """What happened; may hold ``{fields}`` filled by the caller."""
    kept: str
    """What is safe, and what is lost."""
    do: str
    """The operator's next step."""


FAULTS: dict[str, Fault] = {
    # broker, network
    "E_BROKER_DOWN": Fault("error", "no connection to the broker {where}",
        "samples are kept on this device's disk", "check that the broker runs and the network reaches it"),
    "E_BROKER_STATE_RESET": Fault("error", "the broker's state file was unreadable and was moved to {path}",
        "no sample is lost, agents send again what has no receipt", "look at the hub's disk if it comes back"),
    "E_BROKER_STALL": Fault("error", "the broker {where} accepts connections but moves nothing",
        "samples are kept on the devices' disks", "restart the broker"),
    "E_NO_RECEIPT": Fault("error", "the hub sent no receipt for {age_s:.0f} s although batches were accepted",
        "samples are kept on this device's disk",
        "check that the hub's ingest runs and that the broker's ACL lets this device write its records"),
    "E_DUP_CLIENT_ID": Fault("error", "two devices share the id {device}: {addresses}",
        "both data sets are kept, under two epochs", "give one of them another [device] id"),
    "W_INGEST_LAG": Fault("warning", "ingest is {lag_s:.0f} s behind",
        "samples wait on the devices' disks", "look at the hub's load and disk"),
    # storage
    "E_DISK_IO": Fault("critical", "the disk of {path} fails: {error}",
        "the last 10 minutes are held in memory and sent directly", "replace the card or disk"),
    "E_SPOOL_FULL": Fault("error", "the spool is full: {dropped} samples dropped, {kept} kept",
        "the newest and most important samples are kept, every drop is counted",
        "bring the hub back, or raise [spool] max_bytes"),
    "E_SPOOL_CORRUPT": Fault("error", "the spool file was damaged: {saved} samples saved, {lost}",
        "the saved samples are sent under their old numbers", "replace the card if it comes back"),
    "E_DB_FULL": Fault("critical", "the hub's disk is full ({path})",
        "no receipt is sent, so the devices keep everything", "free space on the hub's disk"),
    "E_DB_CORRUPT": Fault("critical", "the hub's database {path} is damaged: {error}",
        "the file is set aside, devices send the last 24 h again", "restore: hutkeeper-hub restore BACKUP"),
    "W_WAL_BIG": Fault("warning", "the write-ahead log of {path} has {mib:.0f} MiB",
        "nothing is lost", "close the program that reads the database for long"),
    "W_SQLITE_VERSION": Fault("info", "SQLite {version} has the WAL-reset bug (fixed in 3.51.3)",
        "one connection writes and checkpoints, so it cannot bite", "none"),
    "E_SECOND_HUB": Fault("critical", "another hub is active: {who}",
        "this one stores and answers nothing, agents obey the one with the highest term",
        "stop one of the two hubs"),
    # time
    "W_CLOCK_UNSYNCED": Fault("warning", "the clock of this device is not synchronised",
        "samples are kept and moved to their right time once it is", "check NTP: timedatectl"),
    "E_TS_FUTURE": Fault("error", "the clock of {device} is {ahead} ahead",
        "samples are stored but not shown as live", "check NTP on the device: timedatectl"),
    # data
    "E_BAD_PAYLOAD": Fault("error", "an unreadable message from {device}: {reason}",
        "it is quarantined ({n} samples), everything behind it flows", "hutkeeper-hub ledger --quarantine"),
    "E_BAD_HEADER": Fault("error", "a message from {device} that cannot be settled: {reason}",
        "no receipt is sent, so the device keeps it, and sets it aside itself after three tries",
        "hutkeeper-agent status on the device"),
    "E_EPOCH_RETIRED": Fault("error", "{device} sent samples of an epoch that is over ({epoch})",
        "they are quarantined", "look for an old copy of this device's card"),
    "E_TOO_MANY_METRICS": Fault("error", "{device} reports more than {cap} series",
        "the first {cap} are stored, the rest is quarantined", "look for a plugin that invents names"),
    "W_VALUE_NOT_FINITE": Fault("warning", "{series} gave {value}",
        "stored as bad with its reason", "check the sensor"),
    # people
    "E_LOGIN_ATTACK": Fault("error", "many wrong logins ({what})",
        "nobody got in by them, and nobody is locked out", "none if it was you; else look at the audit page"),
    # sensors, plugins
    "E_PLUGIN_CRASHLOOP": Fault("error", "plugin {instance} ended {n} times: {reason}",
        "the other plugins are not touched", "hutkeeper-agent check, then look at its log"),
    "E_PLUGIN_HUNG": Fault("error", "plugin {instance} made no progress for {age_s:.0f} s and was killed",
        "the other plugins are not touched", "look at its log and its cable"),
    "E_REBOOT_BUDGET": Fault("critical", "{why}: this machine was restarted {n} times in 24 h for it or its like{more}",
        "it stays up, everything else on it goes on", "look at what stands still: its log, its cable, its supply"),
    "E_RELAY_STUCK": Fault("critical", "{relay} was told OFF and {evidence} says it is ON",
        "OFF is repeated; software cannot open a welded contact",
        "switch the appliance off by its fuse or its own switch, then replace the relay"),
    "E_RELAY_DEAD": Fault("error", "{relay} was told ON and {evidence} says it is OFF",
        "it is asked for as long as heat is wanted", "check the relay's wiring and the fuse of what it switches"),
    "E_SENSOR_ABSENT": Fault("error", "{sensor}: no sample for {age_s:.0f} s",
        "the heater is off, or another sensor stands in", "check the thermometer, its battery or its wires"),
    "E_SENSOR_FROZEN": Fault("error", "{sensor} stands still: {evidence}",
        "the heater is off, or another sensor stands in",
        "restart the thermometer, check its wires; replace it if it comes back"),
    "E_SENSOR_LIES": Fault("error", "{sensor}: {evidence}", "what it says is not believed, nothing is decided on it",
        "check the thermometer's supply and wires"),
    "E_NO_HEATING_RESPONSE": Fault("error", "no warmer while on: {evidence}",
        "the heater is off and tried again later and later",
        "see whether the thermometer hangs in its place, the heater is on and a window is open"),
    "W_WINDOW_OPEN": Fault("warning", "a window is {evidence}", "it heats again, so that the house does not freeze",
        "shut the window, or look at its contact"),
    "W_OVERRIDE_FORGOTTEN": Fault("warning", "{evidence}", "every override has an end",
        "set mode to auto, or let it end"),
    "E_GUARD_SILENT": Fault("critical", "the guard of {instance} said nothing for {age_s:.0f} s and was killed",
        "a new guard starts with OFF", "none if it is back; else look at the log of guard-{instance}"),
    "E_GPIO": Fault("error", "{line}: {reason}", "the plugin retries", "{do}"),
    "E_VALVE_STUCK": Fault("critical", "the valve {valve} was told to be {told}, and {evidence}",
        "it is still told so, nothing else is tried", "close or open the stopcock by hand, then look at the valve"),
    "W_WATER_DRIP": Fault("warning", "water: {evidence}", "the meter goes on counting",
        "close all taps and watch the meter; look at toilets, taps, the boiler's safety valve"),
    "E_WATER_RUNNING": Fault("error", "water: {evidence}", "the meter goes on counting",
        "look for an open tap or a running toilet, or set watering if it is meant"),
    "E_WATER_BURST": Fault("critical", "water: {evidence}", "a valve that listens to this meter closes",
        "close the main valve"),
    "E_WATER_VACATION": Fault("critical", "water: {evidence}", "a valve that listens to this meter closes",
        "water is used although nobody is at home: have somebody look"),
    "E_BOILER_COLD": Fault("error", "{boiler} is ON, and {evidence}",
        "it goes on as long as it is allowed to, at most 4 h", "look at the boiler, its water pressure and its pump"),
    "E_SERIAL": Fault("error", "{port}: {reason}", "the plugin retries", "{do}"),
    "E_SIM_LOCKED": Fault("error", "{port}: {reason}", "messages wait in their queue, no further PIN is tried",
        "enter the PIN with a phone, or write the right one to pin_file and restart the machine; it goes on by itself"),
    "E_SIM_ABSENT": Fault("error", "{port}: {reason}", "messages wait in their queue",
        "put a working SIM in; it goes on by itself"),
    "E_MODEM_NETWORK": Fault("warning", "{port}: {reason}", "messages wait in their queue",
                             "move the stick to a window, look at its antenna, ask the operator"),
    "E_MODEM_HUNG": Fault("error", "{port}: {reason}", "messages wait in their queue",
        "nothing yet, it is restarted; look at the stick if this stays"),
    "E_BLE_DOWN": Fault("error", "{adapter}: {reason}",
        "everything else goes on, the scan is tried again", "hutkeeper-agent status, bluetoothctl show, dmesg"),
    "E_SOUND": Fault("error", "{reason}", "announcements wait for as long as they are good", "{do}"),
    # telling people
    "E_NOTIFY_DOWN": Fault("error", "channel {channel} delivers nothing: {error}",
        "messages wait and are sent later, critical ones go by the next channel",
        "check the internet and the channel's settings, then press Test on the page Who is told"),
    # life cycle
    "E_SCHEMA_NEWER": Fault("critical", "the database has schema {have}, this program wants {want}",
        "nothing was touched, reading works", "install the newer hutkeeper again"),
    "E_CONFIG": Fault("error", "{error}", "the last good configuration goes on", "correct agent.toml"),
}


def line(code: str, since_us: int | None = None, **fields: object) -> str:
    """The one line: ``E_BROKER_DOWN no connection ... since 2026-11-22T02:00:00Z; kept: ...; do: ...``."""
    fault = FAULTS[code]
    since = ""
    if since_us is not None:
        since = f" since {datetime.fromtimestamp(since_us / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"
    what, kept, do = (text.format(**fields) for text in (fault.what, fault.kept, fault.do))
    return f"{code} {what}{since}; kept: {kept}; do: {do}"
