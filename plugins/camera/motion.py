"""Motion in small grey pictures: running background, a threshold per pixel from its own noise, light taken out.

Bytes in, a :class:`Look` out; no clock and no camera. About 0.7 ms a picture of 160 x 90 on one desktop core.

1. The light: ``picture = gain * background + offset``, fitted to the pixels that fit (trimmed least squares), so a
   cloud, a lamp or the camera's own exposure moves every pixel alike and is taken out.
2. A pixel is changed where what is left is over ``max(threshold_grey, NOISE_K * its own mean deviation)``.
3. Lone changed pixels go (majority of 3 x 3). Of what is left, cells of 10 x 10 in which picture and background have
   the same structure (correlation) are a shadow's or a lamp's; they go too.
4. Cells that touch are one thing. It moves when some of it is not as it was MOVED_S ago: a car that was parked, and the
   place where one stood, are things that do not. The largest moving thing's area is the score.

Where most of the region changed at once it was the light (a lamp, the infra-red filter): the background is learnt anew.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np

from .config import Points, corners

Array = np.ndarray[Any, Any]

BACKGROUND_S = 30.0
"""Time constant of the background; of changed pixels SLOW times that, so that who stands still stays seen."""
SLOW = 4.0
MOVED_S = 0.7
MOVED_PART = 0.15
"""Of the smallest area: so much must have changed within MOVED_S."""
NOISE_S = 15.0
NOISE_K = 5.5
"""Times the mean deviation, which is 0.8 sigma of Gaussian noise: 4.4 sigma."""
WARM_S = 2.0
"""Learning only, after a start and after the light changed."""
LIGHT_PART = 0.6
LIGHT_JUMP = 6.0
"""Grey values by which the fitted light moves from one picture to the next when a lamp goes on: where a picture is flat
or at its limits the fit leaves traces of that, so nothing is believed until the background is learnt anew."""
CELL = 10
CELL_FILL = 0.08
"""A cell belongs to a thing when this part of it changed."""
SAME_STRUCTURE = 0.9
FIT_STEP = 4
"""Every so many pixels are enough to fit two numbers."""


class Look(NamedTuple):
    """What one picture showed."""

    score_pct: float
    """Area of the largest moving thing, in % of the region."""
    box: tuple[float, float, float, float] | None
    """Its x, y, width, height in parts of the picture."""
    light: bool
    """The light changed, or the background is still being learnt: the score says nothing."""


def region(width: int, height: int, roi: Points, mask: tuple[Points, ...] = ()) -> Array:
    """bool (height, width): True where pixels count. A pixel is in a polygon when its centre is (even-odd rule)."""
    inside = _polygon(width, height, roi) if roi else np.ones((height, width), bool)
    for points in mask:
        inside &= ~_polygon(width, height, points)
    return inside


def _polygon(width: int, height: int, points: Points) -> Array:
    ring = corners(points)
    x = (np.arange(width) + 0.5)[None, :] / width
    y = (np.arange(height) + 0.5)[:, None] / height
    inside = np.zeros((height, width), bool)
    for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


class MotionDetector:
    """Feed pictures in order. ``inside`` is the region (:func:`region`)."""

    def __init__(self, inside: Array, *, threshold_grey: float = 10.0, min_area_pct: float = 0.5) -> None:
        self.height, self.width = inside.shape
        self.lights = 0
        """How often the light changed."""
        self._inside = inside
        self._pixels = max(1, int(inside.sum()))
        self._threshold = float(threshold_grey)
        self._min_pixels = max(3.0, min_area_pct / 100 * self._pixels)
        self._background = np.zeros(inside.shape, np.float32)
        self._noise = np.full(inside.shape, 2.0, np.float32)
        self._learnt_s = 0.0
        self._pictures = 0
        self._last_s: float | None = None
        self._past: deque[tuple[float, Array]] = deque()
        """What was left after the light was taken out, of the last MOVED_S."""
        self._jumps = 0.0
        """How much the light usually changes from picture to picture: a lamp that flickers is no lamp that goes on."""
        self._shift = 0.0
        """What the light does to a middling pixel of the background, in grey values."""
        self._rows = np.arange(0, self.height, CELL)
        self._columns = np.arange(0, self.width, CELL)
        self._cell_pixels = self._cells(np.ones(inside.shape, np.float32))

    @property
    def frame_bytes(self) -> int:
        return int(self.width * self.height)

    def feed(self, t_s: float, data: bytes) -> Look:
        """One picture, ``frame_bytes`` grey values by row. Raises ValueError for another size."""
        picture = np.frombuffer(data, np.uint8).reshape(self.height, self.width).astype(np.float32)
        dt_s = 0.0 if self._last_s is None else max(0.0, t_s - self._last_s)
        self._last_s = t_s
        if self._pictures == 0:
            self._background[:] = picture
            self._pictures = 1
            return Look(0.0, None, True)
        shift = self._shift
        left = self._without_light(picture)
        size = np.abs(left)
        if self._learnt_s < WARM_S:
            self._learnt_s += dt_s
            self._pictures += 1
            self._learn(picture, size, np.zeros(picture.shape, bool), 1 / self._pictures, 1 / min(8, self._pictures))
            return Look(0.0, None, True)
        jump = abs(self._shift - shift)
        usual, self._jumps = self._jumps, 0.9 * self._jumps + 0.1 * jump
        limit = np.maximum(self._threshold, NOISE_K * self._noise)
        changed = size > limit
        part = float((changed & self._inside).sum()) / self._pixels
        if part > LIGHT_PART or jump > max(LIGHT_JUMP, 4.0 * usual):
            self.lights += 1
            self._background[:] = picture
            self._learnt_s, self._pictures, self._shift = 0.0, 1, 0.0
            self._past.clear()
            return Look(0.0, None, True)
        self._learn(picture, size, changed, min(1.0, dt_s / BACKGROUND_S), min(1.0, dt_s / NOISE_S))
        past = self._then(t_s, left)
        moved = changed if past is None else np.abs(left - past) > limit
        pixels, box = self._largest(picture, _majority(changed) & self._inside, _majority(moved) & self._inside)
        return Look(100.0 * pixels / self._pixels, box, False)

    def _then(self, t_s: float, left: Array) -> Array | None:
        """What was left MOVED_S ago or, at few pictures a second, in the picture before; and remember this one."""
        while len(self._past) > 1 and self._past[1][0] <= t_s - MOVED_S:
            self._past.popleft()
        past = self._past[0][1] if self._past else None
        self._past.append((t_s, left))
        return past

    def _without_light(self, picture: Array) -> Array:
        """picture - (gain * background + offset), with the two fitted to the pixels that did not change."""
        seen = picture.ravel()[::FIT_STEP]
        known = self._background.ravel()[::FIT_STEP]
        gain, offset = 1.0, float(np.median(seen - known))
        for _ in range(2):
            left = np.abs(seen - gain * known - offset)
            keep = left <= 3.0 * float(np.median(left)) + 1.0
            x, y = known[keep], seen[keep]
            x_mean, y_mean = float(x.mean()), float(y.mean())
            spread = float(np.square(x - x_mean).mean())
            if spread < 4.0:  # no detail: an offset is all that can be told
                gain, offset = 1.0, y_mean - x_mean
                continue
            gain = float(np.clip(float(((x - x_mean) * (y - y_mean)).mean()) / spread, 0.2, 5.0))
            offset = y_mean - gain * x_mean
        self._shift = float(np.abs(gain * known + offset - known).mean())
        return np.asarray(picture - (gain * self._background + offset))

    def _learn(self, picture: Array, size: Array, changed: Array, background: float, noise: float) -> None:
        self._background += np.where(changed, background / SLOW, background) * (picture - self._background)
        # one jump of a pixel is a thing passing, not its noise: it counts for a little only
        self._noise += noise * (np.minimum(size, 3.0 * self._noise + 1.0) - self._noise)

    def _cells(self, values: Array) -> Array:
        """Sums by cells of CELL x CELL; those at the lower and right edge may be smaller."""
        return np.asarray(np.add.reduceat(np.add.reduceat(values, self._rows, axis=0), self._columns, axis=1))

    def _largest(self, picture: Array, changed: Array, moved: Array
                 ) -> tuple[int, tuple[float, float, float, float] | None]:
        """Pixels and box of the largest thing that moves; (0, None) where nothing is large enough to be one."""
        counts = self._cells(changed.astype(np.float32))
        active = counts >= np.maximum(2.0, CELL_FILL * self._cell_pixels)
        if not active.any():
            return 0, None
        active &= ~self._only_light(picture)
        moving = self._cells(moved.astype(np.float32))
        best: list[tuple[int, int]] = []
        best_pixels = 0.0
        left = {(int(row), int(column)) for row, column in zip(*np.nonzero(active), strict=True)}
        while left:
            thing, edge, pixels, moves = [], [left.pop()], 0.0, 0.0
            while edge:
                row, column = cell = edge.pop()
                thing.append(cell)
                pixels += float(counts[cell])
                moves += float(moving[cell])
                for near in [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                    if near in left:
                        left.remove(near)
                        edge.append(near)
            if pixels > best_pixels and moves >= max(2.0, MOVED_PART * self._min_pixels):
                best, best_pixels = thing, pixels
        if not best:
            return 0, None
        return int(best_pixels), self._box(changed, best)

    def _only_light(self, picture: Array) -> Array:
        """Cells in which picture and background have the same structure: bool (rows, columns)."""
        n = self._cell_pixels
        known = self._background
        p, k = self._cells(picture) / n, self._cells(known) / n
        pp = self._cells(picture * picture) / n - p * p
        kk = self._cells(known * known) / n - k * k
        pk = self._cells(picture * known) / n - p * k
        noise = np.square(self._cells(self._noise) / n * 1.25)
        detail = np.minimum(pp, kk) > 4.0 * noise + 4.0
        return np.asarray(detail & (pk > SAME_STRUCTURE * np.sqrt(np.maximum(pp * kk, 1e-6))))

    def _box(self, changed: Array, cells: list[tuple[int, int]]) -> tuple[float, float, float, float]:
        wanted = np.zeros(self._cell_pixels.shape, bool)
        for cell in cells:
            wanted[cell] = True
        wide = np.repeat(np.repeat(wanted, CELL, axis=0), CELL, axis=1)[: self.height, : self.width] & changed
        rows, columns = np.nonzero(wide.any(axis=1))[0], np.nonzero(wide.any(axis=0))[0]
        x0, x1 = columns[0] / self.width, (columns[-1] + 1) / self.width
        y0, y1 = rows[0] / self.height, (rows[-1] + 1) / self.height
        return tuple(round(float(part), 3) for part in (x0, y0, x1 - x0, y1 - y0))  # type: ignore[return-value]


def _majority(changed: Array) -> Array:
    """Where at least 4 of the 3 x 3 pixels changed."""
    wide = np.pad(changed.astype(np.uint8), 1)
    rows = wide[:-2] + wide[1:-1] + wide[2:]
    return np.asarray(rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] >= 4)
