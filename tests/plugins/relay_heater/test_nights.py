"""B29 from the calendar to the pin: the two nights on which the clock is set, each change of the schedule once."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from plugins.relay_heater.programme import Programme
from plugins.relay_heater.schedule import ProfileConfig

from .drive import US, Drive, config, flicker


@pytest.mark.parametrize(("night", "hours"), [("2026-03-29", 1.0), ("2026-10-25", 3.0)])
def test_the_relay_follows_the_calendar_through_a_night_of_clock_setting(night: str, hours: float) -> None:
    """Comfort from 01:30 to 03:30 local time: one hour of it in spring, three in autumn; on once, off once."""
    settings = config(timezone="Europe/Paris", profiles={
        "night": ProfileConfig(comfort_c=20.0, eco_c=10.0, calendar={"all": ["01:30-03:30"]})})
    programme = Programme(settings)
    begin = datetime.fromisoformat(f"{night}T00:00").replace(tzinfo=ZoneInfo("Europe/Paris"))
    drive = Drive(settings)
    offset_us = round(begin.timestamp() * US) - drive.now_us
    changes: list[float] = []

    def aim() -> None:
        now = programme.aim(drive.now_us, drive.now_us + offset_us, None)
        if changes[-1:] != [now.setpoint_c]:
            changes.append(now.setpoint_c)
        drive.aim = now  # type: ignore[assignment]

    drive.run(6 * 3600, lambda s: {"main": flicker(14.0 + s / 4500, s)}, aim)
    assert changes == [10.0, 20.0, 10.0]
    assert [up for _, up in drive.edges] == [True, False]
    assert (drive.edges[1][0] - drive.edges[0][0]) / 3600 == pytest.approx(hours, abs=0.01)
    assert drive.edges[0][0] == pytest.approx(1.5 * 3600, abs=10)
