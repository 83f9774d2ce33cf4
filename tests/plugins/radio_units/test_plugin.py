"""The plugin on real ptys with the runner's port: a gateway that loses frames, commands, pulled plugs, kept state."""

from __future__ import annotations

import contextlib
import os
import tty
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.testing import AtWork, FakePty, at_work
from firmware_bridges.muta import (
    OPERATOR,
    Kind,
    Register,
    RegisterAnswer,
    Unit,
    Update,
    ValueField,
    parse_order,
    to_host,
)
from plugins.radio_units.captures import stamped, wire_bytes
from plugins.radio_units.plugin import RadioUnits
from plugins.radio_units.settings import RadioUnitsConfig, UnitConfig
from plugins.radio_units.simulate import SimulatedGateway, gateway

SALON, HALL, STRANGER = "1a2b3c4d", "5e6f7081", "deadbeef"
A = b"\x01\x20"
PATIENCE_S = 20.0


def running(config: RadioUnitsConfig, kept: dict[str, Any] | None = None) -> AbstractContextManager[AtWork]:
    return at_work(RadioUnits, config, kept=kept, instance="radio")


@contextlib.contextmanager
def house(
    loss: float = 0.0, awake: frozenset[str] = frozenset({SALON}), defaults: dict[str, float | bool] | None = None
) -> Iterator[tuple[AtWork, SimulatedGateway]]:
    units = {"salon": UnitConfig(uid=SALON, defaults=defaults or {}), "hall": UnitConfig(uid=HALL)}
    with gateway([SALON, HALL, STRANGER], loss=loss, period_s=0.4, awake=awake, seed=3) as (port, device):  # noqa: SIM117
        with running(RadioUnitsConfig(port=port, units=units)) as plugin:
            yield plugin, device


def report(value: float, last: bool = True) -> bytes:
    return to_host(A, Update((ValueField("Tmp", value, Kind.FIXED16, Unit.CELSIUS, True),), last))


def test_units_register_report_and_a_stranger_stays_out() -> None:
    with house() as (plugin, device):
        plugin.wait(lambda: plugin.value("tx_power", "hall") and plugin.value("temperature_c", "salon"))
        assert {prop.name for prop in plugin.nodes["salon"].properties} >= {
            "temperature_c", "luminosity_pct", "battery_v", "update_period_min", "tx_power", "heard"}
        plugin.wait(lambda: plugin.value("refused_units", None) == 1)
        assert "deadbeef" not in str(plugin.nodes) and not device.units[2].accepted
    assert [text for text in plugin.lines.of("warning") if "deadbeef" in text] == plugin.lines.of("warning")


def test_a_command_to_a_unit_that_is_awake_is_answered_with_what_reads_back() -> None:
    with house() as (plugin, device):
        plugin.wait(lambda: plugin.value("update_period_min", "salon") == 2)
        answer = plugin.order("update_period_min", 7, "salon")
        assert (answer.ok, answer.value) == (True, 7) and device.units[0].settings["UpF"] == 7
        answer = plugin.order("tx_power", "2.5 mW", "salon")
        assert (answer.ok, answer.value) == (True, "2.5 mW") and device.units[0].settings["Pwr"] == 3


def test_a_command_is_repeated_when_the_air_loses_frames() -> None:
    with house(loss=0.35) as (plugin, device):
        plugin.wait(lambda: plugin.value("update_period_min", "salon") == 2)
        taken = [plugin.order("update_period_min", value, "salon").ok for value in (3, 4, 5)]
        assert device.lost > 0 and sum(taken) >= 2, plugin.answers


def test_a_command_that_is_never_taken_is_refused_with_what_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.radio_units.plugin.AWAKE_WAIT_S", 0.1)
    with house() as (plugin, device):
        plugin.wait(lambda: plugin.value("update_period_min", "salon") == 2)
        device.units[0].hear = lambda message, now_s: None  # type: ignore[method-assign]
        answer = plugin.order("update_period_min", 9, "salon")
        assert not answer.ok and "did not take update_period_min = 9 in 3 tries; it says 2" in answer.message
        plugin.wait(lambda: plugin.value("pending_writes", "salon") == {})


def test_a_command_to_a_sleeping_unit_waits_for_its_report_and_is_shown_meanwhile() -> None:
    with house() as (plugin, device):
        plugin.wait(lambda: plugin.value("update_period_min", "hall") == 5)
        answer = plugin.order("update_period_min", 12, "hall")
        assert (answer.ok, answer.value) == (True, 5), "what is true now, not what was asked for"
        plugin.wait(lambda: (plugin.value("pending_writes", "hall") or {}).get("UpF", {}).get("wanted") == 12)
        plugin.wait(lambda: plugin.value("update_period_min", "hall") == 12)
        plugin.wait(lambda: plugin.value("pending_writes", "hall") == {})
        assert device.units[1].settings["UpF"] == 12


