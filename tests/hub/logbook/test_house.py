"""A whole house with real processes: what its logbook says, also when notify is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hub.notify.asks import Away, Refused, ask
from hub.store import logbook_rows as rows
from hub.store.alerts_db import AlertsReader
from tests.house import BIN, House
from tests.waiting import until

KILLS = 5 if os.environ.get("HUTKEEPER_LONG") else 1


def test_a_house_keeps_its_logbook_and_a_killed_notify_loses_no_committed_line(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        config = ("--config", str(house.hub_toml))

        reader = AlertsReader(tmp_path / "hub" / "alerts.db")

        def lines(**of: Any) -> list[rows.Line]:
            return rows.find(reader, rows.Query(**of), 1000)

        def has(*words: str) -> bool:
            found = [f"{line.machine} {line.service} {line.text}" for line in lines()]
            return all(any(word in text for text in found) for word in words)

        assert "is not running" in house.command_fails("hutkeeper-hub", "note", "too early", *config)
        house.start_hub()
        house.start_agent("bc-power", "")
        until("notify", lambda: len(house.find("hutkeeper-hub", "notify")) == 1, timeout_s=30)
        with pytest.raises(Refused, match="knows no 'nothing'"):
            ask(house.run / "h", "nothing", who="test", timeout_s=20)
        assert (tmp_path / "hub" / "alerts.db").stat().st_mode & 0o777 == 0o600
        second = house.command_fails("hutkeeper-hub", "notify", *config)
        assert "writes" in second and len(second.splitlines()) == 1
        until("the starts", lambda: has("hub web web started", "hub ingest ingest started", "hub broker broker started",
                                        "hub notify the hub's notify started", "bc-power agent seen for the first"),
              timeout_s=60)
        written: set[int] = set()
        for n in range(KILLS):
            until("notify", lambda: len(house.find("hutkeeper-hub", "notify")) == 1, timeout_s=30)

            def noted(n: int = n) -> bool:
                with contextlib.suppress(Away):  # it may just be starting
                    ask(house.run / "h", "note.add", {"text": f"note number {n}", "key": str(n)}, who="test")
                    return True
                return False

            until("a note", noted, timeout_s=30)
            written |= {line.n for line in lines()}
            for process in house.find("hutkeeper-hub", "notify"):
                os.kill(process.pid, signal.SIGKILL)
            assert written <= {line.n for line in lines()}
        assert [line.text for line in lines(words="note number")[::-1]] == [f"note number {n}" for n in range(KILLS)]
        until("it is back", lambda: has("may be missing here"), timeout_s=30)
        house.stop("bc-power")
        until("its end", lambda: has("bc-power agent stopped in good order"), timeout_s=30)
        assert _told(house, "note", "the last one", "--machine", "bc-power") == ""
        [told] = house.command("hutkeeper-hub", "logbook", *config, "--search", "the last", "--machine", "bc-power")
        assert (told["machine"], told["kind"], told["text"]) == ("bc-power", "note", "the last one")
        reader.close()


def _told(house: House, *words: str) -> str:
    done = subprocess.run([str(BIN / "hutkeeper-hub"), *words, "--config", str(house.hub_toml)], env=house.env,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
