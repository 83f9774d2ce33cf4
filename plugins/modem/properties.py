"""Everything the plugin reports. ``state`` and the totals are told on change and every minute."""

from __future__ import annotations

from msgspec.structs import replace

from agent.api import Priority, Property

from .at_replies import REGISTRATION

STATES = ("starting", "absent", "no_sim", "sim_locked", "searching", "denied", "ready", "hung")
MAX_AGE_S = 300.0


def _event(name: str, title: str, priority: Priority = Priority.ALARM) -> Property:
    return Property(name=name, datatype="json", title=title, event=True, priority=priority)


def _total(name: str, title: str, *, diagnostic: bool = False) -> Property:
    return Property(name=name, datatype="integer", title=title, state_class="total_increasing", max_age_s=MAX_AGE_S,
                    priority=Priority.COUNTER, diagnostic=diagnostic)


PROPERTIES = (
    Property(name="state", datatype="enum", options=STATES, title="State", max_age_s=MAX_AGE_S),
    Property(name="registration", datatype="enum", options=tuple(dict.fromkeys(REGISTRATION)), title="Registration",
             max_age_s=MAX_AGE_S),
    Property(name="rssi_dbm", datatype="integer", unit="dBm", title="Signal", minimum=-120, maximum=0,
             device_class="signal_strength", state_class="measurement", max_age_s=MAX_AGE_S),
    Property(name="operator", datatype="string", title="Operator", max_age_s=MAX_AGE_S, optional=True),
    Property(name="network_code", datatype="string", title="Country and network", max_age_s=MAX_AGE_S, diagnostic=True,
             optional=True),
    Property(name="model", datatype="string", title="Modem", diagnostic=True, optional=True, max_age_s=7 * 86400.0),
    _event("incoming", "SMS that came"),
    _event("command", "Command by SMS, its code was right"),
    _event("sent", "SMS sent, or given up", Priority.COUNTER),
    _event("report", "Delivery report", Priority.COUNTER),
    Property(name="send", datatype="json", title="Send an SMS", settable=True, event=True),
    Property(name="text_message", datatype="string", title="Text message", settable=True, event=True),
    Property(name="new_code", datatype="json", title="New code for a command by SMS", settable=True, event=True),
    Property(name="read_strangers", datatype="boolean", title="Show the texts of strangers", settable=True, event=True),
    Property(name="ussd", datatype="string", title="Ask the network (USSD)", settable=True, event=True,
             diagnostic=True),
    Property(name="ussd_reply", datatype="string", title="Answer of the network", event=True),
    Property(name="queue", datatype="integer", title="Messages waiting", minimum=0, max_age_s=MAX_AGE_S),
    Property(name="strangers_unread", datatype="integer", title="Unread messages of strangers", minimum=0,
             max_age_s=MAX_AGE_S),
    Property(name="balance", datatype="string", title="Balance, operator's words", optional=True,
             max_age_s=40 * 86400.0),
    Property(name="balance_value", datatype="float", unit="EUR", title="Balance", device_class="monetary",
             optional=True, max_age_s=40 * 86400.0),
    Property(name="sms_storage_pct", datatype="float", unit="%", title="Memory for SMS in use", minimum=0, maximum=100,
             max_age_s=MAX_AGE_S, diagnostic=True, optional=True),
    _total("sms_sent_total", "SMS sent"),
    _total("sms_received_total", "SMS that came"),
    _total("held_back_total", "Messages held back by a cap"),
    _total("send_failures_total", "Failed tries to send"),
    _total("resets_total", "Times the modem had to be restarted", diagnostic=True),
    _total("bad_units_total", "Damaged lines and SMS that cannot be read", diagnostic=True),
)


def with_currency(currency: str) -> tuple[Property, ...]:
    return tuple(replace(prop, unit=currency) if prop.name == "balance_value" else prop for prop in PROPERTIES)
