"""The plugin against a upsd that speaks the real protocol on loopback, and on simulated pins."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.api import Reading, RetryLater
from agent.simpins import SimPins
from agent.testing import AtWork, Lines, at_work, io_over
from plugins.mains import nut
from plugins.mains.config import MainsConfig, address
from plugins.mains.plugin import Mains
from plugins.mains.presence import US, Change, Presence
from plugins.mains.simulate import Ups, Upsd, serving

FAST = MainsConfig(interval_s=0.05, returned_after_s=0.1)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No local bus here that brings back what was kept."""
    monkeypatch.setattr("plugins.mains.plugin.RESTORE_S", 0.3)


def us(seconds: float) -> int:
    return round(seconds * US)


# --- presence -------------------------------------------------------------------------------------------------------


def test_a_loss_is_dated_to_its_beginning_and_a_dip_is_none() -> None:
    mains = Presence("level", 0.5, 2)
    assert mains.level(0, True) == [] and mains.advance(us(1.9)) == []
    assert mains.advance(us(2)) == [Change(0, True)]
    assert mains.level(us(10), False) == [] and mains.level(us(10.3), True) == [] and mains.dips == 1
    assert mains.advance(us(20)) == [] and mains.present
    assert mains.level(us(30), False) == [] and mains.advance(us(30.5)) == [Change(us(30), False)]
    assert mains.level(us(40), True) == [] and mains.level(us(41), False) == [], "it came and went again"
    assert mains.advance(us(100)) == [] and mains.present is False
    assert mains.level(us(101), True) == [] and mains.advance(us(103)) == [Change(us(101), True)]
    assert mains.dips == 1


def test_pulses_of_half_waves_are_mains_and_their_silence_is_none() -> None:
    mains = Presence("pulses", 0.5, 2)
    found = mains.first(0, True)
    level = False
    for t_ms in range(5, 20_000, 5):  # an edge every 5 ms: 50 Hz behind a bridge
        if 7000 < t_ms < 7200:
            continue  # ten waves are missing
        found += mains.level(t_ms * 1000, level)
        level = not level
    assert found == [Change(us(0.005), True)] and mains.dips == 1
    last = us(19.995)
    assert mains.advance(last + us(0.4)) == []
    assert mains.advance(last + us(0.6)) == [Change(last, False)]
    assert mains.level(us(60), True) == [] and mains.level(us(60.005), False) == []
    assert mains.advance(us(64)) == [] and mains.present is False, "one spike is no mains"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3_000_000), st.booleans()), max_size=60),
       st.sampled_from(["level", "pulses"]))
def test_any_edges_give_losses_and_returns_in_turn(gaps: list[tuple[int, bool]], signal: str) -> None:
    mains, t_us, found = Presence(signal, 0.5, 2), 0, []  # type: ignore[arg-type]
    for gap_us, level in gaps:
        t_us += gap_us
        found += mains.level(t_us, level)
    found += mains.advance(t_us + us(10)) + mains.advance(t_us + us(20))
    assert all(a.present != b.present for a, b in pairwise(found))
    assert mains.next_us() is None or signal == "pulses"


# --- an input pin ---------------------------------------------------------------------------------------------------


def test_the_mains_goes_and_returns_on_a_pin() -> None:
    with SimPins("mains", level=1) as pins:
        config = MainsConfig(line=pins.line("mains"), lost_after_s=0.1, returned_after_s=0.1, resume_after_s=0)
        with at_work(Mains, config) as plugin:
            plugin.until("present", lambda: plugin.value("mains_present") is True)
            pins.set("mains", 0)
            plugin.until("lost", lambda: plugin.value("mains_event") == "lost")
            assert plugin.value("mains_present") is False
            plugin.until("held", lambda: plugin.value("restarts_held") is True)
            assert plugin.alerts.get("x") == "mains lost", "named as the instance: a second input has its own"
            pins.set("mains", 1)
            plugin.until("returned", lambda: plugin.value("mains_event") == "returned")
            plugin.until("released", lambda: plugin.value("restarts_held") is False)
            assert plugin.alerts.get("x") is None and plugin.values("mains_event") == ["lost", "returned"]
    [seconds] = plugin.values("outage_s")
    stamps = [item.t_us for item in plugin.readings if item.property == "mains_present" and item.t_us is not None]
    assert seconds == pytest.approx((stamps[-1] - stamps[-2]) / US, abs=0.06)


