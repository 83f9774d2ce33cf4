"""Detectors on simulated pins over real sockets, a board on a pty, and days on a moved clock."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.api import Node, Reading
from agent.simpins import SimPins
from agent.testing import FakePty, Lines, at_work, io_over
from firmware_bridges.printed_lines import Splitter
from plugins.pir.config import PirConfig
from plugins.pir.lines import Said, parse
from plugins.pir.motion import US, Change, Detector
from plugins.pir.plugin import Pir

FAST = PirConfig(hold_s=0.2, debounce_s=0.02, interval_s=0.1)


def us(seconds: float) -> int:
    return round(seconds * US)


def played(detector: Detector, *edges: tuple[float, int], until: float) -> list[Change]:
    """Levels at their seconds, with the clock looked at every 50 ms as the plugin does, and when it says it is due."""
    found: list[Change] = []
    at_us, queue = 0, list(edges)
    while at_us < us(until):
        step = min(detector.next_us() or 1 << 62, at_us + 50_000)
        if queue and us(queue[0][0]) <= step:
            second, level = queue.pop(0)
            at_us = us(second)
            found += detector.level(at_us, bool(level))
        else:
            at_us = max(step, at_us + 1)
            found += detector.advance(at_us)
    return found


# --- debounce and hold ----------------------------------------------------------------------------------------------


def test_motion_begins_at_its_edge_and_ends_a_hold_after_the_last() -> None:
    found = played(Detector(0.05, 30, 1800), (1, 1), (4, 0), (20, 1), (23, 0), until=100)
    assert found == [Change(us(1), True), Change(us(53), False)]


@pytest.mark.parametrize("edge_s", [t_s / 100 for t_s in range(5990, 6003)])
def test_the_newest_stamp_says_motion_also_where_the_state_was_told_again_while_the_edge_did_not_count_yet(
        edge_s: float) -> None:
    """Another detector's edge wakes the plugin meanwhile."""
    newest: tuple[int, object] = (-1, None)
    wire = (f"< 0.0 GPIO17 0\n< 0.0 GPIO27 0\n< {edge_s} GPIO17 1\n< {edge_s + 0.03:.2f} GPIO27 1\n"
            f"< {edge_s + 20} GPIO17 1\n")
    with io_over(wire.encode()) as io:
        for item in Pir(PirConfig(sensors={"hall": "GPIO17", "stairs": "GPIO27"})).run(io):
            if isinstance(item, Reading) and (item.node, item.property) == ("hall", "motion"):
                t_us = io.clock.boottime_us() if item.t_us is None else item.t_us
                newest = (t_us, item.value) if t_us >= newest[0] else newest
    assert newest[1] is True


def test_a_glitch_is_no_motion_and_a_bounce_no_second_one() -> None:
    detector = Detector(0.05, 10, 1800)
    bounce = [(5 + n / 1000, (n + 1) % 2) for n in range(8)]  # 1 0 1 0 ... 0, then at last 1
    found = played(detector, (1, 1), (1.03, 0), *bounce, (5.01, 1), (7, 0), (7.002, 1), (7.004, 0), until=30)
    assert found == [Change(us(5.01), True), Change(us(17.004), False)]
    assert detector.glitches == 6, "one alone, four at the beginning, one at the end"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3_000_000), st.booleans()), max_size=60), st.floats(0, 0.2), st.floats(0, 3))
def test_any_edges_give_motion_and_rest_in_turn_with_growing_stamps(
        gaps: list[tuple[int, bool]], debounce_s: float, hold_s: float) -> None:
    detector, t_us, found = Detector(debounce_s, hold_s, 100), 0, []
    for gap_us, level in gaps:
        t_us += gap_us
        found += detector.level(t_us, level)
    found += detector.level(t_us + 1, False)
    found += detector.advance(t_us + us(10)) + detector.advance(t_us + us(20))
    assert [change.motion for change in found] == [n % 2 == 0 for n in range(len(found))]
    assert [change.t_us for change in found] == sorted(change.t_us for change in found)
    assert not detector.motion and detector.next_us() is None


# --- B42 ------------------------------------------------------------------------------------------------------------


def test_B42_an_output_that_is_active_for_half_an_hour_is_stuck_and_comes_back() -> None:
    detector = Detector(0.05, 30, 1800)
    played(detector, (10, 1), until=1809)
    assert not detector.stuck and detector.motion
    detector.advance(us(1811))
    assert detector.stuck
    assert detector.level(us(1900), False) == [] and detector.stuck, "not debounced yet"
    assert played(detector, until=1.0) == []
    detector.advance(us(1900.1))
    assert not detector.stuck
    assert detector.advance(us(1930.1)) == [Change(us(1930), False)]


