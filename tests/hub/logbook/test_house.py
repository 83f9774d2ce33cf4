"""A whole house with real processes: what its logbook says, also when notify is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.house import BIN, House
from tests.waiting import until


def test_a_house_keeps_its_logbook_and_a_killed_notify_loses_no_committed_line(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        config = ("--config", str(house.hub_toml))

        def lines(*more: str) -> list[dict[str, Any]]:
            return house.command("hutkeeper-hub", "logbook", *config, *more)  # type: ignore[no-any-return]

        def has(*words: str) -> bool:
            found = lines()
            return all(any(word in f"{line['machine']} {line['service']} {line['text']}" for line in found)
                       for word in words)

        assert "is not running" in house.command_fails("hutkeeper-hub", "note", "too early", *config)
        house.start_hub()
        house.start_agent("bc-power", "")
        until("the starts", lambda: has("hub web web started", "hub ingest ingest started", "hub broker broker started",
                                        "hub notify the hub's notify started", "bc-power agent seen for the first"),
              timeout_s=60)
        written: set[int] = set()
        for n in range(3):
            until("notify", lambda: len(house.find("hutkeeper-hub", "notify")) == 1, timeout_s=30)

            def noted(n: int = n) -> bool:
                with contextlib.suppress(AssertionError):  # it may just be starting
                    _note(house, f"note number {n}")
                    return True
                return False

            until("a note", noted, timeout_s=30)
            written |= {line["n"] for line in lines()}
            for process in house.find("hutkeeper-hub", "notify"):
                os.kill(process.pid, signal.SIGKILL)
            assert written <= {line["n"] for line in lines()}
        assert sorted({line["text"] for line in lines("--search", "note number")}) == [
            f"note number {n}" for n in range(3)]
        until("it is back", lambda: has("may be missing here"), timeout_s=30)
        house.stop("bc-power")
        until("its end", lambda: has("bc-power agent stopped in good order"), timeout_s=30)


def _note(house: House, text: str) -> None:
    done = subprocess.run([str(BIN / "hutkeeper-hub"), "note", text, "--config", str(house.hub_toml)], env=house.env,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