@pytest.mark.parametrize("edge_s", [t_s / 10 for t_s in range(1180, 1220)])
def test_the_newest_stamp_says_what_is_so_also_where_a_return_is_dated_back_behind_a_repetition(edge_s: float) -> None:
    """The state is told again every minute, also in the two seconds in which a return does not count yet."""
    newest: tuple[int, object] = (-1, None)
    wire = f"< 0.0 GPIO22 1\n< 60.0 GPIO22 0\n< {edge_s} GPIO22 1\n< {edge_s + 20} GPIO22 1\n".encode()
    with io_over(wire) as io, suppress(RetryLater):
        for item in Mains(MainsConfig(line="GPIO22")).run(io):
            if isinstance(item, Reading) and item.property == "mains_present":
                t_us = io.clock.boottime_us() if item.t_us is None else item.t_us
                newest = (t_us, item.value) if t_us >= newest[0] else newest
    assert newest[1] is True


def test_B54_a_pin_that_goes_away_keeps_the_outage_that_was_running() -> None:
    with SimPins("mains", level=1) as pins:
        config = MainsConfig(line=pins.line("mains"), lost_after_s=0.05, returned_after_s=0.05)
        with at_work(Mains, config) as plugin:
            plugin.until("present", lambda: plugin.value("mains_present") is True)
            pins.set("mains", 0)
            plugin.until("lost", lambda: plugin.value("mains_event") == "lost")
            pins.unplug()
            plugin.until("told", lambda: "E_GPIO" in plugin.state.reason)
            pins.set("mains", 1)
            pins.plug()
            plugin.until("returned", lambda: plugin.value("mains_event") == "returned")
    assert plugin.values("mains_event") == ["lost", "returned"] and len(plugin.values("outage_s")) == 1


def replayed(config: MainsConfig, wire: str, kept: dict[str, object] | None = None, lines: Lines | None = None
             ) -> list[Reading]:
    with io_over(wire.encode(), lines) as io:
        io.kept.update(kept or {})
        found = [item for item in Mains(config).run(io) if isinstance(item, Reading)]
        if kept is not None:
            kept.clear()
            kept.update(io.kept)
        return found


def values(found: list[Reading], name: str) -> list[object]:
    return [item.value for item in found if item.property == name]


def test_B63_restarts_are_held_at_the_start_while_it_is_away_and_for_two_minutes_after() -> None:
    found = replayed(MainsConfig(line="GPIO22"), "< 0.0 GPIO22 1\n< 600.0 GPIO22 0\n< 900.0 GPIO22 1\n< 1200.0\n")
    held = [(item.value, round(t_s)) for item, t_s in stamped(MainsConfig(line="GPIO22"))
            if item.property == "restarts_held"]
    changes = [held[0], *(b for a, b in pairwise(held) if a[0] != b[0])]
    assert changes == [(True, 2), (False, 120), (True, 600), (False, 1022)]
    assert values(found, "mains_event") == ["lost", "returned"] and values(found, "outage_s") == [300.0]


def stamped(config: MainsConfig) -> Iterator[tuple[Reading, float]]:
    with io_over(b"< 0.0 GPIO22 1\n< 600.0 GPIO22 0\n< 900.0 GPIO22 1\n< 1200.0\n") as io:
        for item in Mains(config).run(io):
            if isinstance(item, Reading):
                yield item, io.clock.monotonic_s()


def test_B63_an_agent_that_is_started_in_an_outage_goes_on_with_it() -> None:
    kept: dict[str, object] = {}
    first = replayed(MainsConfig(line="GPIO22"), "< 0.0 GPIO22 1\n< 60.0 GPIO22 0\n< 90.0\n", kept)
    assert values(first, "mains_event") == ["lost"] and "outage" in kept
    second = replayed(MainsConfig(line="GPIO22"), "< 0.0 GPIO22 0\n< 60.0 GPIO22 1\n< 90.0\n", kept)
    assert values(second, "mains_event") == ["returned"], "it was told already"
    assert values(second, "outage_s") == [], "no clock over the restart here: not guessed"
    assert kept == {}


def test_B43_what_is_no_level_of_the_line_decides_nothing() -> None:
    lines = Lines()
    found = replayed(MainsConfig(line="GPIO22"),
                     "< 0.0 GPIO22 1\n< 5.0 GPIO22 x\n< 6.0 GPIO17 0\n< 7.0 \\xff\\xfe\n< 70.0\n", lines=lines)
    assert set(values(found, "mains_present")) == {True} and values(found, "bad_lines")[-1] == 3
    assert len(lines.of("warning")) == 1


# --- upsd -------------------------------------------------------------------------------------------------------------


@contextmanager
def house(**more: object) -> Iterator[tuple[Ups, Upsd, AtWork]]:
    ups = Ups()
    with serving(Upsd({"attic": ups})) as server, \
            at_work(Mains, msgspec.structs.replace(FAST, upsd=server.where, **more)) as plugin:
        yield ups, server, plugin


