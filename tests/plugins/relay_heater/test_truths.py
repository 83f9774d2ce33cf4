"""What the random days found: a weak heater that cries wolf, a contact that just opened, a thermometer that jumps."""

from __future__ import annotations

from msgspec.structs import replace

from agent.api import RelayState
from plugins.relay_heater.response import Response
from plugins.relay_heater.sensors import Sensor
from plugins.relay_heater.settings import SensorConfig
from plugins.relay_heater.truth import Truth

from .drive import US, Drive, config, flicker

MINUTE_US = 60 * US


class WeakRoom:
    """A heater that can make it no warmer than 17 °C, in a room that loses it within two hours."""

    def __init__(self) -> None:
        self.c, self.drive = 16.5, Drive()
        self.raised = 0
        self._was = False

    def read(self, s):
        self.c += ((17.0 if self.drive.on else 8.0) - self.c) / 7200
        told = "E_NO_HEATING_RESPONSE" in self.drive.control.alerts
        self.raised += told and not self._was
        self._was = told
        return {"main": round(flicker(self.c, s) / 0.0625) * 0.0625}


def test_a_heater_that_is_too_weak_is_told_of_once_and_off_after_each_half_hour_b44():
    room = WeakRoom()
    room.drive.run(12 * 3600, room.read)
    assert room.raised == 1
    offs = [s for s, on in room.drive.edges if not on]
    ons = [s for s, on in room.drive.edges if on]
    assert len(offs) >= 5 and all(off - on <= 1860 + 3600 for on, off in zip(ons, offs, strict=False))


def sensor_of(values, interval_s=60):
    sensor = Sensor("main", SensorConfig(source="a/b", interval_s=interval_s), 0)
    for number, value in enumerate(values):
        t_us = (number + 1) * interval_s * US
        sensor.feed(t_us, value, None, t_us)
        sensor.look(t_us, None, [])
    return sensor, len(values) * interval_s * US


def test_a_room_that_was_heated_by_a_welded_contact_is_no_new_weld_when_the_probe_says_open():
    truth = Truth(config())
    sensor, now_us = sensor_of([flicker(20.0 + 0.05 * n, 60 * n) for n in range(40)])
    welded = RelayState(on=False, contact=True, since_us=0, heard_us=now_us)
    truth.look(now_us, welded, sensor, 19.0)
    truth.look(now_us + 40 * US, welded, sensor, 19.0)
    assert truth.stuck
    for second in range(50, 600, 20):
        at_us = now_us + second * US
        sensor.feed(at_us, flicker(21.9, second), None, at_us)
        truth.look(at_us, replace(welded, contact=False, heard_us=at_us), sensor, 19.0)
        assert not truth.stuck


def test_a_thermometer_that_jumps_is_no_room_that_is_heated():
    truth = Truth(config())
    sensor, now_us = sensor_of([flicker(20.0, 60 * n) for n in range(40)])
    for second in range(0, 1800, 20):
        at_us = now_us + second * US
        if second % 60 == 40:
            sensor.feed(at_us, flicker(21.2, second), None, at_us)
        truth.look(at_us, RelayState(on=False, since_us=0, heard_us=at_us), sensor, 19.0)
        assert not truth.stuck
    assert sensor.value_c is not None and sensor.value_c > 21


def test_after_a_jump_no_slope_leads_from_the_old_place_to_the_new_one():
    there, here = [flicker(20.0, 60 * n) for n in range(20)], [flicker(8.0, 60 * n) for n in range(20)]
    sensor, now_us = sensor_of([*there, *here])
    assert sensor.value_c is not None and sensor.value_c < 9 and max(sensor.values) < 9
    slope = sensor.slope_c_h(now_us - 30 * MINUTE_US)
    assert slope is None or abs(slope) < 1


def test_a_single_spike_does_not_make_it_forget_where_the_room_was():
    values = [flicker(18.0, 60 * n) for n in range(40)]
    values[30] = 25.0
    sensor, now_us = sensor_of(values)
    assert sensor.times[0] <= now_us - 30 * MINUTE_US
    response = Response(config())
    assert response.look(now_us, now_us - 31 * MINUTE_US, sensor), "no warmer in half an hour, spike or not"


def test_a_frozen_thermometer_that_falls_silent_is_told_as_absent():
    sensor, now_us = sensor_of([flicker(18.0, 60 * n) for n in range(20)])
    sensor._freeze("for a test")
    assert "E_SENSOR_FROZEN" in sensor.alarms(now_us)
    later_us = now_us + 18 * MINUTE_US
    assert "E_SENSOR_ABSENT" in sensor.alarms(later_us) and "E_SENSOR_FROZEN" not in sensor.alarms(later_us)


def test_one_that_has_just_come_back_is_asked_when_it_is_old_enough_and_another_one_until_then():
    response = Response(config())
    young, now_us = sensor_of([flicker(18.0, 60 * n) for n in range(40)])
    young.times, young.values = young.times[-4:], young.values[-4:]
    rising, _ = sensor_of([17.0 + 0.03 * n for n in range(40)])
    assert not response.look(now_us, now_us - 35 * MINUTE_US, young, None, [young, rising])
    assert response.look(now_us, now_us - 35 * MINUTE_US, young, None, [young]), "nobody can say that it heats"
