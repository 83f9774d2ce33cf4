"""Golden transcripts: one folder a case, named for what happened, run by the same code as ``replay``.

::

    testcases/brownout_torn_frame/
        agent.toml        what the operator wrote (one plugin)
        wire.txt          a transcript; or wire.<any>: raw bytes; or root/, root@10/: files instead of bytes
        expected.ndjson   what ``hutkeeper-agent replay`` prints, in order
        error.txt         instead: the one line the operator sees

``HUTKEEPER_WRITE_EXPECTED=1`` writes expected.ndjson; read it before you commit it.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent import loader
from agent.api import ConfigError, Plugin
from agent.replay.capture import CaptureError, snapshots
from agent.replay.engine import Replay
from agent.settings import PluginEntry, load, plugin_config

CASES = "testcases"
T_TOLERANCE_S = 2e-6
"""Stamps are whole microseconds."""


def cases(folder: Path) -> list[Path]:
    """The case folders of a plugin's folder, by name."""
    return sorted(path for path in (folder / CASES).glob("*/") if (path / "agent.toml").exists())


def run_case(folder: Path, kind: type[Plugin] | None = None) -> None:
    """Run one case. ``kind`` is the plugin when it is not installed. Raises AssertionError with a diff."""
    error_file = folder / "error.txt"
    expected_file = folder / "expected.ndjson"
    if error_file.exists() == expected_file.exists() and not os.environ.get("HUTKEEPER_WRITE_EXPECTED"):
        raise AssertionError(f"{folder}: needs expected.ndjson or error.txt, and not both")
    try:
        got = list(records(folder, kind))
    except (ConfigError, CaptureError) as error:
        if not error_file.exists():
            raise AssertionError(f"{folder}: {error}") from error
        _same_text(error_file, str(error))
        return
    if error_file.exists():
        lines = [record["message"] for record in got if "log" in record]
        _same_text(error_file, "\n".join(lines) if lines else "(no error)")
        return
    if os.environ.get("HUTKEEPER_WRITE_EXPECTED"):
        expected_file.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in got))
        return
    wanted = [json.loads(line) for line in expected_file.read_text().splitlines() if line.strip()]
    if not wanted:
        raise AssertionError(f"{expected_file}: empty; a case that expects nothing tests nothing")
    if not _same(wanted, got):
        raise AssertionError(f"{folder.name} differs:\n{_diff(wanted, got)}")


def records(folder: Path, kind: type[Plugin] | None = None) -> Iterator[dict[str, Any]]:
    """What the case's capture becomes. Raises ConfigError or CaptureError."""
    entry = only_entry(folder)
    kind = kind or loader.load(entry.use)
    replay = Replay(kind, plugin_config(entry, kind), capture_of(folder), instance=entry.id,
                    interval_s=entry.interval_s)
    yield from replay.records()
    if not replay.whole:
        raise AssertionError(f"{folder.name}: the plugin did not read its capture to the end")


def only_entry(folder: Path) -> PluginEntry:
    """The one plugin of the case's agent.toml. Raises ConfigError."""
    plugins = load(folder / "agent.toml").plugins
    if len(plugins) != 1:
        raise ConfigError(f"{folder / 'agent.toml'}: a case has exactly one [plugins.<id>], this one {len(plugins)}")
    return next(iter(plugins.values()))


def capture_of(folder: Path) -> Path | bytes:
    """wire.<any> of a case, or the case itself when it has root/; nothing at all is an empty line."""
    wires = sorted(folder.glob("wire.*"))
    if len(wires) > 1:
        raise CaptureError(f"{folder}: more than one wire.*")
    if wires:
        return wires[0]
    return folder if snapshots(folder)[0].root != folder else b""


def _same_text(file: Path, got: str) -> None:
    wanted = file.read_text().strip()
    if got.strip() != wanted:
        raise AssertionError(f"{file.parent.name}: the operator sees\n  {got}\nand not\n  {wanted}")


def _same(wanted: list[dict[str, Any]], got: list[dict[str, Any]]) -> bool:
    if len(wanted) != len(got):
        return False
    for a, b in zip(wanted, got, strict=True):
        if abs(a.get("t", 0.0) - b.get("t", 0.0)) > T_TOLERANCE_S:
            return False
        if {**a, "t": 0} != {**b, "t": 0} or type(a.get("value")) is not type(b.get("value")):
            return False
    return True


def _diff(wanted: list[dict[str, Any]], got: list[dict[str, Any]]) -> str:
    def text(records: list[dict[str, Any]]) -> list[str]:
        return [json.dumps(record, ensure_ascii=False) for record in records]

    lines = list(difflib.unified_diff(text(wanted), text(got), "expected.ndjson", "replay", lineterm="", n=1))
    return "\n".join(lines[:60])