def test_defaults_are_written_when_a_unit_registers_even_on_bad_air() -> None:
    with house(loss=0.25, defaults={"UpF": 4, "Pwr": 2}) as (plugin, device):
        plugin.wait(lambda: plugin.value("pending_writes", "salon") == {})
        assert device.units[0].settings == {"UpF": 4, "Pwr": 2}
        assert (plugin.value("update_period_min", "salon"), plugin.value("tx_power", "salon")) == (4, "5 mW")


@pytest.mark.parametrize("node, name, value, says", [
    ("salon", "temperature_c", 20.0, "has no writable temperature_c"),
    ("salon", "update_period_min", 300, "1 to 255"),
    ("salon", "update_period_min", 0, "1 to 255"),
    ("attic", "update_period_min", 5, "has no writable"),
    ("salon", "tx_power", "1 kW", "one of 20 mW"),
])
def test_commands_that_make_no_sense_are_refused(node: str, name: str, value: Any, says: str) -> None:
    with house() as (plugin, _):
        plugin.wait(lambda: plugin.value("tx_power", "salon"))
        answer = plugin.order(name, value, node)
        assert not answer.ok and says in answer.message


# --- plugs, ports, restarts -----------------------------------------------------------------------------------------


def answering(device: FakePty) -> None:
    """An operator that opens the network when it is reset."""
    def respond(data: bytes) -> bytes:
        return to_host(OPERATOR, Register("00c0ffee", False)) if data[:1] == b"X" else b""

    device.respond = respond


def test_B54_a_replugged_gateway_goes_on_behind_its_name_without_a_leak(tmp_path: Path) -> None:
    config = RadioUnitsConfig(port=str(tmp_path / "muta"), units={"salon": UnitConfig(uid=SALON, address="2001")})
    device = FakePty(tmp_path, "muta")
    answering(device)
    with device, running(config) as plugin:
        fds = []
        for value in (20.0, 20.1):
            plugin.wait(lambda: plugin.worker._failing is None and plugin.committed)
            device.write(report(value)[:30])  # torn by the plug ...
            device.unplug()
            plugin.wait(lambda: plugin.worker._failing is not None)
            device.plug()
            plugin.wait(lambda value=value: device.write(report(value))
                        or plugin.value("temperature_c", "salon") == value)
            fds.append(len(os.listdir("/proc/self/fd")))
        assert fds[0] == fds[-1], "file descriptors leak"
        assert not plugin.lines.of("error")
        assert [text for text in plugin.lines.of("warning") if "E_SERIAL" in text]


def test_a_restart_keeps_addresses_key_and_what_is_still_to_be_written(tmp_path: Path) -> None:
    written: list[bytes] = []

    def respond(data: bytes) -> bytes:
        written.append(data)
        return to_host(OPERATOR, Register("00c0ffee", False)) if data[:1] == b"X" else b""

    def orders() -> list[Any]:
        whole = b"".join(written)
        return [parse_order(whole[at : at + 64]) for at in range(0, len(whole) - 63, 64)]

    config = RadioUnitsConfig(port=str(tmp_path / "muta"), units={
        "salon": UnitConfig(uid=SALON, defaults={"UpF": 3})})
    upf = ValueField("UpF", 5, Kind.UINT8, Unit.MINUTE, writable=True)
    with FakePty(tmp_path, "muta", respond) as device:
        with running(config) as plugin:
            plugin.wait(lambda: plugin.committed)
            device.write(to_host(A, Register(SALON, True)))
            plugin.wait(lambda: plugin.value("pending_writes", "salon"))
        key = next(message.key for address, message in orders() if isinstance(message, RegisterAnswer))
        written.clear()
        with running(config, plugin.committed) as again:
            again.wait(lambda: again.value("units_heard", None) is not None)  # the port is open
            device.write(to_host(A, Update((upf,))))
            again.wait(lambda: again.value("update_period_min", "salon") == 5)
            again.wait(lambda: orders())
            assert orders() == [(A, Update((upf._replace(value=3),)))], "no reset, and the default is still wanted"
            device.write(to_host(b"\x09\x20", Register(SALON, True)))
            again.wait(lambda: len(orders()) > 1)
            assert orders()[1] == (b"\x09\x20", RegisterAnswer(True, key)), "the session's key"
    assert again.committed["network"]["addresses"] == {"0920": SALON}


