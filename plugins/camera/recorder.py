"""From the buffer to clips: which pieces, joined by a second ffmpeg without encoding, named when they are whole."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import NamedTuple

from .archive import PART, Archive
from .child import end, start
from .command import join_command, listing, plain_line, snapshot_command
from .events import Event
from .ring import Piece, Ring

MARGIN_S = 4.0
"""Kept beyond ``pre_s``: motion is known some pictures after it began."""
PIECE_S = 15.0
"""Longest wait for the piece in which a clip ends."""
JOB_S = 60.0
"""A join that takes longer hangs (a dying card)."""
SLACK = 1 << 16
FULL = 0.8
"""Of the buffer: an event that needs more is cut before its beginning falls out."""


class Saved(NamedTuple):
    """A clip or snapshot, or why there is none."""

    kind: str
    """motion, manual or snapshot"""
    event: Event | None
    end_s: float
    file: str | None
    size: int
    error: str | None


class _Wanted(NamedTuple):
    kind: str
    event: Event | None
    begin_s: float
    end_s: float
    wall_us: int | None
    """At ``begin_s``."""


class _Job(NamedTuple):
    wanted: _Wanted
    pieces: list[Piece]
    process: subprocess.Popen[bytes]
    since_s: float
    target: Path
    listing: Path | None


class Recorder:
    """All times in seconds of one clock (boot time)."""

    def __init__(self, ring: Ring, archive: Archive, ffmpeg: str, pre_s: float) -> None:
        self.ring = ring
        self.archive = archive
        self._ffmpeg = ffmpeg
        self._pre_s = pre_s
        self._wanted: list[_Wanted] = []
        self._jobs: list[_Job] = []
        self._count = 0

    @property
    def busy(self) -> bool:
        return bool(self._wanted or self._jobs)

    @property
    def nearly_full(self) -> bool:
        return self.ring.size > FULL * self.ring.max_bytes

    def ended(self, t_s: float) -> None:
        """The stream is over: no further piece will come, clips are made of what there is."""
        self.ring.adopt_rest(t_s)
        self._wanted = [wanted._replace(end_s=min(wanted.end_s, t_s)) for wanted in self._wanted]

    def want(self, kind: str, event: Event | None, begin_s: float, end_s: float, wall_us: int | None) -> None:
        self._wanted.append(_Wanted(kind, event, begin_s, end_s, wall_us))

    def step(self, now_s: float, event_begin_s: float | None, wall_us: int | None) -> list[Saved]:
        """Start what can be made, take in what is finished, drop what nobody needs. Call it often."""
        saved: list[Saved] = []
        for wanted in list(self._wanted):
            newest_s = self.ring.pieces[-1].end_s if self.ring.pieces else 0.0
            due = wanted.kind == "snapshot" or newest_s >= wanted.end_s or now_s >= wanted.end_s + PIECE_S
            if due:
                self._wanted.remove(wanted)
                saved += self._begin(wanted, now_s)
        for job in list(self._jobs):
            if job.process.poll() is not None or now_s - job.since_s > JOB_S:
                self._jobs.remove(job)
                saved += self._finish(job, now_s)
        begins = [wanted.begin_s for wanted in self._wanted]
        if event_begin_s is not None:
            begins.append(event_begin_s - self._pre_s)
        self.ring.trim(min([now_s - self._pre_s - MARGIN_S, *begins]))
        if saved:
            self.archive.expire(None if wall_us is None else wall_us / 1e6)
        return saved

    def _begin(self, wanted: _Wanted, now_s: float) -> list[Saved]:
        if wanted.kind == "snapshot":
            pieces = [piece for piece in self.ring.pieces if piece.size][-1:]
        else:
            pieces = self.ring.window(wanted.begin_s, wanted.end_s)
        if not pieces:
            return [_failed(wanted, "nothing in the buffer yet")]
        problem = self.archive.make_room(sum(piece.size for piece in pieces) + SLACK)
        if problem is not None:
            return [_failed(wanted, problem)]
        return self._launch(wanted, pieces, "jpg" if wanted.kind == "snapshot" else "mp4", now_s)

    def _launch(self, wanted: _Wanted, pieces: list[Piece], suffix: str, now_s: float) -> list[Saved]:
        target = self.archive.name(wanted.wall_us, wanted.begin_s, wanted.kind, suffix)
        part = target.with_name(target.name + PART)
        names: Path | None = None
        if suffix == "jpg":
            command = snapshot_command(self._ffmpeg, pieces[-1].path, part)
        else:
            self._count += 1
            names = self.ring.folder / f"join{self._count}.txt"
            try:
                names.write_text(listing(piece.path for piece in pieces))
            except OSError as error:
                return [_failed(wanted, f"{names}: {error.strerror}")]
            command = join_command(self._ffmpeg, names, part, "mp4" if suffix == "mp4" else "matroska")
        process = start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.ring.hold(pieces, 1)
        self._jobs.append(_Job(wanted, pieces, process, now_s, target, names))
        return []

    def _finish(self, job: _Job, now_s: float) -> list[Saved]:
        end(job.process)
        assert job.process.stderr is not None
        complaints = job.process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        job.process.stderr.close()
        self.ring.hold(job.pieces, -1)
        if job.listing is not None:
            job.listing.unlink(missing_ok=True)
        part = job.target.with_name(job.target.name + PART)
        problem = "it took too long" if now_s - job.since_s > JOB_S else ""
        if job.process.returncode != 0:
            problem = problem or (plain_line(complaints[-1])[:200] if complaints else "ffmpeg failed")
            part.unlink(missing_ok=True)
            if job.target.suffix == ".mp4" and now_s - job.since_s <= JOB_S:
                # MP4 does not take everything that cameras send (PCM sound); Matroska does
                return self._launch(job.wanted, job.pieces, "mkv", now_s)
            return [_failed(job.wanted, problem)]
        try:
            size = self.archive.settle(part, job.target)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            return [_failed(job.wanted, f"{job.target.name}: {error.strerror}")]
        wanted = job.wanted
        return [Saved(wanted.kind, wanted.event, wanted.end_s, job.target.name, size, None)]

    def close(self) -> list[Saved]:
        """Nothing of ours stays behind. What was asked for and is not made is said."""
        lost = [_failed(wanted, "the agent stopped") for wanted in self._wanted]
        for job in self._jobs:
            end(job.process)
            if job.process.stderr is not None:
                job.process.stderr.close()
            job.target.with_name(job.target.name + PART).unlink(missing_ok=True)
            lost.append(_failed(job.wanted, "the agent stopped"))
        self._wanted, self._jobs = [], []
        self.ring.remove()
        return lost


def _failed(wanted: _Wanted, error: str) -> Saved:
    return Saved(wanted.kind, wanted.event, wanted.end_s, None, 0, error)
