"""Whether a spool file is what was written, before anything is read from it; and the names of its epochs beside it."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from pathlib import Path

from agent.spool import database as db
from agent.spool import wal

CHECK_S = 1.5


def bad_path(path: Path) -> Path:
    return Path(f"{path}.bad")


def was_interrupted(path: Path) -> bool:
    """A salvage had begun and the new file was never put in its place: the old one is still to be read."""
    return not path.exists() and bad_path(path).exists()


def looks_sound(path: Path, limit_s: float = CHECK_S) -> bool:
    """A check of the file's structure, cut off after ``limit_s`` on a large one: every row has its own checksum,
    so what this misses is found when it is read. Raises sqlite3.Error for trouble that is not the content's."""
    if not path.exists():
        return True
    if not _has_our_header(path) or not wal.looks_sound(Path(f"{path}-wal")):
        return False
    database = sqlite3.connect(path, timeout=1.0, isolation_level=None)
    database.text_factory = db.any_text
    try:
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        ends = time.monotonic() + limit_s
        database.set_progress_handler(lambda: time.monotonic() > ends, 20_000)
        if not db.has_our_schema(database):
            return False
        return bool(database.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return True
        if "locked" in str(error):
            raise db.SpoolBusy(f"{path} is held by another process: is a second uplink running?") from None
        if db.is_corrupt(error):
            return False
        raise
    except sqlite3.DatabaseError as error:
        if db.is_corrupt(error):
            return False
        raise
    except UnicodeDecodeError:  # SQLite quotes a damaged name in its message, and Python cannot read that
        return False
    finally:
        database.set_progress_handler(None, 0)
        database.close()


def _has_our_header(path: Path) -> bool:
    """The fields of the file's header that never change (file format, 1.3). A flipped bit in some of them does not
    look like damage to SQLite: with an unknown write version it opens the file for reading only."""
    try:
        with path.open("rb") as file:
            head = file.read(60)
    except OSError:
        return True  # not the content's fault: opening it says what is wrong
    return not head or (
        head[:18] == b"SQLite format 3\0" + db.PAGE_BYTES.to_bytes(2, "big") and head[18] in (1, 2)
        and head[19] in (1, 2) and head[20:24] == bytes((0, 64, 32, 32)) and head[44:48] in (bytes(4), b"\0\0\0\4")
        and head[56:60] in (bytes(4), b"\0\0\0\1"))


def note_epochs(path: Path, epochs: dict[int, str]) -> None:
    """``<spool>.epochs``: without the name of its epoch a saved row could not be sent. Written once an epoch."""
    names = Path(f"{path}.epochs")
    text = json.dumps({str(number): epoch for number, epoch in sorted(epochs.items())})
    with contextlib.suppress(OSError):
        if names.exists() and names.read_text() == text:
            return
    with contextlib.suppress(OSError):  # a disk that fails: this is only the second copy
        part = Path(f"{names}.new")
        with part.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(names)


def noted_epochs(path: Path) -> dict[int, str]:
    try:
        raw = json.loads(Path(f"{path}.epochs").read_text())
        return {int(number): str(epoch) for number, epoch in raw.items() if len(str(epoch)) == 16}
    except (OSError, ValueError, AttributeError):
        return {}
