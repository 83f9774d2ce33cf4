"""The short form of G11's figures that need a house; the thousand kills have theirs in ``test_notifier``."""

from __future__ import annotations

from pathlib import Path

from tests.hub.notify.figures import storm


def test_B67_a_storm_over_a_real_modem_is_at_most_five_sms_with_the_exact_count(tmp_path: Path) -> None:
    seen = storm(tmp_path, 300, seconds=20)
    assert seen.sms <= 5 and seen.told == 300
    assert "300 since" in seen.last
