"""The recordings beside the checkout, and how a detector is judged on them. Nothing here is part of the product.

Split: what data decides (every number of ``Tuning``, and ``LAG_RATE_HZ``) was decided on ``setting`` alone;
``held_back`` gives the figures. The choice of the statistic (coherence beside variance) was made after a look at the
ranges in all ``csi_motion`` takes; ``csi_activity`` e05 to e08 and ``csi_scene`` were not looked at before.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from firmware_bridges.esp32_csi import CsiRow, LineDecoder, layout_of
from plugins.esp32_csi.arrays import Array, np
from plugins.esp32_csi.motion import MotionDetector, Tuning

DATA = Path(__file__).parents[3] / "../shared/data"
HERE = (DATA / "csi_motion").is_dir()
MISSING = "the recordings are not beside the checkout (../shared/data)"
MOTION = {
    "setting": {"ESP32, 14 February": "esp32_64sc_20260214", "C6, first take": "c6_64sc_20260310_2304"},
    "held_back": {"ESP32, 10 March": "esp32_64sc_20260310", "C6, second take": "c6_64sc_20260310_234"},
}
ACTIVITY = {"setting": (1, 2, 3, 4), "held_back": (5, 6, 7, 8)}
SETTLE_S = 0.5
"""The labels of csi_activity are a hand's; a body goes on moving for a moment after "seated" begins."""


class Tally(NamedTuple):
    """Windows judged, and how many of them said motion."""

    moving: int = 0
    moving_found: int = 0
    quiet: int = 0
    quiet_found: int = 0

    @property
    def recall(self) -> float:
        return self.moving_found / self.moving if self.moving else float("nan")

    @property
    def false_positives(self) -> float:
        return self.quiet_found / self.quiet if self.quiet else float("nan")

    def plus(self, moving: bool, found: bool) -> Tally:
        if moving:
            return self._replace(moving=self.moving + 1, moving_found=self.moving_found + found)
        return self._replace(quiet=self.quiet + 1, quiet_found=self.quiet_found + found)

    def __str__(self) -> str:
        return (f"recall {self.recall:6.1%} of {self.moving:4d}   false positives {self.false_positives:6.1%} of "
                f"{self.quiet:4d}")


def csi_motion(part: str, name: str, tuning: Tuning | None = None, every: int = 1) -> Tally:
    """A quiet take, then a take of movement of the same board: the detector starts with the quiet one, knows nothing
    before, and both are judged from their first whole window on. ``every``: only each n-th packet."""
    detector, tally = MotionDetector(tuning), Tally()
    for at_s, kind in ((0.0, "baseline"), (60.0, "movement")):
        [path] = (DATA / "csi_motion").glob(f"{kind}_{MOTION[part][name]}*.npz")
        with np.load(path) as take:
            values, seconds, chip = take["csi_data"].astype(np.float32), float(take["duration_ms"]) / 1e3, take["chip"]
        used = used_of(str(chip))
        amplitudes = np.hypot(values[:, 0::2], values[:, 1::2])[:, used]
        detector.gap()
        for i in range(0, len(amplitudes), every):
            verdict = detector.feed(at_s + i * seconds / len(amplitudes), amplitudes[i])
            if verdict is not None and verdict.motion is not None:
                tally = tally.plus(kind == "movement", verdict.motion)
    return tally


def motion_rows(part: str, name: str) -> Iterator[tuple[float, CsiRow]]:
    """The same takes as rows of the chip's own dialect, evenly spaced; address, RSSI and channel are made up."""
    t_s, number = 0.0, 0
    for kind in ("baseline", "movement"):
        [path] = (DATA / "csi_motion").glob(f"{kind}_{MOTION[part][name]}*.npz")
        with np.load(path) as take:
            values, seconds, chip = take["csi_data"], float(take["duration_ms"]) / 1e3, str(take["chip"])
        for row in values.tolist():
            yield t_s, CsiRow(dialect="esp_csi_c6" if chip == "c6" else "esp_csi", mac="1a:00:00:00:00:00", values=row,
                              rssi_dbm=-50, noise_floor_dbm=-95, channel=6, secondary_channel=0, sequence=number,
                              device_us=round(t_s * 1e6), first_word_invalid=chip != "c6")
            t_s, number = t_s + seconds / len(values), number + 1


def used_of(chip: str) -> Array:
    """The sub-carriers of a 20 MHz take of 64."""
    c6 = chip == "c6"
    row = CsiRow(dialect="esp_csi_c6" if c6 else "esp_csi", mac="", values=[0] * 128, secondary_channel=0,
                 first_word_invalid=not c6)
    return np.array(layout_of(row).used)


def csi_activity(part: str, tuning: Tuning | None = None, every: int = 1, settle_s: float = 0.0) -> Tally:
    """The executions one after the other. Judged are windows that lie within one label (seated: still, all else:
    moving); ``settle_s``: and within as long before them."""
    detector, tally = MotionDetector(tuning), Tally()
    window_s, t_s = detector.tuning.window_s + settle_s, 0.0
    for number in ACTIVITY[part]:
        for way in ("rx_tx", "tx_rx"):
            stem = DATA / "csi_activity" / f"D1_e{number:02d}_{way}"
            with np.load(f"{stem}-x.npz") as take:
                amplitudes = take["a"].T[::every]
            words = Path(f"{stem}-y.txt").read_text().split()[::every]
            moving = np.array([not word.startswith("SEATED") for word in words])
            detector.gap()
            t_s += 10.0
            behind = round(window_s * 100 / every)
            for i, row in enumerate(amplitudes):
                verdict = detector.feed(t_s, row)
                t_s += every / 100
                truth = moving[max(0, i - behind + 1) : i + 1]
                if verdict is not None and verdict.motion is not None and (truth.all() or not truth.any()):
                    tally = tally.plus(bool(truth[-1]), verdict.motion)
    return tally


def scene_rows(name: str) -> Iterator[CsiRow]:
    """The rows of a take of csi_scene: a still scene, 7 to 14 packets a second, unevenly."""
    decoder = LineDecoder()
    data = (DATA / "csi_scene" / f"{name}.csv").read_bytes()
    yield from (event for event in decoder.feed(data) + decoder.finish() if isinstance(event, CsiRow))


def csi_scene() -> dict[str, Tally]:
    """False positives in each still scene; nothing moves in any of them but what stirs the air."""
    found = {}
    for kind in ("empty", "foil", "hand"):
        tally = Tally()
        for take in (1, 2, 3):
            detector = MotionDetector()
            for row in scene_rows(f"{kind}_0{take}"):
                values = np.array(row.values, dtype=np.float32)
                used = list(layout_of(row).used)
                verdict = detector.feed((row.device_us or 0) / 1e6, np.hypot(values[0::2], values[1::2])[used])
                if verdict is not None and verdict.motion is not None:
                    tally = tally.plus(False, verdict.motion)
        found[kind] = tally
    return found
