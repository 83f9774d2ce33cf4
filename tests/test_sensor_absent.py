"""B41 from the agent to the page on a moved clock: a sensor that is gone is told within three intervals, by both."""

from __future__ import annotations

import json

import msgspec

from agent.api import Property
from agent.bus import Health
from agent.homie.values import utc_us
from agent.wire import topics
from agent.wire.messages import Reported
from hub.fleet.facts import NodeFacts, facts
from hub.live.feed import Feed
from hub.live.tree import LiveTree
from tests.agent.state_lab import House, declare

INTERVAL_S = 60.0
ROOF = Property(name="temperature_c", datatype="float", unit="°C", device_class="temperature")
DECLARED = declare("roof", ROOF, interval_s=INTERVAL_S)
ALERT = "$alert/stale-roof-temperature-c"


def house_with_a_sensor() -> House:
    """Settled, with its newest value at this very moment."""
    house = House("roof")
    house.state.on_hello(DECLARED, "run-1")
    house.settled()
    for n in range(3):
        house.after(INTERVAL_S if n else 0.0)
        house.now("roof", "temperature_c", 18.0 + n)
    return house


def page(house: House) -> NodeFacts:
    """What the hub's page makes of the node, from what stands on the broker and nothing else."""
    tree = LiveTree(Feed())
    now_us = house.clock.wall_us() or 0
    said = Reported(name="Boiler room", agent_version="0.1.0", plugins={"roof": DECLARED})
    tree.apply(topics.reported("bc-power"), msgspec.json.encode(said), retained=True, now_us=now_us)
    for topic, payload in sorted(house.broker.store.items(), key=lambda item: "$state" not in item[0]):
        tree.apply(topic, payload, retained=True, now_us=now_us)
    device = tree.device("bc-power")
    assert device is not None
    [node] = [node for node in facts(device, now_us).nodes if node.id == "roof"]
    return node


def test_B41_an_absent_sensor_is_told_within_three_intervals_and_its_value_is_marked_stale() -> None:
    house = house_with_a_sensor()
    last = utc_us(house.clock.wall_us() or 0)
    assert house.value("roof/temperature-c") == "20.0"
    since = len(house.broker.log)
    house.after(3 * INTERVAL_S)  # nothing comes any more; the process itself lives and says so
    house.state.on_health(Health("roof", "ok", "", 0, 0))
    assert house.value(ALERT) is None and not page(house).silent, "a late reading is no absent sensor"
    house.after(1)
    assert (house.value(ALERT) or "").startswith("roof/temperature_c: no good value for 3 min")
    assert page(house).silent, "the page shows the value as old"
    assert house.value("roof/last-update") == last, "the old value has no new stamp"
    assert house.values_of("roof/temperature-c", since) == [], "and is not told again as if it were new"
    house.now("roof", "temperature_c", 21.5)
    house.after(1.5)
    assert house.value(ALERT) is None and not page(house).silent


def test_B41_home_assistant_takes_the_value_for_unavailable_after_the_same_three_intervals() -> None:
    house = house_with_a_sensor()
    [config] = [
        json.loads(payload) for topic, payload in house.broker.store.items()
        if topic.startswith(topics.DISCOVERY) and b"temperature-c" in payload
    ]
    [component] = [one for one in config["components"].values() if one.get("state_topic", "").endswith("temperature-c")]
    assert component["expire_after"] == 3 * INTERVAL_S


def test_B41_a_sensor_that_answers_nonsense_is_absent_too() -> None:
    house = house_with_a_sensor()
    for _ in range(4):
        house.after(INTERVAL_S)
        house.now("roof", "temperature_c", None, "bad")
    assert "(newest reading: bad)" in (house.value(ALERT) or "")
    assert house.value("roof/temperature-c") == "20.0" and page(house).silent
