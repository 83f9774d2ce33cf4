"""When canaries fly, and which program a request means."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path

from agent.uplink import services
from agent.uplink.canary import FIRST_S, HOUR_S, JITTER_S, Canary


def test_one_soon_after_the_first_connection_then_one_an_hour_on_a_moved_clock() -> None:
    starts, gaps = [], []
    for seed in range(20):
        canary = Canary(random.Random(seed))
        assert not any(canary.due(float(now), False) for now in range(0, 600, 5))  # nobody is there yet
        flown = [now for now in range(600, 600 + 12 * 3600, 5) if canary.due(float(now), now % 7200 < 5000)]
        starts.append(flown[0] - 600)
        gaps += [b - a for a, b in pairwise(flown)]
        assert canary.sent == len(flown)
    assert 0.4 * FIRST_S < min(starts) < max(starts) <= FIRST_S + 5
    assert HOUR_S - JITTER_S <= min(gaps) < HOUR_S < max(gaps) <= HOUR_S + JITTER_S + 5  # connected or not
    assert len(set(starts)) > 5 and len(set(gaps)) > 20  # a house does not sing as one


def test_one_that_is_asked_for_flies_with_the_next_tick() -> None:
    canary = Canary(random.Random(1))
    canary.now()
    assert canary.due(5.0, True) and canary.sent == 1
    assert not canary.due(6.0, True)


def test_what_a_request_to_restart_means(tmp_path: Path) -> None:
    (tmp_path / services.PLAN).write_text(json.dumps({"programs": {
        "uplink": {"instances": []}, "plugin-heater": {"instances": ["heater"]}, "guard-heater": {"instances": [
            "guard-heater"]}, "plugins-slow": {"instances": ["host", "mains"]}}}))
    meant = {what: services.program_of(tmp_path, what) for what in (
        "uplink", "watchdog", "plugin:heater", "plugin:mains", "guard:heater", "plugin:guard-heater", "guard:host",
        "plugin:x", "plugin:", "supervisord", "../../etc")}
    assert meant == {"uplink": "uplink", "watchdog": "watchdog", "plugin:heater": "plugin-heater",
                     "plugin:mains": "plugins-slow", "guard:heater": "guard-heater", "plugin:guard-heater": None,
                     "guard:host": None, "plugin:x": None, "plugin:": None, "supervisord": None, "../../etc": None}
    (tmp_path / services.PLAN).write_text("[]")
    assert services.program_of(tmp_path, "plugin:heater") is None
