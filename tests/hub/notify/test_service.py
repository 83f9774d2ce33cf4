"""The notify process as it is started, and its desk."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.notify.asks import Away, Refused, ask
from tests.house import House
from tests.waiting import until


def test_it_runs_beside_the_others_and_answers(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        with pytest.raises(Away, match="is not running"):
            ask(house.run / "h", "nothing", who="test", timeout_s=0.5)
        house.start_hub()
        until("alerts.db", (tmp_path / "hub" / "alerts.db").exists, timeout_s=30)
        until("notify", lambda: len(house.find("hutkeeper-hub", "notify")) == 1, timeout_s=30)
        with pytest.raises(Refused, match="knows no 'nothing'"):
            ask(house.run / "h", "nothing", who="test", timeout_s=20)
        assert (tmp_path / "hub" / "alerts.db").stat().st_mode & 0o777 == 0o600
        second = house.command_fails("hutkeeper-hub", "notify", "--config", str(house.hub_toml))
        assert "writes" in second and len(second.splitlines()) == 1
