"""What the room model is measured on: a recorded winter, and a simulated room that the programme heats."""

from __future__ import annotations

import csv
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from plugins.relay_heater.preheat import Preheater
from plugins.relay_heater.programme import Programme, ProgrammeConfig
from plugins.relay_heater.room_model import HORIZONS, ROW_S, RoomModel
from plugins.relay_heater.room_rows import Rows
from plugins.relay_heater.room_state import Row
from plugins.relay_heater.warm_up import TIMES, Score, Start

US = 1_000_000
RECORDED = Path(__file__).parents[4] / "shared" / "data" / "heat" / "blg_1.csv"
"""A Dutch dwelling, 2021-11-22 to 2022-01-04, rows of 15 minutes: sun, outdoor °C, room °C, heat of a gas boiler."""
FULL = 50.0
"""The heat that counts as duty 1."""
RISE_C = 1.0


def recorded() -> list[Row]:
    with RECORDED.open(newline="") as file:
        rows = list(csv.reader(file, delimiter=";"))[1:]
    return [Row(float(room), float(outdoor), float(heat) / FULL, int(stamp[11:13]) + int(stamp[14:16]) / 60)
            for _, stamp, _, outdoor, room, heat in rows]


def learned(rows: list[Row], *, blind: bool = False) -> RoomModel:
    """``blind``: without outdoor temperatures."""
    model = RoomModel()
    for row in rows:
        model.learn(row._replace(outdoor_c=None) if blind else row)
    model.solve()
    return model


def examine(model: RoomModel, rows: list[Row], *, learning: bool = False, blind: bool = False) -> RoomModel:
    """Score it afresh on rows that it has not seen; without ``learning`` it stays as it is."""
    model.gap()
    model.learning = learning
    model.scores = {horizon: Score() for horizon in HORIZONS}
    model.warm_up.scores = {rows: Score() for rows in TIMES}
    for row in rows:
        model.learn(row._replace(outdoor_c=None) if blind else row)
    return model


def held_heat(model: RoomModel, rows: list[Row]) -> dict[int, Score]:
    """Errors when not even the heat ahead is known: the last hour's is taken to go on."""
    scores = {horizon: Score() for horizon in HORIZONS}
    model.gap()
    model.learning = False
    for number, row in enumerate(rows):
        model.learn(row)
        duty = sum(one.duty for one in rows[max(0, number - 3) : number + 1]) / min(4, number + 1)
        for horizon, then_c in zip(HORIZONS, model.predict(duty), strict=True):
            if number + horizon < len(rows):
                scores[horizon].add(then_c - rows[number + horizon].room_c, rows[number + horizon].room_c - row.room_c)
    return scores


class Rise(NamedTuple):
    """How long it took from the begin of heating until the room was 1 °C warmer, in minutes."""

    truth: float
    model: float | None
    median: float
    """Of the rises that were learned from: what a fixed lead would be."""


