"""The real processes, killed and ended: a boiler is OFF without them, and ON again with them."""

from __future__ import annotations

import signal
import threading

from tests.plugins.actuator_bench import Bench

MORE = 'heaters = ["living"]\nmin_off_s = 0\nmin_on_s = 0\ninterval_s = 1\n'


def test_b45_killed_control_and_an_ended_guard_lose_the_boiler(tmp_path):
    with Bench(tmp_path, "boiler_demand", MORE, latching=False) as bench:
        stop = threading.Event()

        def heater() -> None:
            while not stop.wait(0.3):
                bench.tell("living", "heat_demand", True)

        thread = threading.Thread(target=heater, daemon=True)
        thread.start()
        try:
            bench.start("guard", "plugin")
            bench.until("on", lambda: bench.contact.contact)
            bench.kill("plugin")
            bench.until("off", lambda: not bench.contact.contact)
            bench.start("plugin")
            bench.until("on again", lambda: bench.contact.contact)
            bench.kill("guard", by=signal.SIGTERM)
            bench.until("off by the end of guard", lambda: not bench.contact.contact)
        finally:
            stop.set()
            thread.join(5)
