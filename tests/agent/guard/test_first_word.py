"""A plugin hears where its relay is before it asks for anything: the real guard on a socket, the real client."""

from __future__ import annotations

from agent.guard.client import GuardedRelay
from agent.runner.logs import CappedLog
from agent.testing.fakes import Lines
from tests.plugins.actuator_bench import Bench
from tests.waiting import until


def test_the_state_comes_without_an_ask(tmp_path):
    with Bench(tmp_path, "night_light", "latitude = 48.9\nlongitude = 2.3\n") as bench:
        bench.contact.by_hand(True)
        bench.start("guard")
        relay = GuardedRelay(bench.run_dir, bench.instance, CappedLog(Lines()), lambda alert_id, text: None, None)
        state = until("guard's word", lambda: relay.state if relay.state.on is not None else None)
        assert state.on is True and state.contact is True
        assert bench.contact.moves == 1, "by hand, before"
        relay.close()
