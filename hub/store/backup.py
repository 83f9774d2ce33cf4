"""Copies of the hub that are known to be good, and the way back.

A backup is a folder: ``samples.db``, ``alerts.db``, ``web.db``, ``ca/`` (the hub's keys: keep it as safe as the hub)
and ``manifest.json`` with a hash of each file and the counts inside. It is made beside its name and renamed when it has
been read back, so a folder of the right name is a whole backup. The hub goes on while it is made: the copy comes from
a read-only connection in one snapshot, which can neither write nor checkpoint (B23).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sqlite3
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from hub.store import connect, outbox_rows, schema
from hub.store.errors import SecondHub, StoreError, named

MANIFEST = "manifest.json"
SAMPLES = "samples.db"
ALERTS = "alerts.db"
WEB = "web.db"
CA = "ca"


class Manifest(Struct, frozen=True):
    made_us: int
    schema: int
    generation: str
    stored: int
    """Samples by the ledger."""
    upto: dict[str, int]
    """``<device>/<epoch>`` -> batch number up to which everything is in"""
    files: dict[str, str]
    """relative path -> sha256"""


def backup(data_dir: Path, target: Path | None = None) -> tuple[Path, Manifest]:
    """Make a backup folder; default ``<data_dir>/backups/<UTC time>``. Raises StoreError."""
    source = data_dir / SAMPLES
    if target is None:
        target = data_dir / "backups" / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    if target.exists():
        raise StoreError(f"{target} exists already: choose another name")
    scratch = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        _copy_database(source, scratch / SAMPLES)
        for name in (ALERTS, WEB):
            if (data_dir / name).exists():
                _copy_database(data_dir / name, scratch / name)
        if (data_dir / CA).is_dir():
            shutil.copytree(data_dir / CA, scratch / CA, ignore=shutil.ignore_patterns("*.lock"))
        manifest = _describe(scratch)
        _write(scratch / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        check(scratch)
        os.replace(scratch, target)
        _sync(target.parent)
    except OSError as error:
        raise StoreError(f"backup to {target}: {error}: choose a folder with enough space that this user may "
                         "write") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target, manifest


def check(folder: Path) -> Manifest:
    """Read a backup back: hashes, SQLite's integrity check, counts. Raises StoreError."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(f"{folder} is not a backup ({error}): name a folder that hutkeeper-hub backup made") from None
    for name, digest in manifest.files.items():
        path = folder / name
        if not path.is_file() or _digest(path) != digest:
            raise StoreError(f"{path} is missing or not what was written: this backup is damaged, take another one")
    database = sqlite3.connect(f"file:{folder / SAMPLES}?immutable=1", uri=True)
    try:
        found = database.execute("PRAGMA integrity_check(3)").fetchall()
        if found != [("ok",)]:
            raise StoreError(f"{folder / SAMPLES}: {found[0][0]}: this backup is damaged, take another one")
        if _counts(database)[1] != manifest.stored:
            raise StoreError(f"{folder / SAMPLES}: holds other counts than its manifest: take another backup")
    except sqlite3.Error as error:
        raise named(error, folder / SAMPLES) or StoreError(f"{folder / SAMPLES}: {error}") from error
    finally:
        database.close()
    return manifest


def restore(folder: Path, data_dir: Path, everything: bool = False) -> tuple[Manifest, str]:
    """Put a backup in place of samples, rules, alerts and logbook; ``everything``: users and keys too. Returns the new
    generation.

    The hub must not run. What was there is kept beside it. Agents see the new generation, ask up to where the hub
    has their batches, and send again what is missing (they keep 24 h). Raises StoreError."""
    manifest = check(folder)
    path = data_dir / SAMPLES
    data_dir.mkdir(parents=True, exist_ok=True)
    for name in (SAMPLES, ALERTS):
        _refuse_running(data_dir / name)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    fresh = data_dir / f".{SAMPLES}.restored"
    shutil.copyfile(folder / SAMPLES, fresh)
    generation = secrets.token_hex(8)
    database = sqlite3.connect(fresh, isolation_level=None)
    try:
        schema.check_known(database)
        database.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('generation', ?)", (generation,))
    finally:
        database.close()
    with fresh.open("rb+") as file:
        os.fsync(file.fileno())
    _put(fresh, path, stamp)
    if (folder / ALERTS).exists():
        _restore_alerts(folder / ALERTS, data_dir / ALERTS, stamp)
    if everything:
        _restore_rest(folder, data_dir, stamp)
    _sync(data_dir)
    return manifest, generation


def _put(fresh: Path, path: Path, stamp: str) -> None:
    """In place of what was there, which is kept beside it."""
    for tail in ("-wal", "-shm", ""):
        old = Path(f"{path}{tail}")
        if old.exists():
            old.replace(f"{path}.replaced-{stamp}{tail}")
    fresh.replace(path)
    Path(f"{path}{connect.CORRUPT_MARK}").unlink(missing_ok=True)


def _restore_alerts(source: Path, path: Path, stamp: str) -> None:
    """What waited to be sent when the copy was made is of another day: nobody is told of it now."""
    fresh = path.with_name(f".{path.name}.restored")
    shutil.copyfile(source, fresh)
    fresh.chmod(0o600)
    database = sqlite3.connect(fresh, isolation_level=None)
    try:
        for statement in outbox_rows.FORGET_WAITING:
            database.execute(statement)
    except sqlite3.Error as error:
        raise named(error, source) or StoreError(f"{source}: {error}") from error
    finally:
        database.close()
    with fresh.open("rb+") as file:
        os.fsync(file.fileno())
    _put(fresh, path, stamp)


def _restore_rest(folder: Path, data_dir: Path, stamp: str) -> None:
    for name in (WEB, CA):
        if not (folder / name).exists():
            continue
        old = data_dir / name
        if old.exists():
            old.replace(data_dir / f"{name}.replaced-{stamp}")
        if (folder / name).is_dir():
            shutil.copytree(folder / name, old)
        else:
            shutil.copyfile(folder / name, old)
            old.chmod(0o600)


def _refuse_running(path: Path) -> None:
    """Take and give back the writer's lock."""
    try:
        lock = connect.take_lock(path)
    except SecondHub as error:
        raise StoreError(f"the hub runs ({error}): stop it first, then restore") from None
    connect.give_lock(path, lock)


def _copy_database(source: Path, target: Path) -> None:
    try:
        reader = connect.open_reader(source)
        try:
            copy = sqlite3.connect(target, isolation_level=None)
            try:
                reader.backup(copy)  # in one step: one snapshot, whatever ingest commits meanwhile
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, complete in itself
            finally:
                copy.close()
        finally:
            reader.close()
    except sqlite3.Error as error:
        raise named(error, source) or StoreError(f"{source}: {error}") from error
    target.chmod(0o600)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def _describe(folder: Path) -> Manifest:
    database = sqlite3.connect(f"file:{folder / SAMPLES}?immutable=1", uri=True)
    try:
        generation, stored, upto = _counts(database)
        version = schema.version(database)
    finally:
        database.close()
    files = {str(path.relative_to(folder)): _digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    return Manifest(time.time_ns() // 1000, version, generation, stored, upto, files)


def _counts(database: sqlite3.Connection) -> tuple[str, int, dict[str, int]]:
    row = database.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
    upto = {f"{device}/{epoch}": seq for device, epoch, seq in database.execute(
        "SELECT d.device, e.epoch, e.upto FROM epochs e JOIN devices d ON d.id = e.device_id")}
    stored = database.execute("SELECT coalesce(sum(stored), 0) FROM epochs").fetchone()[0]
    return (row[0] if row else ""), int(stored), upto


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
