"""Luminosity, sun, modes and a relay that is moved by hand or does not move; on a moved clock."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.api import PlainRelay
from agent.guard import pins
from plugins.night_light.decide import Lamp
from plugins.night_light.judge import Judge
from plugins.night_light.modes import Mode, parsed, rfc3339
from plugins.night_light.plugin import NightLight
from plugins.night_light.settings import NightLightConfig
from tests.plugins.actuator_moved import Life, latching
from tests.plugins.night_light import figures

US = 1_000_000
HOUR_US = 3600 * US
RELAY = PlainRelay(line="GPIO17")
PARIS = {"latitude": 48.86, "longitude": 2.35}
SENSOR = "hall-light/illuminance_lx"
WALL_US = parsed("2026-11-26T12:00:00Z")
SUNSET = "2026-11-26T15:59:34Z"


def lux(t: float, value: object) -> tuple[float, str]:
    return t, f"now/{SENSOR} {value}"


def config(folder, **more) -> NightLightConfig:
    return NightLightConfig(relay=latching(folder), interval_s=3600, **more)


def fed(judge: Judge, *values: tuple[float, float]) -> bool | None:
    for t_s, value in values:
        judge.feed(t_s, value)
    return judge.dark


# --- luminosity ---------------------------------------------------------------------------------------------------


def test_between_the_thresholds_nothing_changes():
    judge = Judge(10, 20, 0, 0)
    assert fed(judge, (0, 15)) is None
    assert fed(judge, (1, 5), (2, 15), (3, 19.9)) is True
    assert fed(judge, (4, 21), (5, 15), (6, 10.1)) is False


def test_a_headlight_and_a_shadow_switch_nothing():
    judge = Judge(10, 20, 60, 0)
    assert fed(judge, (0, 2), (10, 500), (69, 500), (70, 2), (80, 500), (139, 500)) is True
    assert fed(judge, (140, 500)) is False
    assert fed(judge, (150, 1), (209, 1)) is False


def test_after_a_change_it_rests():
    judge = Judge(10, 20, 0, 300)
    assert fed(judge, (0, 2), (10, 500)) is True
    assert fed(judge, (300, 500)) is False
    assert fed(judge, (599, 2)) is False
    assert fed(judge, (600, 2)) is True


def test_its_own_lamp_does_not_switch_it_off_and_dawn_does():
    judge = Judge(10, 20, 60, 300)
    judge.lamp(False, 0)
    fed(judge, (0, 30), (60, 8), (120, 8))
    judge.lamp(True, 400)
    assert fed(judge, (400.5, 50), (410, 88), (4000, 81), (8000, 80)) is True
    assert judge.own == 80
    assert fed(judge, (9000, 99), (9060, 99)) is True
    assert fed(judge, (9120, 103), (9180, 103)) is False
    judge.lamp(False, 9181)
    assert fed(judge, (9190, 23), (9900, 23)) is False


def test_a_slow_sensor_sees_the_step_late():
    judge = Judge(10, 20, 0, 300)
    judge.lamp(False, 0)
    fed(judge, (0, 8))
    judge.lamp(True, 1)
    assert fed(judge, (60, 8), (120, 20), (180, 88), (240, 88), (400, 88), (1000, 88)) is True
    assert judge.own == 80


def test_a_curtain_drawn_at_that_moment_is_forgotten():
    judge = Judge(10, 20, 0, 10)
    steps = (80, 80, 700, 80, 80)
    for n, step in enumerate(steps):
        t = n * 1000.0
        judge.lamp(False, t)
        fed(judge, (t + 5, 0), (t + 100, 0))
        judge.lamp(True, t + 200)
        fed(judge, (t + 205, step), (t + 300, 900))
        judge.lamp(False, t + 400)
        fed(judge, (t + 405, 900 - step), (t + 500, 0))
    assert judge.own == 80


def test_the_least_value_while_it_is_on_is_the_most_that_it_adds():
    judge = Judge(10, 20, 0, 0)
    judge.lamp(False, 0)
    fed(judge, (0, 1))
    judge.lamp(True, 1)
    fed(judge, (5, 300))  # another lamp came on with it
    assert judge.own == 299
    fed(judge, (10, 60))
    assert judge.own == 60


def test_a_hundred_nights_of_ten_houses_switch_twice_each():
    """The short form of figures.py."""
    for seed in range(0, 8, 2):
        for night in figures.nights(seed, 5):
            assert night.switches <= (4 if night.other else 2)
            assert night.off_wrong_min <= 6 and night.on_by_day_min <= 10


@pytest.mark.parametrize(("value", "quality"), [
    ("dark", None), (None, "sensor_error"), (-1.0, None), (1e9, None), (float("nan"), None), (True, None),
    (5.0, "uncertain"), (5.0, "bad"), ({"lx": 5}, None)])
def test_b43_what_is_no_luminosity_decides_nothing(value, quality):
    lamp = Lamp(NightLightConfig(relay=RELAY, sensor=SENSOR), 0)
    lamp.light(value, quality, 0)
    assert lamp.rejected == 1 and not lamp.fresh(0)
    assert lamp.decide(200 * US, None).on is None


def test_percents_have_a_hundred():
    lamp = Lamp(NightLightConfig(relay=RELAY, sensor="hall/luminosity_pct"), 0)
    lamp.light(101.0, None, 0)
    assert lamp.rejected == 1
    lamp.light(19.0, None, 0)
    assert lamp.decide(0, None) == (True, "sensor", "dark: it fell below 20 % and is not above 25")


# --- the sun ------------------------------------------------------------------------------------------------------


def test_b41_a_silent_sensor_leaves_it_to_the_sun_and_without_a_place_it_stays():
    for place, at in ((PARIS, (False, "sun")), ({}, (None, "none"))):
        lamp = Lamp(NightLightConfig(relay=RELAY, sensor=SENSOR, **place), 0)
        lamp.light(1.0, None, 0)
        assert lamp.decide(900 * US, WALL_US)[:2] == (True, "sensor")
        assert lamp.decide(901 * US, WALL_US)[:2] == at
    lamp = Lamp(NightLightConfig(relay=RELAY, sensor=SENSOR, **PARIS), 0)
    assert lamp.decide(121 * US, None) == (
        None, "none", f"{SENSOR} gives no good value and the clock is not known yet: as it was")


@pytest.mark.parametrize(("offset_min", "night_from", "night_to"), [
    (0, "15:58:50", "07:17:10"), (30, "16:28:50", "06:47:10"), (-30, "15:28:50", "07:47:10")])
def test_the_suns_night_and_its_offset(offset_min, night_from, night_to):
    lamp = Lamp(NightLightConfig(relay=RELAY, sun_offset_min=offset_min, **PARIS), 0)
    for clock, day, night in ((night_from, "26", True), (night_to, "27", False)):
        turn = parsed(f"2026-11-{day}T{clock}Z")
        assert lamp.night(turn + 120 * US) is night
        assert lamp.night(turn - 120 * US) is not night


@pytest.mark.parametrize(("clock", "value", "says"), [
    ("12:00", 1.0, "dark"), ("02:00", 90.0, "light"), ("12:00", 90.0, None), ("02:00", 1.0, None),
    ("15:20", 1.0, None), ("06:40", 90.0, None)])
def test_dark_before_sunset_and_light_before_sunrise_are_told(clock, value, says):
    lamp = Lamp(NightLightConfig(relay=RELAY, sensor=SENSOR, **PARIS), 0)
    lamp.light(value, None, 0)
    told = lamp.disagrees(0, parsed(f"2026-11-26T{clock}:00Z"))
    assert (told is not None and f"says {says}" in told) if says else told is None


# --- modes --------------------------------------------------------------------------------------------------------


def test_a_forced_mode_ends_at_the_next_sunset_or_after_its_hours():
    lamp = Lamp(NightLightConfig(relay=RELAY, **PARIS), 0)
    lamp.force("on", "x", 0, WALL_US)
    assert lamp.mode.until(0, WALL_US) == SUNSET
    lamp.force("off", "x", 0, None)
    assert lamp.mode.end_us == 12 * HOUR_US
    assert lamp.decide(12 * HOUR_US - 1, None).source == "person"
    assert lamp.decide(12 * HOUR_US, None).source == "none" and lamp.mode.word == "auto"
    polar = Lamp(NightLightConfig(relay=RELAY, latitude=78, longitude=15, forced_h=3), 0)
    polar.force("off", "x", 0, WALL_US)
    assert polar.mode.end_us == 3 * HOUR_US


@given(st.integers(-10**6, 10**6), st.integers(-10**16, 10**16), st.integers(1, 86_400), st.booleans())
@example(86_400, -3600 * US, 3600, False)
@example(7200, -14 * 86_400 * US, 1, True)
def test_b51_no_forced_mode_outlasts_its_time_whatever_the_clock_does(for_s, jump_us, after_s, restart):
    mode, ends_s = Mode(), min(for_s, 86_400)
    mode.force("on", "x", 0, WALL_US, for_s * US)
    for t in [*range(0, max(0, ends_s), 1800), max(0, ends_s)]:
        mode.tick(t * US, None if t % 7200 else WALL_US + t * US + (jump_us if t >= after_s else 0))
        if restart and t == 3600:
            kept = msgspec.json.decode(msgspec.json.encode(mode.kept()))
            mode = Mode()
            mode.restore(kept, t * US)
    if restart and ends_s > 3600:
        mode.tick((ends_s + 600) * US, None)  # what was left is kept each ten minutes
    assert mode.word == "auto"


@pytest.mark.parametrize("kept", [
    None, 3, {}, {"word": "on"}, {"word": "dim", "by": "", "end_wall_us": None, "left_us": 5},
    {"word": "on", "by": "", "end_wall_us": None, "left_us": 10**12},
    {"word": "on", "by": "", "end_wall_us": "x", "left_us": 5}])
def test_what_was_kept_wrongly_is_auto(kept):
    mode = Mode()
    mode.restore(kept, 0)
    assert mode.word == "auto" and mode.end_us is None


def test_a_forced_mode_goes_on_after_a_restart_until_its_own_end():
    mode = Mode()
    mode.force("on", "x", 0, WALL_US, 2 * HOUR_US)
    mode.tick(HOUR_US, WALL_US + HOUR_US)
    again = Mode()
    again.restore(mode.kept(), 50 * US)
    assert again.until(50 * US, None) is None
    again.tick(51 * US, WALL_US + HOUR_US + 60 * US)
    assert again.until(51 * US, WALL_US + HOUR_US + 60 * US) == rfc3339(WALL_US + 2 * HOUR_US)
    lost = Mode()
    lost.restore(mode.kept(), 50 * US)  # no clock after a power cut: what was left then
    lost.tick(50 * US + HOUR_US - 1, None)
    assert lost.word == "on"
    lost.tick(50 * US + HOUR_US, None)
    assert lost.word == "auto"


# --- the relay ----------------------------------------------------------------------------------------------------


def dusk(*more: tuple[float, str]) -> list[tuple[float, str]]:
    return [(0, "clock 2026-11-26T15:00:00Z"), lux(1, 50), *(lux(t, 2) for t in range(60, 3000, 60)), *more]


def test_dusk_with_the_real_keeper_and_its_pulses_are_short(tmp_path):
    life = Life(NightLight, config(tmp_path, sensor=SENSOR, **PARIS), dusk())
    assert life.told("lamp") == [(0.5, False), (360.0, True)]
    assert life.contact.contact and life.contact.moves == 1
    assert life.contact.longest_us < 200_000
    assert [level for _, level in pins.edges(tmp_path / "set")] == [False, True, False]


def test_the_start_state_comes_from_the_probe_and_nothing_moves_without_a_reason(tmp_path):
    life = Life(NightLight, config(tmp_path, sensor=SENSOR), [(0, "now/x/y 1"), (600, "now/x/y 1")], contact=True)
    assert life.told("lamp") == [(0.5, True)]
    assert life.at("source", 600) == "none" and life.contact.contact and life.contact.moves == 0


def test_moved_by_hand_it_stays_so_until_the_next_turn_of_the_sun(tmp_path):
    # ON by dusk at 360 s; a hand switches it off at 600 s, until sunset at 15:59:34 = 3574 s
    life = Life(NightLight, config(tmp_path, sensor=SENSOR, **PARIS), dusk(*(lux(t, 2) for t in range(3000, 4200, 60))),
                at={600: lambda life: life.contact.by_hand(False)})
    assert [value for _, value in life.told("lamp")] == [False, True, False, True]
    assert life.at("mode", 700) == "off" and life.at("until", 700) == SUNSET
    assert "by hand" in life.at("why", 700)
    assert 3573 <= life.told("lamp")[-1][0] <= 3576
    assert life.kept["light"]["mode"] == {"word": "auto"}


def test_b47_a_relay_that_does_not_follow_is_pulsed_a_few_times_and_told(tmp_path):
    def jam(life: Life) -> None:
        life.contact.stuck = False

    life = Life(NightLight, config(tmp_path, sensor=SENSOR, **PARIS), dusk(), at={10: jam})
    pulses = sum(level for _, level in pins.edges(tmp_path / "set"))
    assert 2 <= pulses <= 4
    assert life.contact.longest_us < 200_000
    assert [alert_id for alert_id, text in life.alerts if text and "E_RELAY_DEAD" in text] == ["relay-test"]
    assert life.at("lamp", 2900) is False, "the probe's word, not the wish"


def test_a_restart_keeps_lamp_mode_and_what_was_learned(tmp_path):
    setting = config(tmp_path, sensor=SENSOR, **PARIS)
    first = Life(NightLight, setting, dusk((500, 'set/mode "off"')))
    assert not first.contact.contact
    later = [(0, "clock 2026-11-26T15:51:00Z"), (60, "now/x/y 1")]
    again = Life(NightLight, setting, later, kept=first.kept, told=False)
    assert again.at("mode", 60) == "off" and again.at("until", 60) == SUNSET
    assert again.contact.moves == 0


def test_commands_that_cannot_be(tmp_path):
    life = Life(NightLight, config(tmp_path, sensor=SENSOR, **PARIS), dusk(
        (5, 'set/until "2026-11-26T16:00:00Z"'), (6, 'set/mode "dim"'), (7, "set/mode true"), (8, 'set/mode "on"'),
        (9, 'set/until "2026-11-28T16:00:00Z"'), (10, 'set/until "2026-11-26T14:00:00Z"'),
        (11, 'set/until "2026-11-26T16:00:00"'), (12, "set/until 5"), (13, 'set/until "2026-11-26T15:05:00+00:00"')))
    refused = [text.split(": ", 2)[1:] for text in life.log.of("warning") if "refused" in text]
    assert len(refused) == 7
    assert life.told("mode") == [(0.5, "auto"), (8.0, "on"), (300.0, "auto")]


def test_a_sensor_of_another_device_comes_by_the_live_lane(tmp_path):
    setting = config(tmp_path, sensor="annex/hall/illuminance_lx")
    life = Life(NightLight, setting, [(1, "now/hall/illuminance_lx 500"), (2, "live/annex/hall/illuminance_lx 2"),
                                      (30, "live/shed/hall/illuminance_lx 500")])
    assert life.told("lamp")[-1][1] is True and life.at("ambient_light", 30) is None
