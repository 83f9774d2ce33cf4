"""What the plugin tells only when it changes, or what may be away, must never become a stale alert by itself."""

from __future__ import annotations

from typing import Any

import pytest

from agent.api import Node, Plugin, Property, Reading, RetryLater, mqtt_line
from agent.replay.capture import escape
from agent.testing import io_over
from firmware_bridges.muta import Info, Kind, Register, Unit, Update, ValueField, to_host
from plugins.foreign_mqtt.config import ForeignMqttConfig, TasmotaConfig, Zigbee2mqttConfig
from plugins.foreign_mqtt.plugin import ForeignMqtt
from plugins.internet.config import InternetConfig, Target
from plugins.internet.plugin import Internet
from plugins.light.plugin import Light, LightConfig
from plugins.mains.config import MainsConfig
from plugins.mains.plugin import Mains
from plugins.pir.config import PirConfig
from plugins.pir.plugin import Pir
from plugins.presence.events import Event, encode
from plugins.presence.plugin import Presence
from plugins.presence.settings import BleSign, PersonConfig, PresenceConfig
from plugins.radio_units.plugin import RadioUnits
from plugins.radio_units.settings import RadioUnitsConfig, UnitConfig

GOOD = (None, "uncertain", "estimated")
DAY_S = 86_400


def too_old(plugin: Plugin, interval_s: float, capture: bytes) -> tuple[set[str], set[str]]:
    """Run it over a capture; (what was told, what of it the agent would have raised a stale alert for)."""
    props: dict[tuple[str | None, str], Property] = {(None, prop.name): prop for prop in plugin.declare()}
    last_s: dict[tuple[str | None, str], float] = {}
    old: set[str] = set()

    def look(now_s: float) -> None:
        for at, then_s in last_s.items():
            prop = props[at]
            watched = not (prop.event or prop.comes_and_goes or (prop.settable and prop.max_age_s is None))
            if watched and now_s - then_s > (prop.max_age_s if prop.max_age_s is not None else 3 * interval_s):
                old.add(f"{at[0] or 'own'}/{prop.name}")

    with io_over(capture, kind=type(plugin), config=plugin.config) as io:
        try:
            for item in plugin.run(io):  # type: ignore[union-attr]
                now_s = io.clock.boottime_us() / 1e6
                look(now_s)
                if isinstance(item, Node):
                    props |= {(item.id, prop.name): prop for prop in item.properties}
                elif isinstance(item, Reading) and item.value is not None and item.quality in GOOD:
                    last_s[item.node, item.property] = now_s if item.t_us is None else item.t_us / 1e6
        except RetryLater:
            pass  # the capture has ended
        look(io.clock.boottime_us() / 1e6)
    return {f"{node or 'own'}/{name}" for node, name in last_s}, old


def transcript(*lines: tuple[float, bytes]) -> bytes:
    return "".join(f"< {t_s:.3f} {escape(data)}\n" for t_s, data in lines).encode()


def internet() -> tuple[Plugin, float, bytes]:
    """Well, an answer that cannot be read, then ten minutes without the provider: its latencies are not to be had."""
    targets = {"port": Target(kind="tcp", address="192.0.2.1:443")}
    rounds = [(0.0, b"gateway tcp refused 1.0 192.0.2.9"), (0.1, b"nonsense"), (0.2, b"port tcp answered 12.0")]
    for t_s in range(60, 660, 10):
        rounds += [(t_s + 0.1, b"gateway tcp refused 1.0 192.0.2.9"), (t_s + 5.0, b"port tcp timeout 5000.0")]
    return Internet(InternetConfig(targets=targets)), 60, transcript(*rounds)


def light() -> tuple[Plugin, float, bytes]:
    return Light(LightConfig(port="/dev/ttyUSB0")), 10, transcript(
        (1, b"Lit 20%\n"), (2, b"\x81\x82\n"), *((t_s, b"Lit %d%%\n" % (20 + t_s % 3)) for t_s in range(10, 600, 10)))


def pir() -> tuple[Plugin, float, bytes]:
    """A glitch and a foreign line, then nobody is there for half an hour."""
    return Pir(PirConfig(sensors={"hall": "GPIO17"})), 60, transcript(
        (0, b"GPIO17 0"), (5, b"GPIO17 1"), (5.01, b"GPIO17 0"), (6, b"GPIO99 1"), (1800, b"GPIO17 0"))


def ups() -> tuple[Plugin, float, bytes]:
    """A UPS that is asked every five minutes, and once answered badly."""
    answer = b'BEGIN LIST VAR ups\nVAR ups battery.charge "100"\nVAR ups ups.status "OL"\nEND LIST VAR ups\n'
    asked: list[bytes] = []
    for number in range(12):
        t_s = 300 * number
        said = answer if number != 2 else answer.replace(b'"100"', b'"1')
        asked += [b"> %d.000 LIST VAR ups\\n\n" % t_s, transcript((t_s + 0.02, said))]
    return Mains(MainsConfig(ups="ups", interval_s=300)), 300, b"".join(asked)


