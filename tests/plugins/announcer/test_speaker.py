"""The source of programs by itself: orders in whatever sequence, and no turning in circles while a program works."""

from __future__ import annotations

import json
import os
import random
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.announcer.cache import Cache
from plugins.announcer.speaker import Speaker
from tests.plugins.announcer.lab import Card, at_volume, processes, script


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return Card(tmp_path)


def events(speaker: Speaker, until: dict[str, Any], timeout_s: float = 30.0) -> Iterator[dict[str, Any]]:
    """What it says, up to and with one that has these fields."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        select.select([speaker.fileno()], (), (), 0.5)
        for data in speaker.receive():
            assert isinstance(data, bytes)
            event = json.loads(data)
            yield event
            if until.items() <= event.items():
                return
    raise AssertionError(f"{until} did not come")


def order(speaker: Speaker, job: int, text: str) -> None:
    speaker.send(json.dumps({"say": {"job": job, "text": text, "volume_pct": 100}}).encode())


def test_orders_that_overtake_each_other_leave_the_last_one_whole(card: Card) -> None:
    speaker = Speaker(card.config(player=card.player()), Cache(card.folder, 1 << 20))
    rng = random.Random(7)
    before = len(os.listdir("/proc/self/fd"))
    try:
        for job in range(1, 60):
            order(speaker, job, f"Number {rng.randrange(6)}.")
            for _ in range(rng.randrange(4)):  # somewhere in the middle of speech or of sound
                select.select([speaker.fileno()], (), (), 0.02)
                speaker.receive()
            if rng.random() < 0.4:
                speaker.send(json.dumps({"stop": job - rng.randrange(2)}).encode())
        takes = len(card.takes())
        order(speaker, 99, "This is the last one.")
        last = list(events(speaker, {"job": 99, "did": "played"}))
        assert [event["did"] for event in last if event.get("job") == 99] == ["playing", "played"]
        assert {event["job"] for event in last} <= {99}, "a job that was stopped has nothing more to say"
        speaker.receive()
        assert len(os.listdir("/proc/self/fd")) <= before
    finally:
        speaker.close()
    assert processes(card.folder) == []
    newest = max((card.folder).glob("*.wav"), key=lambda path: path.stat().st_mtime_ns)
    final = at_volume(newest.read_bytes()[44:], 100)
    assert [take for take in card.takes()[takes - 1 :] if take == final] == [final], "once, and whole"


def test_B57_a_program_that_closes_its_standard_error_does_not_make_it_turn_in_circles(card: Card) -> None:
    slow = script(card.folder, "slow", "exec 2>&-\nwhile [ ! -e $0.go ]; do sleep 0.05; done\nespeak-ng -w $1 --stdin")
    speaker = Speaker(card.config(command=(slow, "{wav}")), Cache(None, 0))
    try:
        order(speaker, 1, "At last.")
        deadline = time.monotonic() + 30
        while speaker._child is None or not speaker._child.mute:
            assert time.monotonic() < deadline
            select.select([speaker.fileno()], (), (), 0.1)
            speaker.receive()
        assert select.select([speaker.fileno()], (), (), 0.1)[0] == [], "nothing to do, nothing readable"
        Path(f"{slow}.go").touch()
        assert [event["did"] for event in events(speaker, {"did": "played"})] == ["playing", "played"]
    finally:
        speaker.close()


def test_B57_a_player_that_does_not_die_holds_up_nobody(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that hangs leaves a process that no signal ends: here the signal is withheld."""
    deaf = script(card.folder, "deaf", "exec sleep 1000")
    speaker = Speaker(card.config(player=deaf), Cache(None, 0))
    try:
        order(speaker, 1, "One.")
        list(events(speaker, {"job": 1, "did": "playing"}))
        while not processes(card.folder, "sleep"):
            speaker.receive()
        child = speaker._child
        assert child is not None
        with monkeypatch.context() as patch:
            patch.setattr(child, "kill", lambda: None)
            speaker.send(b'{"stop":1}')
        order(speaker, 2, "Two.")
        assert list(events(speaker, {"job": 2, "did": "playing"}))[-1]["cached"] is False
        select.select([speaker.fileno()], (), (), 0.1)
        assert speaker.receive() == [] and speaker._waiting_wav is not None, "it waits for the device, and we do not"
        child.kill()
        deadline = time.monotonic() + 30
        while speaker._waiting_wav is not None:
            assert time.monotonic() < deadline
            select.select([speaker.fileno()], (), (), 0.1)
            speaker.receive()
    finally:
        speaker.close()
    assert processes(card.folder) == []
