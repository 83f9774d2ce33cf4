"""Kill -9 of a real process in the middle of its mail."""

from __future__ import annotations

from pathlib import Path

from tests.plugins.modem import killing


def test_killed_in_the_middle_no_sms_is_lost_and_none_is_told_twice(tmp_path: Path) -> None:
    found = killing.run(tmp_path, kills=2, seed=11)
    assert found.accepted >= 4 + 2 and found.came == 12, found
    assert found.lost == 0 and found.unread_lost == 0 and found.told_twice == 0, found
    assert found.twice <= found.kills, "an SMS goes out again only where its end was not on disk"