def test_B42_a_stuck_detector_has_no_value_and_does_not_count_for_the_house() -> None:
    lines = Lines()
    wire = b"< 0.0 GPIO17 0\n< 0.0 GPIO27 0\n< 5.0 GPIO17 1\n< 4000.0 GPIO17 0\n< 4040.0\n"
    config = PirConfig(sensors={"hall": "GPIO17", "stairs": "GPIO27"})
    with io_over(wire, lines) as io:
        found = [item for item in Pir(config).run(io) if isinstance(item, Reading)]
    hall = [(item.value, item.quality) for item in found if item.property == "motion" and item.node == "hall"]
    assert (None, "sensor_error") in hall and hall[-1] == (False, None)
    states = [item.value for item in found if item.property == "sensor_state" and item.node == "hall"]
    assert list(dict.fromkeys(states)) == ["ok", "stuck_active"] and states[-1] == "ok"
    house = [item.value for item in found if item.property == "motion" and item.node is None]
    assert house[0] is False and True in house and house[-1] is False
    assert len([text for text in lines.of("warning") if "its output is active without a pause" in text]) == 1


def test_B42_a_detector_that_sees_nothing_while_the_others_see_much_is_dead_also_over_restarts() -> None:
    config = PirConfig(sensors={"hall": "GPIO17", "attic": "GPIO27"}, hold_s=1, quiet_after=100)
    kept: dict[str, object] = {}

    def days(detections: int, attic_at: int | None = None) -> list[str]:
        wire = "< 0.0 GPIO17 0\n< 0.0 GPIO27 0\n"
        for n in range(detections):
            line = "GPIO27" if n == attic_at else "GPIO17"
            wire += f"< {10 * n + 5}.0 {line} 1\n< {10 * n + 7}.0 {line} 0\n"
        with io_over(wire.encode()) as io:
            io.kept.update(kept)
            found = [item.value for item in Pir(config).run(io)
                     if isinstance(item, Reading) and item.property == "sensor_state" and item.node == "attic"]
            kept.clear()
            kept.update(io.kept)
        return list(dict.fromkeys(found))

    assert days(60) == ["ok"] and kept == {"quiet:attic": 50}
    assert days(40) == ["ok"]
    assert days(60) == ["ok", "never_active"]
    assert days(60, attic_at=30) == ["never_active", "ok"]


def test_B43_a_loose_wire_is_told_and_is_no_motion() -> None:
    chance, t_s, wire = random.Random(2), 1.0, "< 0.0 GPIO17 0\n"
    for _ in range(60):
        t_s += chance.uniform(0.1, 0.8)
        wire += f"< {t_s:.4f} GPIO17 1\n< {t_s + 0.004:.4f} GPIO17 0\n"
    lines = Lines()
    with io_over((wire + f"< {t_s + 130:.1f}\n").encode(), lines) as io:
        found = [item for item in Pir(PirConfig(sensors={"hall": "GPIO17"})).run(io) if isinstance(item, Reading)]
    assert {item.value for item in found if item.property == "motion"} == {False}
    assert [item.value for item in found if item.property == "glitches"][-1] == 60
    states = [item.value for item in found if item.property == "sensor_state"]
    assert "chattering" in states and states[-1] == "ok"
    assert any("its output chatters" in text for text in lines.of("warning"))


# --- pins -----------------------------------------------------------------------------------------------------------


def test_two_detectors_on_pins_each_with_the_stamp_of_its_edge() -> None:
    with SimPins("hall", "stairs") as pins:
        config = msgspec.structs.replace(FAST, sensors={name: pins.line(name) for name in ("hall", "stairs")})
        with at_work(Pir, config) as plugin:
            plugin.until("rest", lambda: plugin.value("motion") is False)
            pins.set("hall", 1)
            plugin.until("motion", lambda: plugin.value("motion", "hall") is True)
            plugin.until("motion in the house", lambda: plugin.value("motion") is True)
            assert plugin.value("motion", "stairs") is False
            pins.set("hall", 0)
            plugin.until("rest again", lambda: plugin.value("motion_event", "hall") == "cleared")
            plugin.until("rest in the house", lambda: plugin.value("motion") is False)
            for level in (1, 0, 1, 0):
                pins.set("stairs", level)
            plugin.until("glitches", lambda: plugin.value("glitches", "stairs") == 2)
        assert plugin.values("motion_event", "hall") == ["detected", "cleared"]
        assert plugin.values("motion_event", "stairs") == []
    assert set(plugin.nodes) == {"hall", "stairs"} and plugin.lines.of("warning", "error") == []
    begun, ended = (item.t_us for item in plugin.readings if item.property == "motion_event")
    assert begun is not None and ended is not None and ended - begun >= 200_000


