"""The README's rights on the hub's broker, read by the hub itself, are what the presets hear and send, and no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.api import Property
from agent.uplink.foreign import covers
from hub.settings import Foreign, load
from plugins.foreign_mqtt.config import EsphomeConfig, HomieConfig, TasmotaConfig, Zigbee2mqttConfig
from plugins.foreign_mqtt.esphome import Esphome
from plugins.foreign_mqtt.findings import Preset
from plugins.foreign_mqtt.homie import Homie
from plugins.foreign_mqtt.tasmota import Tasmota
from plugins.foreign_mqtt.zigbee2mqtt import Zigbee2mqtt

README = (Path(__file__).resolve().parents[3] / "plugins/foreign_mqtt/README.md").read_text()
SECTION = README.partition("### Rights on the hub's broker")[2]
ON = Property(name="on", datatype="boolean", settable=True)
PRESETS: dict[str, tuple[Preset, list[str]]] = {
    "tele/#": (Tasmota(TasmotaConfig()), [Tasmota(TasmotaConfig()).command("plug", "POWER2", ON, True)[0]]),
    "zigbee2mqtt/#": (Zigbee2mqtt(Zigbee2mqttConfig()), [
        Zigbee2mqtt(Zigbee2mqttConfig()).command(name, "state", ON, True)[0] for name in ("lamp", "attic/lamp")]),
    "kitchen/#": (Esphome(EsphomeConfig(nodes=("kitchen",))), [
        Esphome(EsphomeConfig()).command("kitchen", "switch/pump", ON, True)[0]]),
    "homie/5/well/#": (Homie(HomieConfig(devices=("well",))), [
        Homie(HomieConfig()).command("well/pump", "running", ON, True)[0]]),
}


@pytest.fixture
def rights(tmp_path: Path) -> list[Foreign]:
    """The example as it stands, and the lines of the table as somebody would write them down."""
    block = re.search(r"```toml\n(.*?)```", SECTION, re.S)
    assert block is not None
    text = block[1]
    for row in re.findall(r"^\| `(?:esphome|homie)` \|(.*)\|(.*)\|$", SECTION, re.M):
        read, write = (re.findall(r"`(\"[^`]*\")`", cell) for cell in row)
        text += f"[[broker.foreign]]\nread = [{', '.join(read)}]\nwrite = [{', '.join(write)}]\n"
    text = text.replace("<node>", "kitchen").replace("<device>", "well").replace("<prefix>", "house")
    (tmp_path / "hub.toml").write_text(text)
    found = list(load(tmp_path / "hub.toml").broker.foreign)
    assert len(found) == 4
    return found


@pytest.mark.parametrize("first", PRESETS)
def test_the_rights_in_the_readme_cover_what_a_preset_hears_and_sends(rights: list[Foreign], first: str) -> None:
    preset, commands = PRESETS[first]
    [granted] = [one for one in rights if first in one.read]
    for topic in preset.filters(False):
        assert any(covers(one, topic) for one in granted.read), topic
    for topic in commands:
        assert any(covers(one, topic) for one in granted.write), topic
    assert not any(covers(one, "zigbee2mqtt/bridge/request/permit_join") for one in granted.write)
