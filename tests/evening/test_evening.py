"""A scripted evening with real processes: what a person would have got, in order, each message once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from agent.testing.broker import mosquitto_path
from tests.evening.house import Evening
from tests.evening.play import Scene, play

pytestmark = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed: apt install mosquitto")
SAFE, DO = "Safe: ", re.compile("(What to do|Do): ")


def test_an_evening_in_which_everything_goes_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Evening(tmp_path) as evening:
        scenes = {scene.name: scene for scene in play(evening, print)}
        beginnings = {name: _begun(scene) for name, scene in scenes.items()}

    # one message for each thing that went wrong, whatever followed from it
    assert {name: len(texts) for name, texts in beginnings.items()} == dict.fromkeys(scenes, 1), capsys.readouterr().out
    every = Counter(one.text for scene in scenes.values() for one in scene.messages)
    assert max(every.values()) == 1, every
    # each says since when, what is safe and what to do
    for name, (text,) in beginnings.items():
        if name != "hub_killed":  # one SMS of the second machine, in one breath
            assert re.search(r"[Ss]ince \d\d:\d\d \w+", text) and SAFE in text and DO.search(text), text
    (mains,) = beginnings["mains_cut"]
    assert "mains lost" in mains and "listed" in mains, "the dark machines are in it, not beside it"
    (net,) = beginnings["internet_lost"]
    assert "no internet" in net and "router" in net
    (hub,) = beginnings["hub_killed"]
    assert "no life since" in hub and "keep their samples" in hub and "power and network" in hub
    (loop,) = beginnings["crash_loop"]
    assert "plugin greenhouse ended" in loop and "exit code 7" in loop
    (frozen,) = beginnings["frozen_sensor"]
    assert "stands still" in frozen and "check its wires" in frozen
    (burst,) = beginnings["leak"]
    assert "critical" in burst and "burst" in burst and "close the main valve" in burst
    (override,) = beginnings["forgotten_override"]
    assert "21.5 °C in the night" in override and "set mode to auto" in override


def _begun(scene: Scene) -> list[str]:
    """What a thing that went wrong made; not what says that it is over."""
    return [one.text for one in scene.messages
            if "lasted" not in one.text and not one.text.startswith("the hub is back")]
