"""B05: the pages die again and again; ingest is another process and does not notice."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.chaos.test_exactly_once import victim
from tests.house import House, until

KILLS = 100 if os.environ.get("HUTKEEPER_LONG") == "1" else 5


@pytest.mark.chaos
def test_B05_web_killed_leaves_no_gap_in_ingest(tmp_path: Path) -> None:
    rng = random.Random(5)
    with House(tmp_path) as house:
        house.start_hub()
        house.start_agent("rig", '[plugins.host]\ninterval_s = 0.5\n')
        until("first samples", lambda: any(row["stored"] for row in house.ledger("rig")), 60, every_s=1)
        ingest = victim(house, "ingest")
        assert ingest is not None
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.05, 0.6))
            until("the web process", lambda: victim(house, "web"), 60, every_s=0.05).kill()
        before = sum(row["stored"] for row in house.ledger("rig"))
        until("samples go on", lambda: sum(row["stored"] for row in house.ledger("rig")) > before, 30, every_s=0.5)
        assert ingest.is_running() and (now := victim(house, "ingest")) is not None and now.pid == ingest.pid
        until("difference 0", lambda: all(row["difference"] == 0 for row in house.ledger("rig")), 30, every_s=0.5)
