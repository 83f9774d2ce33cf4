"""An actuator whose guard cannot reach its pin, and whose fault becomes another one: it says so, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agent.api import LatchingRelay, PlainRelay, RelayState
from agent.testing import AtWork
from agent.wire import faults
from plugins.boiler_demand.plugin import BoilerDemand
from plugins.boiler_demand.settings import BoilerDemandConfig
from plugins.night_light.plugin import NightLight
from plugins.night_light.settings import NightLightConfig
from plugins.water_valve import plugin as valve_plugin
from plugins.water_valve.plugin import WaterValve
from plugins.water_valve.settings import WaterValveConfig

LATCHING = LatchingRelay(set_line="GPIO23", reset_line="GPIO24")
NO_GPIO = faults.line("E_GPIO", line="GPIO23", reason="no /dev/gpiochip*", do="a Pi has one")
STUCK = faults.line("E_GPIO", line="GPIO23", reason="held by another program", do="end it")


class Away:
    """:class:`agent.api.Relay` of a guard that has no pin."""

    state = RelayState(fault=NO_GPIO)

    def ask(self, on: bool, **_: Any) -> RelayState:
        return self.state

    def close(self) -> None:
        return


@contextmanager
def at_work_without_a_pin(kind: Any, config: Any) -> Iterator[tuple[AtWork, Away]]:
    plugin, relay = AtWork(kind, config), Away()
    plugin.worker.io.relay = lambda: relay
    plugin.worker.start()
    try:
        yield plugin, relay
    finally:
        plugin.worker.stop()
        plugin.worker.join(5)


@pytest.mark.parametrize(("kind", "config"), [
    (NightLight, NightLightConfig(relay=LATCHING, latitude=48.9, longitude=2.4)),
    (WaterValve, WaterValveConfig(relay=LATCHING)),
    (BoilerDemand, BoilerDemandConfig(relay=PlainRelay(line="GPIO17"), heaters=("salon",))),
])
def test_a_guard_without_a_pin_is_said_by_alert_health_and_why(kind: Any, config: Any,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.night_light.plugin.FIRST_WORD_S", 0.2)
    monkeypatch.setattr(valve_plugin, "FIRST_WORD_S", 0.2)
    with at_work_without_a_pin(kind, config) as (plugin, relay):
        plugin.wait(lambda: plugin.alerts.get("relay-x") == NO_GPIO)  # the id of this instance alone
        plugin.wait(lambda: plugin.state.state == "degraded" and plugin.state.reason == NO_GPIO)
        if kind is WaterValve:
            assert plugin.order("valve", False).ok
            plugin.wait(lambda: "closed by a person" in str(plugin.value("why")))
            assert plugin.value("position") == "unknown", "told, and nobody knows whether it moved"
        plugin.wait(lambda: str(plugin.value("why")).endswith("guard has said nothing yet"))
        relay.state = RelayState(fault=STUCK)
        plugin.wait(lambda: plugin.alerts["relay-x"] == STUCK)
        relay.state = RelayState(on=False)
        plugin.wait(lambda: plugin.alerts["relay-x"] is None and plugin.state.state == "ok")


def test_a_lamp_is_asked_for_nothing_before_its_guard_has_said_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard that starts a moment later may know that a hand has moved it."""
    monkeypatch.setattr("plugins.night_light.plugin.TICK_S", 0.02)
    asked: list[bool] = []

    class Late(Away):
        now, looks = RelayState(), 0

        @property
        def state(self) -> RelayState:  # type: ignore[override]
            self.looks += 1
            return self.now

        def ask(self, on: bool, **_: Any) -> RelayState:
            asked.append(on)
            return self.now

    plugin, relay = AtWork(NightLight, NightLightConfig(relay=LATCHING, latitude=48.9, longitude=2.4)), Late()
    plugin.worker.io.relay = lambda: relay
    plugin.worker.start()
    try:
        plugin.wait(lambda: relay.looks > 0)
        assert plugin.order("mode", "on").ok
        seen = relay.looks
        plugin.wait(lambda: relay.looks > seen + 3)
        assert asked == []
        relay.now = RelayState(on=False)
        plugin.wait(lambda: True in asked)
    finally:
        plugin.worker.stop()
        plugin.worker.join(5)