def test_units_that_talk_before_the_operator_was_heard_are_not_let_in_with_a_wrong_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first reset is lost, and the units of an older session go on talking."""
    monkeypatch.setattr("plugins.radio_units.conversation.ANSWER_S", 0.2)
    heard = bytearray()

    def respond(data: bytes) -> bytes:
        heard.extend(data)
        return to_host(OPERATOR, Register("00c0ffee", False)) if heard.count(b"X") > 1 else b""

    config = RadioUnitsConfig(port=str(tmp_path / "muta"), units={"salon": UnitConfig(uid=SALON)})
    with FakePty(tmp_path, "muta", respond) as device, running(config) as plugin:
        plugin.wait(lambda: b"X" in heard)
        plugin.wait(lambda: device.write(report(20.0)) or plugin.committed.get("network", {}).get("key"))
        assert heard[:128] == (b"X" + bytes(63)) * 2, "a reset, and no answer to anybody before the operator's word"


def test_another_operator_than_the_one_named_is_refused(tmp_path: Path) -> None:
    config = RadioUnitsConfig(port=str(tmp_path / "muta"), gateway_uid="12345678")
    device = FakePty(tmp_path, "muta")
    heard: list[bytes] = []
    device.respond = lambda data: heard.append(data) or (  # type: ignore[func-returns-value]
        to_host(OPERATOR, Register("00c0ffee", False)) if data[:1] == b"X" else b"")
    with device, running(config) as plugin:
        plugin.wait(lambda: "the operator is 00c0ffee and not 12345678" in str(plugin.worker._degraded))
        plugin.wait(lambda: any(data[:5] == b"S\0\0\4\2" and data[5] == 0xF0 for data in heard))


def test_a_hidraw_operator_gives_a_frame_a_report(tmp_path: Path) -> None:
    """Whatever gives and takes whole chunks stands for /dev/hidraw here: a pty in raw mode, read 64 bytes at a time."""
    master, slave = os.openpty()
    tty.setraw(slave)
    try:
        config = RadioUnitsConfig(port=os.ttyname(slave), link="hidraw", units={
            "salon": UnitConfig(uid=SALON, address="2001")})
        with running(config) as plugin:
            plugin.wait(lambda: plugin.worker.waiting)
            assert os.read(master, 100) == b"\0X" + bytes(63), "the report's number, then the frame"
            os.write(master, report(19.5)[:20])  # a short report
            plugin.wait(lambda: plugin.value("temperature_c", "salon") == 19.5)
            os.write(master, b"\xff" * 64)
            os.write(master, report(19.6))
            os.write(master, report(19.6))
            plugin.wait(lambda: plugin.value("temperature_c", "salon") == 19.6)
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("link, says", [("hidraw", "no such device"), ("serial", "E_SERIAL")])
def test_B41_no_gateway_is_one_line(tmp_path: Path, link: Any, says: str) -> None:
    with running(RadioUnitsConfig(port=str(tmp_path / "gone"), link=link)) as plugin:
        plugin.wait(lambda: plugin.worker._failing is not None)
        assert says in plugin.lines.of("warning")[0] and not plugin.lines.of("error")


@pytest.mark.parametrize("units, says", [
    ({"Salon": UnitConfig(uid=SALON)}, "a unit's id is"),
    ({"a": UnitConfig(uid=SALON), "b": UnitConfig(uid=SALON.upper())}, "another unit's already"),
])
def test_units_that_cannot_be_are_refused_before_anything_runs(units: dict[str, UnitConfig], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        RadioUnitsConfig(units=units)


def test_what_people_keep_captures_in() -> None:
    frame = report(20.5)
    assert wire_bytes(frame) == frame, "raw bytes stay"
    assert wire_bytes(b"# sniffed\n" + frame[:14].hex(" ").encode() + b"\n") == frame
    rows = b'{"t": 100, "hex": "%s"}\n{"t": 90, "hex": "4d"}\n{"t": 1e999, "hex": "4d"}\n' % frame[:14].hex().encode()
    assert stamped(rows) == [(0.0, frame)]
    assert stamped(b"t,frame\n1.5,%s\n3,%s\n" % (frame.hex().encode(), frame.hex(":").encode())) == [
        (0.0, frame), (1.5, frame)]
    assert stamped(b"neither\n") is None and stamped(b"") is None


def test_config_round_trip() -> None:
    config = msgspec.convert({"units": {"salon": {"uid": SALON, "defaults": {"UpF": 5}}}}, RadioUnitsConfig)
    assert config.units["salon"].defaults == {"UpF": 5}
