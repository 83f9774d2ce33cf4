"""Where a plugin hears from, and its time zone, as people write them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.api import Heard
from agent.places import Place, plugin_place, property_place, topics_of
from agent.zones import zone_of


def heard(device: str | None, node: str, name: str) -> Heard:
    return Heard(device, node, name, 1.0, 0, None)


def test_a_property_here_and_elsewhere() -> None:
    here = property_place("light/illuminance_lx")
    there = property_place("attic/light/illuminance-lx")
    assert (here.topic, there.topic) == ("now/light", "live/attic/light")
    assert here.is_of(heard(None, "light", "illuminance_lx"))
    assert there.is_of(heard("attic", "light", "illuminance_lx"))
    assert not here.is_of(heard("attic", "light", "illuminance_lx"))
    assert not here.is_of(heard(None, "light-2", "illuminance_lx")), "topics are prefixes"
    assert topics_of([here, None, here, there]) == ("live/attic/light", "now/light")


def test_a_whole_plugin() -> None:
    assert plugin_place("cellar/water") == Place("cellar", "water")
    assert plugin_place("water").is_of(heard(None, "water", "leak"))


@pytest.mark.parametrize("text", ["", "a", "a/b/c/d", "Light/lux", "a/+", "a b/c"])
def test_what_is_no_property_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        property_place(text)


def test_zones(tmp_path: Path) -> None:
    assert datetime(2026, 7, 1, tzinfo=zone_of("Europe/Paris")).utcoffset() == datetime(
        2026, 7, 1, 2, tzinfo=UTC) - datetime(2026, 7, 1, tzinfo=UTC)
    assert zone_of("", tmp_path) is UTC
    with pytest.raises(ValueError, match="Europe/Atlantis"):
        zone_of("Europe/Atlantis")
