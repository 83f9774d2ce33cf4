"""What a part of the hub writes: kept in order and in bounds however much it is; passed on when it cannot be kept."""

from __future__ import annotations

import os
from pathlib import Path

from agent.wire import logfiles
from hub.parts_log import Keeper

LIMIT = 100_000


def test_a_flood_is_bounded_and_a_reader_misses_no_line_of_what_is_kept(tmp_path: Path) -> None:
    path, sink = tmp_path / "log" / "web.log", (tmp_path / "sink").open("wb")
    keeper = Keeper(path, limit=LIMIT, sink=sink.fileno())
    reader, writer = os.pipe()
    thread = keeper.follow(reader)
    with open(writer, "wb") as out:
        for n in range(40_000):
            out.write(b"line %07d of a flood\n" % n)
    thread.join(30)
    sink.close()
    assert (tmp_path / "sink").read_bytes().count(b"\n") == 40_000
    older = path.with_name("web.log.1")
    assert path.stat().st_size < LIMIT and LIMIT - 65_536 <= older.stat().st_size <= LIMIT + 65_536
    found: list[int] = []
    piece = logfiles.read(path, 500, "start")
    while piece.lines or piece.more:
        found += [int(line.split()[1]) for line in piece.lines if line.endswith("of a flood")]
        piece = logfiles.read(path, 500, piece.cursor)
    assert found == list(range(found[0], 40_000)) and len(found) > LIMIT // 40  # none torn where the file was moved
    keeper.write(b"a line\n" * (LIMIT // 7 + 1))  # full with a whole line: the next file is there all the same
    assert path.stat().st_size == 0 and logfiles.read(path, 5).lines == []
    keeper.write(b"x" * 3 * LIMIT)  # one endless line
    keeper.write(b"and its end\n")
    assert sum(one.stat().st_size for one in path.parent.iterdir()) < 5 * LIMIT


def test_B18_a_full_disk_stops_no_part(tmp_path: Path) -> None:
    path, sink = tmp_path / "web.log", (tmp_path / "sink").open("wb")
    path.symlink_to("/dev/full")
    keeper = Keeper(path, limit=LIMIT, sink=sink.fileno())
    for n in range(100):
        keeper.write(b"line %d\n" % n)
    path.unlink()  # there is room again
    keeper.write(b"the last\n")
    sink.close()
    assert (tmp_path / "sink").read_bytes().count(b"\n") == 101 and path.read_text() == "the last\n"
