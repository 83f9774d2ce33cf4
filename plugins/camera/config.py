"""``[plugins.<id>]`` of a camera, and what the keys mean together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from .hours import Hours, parse_hours

Points = tuple[tuple[float, float], ...]
"""Corners in parts of width and height, 0 to 1, from the upper left; two are opposite corners of a rectangle."""

NETWORK = ("rtsp", "rtsps", "http", "https")
Positive = Annotated[float, Meta(gt=0, le=86_400)]
Megabytes = Annotated[int, Meta(ge=1, le=1_000_000)]


class CameraConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Times in seconds; ``_mb`` are 2**20 bytes."""

    url: str = "/dev/video0"
    """rtsp://, rtsps://, http://, https://, /dev/video0, or the path of a video file (played over and over)."""
    password_file: Path | None = None
    """Holds the password of the user named in ``url``, so that agent.toml needs none."""
    input_format: Literal["auto", "mpjpeg", "mjpeg", "h264", "yuyv422"] = "auto"
    """http: mpjpeg (auto takes it where the address has mjpg or mjpeg in it). /dev/video: what the camera is asked
    for."""
    transport: Literal["tcp", "udp"] = "tcp"
    """Of RTSP."""
    roi: Points = ()
    """Region of interest; none: the whole picture."""
    mask: tuple[Points, ...] = ()
    """Regions inside it that are left out (a road, a tree)."""
    fps: Annotated[float, Meta(ge=0.5, le=15)] = 4.0
    """Pictures a second that are looked at."""
    keyframes_only: bool = False
    """Decode key frames alone: a fraction of the work, and as few pictures as the camera sends key frames."""
    width: Annotated[int, Meta(ge=16, le=640)] = 160
    height: Annotated[int, Meta(ge=8, le=480)] = 90
    """The small grey picture that is looked at."""
    min_area_pct: Annotated[float, Meta(ge=0.05, le=50)] = 0.5
    """The smallest thing that counts, in % of the region."""
    threshold_grey: Annotated[float, Meta(ge=3, le=100)] = 10.0
    """A pixel must differ by this much of 255 at least; more where the picture is noisy."""
    quiet_s: Positive = 5.0
    """Motion ends after this long without any."""
    record: Literal["copy", "h264", "off"] = "copy"
    """copy: the camera's own bytes. h264: encode (a /dev/video camera that gives raw pictures)."""
    audio: bool = False
    pre_s: Annotated[float, Meta(ge=0, le=120)] = 5.0
    post_s: Annotated[float, Meta(ge=0, le=120)] = 5.0
    clip_max_s: Annotated[float, Meta(ge=5, le=3600)] = 120.0
    segment_s: Annotated[float, Meta(ge=0.5, le=10)] = 2.0
    """Pieces of the buffer; a camera's key frame interval makes them longer."""
    buffer_dir: Path | None = None
    """Default: a folder in /dev/shm (memory)."""
    buffer_max_mb: Megabytes = 64
    clips_dir: Path | None = None
    """Default: clips/<id> in the agent's data folder."""
    clips_max_mb: Megabytes = 1024
    clips_max_age_days: Annotated[float, Meta(gt=0, le=3650)] = 30.0
    free_min_mb: Annotated[int, Meta(ge=0, le=1_000_000)] = 512
    """So much of the disk is left to others."""
    off_hours: tuple[str, ...] = ()
    """Local times in which the camera is not even opened, "08:00-18:30"; off too while the time is not known."""
    stall_s: Positive = 10.0
    """No picture for this long: the stream is hung and started anew."""
    start_s: Positive = 30.0
    """The same for the first picture, and where key frames alone are decoded."""
    frozen_s: Positive = 60.0
    """The same picture, to the bit, for this long: the camera is frozen."""
    ffmpeg: str = "ffmpeg"
    interval_s: Annotated[float, Meta(ge=0.5, le=3600)] = 10.0
    """How often values are told that do not change."""

    def __post_init__(self) -> None:
        if not self.url.startswith("/") and self.scheme not in NETWORK:
            # the address itself is never repeated: it may hold a password
            raise ValueError("url: expected rtsp://, rtsps://, http://, https:// or an absolute path")
        if any(ord(char) < 33 for char in self.url if char != " ") or " " in self.url.partition("://")[2]:
            raise ValueError("url: has a blank or a control character in it, write %20")
        _check_points("roi", self.roi)
        for points in self.mask:
            if not points:
                raise ValueError("mask: expected a list of regions, each a list of corners")
            _check_points("mask", points)
        self.hours()

    @property
    def scheme(self) -> str:
        """``rtsp``; empty for a path."""
        found = re.match(r"([a-z]+)://", self.url)
        return found[1] if found else ""

    @property
    def is_device(self) -> bool:
        return self.url.startswith("/dev/")

    def hours(self) -> tuple[Hours, ...]:
        """``off_hours``, read."""
        return tuple(parse_hours(text) for text in self.off_hours)


def _check_points(key: str, points: Points) -> None:
    if not points:
        return
    if len(points) < 2 or len(points) > 100:
        raise ValueError(f"{key}: expected 2 corners of a rectangle, or 3 to 100 of a polygon")
    if any(not 0 <= part <= 1 for point in points for part in point):
        raise ValueError(f"{key}: expected corners [x, y] in parts of the picture, 0 to 1")
    if area(points) < 1e-4:
        raise ValueError(f"{key}: the region has no area")


def corners(points: Points) -> Points:
    """The polygon; of two opposite corners the rectangle."""
    if len(points) != 2:
        return points
    (x0, y0), (x1, y1) = points
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def area(points: Points) -> float:
    """Of the polygon, by the shoelace formula, in parts of the picture."""
    ring = corners(points)
    pairs = zip(ring, ring[1:] + ring[:1], strict=True)
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2
