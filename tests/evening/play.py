"""The evening, scene by scene: what happens to the house, and which message the person waits for.

Every limit is set short so that an evening fits into two minutes; each at its real length is tested on a moved clock
beside the part that it belongs to.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.evening.house import CRASHER, Evening
from tests.evening.world import Message

RULE = """\
id = "room-stands-still"
title = "The living room's thermometer stands still"
kind = "frozen"
of = "living/heating/room_temperature_c"
for_s = 12
calm_s = 2
severity = "error"
kept = "the heater's own guard switches it off"
do = "restart the thermometer, check its wires; replace it if it comes back"
"""


class Scene(NamedTuple):
    name: str
    messages: list[Message]
    """What came in it, in order."""


def play(evening: Evening, say: Callable[[str], None] = lambda text: None) -> Iterator[Scene]:
    """One scene after another; each ends with the house as it was."""
    evening.ready()
    say("the house is up and well")
    # the internet first: minutes after the mains its loss would be the mains' doing, and nobody's message
    for scene in (internet_lost, mains_cut, hub_killed, crash_loop, frozen_sensor, leak, forgotten_override):
        before = len(evening.telephone.messages)
        say(f"\n--- {scene.__name__.replace('_', ' ')}")
        scene(evening)
        messages = evening.telephone.messages[before:]
        for one in messages:
            say(f"{one.at_s:6.1f} s  {one.way:4}  " + one.text.replace("\n", "\n                "))
        yield Scene(scene.__name__, messages)


def mains_cut(evening: Evening) -> None:
    """Seven machines lose their power in a house; here two, and a UPS says why."""
    evening.mains.ups.mains = False
    evening.pull_the_plug("cellar")
    evening.pull_the_plug("living")
    evening.told("mains lost", "mains")
    evening.mains.ups.mains = True
    evening.start("cellar")
    evening.start("living")
    evening.told_over("mains")


def internet_lost(evening: Evening) -> None:
    """No push reaches anybody meanwhile, and an SMS does."""
    evening.provider.reachable = False
    evening.internet.cut()
    evening.told("internet lost", "nternet", way="sms")
    evening.internet.mend()
    evening.provider.reachable = True
    evening.told_over("nternet")


def hub_killed(evening: Evening) -> None:
    """Nobody is left on the hub who could say so: the second machine does, by SMS."""
    evening.kill_the_hub()
    evening.told("the hub is dead", "hub", way="sms")
    evening.house.start_hub()
    evening.ready()
    evening.told("the hub is back", "hub", "back", way="sms")


def crash_loop(evening: Evening) -> None:
    evening.edit("living", CRASHER)
    evening.told("the crash loop", "greenhouse")
    evening.edit("living", "")
    evening.told_over("greenhouse")


def frozen_sensor(evening: Evening) -> None:
    evening.rule(RULE)
    evening.room.frozen = True
    evening.told("a sensor stands still", "stands still")
    evening.room.frozen = False
    evening.told_over("stands still")


def leak(evening: Evening) -> None:
    evening.pipe.flow(10)
    evening.told("a burst pipe", "burst")
    evening.pipe.flow(0)  # its end is known a minute and a half later: nobody waits for it here


def forgotten_override(evening: Evening) -> None:
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7200))
    evening.command("living", "heating", "levels", json.dumps({"forced": {"setpoint_c": 21.5, "until": until}}))
    evening.told("an override that somebody forgot", "in the night")
    evening.command("living", "heating", "mode", "auto")
    evening.told_over("in the night")
