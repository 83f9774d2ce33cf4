"""A recording as stamped grey pictures, for ``replay``: decoded by ffmpeg, with the file's own stamps."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agent.api import ConfigError

from .child import bound, program
from .command import file_command
from .config import CameraConfig

STAMP = re.compile(rb"\bn: *\d+ pts: *-?\d+ pts_time: *(-?[0-9.]+(?:e[+-]?\d+)?)\b")
DECODE_S = 600.0
MAX_BYTES = 1 << 30
"""Of grey pictures: five hours at 4 a second."""


def stamped_pictures(config: CameraConfig, data: bytes) -> list[tuple[float, bytes]]:
    """Seconds since the first picture, and the picture. Raises ConfigError where there is no video in it."""
    with tempfile.TemporaryDirectory(prefix="hutkeeper-camera-") as scratch:
        # a file, not a pipe: MP4 has its index at the end
        path = Path(scratch) / "capture"
        path.write_bytes(data)
        stamps = Path(scratch) / "stamps"
        program(config.ffmpeg)
        try:
            with stamps.open("wb") as errors:
                done = subprocess.run(bound(file_command(config, path)), stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=errors, timeout=DECODE_S, check=False)
        except subprocess.TimeoutExpired:
            raise ConfigError(f"capture: not decoded within {DECODE_S:.0f} s, cut it shorter") from None
        said = stamps.read_bytes()
    found = list(_pictures(config, said, done.stdout[:MAX_BYTES]))
    if not found:
        raise ConfigError("capture: no video in it that ffmpeg can decode")
    return found


def _pictures(config: CameraConfig, said: bytes, grey: bytes) -> Iterator[tuple[float, bytes]]:
    size = config.width * config.height
    first: float | None = None
    last = 0.0
    for number, found in enumerate(STAMP.finditer(said)):
        picture = grey[number * size : (number + 1) * size]
        if len(picture) < size:
            return
        stamp = float(found[1])
        first = stamp if first is None else first
        last = max(last, stamp - first)  # a stamp that runs back is a broken file's
        yield round(last, 6), picture
