"""The real processes, killed: a lamp stays where it was told."""

from __future__ import annotations

from tests.plugins.actuator_bench import Bench

MORE = 'sensor = "hall/illuminance_lx"\nhold_s = 0\ndwell_s = 0\ninterval_s = 1\n'


def test_b45_a_lit_lamp_outlives_plugin_and_guard_and_obeys_again(tmp_path):
    with Bench(tmp_path, "night_light", MORE) as bench:
        bench.start("guard", "plugin")
        bench.until("lit", lambda: bench.tell("hall", "illuminance_lx", 1.0) or bench.contact.contact)
        bench.until("kept", lambda: bench.kept_has("light", mode={"word": "auto"}))
        bench.kill("plugin", "guard")
        assert bench.contact.contact
        bench.said.clear()
        bench.start("guard", "plugin")
        bench.until("it speaks again", lambda: bench.said.get("source") == "none" and bench.said.get("lamp") is True)
        assert bench.contact.moves == 1
        assert bench.order("mode", "off").ok
        bench.until("off", lambda: not bench.contact.contact)
        assert bench.contact.longest_us < 200_000
