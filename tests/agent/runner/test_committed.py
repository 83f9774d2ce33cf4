"""``io.committed``: what may be deleted on the device, or must not happen twice, waits for this machine's disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import bus
from agent.api import Io, Node, Property, Reading
from tests.agent.runner.bus_end import BusEnd
from tests.agent.runner.parts import Running, Streaming, settings_for

STREAMING = '[plugins.x]\nuse = "streaming"\n'


def streaming(body: Any) -> None:
    Streaming.body = staticmethod(body)  # type: ignore[assignment]


def test_a_plugin_learns_when_its_reading_and_its_state_are_on_disk(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[bool] = []

    def body(io: Io) -> Iterator[Any]:
        yield Reading("count", 1)
        io.kept["seen"] = ["a"]
        said.append(io.committed(0.3))
        said.append(io.committed(20.0))
        io.kept["seen"] = ["a", "b"]  # no reading with it
        said.append(io.committed(20.0))
        yield Node(id="n", title="N", properties=(Property(name="level", datatype="float"),))
        said.append(io.committed(20.0))  # makes no batch at all
        while io.clock.sleep(60):
            pass

    streaming(body)
    end = BusEnd(tmp_path / "run")
    end.acks = False
    with end, Running(monkeypatch, settings_for(tmp_path, STREAMING), "x"):
        end.until("not yet", lambda: said == [False])
        assert end.batches == []
        end.acks = True
        end.until("committed", lambda: len(said) == 4)
    assert said == [False, True, True, True]
    assert [v for _, v, _ in end.samples("x/count")] == [1]
    assert json.loads(end.kept or b"")["plugin"] == {"seen": ["a", "b"]}


def test_a_stop_ends_the_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[bool] = []

    def body(io: Io) -> Iterator[Any]:
        yield Reading("count", 1)
        said.append(io.committed(600.0))

    streaming(body)
    end = BusEnd(tmp_path / "run")
    end.acks = False
    with end, Running(monkeypatch, settings_for(tmp_path, STREAMING), "x") as running:
        end.until("the batch", lambda: end.of(bus.Batch))
        running.process.stop()
        end.until("the end of the wait", lambda: said)
        end.acks = True
    assert said == [False]
