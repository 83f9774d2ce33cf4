from __future__ import annotations

import pytest

from agent.api import Property, title_of
from agent.homie.sysnode import SYS_PROPERTIES, sys_node
from agent.homie.tree import Tree, cleared, nodes_of, problems
from agent.wire.messages import NodeDeclaration, PluginDeclaration
from tests.agent.homie.homie_controller import description_problems

POWER = Property(name="active_power_l1_w", datatype="float", unit="W", title="Active power L1")
TARIFF = Property(name="tariff", datatype="enum", options=("peak", "off_peak"), optional=True)
REBOOT = Property(name="boot", datatype="string", event=True)
SETPOINT = Property(name="setpoint_c", datatype="float", unit="°C", settable=True, minimum=5, maximum=30, step=0.5)


def declared(instance: str, *properties: Property, found: tuple[NodeDeclaration, ...] = ()) -> PluginDeclaration:
    own = NodeDeclaration(instance, instance.title(), properties)
    return PluginDeclaration(instance, "some_plugin", instance.title(), 10.0, (own, *found))


@pytest.mark.parametrize(("name", "unit", "said"), [
    ("active_power_l1_w", "W", "Active power l1"), ("flow_l_h", "L/h", "Flow"), ("humidity_pct", "%", "Humidity"),
    ("temperature_c", "°C", "Temperature"), ("volume_m3", "m³", "Volume"), ("w", "W", "W"),
    ("link_up", None, "Link up"),
])
def test_a_title_is_the_name_in_words_without_its_unit(name: str, unit: str | None, said: str) -> None:
    assert title_of(Property(name=name, datatype="float", unit=unit)) == said


def test_every_plugin_node_has_health_errors_and_last_update_and_a_found_node_its_age() -> None:
    tree = Tree("pi-1", "Cellar")
    meter = NodeDeclaration("meter-gas-1", "Gas", (Property(name="volume_m3", datatype="float", unit="m³"),))
    tree.set_plugin(declared("meter", POWER, found=(meter,)))
    nodes = tree.description()["nodes"]
    assert list(nodes["meter"]["properties"]) == ["active-power-l1-w", "health", "errors", "last-update"]
    assert list(nodes["meter-gas-1"]["properties"]) == ["volume-m3", "last-update"]
    assert nodes["meter"]["properties"]["active-power-l1-w"] == {
        "name": "Active power L1",
        "datatype": "float",
        "unit": "W",
    }
    assert nodes["meter"]["properties"]["health"]["format"] == "ok,degraded,failed,disabled"
    assert description_problems({**tree.description(), "version": 1}) == []
    node, prop = tree.find("meter", "active-power-l1-w") or pytest.fail("not found")
    assert (node.id, prop.name) == ("meter", "active_power_l1_w")
    assert tree.find("meter", "active_power_l1_w") is None


def test_the_sys_node_has_what_the_fleet_page_reads() -> None:
    names = {prop.name for prop in SYS_PROPERTIES}
    assert names >= {
        "uptime_s",
        "outbox_batches",
        "outbox_samples",
        "outbox_oldest_age_s",
        "last_receipt",
        "ledger",
        "clock_quality",
        "version",
        "restart",
    }
    restart = sys_node().properties["restart"]
    assert restart.settable and restart.event and restart.options == ("agent", "host")
    assert Tree("pi-1").description()["nodes"]["sys"]["properties"]["restart"] == {
        "name": "Restart",
        "datatype": "enum",
        "format": "agent,host",
        "settable": True,
        "retained": False,
    }


def test_an_optional_property_is_left_out_until_it_is_shown() -> None:
    tree = Tree("pi-1")
    shown: set[str] = set()
    tree.set_plugin(declared("meter", POWER, TARIFF), lambda node, prop: prop.name in shown)
    assert "tariff" not in tree.description()["nodes"]["meter"]["properties"]
    shown.add("tariff")
    tree.set_plugin(declared("meter", POWER, TARIFF), lambda node, prop: prop.name in shown)
    assert "tariff" in tree.description()["nodes"]["meter"]["properties"]


def test_the_retained_topics_of_what_went_are_found() -> None:
    tree = Tree("pi-1")
    tree.set_plugin(declared("heater", SETPOINT, REBOOT))
    before = tree.retained_topics()
    assert "homie/5/pi-1/heater/setpoint-c/$target" in before
    assert "homie/5/pi-1/heater/boot" not in before, "an event leaves nothing on the broker"
    tree.remove_plugin("heater")
    gone = cleared(before, tree.retained_topics())
    assert gone[0] == "homie/5/pi-1/heater/setpoint-c/$target"
    assert set(gone) == {
        f"homie/5/pi-1/heater/{one}" for one in ("setpoint-c", "setpoint-c/$target", "health", "errors", "last-update")
    }
    assert list(tree.nodes) == ["sys"]


@pytest.mark.parametrize(
    ("declaration", "says"),
    [
        (declared("sys", POWER), "sys is the agent's own node"),
        (declared("Heater", POWER), "an id is a-z 0-9 -"),
        (declared("h", Property(name="health", datatype="float")), "filled in by the agent"),
        (declared("h", Property(name="Power", datatype="float")), "a name is a-z 0-9 _"),
        (declared("h", Property(name="power_", datatype="float")), "a name is a-z 0-9 _"),
        (declared("h", POWER, POWER), "declared twice"),
        (declared("h", Property(name="mode", datatype="enum")), "at least one option"),
        (declared("h", Property(name="mode", datatype="enum", options=("a,b",))), "with a comma"),
        (declared("h", Property(name="on", datatype="boolean", options=("x",))), "false label, true label"),
        (declared("h", Property(name="x", datatype="float", minimum=2, maximum=1)), "minimum is above maximum"),
        (
            declared("h", POWER, found=(NodeDeclaration("other", "Other", (POWER,)),)),
            "an id of this plugin is h or h-<id>",
        ),
    ],
)
def test_what_cannot_be_shown_is_named_and_left_out(declaration: PluginDeclaration, says: str) -> None:
    assert any(says in line for line in problems(declaration))
    assert all(len(line.splitlines()) == 1 for line in problems(declaration))
    tree = Tree("pi-1")
    tree.set_plugin(declaration)
    assert description_problems({**tree.description(), "version": 1}) == []


def test_a_plugin_cannot_take_over_the_node_of_another() -> None:
    tree = Tree("pi-1")
    tree.set_plugin(declared("meter-gas", POWER))
    tree.set_plugin(declared("meter", POWER, found=(NodeDeclaration("meter-gas", "Gas", (TARIFF,)),)))
    assert tree.nodes["meter-gas"].instance == "meter-gas"
    assert [node.id for node in nodes_of(declared("meter", POWER))] == ["meter"]


@pytest.mark.parametrize("device", ["", "Pi", "pi_1", "-pi", "a/b", "x" * 64])
def test_a_device_id_is_a_homie_id(device: str) -> None:
    with pytest.raises(ValueError, match="not a device id"):
        Tree(device)
