"""Pictures made by numpy for the detector, and the plugin on the runner's own worker."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.testing import AtWork, at_work
from plugins.camera.config import CameraConfig
from plugins.camera.plugin import Camera

WIDTH, HEIGHT, FPS = 160, 90, 4.0
PATIENCE_S = 25.0
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: apt install ffmpeg")

Array = np.ndarray[Any, Any]


class Yard:
    """A still picture with detail, seen by a noisy sensor."""

    def __init__(self, seed: int = 1, noise: float = 3.0) -> None:
        self.random = np.random.default_rng(seed)
        coarse = self.random.uniform(30, 190, (HEIGHT // 6 + 2, WIDTH // 6 + 2))
        fine = np.kron(coarse, np.ones((6, 6)))[:HEIGHT, :WIDTH]
        self.still = fine + self.random.uniform(-12, 12, fine.shape)
        self.noise = noise

    def picture(self, box: tuple[int, int, int, int] | None = None, grey: float = 230.0, gain: float = 1.0,
                offset: float = 0.0, shade: Array | None = None) -> bytes:
        """``box``: x, y, width, height in pixels; ``shade``: a factor for each pixel."""
        scene = self.still.copy()
        if box is not None:
            x, y, wide, high = box
            scene[max(0, y) : y + high, max(0, x) : max(0, x + wide)] = grey
        if shade is not None:
            scene = scene * shade
        seen = scene * gain + offset + self.random.normal(0, self.noise, scene.shape)
        return bytes(np.clip(seen, 0, 255).astype(np.uint8).tobytes())


def running(config: CameraConfig, wall_offset_us: Callable[[], int | None] = lambda: 0
            ) -> AbstractContextManager[AtWork]:
    """``wall_offset_us``: wall time less boot time."""
    return at_work(Camera, config, instance="yard", wall_offset_us=wall_offset_us)


def children_of(pid: int) -> list[int]:
    """Processes of this parent (proc(5), field 4 of stat), with ffmpeg in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (folder / "stat").read_text()
            if int(stat.rpartition(")")[2].split()[1]) == pid and b"ffmpeg" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def ffmpegs_on(word: str) -> list[int]:
    """Processes that have this word on their command line: an address or folder that only one test uses."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            if b"rawvideo" in line and word.encode() in line and state != "Z":
                found.append(int(folder.name))
    return found
