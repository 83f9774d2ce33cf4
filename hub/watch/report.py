"""The status report, made from what is known here without asking anybody: pure, with the time handed in."""
