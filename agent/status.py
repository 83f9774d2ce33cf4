"""``hutkeeper-agent status``: ledger, spool, plugin health and processes, also with no hub and no uplink.

While uplink runs it says so itself in ``<run_dir>/status.json``; when it does not, its counts are read from the spool's
file, which nobody holds then.
"""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from agent.settings import Settings
from agent.supervision import conf, rpc

STATUS = "status.json"
SPOOL = "spool.db"
STALE_S = 30.0


def read(loaded: Settings) -> dict[str, Any]:
    """Everything known, as JSON-able values: uplink's own report, ``source``, ``age_s`` and ``processes``."""
    device = loaded.device
    found: dict[str, Any] = {"device": device.id, "source": "nothing yet"}
    report = _report(device.run_dir / STATUS)
    ledgers = spool_ledgers(device.data_dir / SPOOL)
    if report is not None:
        found |= report
        found["source"] = "uplink"
    if ledgers and (report is None or not found.get("running", True) or found["age_s"] > STALE_S):
        found["source"] = "spool"
        found["ledger"] = ledgers[-1]
        found["ledgers"] = ledgers
    found["processes"] = processes(device.run_dir)
    return found


def _report(path: Path) -> dict[str, Any] | None:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        age_s = max(0.0, time.time() - path.stat().st_mtime)
    except (OSError, ValueError):
        return None
    return {**report, "age_s": round(age_s, 1)} if isinstance(report, dict) else None


def spool_ledgers(path: Path) -> list[dict[str, Any]]:
    """The device's side of the ledger per epoch, the newest last, from the file itself; [] while uplink holds it.

    Read-only and never a checkpoint: one connection writes, and it is uplink's."""
    if not path.exists():
        return []
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)
    except sqlite3.Error:
        return []
    try:
        rows = database.execute(
            "SELECT epoch, produced, receipted, dropped, next_seq, state FROM epochs ORDER BY id").fetchall()
    except sqlite3.Error:  # held by uplink, damaged, or of another schema: uplink's report is what there is
        return []
    finally:
        database.close()
    ledgers = []
    for epoch, produced, receipted, text, next_seq, state in rows:
        dropped: dict[str, int] = json.loads(text)
        spooled = produced - receipted - sum(dropped.values())  # nothing is in flight while nobody sends
        ledgers.append({"epoch": epoch, "produced": produced, "receipted": receipted, "dropped": dropped,
                        "spooled": spooled, "in_flight": 0, "next_seq": next_seq, "state": state})
    return ledgers


def processes(run_dir: Path) -> list[dict[str, Any]]:
    """What supervisord says of each program; [] when none runs."""
    try:
        infos = rpc.call(run_dir / conf.SOCKET, "supervisor.getAllProcessInfo", timeout_s=3.0)
    except rpc.RpcFailed:
        return []
    return [{"name": info["name"], "state": info["statename"], "pid": info["pid"],
             "up_s": max(0, info["now"] - info["start"]) if info["pid"] else 0} for info in infos]
