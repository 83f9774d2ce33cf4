"""replay: real plugin code over captures, on a clock of its own; what it prints and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from agent import loader, replay
from agent.api import Io, Node, Plugin, Property, Reading, RetryLater
from agent.replay.engine import Replay


class LineConfig(Struct, frozen=True, forbid_unknown_fields=True):
    port: str
    baudrate: int = 1200
    bytesize: int = 7
    parity: str = "E"
    scale: float = 1.0


class Lines(Plugin, name="test_lines"):
    """Numbers, one a line; ``x`` is a bug, ``?`` not ready, ``n`` finds a node."""

    Config = LineConfig
    properties = (Property(name="power_w", datatype="float", unit="W"),
                  Property(name="energy_kwh", datatype="float", unit="kWh", state_class="total_increasing"))

    def run(self, io: Io) -> Iterator[Any]:
        config: LineConfig = self.config
        port = io.serial(config.port, baudrate=config.baudrate, bytesize=config.bytesize, parity=config.parity)
        tail = b""
        while not io.stopping:
            tail += port.read(4096, 1.0)
            *lines, tail = tail.split(b"\n")
            for line in lines:
                if line == b"x":
                    raise KeyError("x")
                if line == b"?":
                    raise RetryLater("the meter is mute")
                if line == b"n":
                    yield Node(id="gas", title="Gas", properties=(Property(name="volume_m3", datatype="float"),))
                    yield Reading("volume_m3", 1.0, node="gas")
                elif line.startswith(b"e"):
                    yield Reading("energy_kwh", float(line[1:]))
                else:
                    yield Reading("power_w", float(line) * config.scale)


class Asking(Plugin, name="test_asking"):
    """Asks twice a minute; answers are numbers."""

    Config = LineConfig
    interval_s = 30.0
    properties = (Property(name="power_w", datatype="float", unit="W"),)

    def poll(self, io: Io) -> Iterator[Any]:
        port = io.serial(self.config.port, baudrate=9600)
        port.write(b"ask\n")
        answer = port.read(100, 1.0)
        if not answer:
            raise RetryLater("no answer: check the cable")
        yield Reading("power_w", float(answer))
        port.close()


class Tree(Plugin, name="test_tree"):
    Config = LineConfig
    interval_s = 10.0
    properties = (Property(name="level", datatype="integer"),)

    def poll(self, io: Io) -> list[Reading]:
        return [Reading("level", int((io.root / "sys/level").read_text()))]


KINDS = {kind.name: kind for kind in (Lines, Asking, Tree)}


def records(kind: type[Plugin], capture: bytes | Path, **config: Any) -> list[dict[str, Any]]:
    run = Replay(kind, LineConfig(port="p", **config), capture)
    found = list(run.records())
    assert run.whole
    return found


def test_a_raw_capture_comes_at_the_speed_of_its_line() -> None:
    """1200 baud, 7E1: ten bits a byte, 120 bytes a second."""
    got = records(Lines, b"100\n" * 300)
    assert len(got) == 300
    assert got[-1] == {"t": pytest.approx(10.0, abs=1e-5), "plugin": "test_lines", "property": "power_w",
                       "value": 100.0, "unit": "W"}
    assert [record["t"] for record in got] == sorted(record["t"] for record in got)
    fast = records(Lines, b"100\n" * 300, baudrate=9600, bytesize=8, parity="N")
    assert fast[-1]["t"] == pytest.approx(1.25, abs=1e-4)  # ties move on by a microsecond each


def test_a_transcript_has_its_own_stamps_and_any_chunking_is_alike() -> None:
    got = records(Lines, b"# c\n< 1.5 10\\n2\n< 7.25 0\\n\n< 9.0\n")
    assert [(record["t"], record["value"]) for record in got] == [(1.5, 10.0), (7.25, 20.0)]


def test_an_answer_comes_as_long_after_the_question_as_it_did() -> None:
    text = b"# c\n> 0.0 ask\\n\n< 0.2 5\n> 31.0 ask\\n\n< 31.4 6\n> 60 ask\\n\n"
    got = records(Asking, text)
    assert [(r["t"], r.get("value")) for r in got if "value" in r] == [(0.2, 5.0), (30.4, 6.0)]
    assert [r["message"] for r in got if "log" in r] == []  # the end of the capture is no silence of the meter


def test_what_the_plugin_sends_is_compared() -> None:
    run = Replay(Asking, LineConfig(port="p"), b"# c\n> 0 other\\n\n< 0.2 5\n")
    got = list(run.records())
    assert not run.whole
    assert got[0]["log"] == "error"
    assert got[0]["message"] == "line 2: sent 61 73 6b 0a, the transcript says 6f 74 68 65 72 0a"
    assert "given up" in got[-1]["message"] or "waited" in got[-1]["message"]


def test_a_failing_plugin_is_told_and_goes_on() -> None:
    got = records(Lines, b"1\nx\n2\n?\n3\n")
    assert [r["value"] for r in got if "value" in r] == [1.0]  # read in one piece: what was read with the bug is gone
    got = records(Lines, b"# c\n< 1 1\\nx\\n\n< 5 ?\\n\n< 60 3\\n\n")
    assert got[0]["value"] == 1.0
    assert got[1]["log"] == "error" and got[1]["message"].startswith("bug: KeyError: 'x' (test_replay.py:")
    assert {"t": 5.0, "log": "warning", "message": "the meter is mute"} in got
    assert got[-1]["value"] == 3.0


def test_nodes_totals_and_wrong_values_are_shown_as_they_are() -> None:
    got = records(Lines, b"n\ne5\ne0\nnan\n")
    assert got[0] == {"t": got[0]["t"], "plugin": "test_lines", "node": "gas", "property": "volume_m3", "value": 1.0,
                      "unit": None}
    assert [r["value"] for r in got if r.get("property") == "energy_kwh"] == [5.0, 0.0]
    assert got[-1]["value"] is None and got[-1]["quality"] == "not_finite"
    assert "W_VALUE_NOT_FINITE" in got[-2]["message"]


def test_folders_stand_for_the_root_one_after_the_other(tmp_path: Path) -> None:
    for name, level in (("root", 1), ("root@10", 2), ("root@30", 3)):
        (tmp_path / name / "sys").mkdir(parents=True)
        (tmp_path / name / "sys" / "level").write_text(str(level))
    got = records(Tree, tmp_path)
    assert [(r["t"], r["value"]) for r in got] == [(0.0, 1), (10.0, 2), (20.0, 2), (30.0, 3)]


@pytest.fixture
def installed(monkeypatch: Any) -> None:
    monkeypatch.setattr(loader, "load", lambda use: KINDS[use])


def test_the_command_prints_ndjson_and_ends_well(installed: None, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "capture.bin"
    file.write_bytes(b"5\n7\n")
    assert replay.main("test_lines", file, ["scale=2", "baudrate = 9600"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["property"], line["value"], line["unit"]) for line in lines] == [
        ("power_w", 10.0, "W"), ("power_w", 14.0, "W")]


@pytest.mark.parametrize("assignments, error", [
    (["baud=1"], "--set: baud: unknown key"), (["baudrate"], "--set baudrate: expected KEY=VALUE"),
    (["scale=high"], "--set: scale = "), (["interval_s=0"], "--set interval_s: expected seconds"),
])
def test_bad_usage_is_2_and_one_line(installed: None, tmp_path: Path, capsys: Any, assignments: list[str],
                                     error: str) -> None:
    file = tmp_path / "capture.bin"
    file.write_bytes(b"5\n")
    assert replay.main("test_lines", file, assignments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"replay: {error}") and said.err.count("\n") == 1


def test_a_file_that_is_not_there_is_2(installed: None, tmp_path: Path, capsys: Any) -> None:
    assert replay.main("test_lines", tmp_path / "none", []) == 2
    assert capsys.readouterr().err == f"replay: {tmp_path / 'none'}: No such file or directory\n"
    (tmp_path / "t.txt").write_text("# c\n< 2 a\n< 1 b\n")
    assert replay.main("test_lines", tmp_path / "t.txt", []) == 2
    assert "t.txt:3: 1 s is before the line above" in capsys.readouterr().err
