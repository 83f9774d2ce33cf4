"""Which presets a configuration names; each is a module of its own, loaded when it is needed."""

from __future__ import annotations

from collections.abc import Iterator

from .config import EsphomeConfig, ForeignMqttConfig, HomieConfig, TasmotaConfig, Zigbee2mqttConfig
from .findings import Preset


def presets(config: ForeignMqttConfig) -> list[Preset]:
    """Only what is named is loaded; nothing named: everything by its default topics."""
    every = config.nothing_named
    made: list[Preset] = []
    if config.tasmota is not None or every:
        from .tasmota import Tasmota

        made.append(Tasmota(config.tasmota or TasmotaConfig()))
    if config.zigbee2mqtt is not None or every:
        from .zigbee2mqtt import Zigbee2mqtt

        made.append(Zigbee2mqtt(config.zigbee2mqtt or Zigbee2mqttConfig()))
    if config.esphome is not None or every:
        from .esphome import Esphome

        made.append(Esphome(config.esphome or EsphomeConfig()))
    if config.homie is not None or every:
        from .homie import Homie

        made.append(Homie(config.homie or HomieConfig()))
    if config.maps:
        from .custom import Custom

        made.append(Custom(config.maps))
    return made


def matching(preset: Preset, topic: str, own_broker: bool) -> Iterator[str]:
    """The preset's filters that fit a topic."""
    levels = topic.split("/")
    for one in preset.filters(own_broker):
        parts = one.split("/")
        if parts[-1] == "#":
            parts, short = parts[:-1], levels[: len(parts) - 1]
        else:
            short = levels
        if len(parts) == len(short) and all(part in ("+", level) for part, level in zip(parts, short, strict=True)):
            yield one