def rises(model: RoomModel, learned_from: list[Row], rows: list[Row]) -> list[Rise]:
    """The heat that was to come is not told: it is the mean after a beginning, of the rows that were learned from."""
    before = begins(learned_from)
    duties = [sum(learned_from[at + 1 + later].duty for at, _ in before) / len(before) for later in range(TIMES[-1])]
    median = sorted(took for _, took in before)[len(before) // 2]
    truth = dict(begins(rows))
    found = []
    model.gap()
    model.learning = False
    for number, row in enumerate(rows):
        model.learn(row)
        if number in truth:
            needed_s = model.time_to_reach(row.room_c, row.room_c + RISE_C, row.outdoor_c, duties)
            found.append(Rise(truth[number], None if needed_s is None else needed_s / 60, median))
    return found


def begins(rows: list[Row]) -> list[tuple[int, float]]:
    """Number of the last row before, and the minutes until it was 1 °C warmer, within 3 hours."""
    found = []
    for at in range(4, len(rows) - TIMES[-1] - 1):
        start = Start(rows[at].room_c, 0.0, None, rows[at].duty, sum(one.duty for one in rows[at - 3 : at]) / 3)
        if not start.begins([one.duty for one in rows[at + 1 : at + 3]]):
            continue
        aim = rows[at].room_c + RISE_C
        for later in range(1, TIMES[-1] + 1):
            now, last = rows[at + later].room_c, rows[at + later - 1].room_c
            if now >= aim:
                found.append((at, (later - 1 + (aim - last) / (now - last)) * ROW_S / 60))
                break
    return found


# --- a room that answers to heat ----------------------------------------------------------------------------


class Room:
    """Air and walls, and a radiator that lags 10 minutes; °C and hours."""

    def __init__(self, heat_c_per_h: float = 8.0) -> None:
        self.air_c, self.walls_c, self.radiator = 18.0, 17.0, 0.0
        self._heat = heat_c_per_h

    def step(self, hours: float, on: bool, outdoor_c: float) -> None:
        self.radiator += (on - self.radiator) * -math.expm1(-hours * 6)
        air = self._heat * self.radiator + (self.walls_c - self.air_c) / 3 + (outdoor_c - self.air_c) / 20
        walls = (self.air_c - self.walls_c) / 20 + (outdoor_c - self.walls_c) / 60
        self.air_c += air * hours
        self.walls_c += walls * hours


def outdoor_c(wall_us: int) -> float:
    """A cold day and a mild one, with nights."""
    day = wall_us / US / 86_400
    return 4.0 + 3.0 * math.sin(2 * math.pi * (day - 0.35)) + 3.0 * math.sin(2 * math.pi * day / 5.3)


CONFIG = {"timezone": "UTC", "profiles": {"work_week": {
    "comfort_c": 20.5, "eco_c": 17.5, "calendar": {"all": ["06:00-08:00", "17:00-22:30"]}}}}


class Lived(NamedTuple):
    late_min: list[float]
    """For each begin of comfort: minutes from the calendar's moment until it was warm; negative: before."""
    model: RoomModel
    doubts: list[str | None]
    """At the end of each day."""


def live(days: int, *, preheat: bool, room: Room | None = None, model: RoomModel | None = None, step_s: int = 60,
         config: dict[str, Any] = CONFIG) -> Lived:
    """Heat a room by its programme; with ``preheat`` as soon as the model is trusted."""
    programme = Programme(msgspec.convert(config, ProgrammeConfig), {})
    model, room = model or RoomModel(), room or Room()
    rows, preheater = Rows(model), Preheater(model)
    wall = round(datetime(2026, 11, 2, tzinfo=UTC).timestamp()) * US
    boot, on, warm_us, late, doubts = 10**9, False, None, [], []
    comfort_us: int | None = None
    for step in range(days * 86_400 // step_s):
        aim = programme.aim(boot, wall, True)
        measured = round(room.air_c, 2)
        aim_c = aim.setpoint_c
        if preheat:
            aim_c = preheater.setpoint_c(aim, wall, measured, outdoor_c(wall)) or aim_c
        if aim_c < 20.0:
            warm_us = None
        elif warm_us is None and measured >= 20.5 - aim.delta_minus_c:
            warm_us = wall
        if aim.comfort and comfort_us is None:
            comfort_us = wall
            late.append(math.inf)
        if aim.comfort and comfort_us is not None and warm_us is not None and late[-1] == math.inf:
            late[-1] = (warm_us - comfort_us) / US / 60
        if not aim.comfort:
            comfort_us = None
        on = measured <= aim_c - aim.delta_minus_c or (on and measured < aim_c + aim.delta_plus_c)
        rows.see(boot, wall, measured, outdoor_c(wall), float(on))
        room.step(step_s / 3600, on, outdoor_c(wall))
        boot, wall = boot + step_s * US, wall + step_s * US
        if step % (86_400 // step_s) == 0:
            doubts.append(model.doubt())
    return Lived(late, model, doubts)
