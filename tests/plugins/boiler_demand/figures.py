"""The limits of the boiler in random hours: ``python -m tests.plugins.boiler_demand.figures [SCENARIOS]``.

Each scenario is six hours of two heaters (asking, satisfied, silent, saying rubbish, told late) and of faults: control
killed, stopped for a while, started again, guard started again, a supply that warms or does not. Demand, proof and the
guard's lease are the real ones; time is moved in steps of a second."""

from __future__ import annotations

import random
import sys

from agent.api import PlainRelay
from agent.guard.lease import Ask, Lease
from plugins.boiler_demand.demand import Demand
from plugins.boiler_demand.plugin import BoilerDemand
from plugins.boiler_demand.proof import Proof
from plugins.boiler_demand.settings import BoilerDemandConfig, Heater

US = 1_000_000
HOURS = 6
HEATERS: tuple[Heater, ...] = ((None, "a"), ("annex", "b"))
LIMITS = {"on after the last fresh demand, control alive, s": 180 + 180 + 1,
          "on after the last fresh demand, control dead, s": 180 + 180 + 30,
          "on after control was killed, s": 0, "on after control was stopped, s": 10, "unbroken on, s": 4 * 3600,
          "starts in any hour": 6}
"""The first two: a demand of 180 s, and a minimum run of 180 s that rests on the other heater's words."""


def scenario(seed: int) -> dict[str, float]:
    """The worst of each figure."""
    chance = random.Random(seed)
    config = BoilerDemandConfig(relay=PlainRelay(line="GPIO17"), heaters=("a", "annex/b"), supply="pipe/supply_c")
    duty = BoilerDemand.duty(config)
    lease, demand, proof = Lease(duty, 0), Demand(config, 0), Proof(config)
    worst = dict.fromkeys(LIMITS, 0.0)
    state = {heater: ("asks", 0) for heater in HEATERS}
    alive, stopped_until = True, 0
    asked_s = died_s = stopped_s = on_since = None
    starts: list[int] = []
    warms, on = chance.random() < 0.7, False
    bad, lasts_s = chance.choice((0, 0.0004, 0.002)), chance.choice((300, 1500, 9000))
    for t in range(1, HOURS * 3600):
        now_us = t * US
        for n, heater in enumerate(HEATERS):
            mood, until = state[heater]
            if t >= until:
                mood = chance.choices(("asks", "rests", "silent", "rubbish"), (5, 3, 1, 1))[0]
                state[heater] = mood, t + int(chance.expovariate(1 / lasts_s)) + 1
            if t % 30 == 7 * n and mood != "silent":
                told_us = now_us - chance.choice((0, 0, 0, 40 * US))
                value = {"asks": True, "rests": False, "rubbish": chance.choice((1, "on", None))}[mood]
                if value is True:
                    asked_s = told_us / US
                if alive:
                    demand.heard(heater, value, None, told_us, now_us)
        if t % 20 == 0 and alive:
            proof.supply(20.0 + (min(30, (t - on_since) / 20) if on and warms and on_since else 0), None, now_us)
        if chance.random() < bad:
            fault = chance.choice(("kill", "stop", "guard", "start", "start"))
            if fault == "kill" and alive:
                alive, died_s = False, t
                lease.gone(now_us)
            elif fault == "stop" and alive:
                stopped_until, stopped_s = t + chance.randint(1, 120), t
            elif fault == "guard":
                lease = Lease(duty, now_us)
            elif fault == "start" and not alive:
                kept, alive, demand, proof = demand.starts, True, Demand(config, now_us), Proof(config)
                demand.restore(kept, now_us)
                died_s = None
        speaks = alive and t >= stopped_until
        if speaks:
            stopped_s = None
            demand.is_(lease.look(now_us).on, now_us)
            wish = demand.decide(now_us)
            was = lease.ask(Ask(on=wish.on, sample_us=wish.sample_us, sample_max_age_s=180, heats=proof.heats is True),
                            now_us).on
            demand.is_(was, now_us)
            proof.running(was, now_us)
            proof.look(now_us)
        else:
            was = lease.look(now_us).on
        if was and not on:
            on_since = t
            starts = [one for one in starts if t - one < 3600] + [t]
            worst["starts in any hour"] = max(worst["starts in any hour"], len(starts))
        on = was
        if on:
            since = t - (asked_s or 0)
            key = f"on after the last fresh demand, control {'alive' if speaks else 'dead'}, s"
            worst[key] = max(worst[key], since)
            worst["unbroken on, s"] = max(worst["unbroken on, s"], t - on_since)
            if died_s is not None:
                worst["on after control was killed, s"] = max(worst["on after control was killed, s"], t - died_s + 1)
            if stopped_s is not None:
                worst["on after control was stopped, s"] = max(worst["on after control was stopped, s"], t - stopped_s)
    return worst


def main(count: int) -> dict[str, float]:
    """Prints limit | worst seen | scenarios; returns the worst."""
    every = [scenario(seed) for seed in range(count)]
    worst = {key: max(one[key] for one in every) for key in LIMITS}
    print("| | limit | worst seen | scenarios |\n|---|---|---|---|")
    for key, limit in LIMITS.items():
        print(f"| {key} | {limit} | {worst[key]:.0f} | {count} |")
    return worst


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