def test_a_power_cut_as_a_ups_tells_it() -> None:
    with house(resume_after_s=0) as (ups, _, plugin):
        plugin.until("present", lambda: plugin.value("mains_present") is True)
        plugin.until("its charge", lambda: plugin.value("battery_charge_pct") == 100)
        plugin.until("its voltage", lambda: plugin.value("input_voltage_v"))
        assert plugin.value("ups_status") == "OL"
        assert 220 < plugin.value("input_voltage_v") < 240 and plugin.value("battery_low") is False
        ups.mains, ups.charge_pct = False, 55
        plugin.until("lost", lambda: plugin.value("mains_present") is False)
        plugin.until("battery", lambda: plugin.value("battery_charge_pct") == 55)
        plugin.until("the event, once what was kept could be back", lambda: plugin.value("mains_event") == "lost")
        ups.charge_pct = 15
        plugin.until("low", lambda: plugin.value("battery_low") is True)
        plugin.until("the alert", lambda: plugin.alerts.get("x") == "mains lost, the battery is low")
        plugin.until("minutes", lambda: plugin.value("battery_runtime_s") == 225)
        ups.mains = True
        plugin.until("returned", lambda: plugin.value("mains_event") == "returned")
        plugin.until("all is well", lambda: len(plugin.values("outage_s")) == 1 and plugin.alerts.get("x") is None)
    assert plugin.lines.of("warning", "error") == []


def test_B41_a_upsd_that_stops_is_told_and_found_again() -> None:
    ups, running = Ups(), ExitStack()
    server = running.enter_context(serving(Upsd({"attic": ups})))
    with running, at_work(Mains, msgspec.structs.replace(FAST, upsd=server.where)) as plugin:
        plugin.until("present", lambda: plugin.value("mains_present") is True)
        running.close()
        plugin.until("told", lambda: plugin.state.state == "failed")
        with serving(Upsd({"attic": ups}, port=server.server_address[1])):
            ups.mains = False
            plugin.until("lost meanwhile", lambda: plugin.value("mains_present") is False)
    assert any("it closed the connection" in line for line in plugin.lines.of("warning"))


def test_B42_a_ups_that_its_driver_has_lost_leaves_the_mains_unknown() -> None:
    with house() as (ups, _, plugin):
        plugin.until("present", lambda: plugin.value("mains_present") is True)
        ups.silent = True
        plugin.until("unknown", lambda: plugin.value("mains_present") is None)
        assert plugin.state.state == "degraded" and "DATA-STALE: its driver hears nothing" in plugin.state.reason
        assert [item.quality for item in plugin.readings if item.value is None] == ["sensor_error"], "told once"
        ups.silent = False
        plugin.until("back", lambda: plugin.value("mains_present") is True and plugin.state.state == "ok")
    assert plugin.values("mains_event") == []


def test_B57_a_upsd_that_takes_the_connection_and_says_nothing_does_not_hold_the_plugin() -> None:
    ups = Ups()
    with serving(Upsd({"attic": ups})) as server:
        server.dumb = True
        with at_work(Mains, msgspec.structs.replace(FAST, upsd=server.where)) as plugin:
            plugin.until("connected", lambda: server.connections)
            plugin.worker.stop()
            plugin.worker.join(2)
            assert not plugin.worker.is_alive()


def test_B57_no_answer_within_five_seconds_is_told() -> None:
    with io_over(b"> 0.0 LIST VAR attic\\n\n< 30.0 VAR attic ups.status \"OL\"\n") as io, \
            pytest.raises(RetryLater, match="no answer within 5 s"):
        list(Mains(MainsConfig(ups="attic")).run(io))


def test_nobody_listens_and_an_address_that_leads_nowhere() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with at_work(Mains, MainsConfig(upsd=f"127.0.0.1:{closed.getsockname()[1]}")) as plugin:
            plugin.until("told", lambda: "nobody listens there: systemctl status nut-server" in plugin.state.reason)


@pytest.mark.parametrize(("upses", "config", "said"), [
    ({"attic": Ups(), "cellar": Ups()}, {}, "it has several UPS (attic, cellar): set ups to one of them"),
    ({}, {}, "it has no UPS: see ups.conf"),
    ({"attic": Ups()}, {"ups": "cellar"}, "UNKNOWN-UPS: it has no such UPS: set ups to the name in ups.conf"),
])
def test_which_ups(upses: dict[str, Ups], config: dict[str, str], said: str) -> None:
    with serving(Upsd(upses)) as server, \
            at_work(Mains, msgspec.structs.replace(FAST, upsd=server.where, **config)) as plugin:
        plugin.until("told", lambda: said in plugin.state.reason)


