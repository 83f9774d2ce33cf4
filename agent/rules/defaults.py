"""The rules that are on by themselves, made from what the devices declare. Each can be switched off or changed under
its id. They are few and slow on purpose: a healthy house says nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.rules.declared import Declared
from agent.wire.topics import is_id

NIGHT = "23:00-06:00"
ALARMS = {"moisture": "Water where none should be", "smoke": "Smoke", "gas": "Gas", "carbon_monoxide":
          "Carbon monoxide", "safety": "Not safe"}
"""Device classes of boolean values that wake people."""
NO_DATA = """\
id = "no-data"
title = "No data"
kind = "no_data"
of = "*/*/*"
hold_s = 60          # after the age that each plugin declares
do = "look at the sensor and at the log of its plugin"
"""
CLOCK = """\
id = "clock"
title = "The clock is not synchronised"
kind = "state"
of = "*/sys/clock_quality"
is = "unsynced"
hold_s = 900
kept = "samples are kept and moved to their right time once it is"
do = "check NTP on the device: timedatectl"
"""


def defaults(declared: Iterable[Declared]) -> dict[str, str]:
    """Rule id -> its TOML, for the properties that these series have."""
    found = {"no-data": NO_DATA, "clock": CLOCK}
    for one in declared:
        for id_, text in _of(one):
            if is_id(id_):
                found.setdefault(id_, f'id = "{id_}"\n{text}')
    return dict(sorted(found.items()))


def _of(one: Declared) -> Iterator[tuple[str, str]]:
    name, kind = one.property, one.device_class
    word, of = name.replace("_", "-"), f'of = "*/*/{name}"\n'
    if one.datatype == "boolean" and kind == "problem" and not name.endswith("_since_boot"):
        # what is true since the last boot stays so for months, the flag of now is beside it
        yield f"problem-{word}"[:63], (f'title = {_text(one.title or name)}\nkind = "state"\n{of}is = true\n'
                                       'hold_s = 120\n'
                                       'do = "open the device\'s page: what it measures beside this says more"\n')
    if one.datatype == "boolean" and kind in ALARMS:
        yield f"{kind.replace('_', '-')}-{word}"[:63], (
            f'title = "{ALARMS[kind]}"\nkind = "state"\n{of}is = true\nseverity = "critical"\n'
            'do = "look there at once"\n')
    if one.datatype == "boolean" and kind == "connectivity" and not one.diagnostic and not one.comes_and_goes \
            and name == "connected":  # the internet is watched by a part of its own
        yield f"off-{word}", (f'title = "Not connected"\nkind = "state"\n{of}is = false\nhold_s = 300\n'
                              'do = "check its power, its cable and its address"\n')
    if kind == "battery" and one.datatype == "boolean":
        yield f"battery-{word}", (f'title = "Battery low"\nkind = "state"\n{of}is = true\nhold_s = 3600\n'
                                  'severity = "info"\ndo = "change the battery"\n')
    elif kind == "battery" and one.unit == "%":
        yield f"battery-{word}", (f'title = "Battery low"\nkind = "threshold"\n{of}below = 15\nhysteresis = 5\n'
                                  'hold_s = 3600\nseverity = "info"\ndo = "change the battery"\n')
    if kind == "water" and one.counter:
        yield f"leak-{word}", (
            f'title = "Water runs without a pause"\nkind = "never_zero"\n{of}hours = 24\nseverity = "error"\n'
            'do = "look for a running toilet, a dripping tap, a garden hose; else close the stopcock"\n')
    yield from _machine(one, of)
    yield from _heater(one, of)


def _machine(one: Declared, of: str) -> Iterator[tuple[str, str]]:
    if one.property == "soc_temperature_c":
        yield "processor-hot", (f'title = "The processor is hot"\nkind = "threshold"\n{of}above = 80\nhysteresis = 5\n'
                                'hold_s = 300\nkept = "it slows itself down"\ndo = "give it air or a heat sink"\n')
    if one.property == "used_percent" and one.unit == "%":
        yield "disk-full", (f'title = "The disk is nearly full"\nkind = "threshold"\n{of}above = 95\nhysteresis = 2\n'
                            'hold_s = 600\nseverity = "error"\n'
                            'do = "free space: journalctl --vacuum-size=100M, df -h"\n')
        yield "disk-fills", (f'title = "The disk fills"\nkind = "forecast"\n{of}above = 98\nwithin_days = 7\n'
                             'window_days = 7\ndo = "see what grows: du -xh / | sort -h"\n')
    if one.property == "memory_used_percent":
        yield "memory-full", (f'title = "Nearly no memory is free"\nkind = "threshold"\n{of}above = 95\n'
                              'hysteresis = 3\nhold_s = 900\ndo = "see which process grew"\n')
    if one.property == "emmc_spare" and one.datatype == "enum":
        yield "emmc-spare", (f'title = "The eMMC has few spare blocks left"\nkind = "state"\n{of}'
                             'is = ["warning", "urgent"]\nseverity = "error"\ndo = "plan a new board or card now"\n')
    if one.property == "emmc_wear_percent":
        yield "emmc-wear", (f'title = "The eMMC is worn"\nkind = "threshold"\n{of}above = 90\nhysteresis = 1\n'
                            'do = "plan a new board or card"\n')


def _heater(one: Declared, of: str) -> Iterator[tuple[str, str]]:
    forced = (f'title = "Heating is still forced at night"\nkind = "override"\n{of}levels = ["forced"]\n'
              f'modes = ["forced", "comfort"]\nhold_s = 1800\nbetween = "{NIGHT}"\n'
              'kept = "every override has an end"\ndo = "set its mode to auto, or let it end"\n')
    if one.property == "levels" and one.datatype == "json":
        yield "override-at-night", forced
    if one.property == "mode" and one.datatype == "enum" and "comfort" in one.options:
        yield "comfort-at-night", forced


def _text(text: str) -> str:
    return '"' + text.replace("\\", "").replace('"', "'")[:200] + '"'
