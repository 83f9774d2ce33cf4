"""B24: a log that nobody reads, a flood, a removed file and a full disk do not stop anybody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from supervisor import loggers

from agent.supervision.logs import NeverBlock
from agent.supervision.supervisord import LOOK_EVERY, SteadyHandler


def drain(fd: int) -> str:
    os.set_blocking(fd, False)
    parts = []
    while True:
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            break
        if not data:
            break
        parts.append(data)
    return b"".join(parts).decode()


def test_B24_a_full_pipe_drops_whole_lines_counts_them_and_never_blocks() -> None:
    reader, writer = os.pipe()
    stream = NeverBlock(writer, flood_lines=10**9)
    lines = [f"line {n} {'x' * 200}" for n in range(2000)]
    for line in lines:
        print(line, file=stream)
    first = drain(reader).split("\n")
    print("after", file=stream)
    rest = drain(reader).split("\n")
    whole = [line for line in ("\n".join(first) + "\n".join(rest)).split("\n") if line]
    kept = [line for line in whole if line in set(lines)]
    note = next(line for line in whole if "lines dropped" in line)
    dropped = int(note.strip("(").split()[0])
    assert whole[-1] == "after"
    assert len(kept) + dropped == len(lines), "every line is there or counted"
    assert kept == lines[: len(kept)]
    os.close(reader)
    print("to nobody", file=stream)  # EPIPE is not this process's end either
    os.close(writer)


def test_B24_a_flood_is_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("agent.supervision.logs.time.monotonic", lambda: now[0])
    reader, writer = os.pipe()
    stream = NeverBlock(writer, flood_lines=50)
    for n in range(100_000):
        print(f"again {n}", file=stream)
    assert drain(reader).count("\n") == 50
    now[0] += 11
    print("calm", file=stream)
    assert drain(reader) == "(99950 lines dropped: the log could not take them)\ncalm\n"


def handler_at(path: Path, max_bytes: int = 1 << 20) -> SteadyHandler:
    handler = SteadyHandler(str(path), "a", max_bytes, 1)
    handler.setFormat("%(message)s")
    return handler


def test_B24_a_removed_log_file_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    handler = handler_at(path)
    handler.emit(loggers.LogRecord(20, b"one\n"))
    path.unlink()
    for n in range(LOOK_EVERY + 1):
        handler.emit(loggers.LogRecord(20, b"line %d\n" % n))
    assert path.exists() and path.read_text().endswith(f"line {LOOK_EVERY}\n")
    handler.close()


def test_B24_logs_stay_below_their_cap(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    handler = handler_at(path, 10_000)
    for n in range(5000):
        handler.emit(loggers.LogRecord(20, b"%06d %s\n" % (n, b"y" * 90)))
    handler.close()
    files = list(tmp_path.iterdir())
    assert sum(file.stat().st_size for file in files) < 2 * 10_000 + 200
    newest = b"".join(file.read_bytes() for file in files)
    assert b"004999" in newest


def test_B24_a_full_disk_drops_lines_and_the_log_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """A folder that takes no new file stands for the disk: the rollover's open fails as it does when it is full."""
    folder = tmp_path / "log"
    folder.mkdir()
    handler = handler_at(folder / "x.log", 1000)
    handler.emit(loggers.LogRecord(20, b"before\n"))
    folder.rename(tmp_path / "gone")
    for _ in range(3 * LOOK_EVERY):
        handler.emit(loggers.LogRecord(20, b"z" * 100 + b"\n"))
    folder.mkdir()
    for _ in range(LOOK_EVERY + 1):
        handler.emit(loggers.LogRecord(20, b"after\n"))
    assert (folder / "x.log").read_text().endswith("after\n")
    handler.close()