def test_a_password_is_sent_and_never_told() -> None:
    with serving(Upsd({"attic": Ups()}, password="s3cret")) as server:
        for password, said in (("s3cret", ""), ("wrong0", "INVALID-PASSWORD: wrong password")):
            config = msgspec.structs.replace(FAST, upsd=server.where, username="monitor", password=password)
            with at_work(Mains, config) as plugin:
                plugin.until("answer", lambda p=plugin, s=said: s in p.state.reason if s else p.value("mains_present"))
                assert password not in str(plugin.lines.lines) + plugin.state.reason


def test_B53_damaged_lists_are_left_out_whole() -> None:
    chance = random.Random(8)
    true = Ups()
    with serving(Upsd({"attic": true})) as server:

        def spoil(answer: bytes) -> bytes:
            if chance.random() < 0.5 or not answer.startswith(b"BEGIN LIST VAR"):
                return answer
            place = chance.randrange(15, len(answer) - 20)
            return answer[:place] + bytes((chance.randrange(128, 256),)) + answer[place + 1 :]

        server.spoil = spoil
        with at_work(Mains, msgspec.structs.replace(FAST, upsd=server.where, ups="attic")) as plugin:
            plugin.until("lists of both kinds", lambda: plugin.value("mains_present")
                         and "list is left out" in str(plugin.lines.of("warning")))
            true.mains = False
            plugin.until("lost", lambda: plugin.value("mains_present") is False)
        assert set(plugin.values("ups_status")) <= {"OL", "OB DISCHRG"}


# --- the protocol, without a socket -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "mains", "low"), [
    ("OL", True, False), ("OL CHRG", True, False), ("OB DISCHRG", False, False), ("OB LB DISCHRG", False, True),
    ("FSD OB LB", False, True), ("OB CAL DISCHRG", None, False), ("OFF", None, False), ("OL TRIM RB", True, False),
    ("", None, False), ("ol", True, False), ("ALARM OL", True, False), ("FOO", None, False),
])
def test_what_a_status_says_of_the_mains(words: str, mains: bool | None, low: bool) -> None:
    found = nut.status(words)
    assert (found.mains, found.battery_low) == (mains, low)


def test_B43_values_that_are_no_numbers_are_left_out_and_named() -> None:
    found, bad = nut.numbers({"battery.charge": "87", "battery.runtime": "n/a", "input.voltage": "1e3", "ups.load": ""})
    assert found == {"battery_charge_pct": 87.0}
    assert bad == ["battery.runtime is 'n/a'", "input.voltage is '1e3'", "ups.load is ''"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([
    b"BEGIN LIST VAR a", b'VAR a ups.status "OL"', b"END LIST VAR a", b"BEGIN LIST UPS", b'UPS a "x"', b"END LIST UPS",
    b"ERR DATA-STALE", b"OK", b'VAR a x "\\"\\\\"'])), max_size=30))
def test_B53_any_lines_give_lists_or_a_ValueError(lines: list[bytes]) -> None:
    dialogue = nut.Dialogue()
    for line in lines:
        try:
            dialogue.feed(line)
        except ValueError:
            continue


def test_what_upsc_printed_is_read_too() -> None:
    dump = b"battery.charge: 100\nbattery.runtime: 2340\ndevice.mfr: \"A\\B\"\nups.status: OL\n" * 2
    found = replayed_raw(dump)
    assert values(found, "mains_present") == [True] and values(found, "battery_runtime_s") == [2340.0]
    assert nut.from_upsc(b"BEGIN LIST VAR a\n") == b"BEGIN LIST VAR a\n"


def replayed_raw(data: bytes) -> list[Reading]:
    with io_over(data, kind=Mains, config=MainsConfig()) as io:
        return [item for item in Mains(MainsConfig(returned_after_s=0)).run(io) if isinstance(item, Reading)]


@pytest.mark.parametrize(("text", "wanted"), [
    ("127.0.0.1", ("127.0.0.1", 3493)), ("localhost:4000", ("127.0.0.1", 4000)), ("[::1]", ("::1", 3493)),
    ("[fe80::2]:3493", ("fe80::2", 3493)), ("nas.lan", None), ("1.2.3.4:99999", None), ("", None), ("::1", None),
])
def test_where_upsd_is(text: str, wanted: tuple[str, int] | None) -> None:
    if wanted is None:
        with pytest.raises(ValueError):
            address(text)
    else:
        assert address(text) == wanted


def test_a_long_dump_of_upsc_is_read_once() -> None:
    """A hundred thousand variables in one dump, then another dump: time grows with the file and not with its square."""
    dump = "".join(f"battery.v{number}: 1\n" for number in range(100_000))
    made = nut.from_upsc(f"{dump}battery.v0: 2\n".encode()).decode()
    assert made.count("BEGIN LIST VAR ups\n") == made.count("END LIST VAR ups\n") == 2
    assert made.endswith('BEGIN LIST VAR ups\nVAR ups battery.v0 "2"\nEND LIST VAR ups\n')
