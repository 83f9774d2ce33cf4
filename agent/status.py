"""``hutkeeper-agent status``: ledger, spool, plugin health and processes, also with no hub and no uplink.

While uplink runs it says so itself in ``<run_dir>/status.json``; when it does not, its counts are read from the spool's
file, which nobody holds then.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from agent.settings import Settings
from agent.spool import glance
from agent.supervision import conf, rpc

STATUS = "status.json"
SPOOL = "spool.db"
STALE_S = 30.0


def read(loaded: Settings) -> dict[str, Any]:
    """Everything known, as JSON-able values: uplink's own report, ``source``, ``age_s`` and ``processes``."""
    device = loaded.device
    found: dict[str, Any] = {"device": device.id, "source": "nothing yet"}
    report = _report(device.run_dir / STATUS)
    ledgers = glance.ledgers(device.data_dir / SPOOL)
    if report is not None:
        found |= report
        found["source"] = "uplink"
    if ledgers and (report is None or not found.get("running", True) or found["age_s"] > STALE_S):
        found["source"] = "spool"
        found["ledger"] = ledgers[-1]
        found["ledgers"] = ledgers
    rules = _report(device.run_dir / "rules.json")
    if rules is not None:
        found["rules"] = rules
    found["processes"] = processes(device.run_dir)
    return found


def _report(path: Path) -> dict[str, Any] | None:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        age_s = max(0.0, time.time() - path.stat().st_mtime)
    except (OSError, ValueError):
        return None
    return {**report, "age_s": round(age_s, 1)} if isinstance(report, dict) else None


def processes(run_dir: Path) -> list[dict[str, Any]]:
    """What supervisord says of each program; [] when none runs."""
    try:
        infos = rpc.call(run_dir / conf.SOCKET, "supervisor.getAllProcessInfo", timeout_s=3.0)
    except rpc.RpcFailed:
        return []
    return [{"name": info["name"], "state": info["statename"], "pid": info["pid"],
             "up_s": max(0, info["now"] - info["start"]) if info["pid"] else 0} for info in infos]
