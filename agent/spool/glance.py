"""A look into the spool's file while nobody holds it: what ``hutkeeper-agent status`` says when uplink does not run."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

TIMEOUT_S = 0.2


def ledgers(path: Path) -> list[dict[str, Any]]:
    """The device's side of the ledger per epoch, the newest last; [] while uplink holds the file or it is unreadable.

    Read-only and never a checkpoint: one connection writes, and it is uplink's."""
    if not path.exists():
        return []
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=TIMEOUT_S)
    except sqlite3.Error:
        return []
    try:
        rows = database.execute(
            "SELECT epoch, produced, receipted, dropped, next_seq, state FROM epochs ORDER BY id").fetchall()
    except sqlite3.Error:  # held by uplink, damaged, or of another schema: uplink's report is what there is
        return []
    finally:
        database.close()
    found = []
    for epoch, produced, receipted, text, next_seq, state in rows:
        dropped: dict[str, int] = json.loads(text)
        spooled = produced - receipted - sum(dropped.values())  # nothing is in flight while nobody sends
        found.append({"epoch": epoch, "produced": produced, "receipted": receipted, "dropped": dropped,
                      "spooled": spooled, "in_flight": 0, "next_seq": next_seq, "state": state})
    return found