def mains() -> tuple[Plugin, float, bytes]:
    return Mains(MainsConfig(line="GPIO22")), 5, transcript(
        (0, b"GPIO22 1"), (5, b"GPIO9 1"), (600, b"GPIO22 1"))


def presence() -> tuple[Plugin, float, bytes]:
    """The scanner dies while somebody is at home: unknown for long is an answer."""
    heard = [(float(t_s), encode(Event(bus="ble-badge", property="rssi_dbm", value=-60))) for t_s in range(1, 30, 5)]
    later = [(1800.0, encode(Event(bus="nothing", property="x", value=1)))]
    config = PresenceConfig(persons={"anna": PersonConfig(signs=(BleSign(device="badge"),))})
    return Presence(config), 60, transcript(*heard, *later)


def radio() -> tuple[Plugin, float, bytes]:
    """Two days of a unit beside a stranger; then it falls silent, which the plugin itself makes an alert of."""
    address, stranger = b"\x01\x20", b"\x02\x20"
    values = (ValueField("Tmp", 20.5, Kind.FIXED16, Unit.CELSIUS, signed=True),
              ValueField("Vb1", 2.9, Kind.FIXED16, Unit.VOLT),
              ValueField("UpF", 10, Kind.UINT8, Unit.MINUTE, writable=True))
    said = [(0.0, to_host(b"", Info("operator"))), (0.1, to_host(b"\0\0", Register("00c0ffee", False))),
            (0.2, to_host(address, Register("1a2b3c4d", True))), (0.3, to_host(stranger, Register("0badcafe", True)))]
    said += [(float(t_s), to_host(address, Update(values))) for t_s in range(1, 2 * DAY_S, 600)]
    said += [(2 * DAY_S + 3600.0, to_host(b"", Info("operator")))]
    rows = b"".join(b'{"t": %.1f, "hex": "%s"}\n' % (t_s, frame.hex().encode()) for t_s, frame in said)
    return RadioUnits(RadioUnitsConfig(units={"room": UnitConfig(uid="1a2b3c4d", defaults={"UpF": 10})})), 300, rows


def nodes() -> tuple[Plugin, float, bytes]:
    """A Tasmota with a TelePeriod of an hour, as silent_after_s says."""
    said = [(float(t_s), mqtt_line("tele/plug/SENSOR", b'{"ENERGY": {"Power": 38}}')) for t_s in range(0, 20_000, 3600)]
    return ForeignMqtt(ForeignMqttConfig(tasmota=TasmotaConfig(), silent_after_s=3 * 3600)), 10, transcript(*said)


TOLD: dict[str, tuple[Any, set[str]]] = {
    "internet": (internet, {"own/latency_ms", "port/latency_ms", "own/bad_outcomes", "own/fault"}),
    "light": (light, {"own/bad_lines", "own/luminosity_pct", "own/dark"}),
    "pir": (pir, {"own/bad_lines", "hall/glitches", "hall/motion"}),
    "ups": (ups, {"own/bad_lines", "own/mains_present", "own/battery_charge_pct"}),
    "mains": (mains, {"own/bad_lines", "own/mains_present", "own/restarts_held"}),
    "presence": (presence, {"anna/presence", "anna/present", "own/anyone_home"}),
    "radio": (radio, {"own/refused_units", "room/heard", "room/battery_low", "room/pending_writes",
                      "room/temperature_c"}),
    "nodes": (nodes, {"plug/active_power_w", "plug/online", "own/messages"}),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_is_told_at_a_change_only_becomes_no_stale_alert(name: str) -> None:
    made, wanted = TOLD[name]
    told, old = too_old(*made())
    assert wanted <= told, "else this looks at nothing"
    assert not old


def test_a_door_that_nobody_opens_and_a_lamp_that_nobody_touches_are_never_stale() -> None:
    """And of a node that has gone only what it measured is, all of it: one alert."""
    capture = transcript(
        (1, mqtt_line("zigbee2mqtt/door", b'{"contact": true, "temperature": 20.5, "battery": 90}')),
        (2, mqtt_line("zigbee2mqtt/lamp", b'{"state": "ON", "brightness": 254}')))
    plugin = ForeignMqtt(ForeignMqttConfig(zigbee2mqtt=Zigbee2mqttConfig()))
    props: dict[str, Property] = {}
    with io_over(capture) as io:
        try:
            for item in plugin.run(io):
                if isinstance(item, Node):
                    props |= {f"{item.id}/{prop.name}": prop for prop in item.properties}
        except RetryLater:
            pass  # the capture has ended
    assert {name for name, prop in props.items() if not prop.comes_and_goes} == {"door/temperature_c",
                                                                                "door/battery_pct"}
    assert {"door/open", "door/online", "lamp/on", "lamp/brightness_pct"} <= set(props)