def test_B54_a_pin_that_goes_away_is_told_and_found_again() -> None:
    pins = SimPins("hall")
    config = msgspec.structs.replace(FAST, sensors={"hall": pins.line("hall")})
    with pins, at_work(Pir, config) as plugin:
        plugin.until("rest", lambda: plugin.value("motion", "hall") is False)
        before = len(os.listdir("/proc/self/fd"))
        pins.unplug()
        plugin.until("told", lambda: "E_GPIO" in plugin.state.reason)
        pins.set("hall", 1)
        pins.plug()
        plugin.until("its level at the new start", lambda: plugin.value("motion", "hall") is True)
        assert len(os.listdir("/proc/self/fd")) <= before + 1, "file descriptors leak"


def test_an_active_low_pin_is_read_the_right_way_round() -> None:
    with SimPins("hall", level=1) as pins:
        config = msgspec.structs.replace(FAST, sensors={"hall": pins.line("hall")}, pull="up", active_low=True)
        with at_work(Pir, config) as plugin:
            plugin.until("rest", lambda: plugin.value("motion", "hall") is False)
            pins.set("hall", 0)
            plugin.until("motion", lambda: plugin.value("motion", "hall") is True)


# --- a board on a serial line -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "said"), [
    (b"PIR1", Said("PIR1", None)), (b"PIR2\r", Said("PIR2", None)), (b"PIR1 1", Said("PIR1", True)),
    (b"PIR2=OFF", Said("PIR2", False)), (b"PIR1: high", Said("PIR1", True)), (b"PIR3", None), (b"Lit 23%", None),
])
def test_what_boards_print(line: bytes, said: Said | None) -> None:
    assert parse(line, frozenset(("PIR1", "PIR2"))) == said


@pytest.mark.parametrize("line", [b"PIR1 2", b"PIR1PIR2 PIR1 1", b"\xffPIR1", b"PIR1 \x00", b"1", b"PIR1 maybe"])
def test_B53_noise_is_no_line(line: bytes) -> None:
    with pytest.raises(ValueError):
        parse(line, frozenset(("PIR1", "PIR2")))


def test_B53_no_detector_speaks_that_was_not_damaged_into_it() -> None:
    """50 000 lines of PIR1 alone with a flipped bit or a lost byte each: PIR2 is two bits away and never heard."""
    chance, splitter, words = random.Random(5), Splitter(), frozenset(("PIR1", "PIR2"))
    heard = {"PIR1": 0, "PIR2": 0}
    for _ in range(50_000):
        line = bytearray(b"PIR1\r\n")
        place = chance.randrange(len(line))
        if chance.random() < 0.5:
            line[place] ^= 1 << chance.randrange(8)
        else:
            del line[place]
        for whole in splitter.feed(bytes(line)):
            try:
                said = parse(whole, words)
            except ValueError:
                continue
            if said is not None:
                heard[said.word] += 1
    assert heard["PIR2"] == 0 and heard["PIR1"] > 0


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600))
def test_B53_a_capture_of_anything_is_read_to_its_end(data: bytes) -> None:
    for config in (PirConfig(port="x"), PirConfig()):
        with io_over(data + b"\n") as io:
            for item in Pir(config).run(io):
                assert isinstance(item, Reading | Node)


def test_the_seeds_board_and_B54_its_plug_pulled(tmp_path: Path) -> None:
    device = FakePty(tmp_path)
    config = msgspec.structs.replace(FAST, sensors={"entry": "PIR1", "screen": "PIR2"}, port=device.port)
    with device, at_work(Pir, config) as plugin:
        said = saying(device, b"PIR2\r\n")
        plugin.until("motion", lambda: plugin.value("motion", "screen") is True)
        said()
        plugin.until("rest", lambda: plugin.value("motion_event", "screen") == "cleared")
        assert plugin.value("motion", "entry") is False and plugin.values("motion_event", "entry") == []
        device.write(b"\xfe\xfe\xfe\r\nLit 23%\r\n")
        plugin.until("counted", lambda: plugin.value("bad_lines") == 1)
        device.unplug()
        plugin.until("told", lambda: "E_SERIAL" in plugin.state.reason)
        device.plug()
        said = saying(device, b"PIR1\r\n")
        plugin.until("again", lambda: plugin.value("motion", "entry") is True)
        said()


def saying(device: FakePty, line: bytes) -> Callable[[], None]:
    """A board that repeats itself until told: what nobody reads at an opening is lost."""
    stop = threading.Event()

    def say() -> None:
        while not stop.wait(0.02):
            device.write(line)

    thread = threading.Thread(target=say, daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join(5)

    return end


def test_a_capture_without_settings_names_its_detectors_itself() -> None:
    for wire, names in ((b"PIR1\nPIR2\nPIR1\n", ["pir1", "pir2"]), (b"< 0.0 GPIO17 0\n< 1.0 GPIO17 1\n", ["gpio17"])):
        with io_over(wire) as io:
            found = list(Pir(PirConfig()).run(io))
        assert [item.id for item in found if isinstance(item, Node)] == names
