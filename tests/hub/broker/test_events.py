"""B02 shows: what the broker's keeper reports is in the hub's event log, once, also when ingest starts later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from agent.testing.broker import free_port
from hub.broker import events
from hub.store.reader import Reader
from tests.hub.broker.conftest import Process, needs_mosquitto
from tests.hub.broker.test_keeper import HUB
from tests.waiting import until


@needs_mosquitto
def test_B02_a_reset_broker_is_in_the_event_log(tmp_path: Path) -> None:
    toml = tmp_path / "hub.toml"
    toml.write_text(HUB.format(port=free_port()))
    state = tmp_path / "data/broker/mosquitto.db"
    state.parent.mkdir(parents=True)
    state.write_bytes(bytes(5000))
    keeper = Process(toml)
    ingest = None
    try:
        keeper.wait_for("listens on")
        (left,) = events.folder(tmp_path / "run").glob("*.json")
        assert "E_BROKER_STATE_RESET" in keeper.log.read_text()
        ingest = subprocess.Popen([sys.executable, "-m", "hub.cli", "ingest", "--config", str(toml)],
                                  stdout=subprocess.DEVNULL, stderr=(tmp_path / "ingest.log").open("ab"))
        until("ingest takes it", lambda: not left.exists())
        (row,) = Reader(tmp_path / "data/samples.db").events()
        assert (row.device, row.code, row.severity, row.count) == ("hub", "E_BROKER_STATE_RESET", "error", 1)
        assert str(state) + ".bad" in row.text and "no sample is lost" in row.text
    finally:
        for process in (ingest, keeper.process):
            if process is not None:
                process.terminate()
                process.wait(30)


def test_an_event_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    first = events.report(tmp_path, "E_BROKER_STATE_RESET", path="/x")
    (events.folder(tmp_path) / "1.json").write_text("{")
    assert [event for _, event in events.take(tmp_path)] == [first]
    assert (events.folder(tmp_path) / "1.bad").exists() and len(events.take(tmp_path)) == 1
