"""Work, delay and false events: ``python -m tests.plugins.camera.figures [MINUTES]``. Scenes come from ffmpeg's lavfi,
are encoded as H.264, and go through the plugin's own command line and detector."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from plugins.camera.captured import stamped_pictures
from plugins.camera.command import stream_command
from plugins.camera.config import CameraConfig
from plugins.camera.events import Event, EventTracker
from plugins.camera.motion import MotionDetector, region
from plugins.camera.simulate import Scene, SimulatedCamera, encoder
from tests.plugins.camera.scenes import running

DEFAULT = CameraConfig()
STILL = Scene(noise=0, begin_s=1e6, end_s=1e6 + 1, period_s=2e6)


class Looked(NamedTuple):
    events: list[Event]
    began: list[float]
    """When ``motion`` became true."""
    pictures: int
    lights: int
    cpu_us: float
    """Of one picture, in the detector."""


def encoded(graph: str, seconds: float, folder: Path, fps: int = 10) -> Path:
    path = folder / "scene.mkv"
    subprocess.run(["ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-f", "lavfi", "-i", graph, "-t", str(seconds),
                    "-c:v", "libx264", "-preset", "ultrafast", "-crf", "24", "-g", str(2 * fps), "-pix_fmt", "yuv420p",
                    str(path)], check=True)
    return path


def looked_at(pictures: list[tuple[float, bytes]], config: CameraConfig = DEFAULT) -> Looked:
    eye = MotionDetector(region(config.width, config.height, config.roi, config.mask),
                         threshold_grey=config.threshold_grey, min_area_pct=config.min_area_pct)
    tracker = EventTracker(config.min_area_pct, config.quiet_s, config.clip_max_s)
    events, began, was = [], [], False
    cpu = time.process_time()
    for t_s, picture in pictures:
        look = eye.feed(t_s, picture)
        event = tracker.feed(t_s, 0.0 if look.light else look.score_pct, look.box)
        events += [event] if event is not None else []
        if tracker.motion and not was:
            began.append(t_s)
        was = tracker.motion
    cpu = time.process_time() - cpu
    last = tracker.end()
    return Looked(events + ([last] if last is not None else []), began, len(pictures), eye.lights,
                  1e6 * cpu / max(1, len(pictures)))


def still(noise: int, seconds: float, lamp_s: float | None = None) -> Looked:
    """A still scene with noise; ``lamp_s``: a lamp goes on or off that often."""
    graph = STILL.source()
    if lamp_s is not None:
        on = f"gt(mod(t,{2 * lamp_s:g}),{lamp_s:g})"
        graph += f",eq=brightness='0.15*{on}':contrast='1+0.3*{on}':eval=frame"
    with tempfile.TemporaryDirectory() as scratch:
        path = encoded(f"{graph},noise=alls={noise}:allf=t", seconds, Path(scratch))
        return looked_at(stamped_pictures(DEFAULT, path.read_bytes()))


def delays(passes: int, noise: int, box: tuple[float, float]) -> tuple[Looked, list[float]]:
    """Seconds from when 0.5 % of the picture is covered by the box until ``motion``, for each pass."""
    scene = Scene(noise=noise, period_s=12.3, begin_s=5.0, end_s=9.0, box=box)
    with tempfile.TemporaryDirectory() as scratch:
        path = encoded(scene.source(), passes * scene.period_s, Path(scratch))
        found = looked_at(stamped_pictures(DEFAULT, path.read_bytes()))
    speed = (1 + box[0]) / (scene.end_s - scene.begin_s)
    enough_s = 0.005 / box[1] / speed
    begins = [n * scene.period_s + scene.begin_s + enough_s for n in range(passes)]
    return found, [min([t - begin for t in found.began if -1 < t - begin < 5], default=float("inf"))
                   for begin in begins]


def live() -> float:
    """The same through a real RTSP connection and the runner's worker, by this machine's clock."""
    scene = Scene(begin_s=8.0, end_s=12.0, period_s=100.0)
    with tempfile.TemporaryDirectory() as scratch, SimulatedCamera(scene) as camera, running(
        CameraConfig(url=camera.url, record="off", clips_dir=Path(scratch))
    ) as plugin:
        plugin.wait(lambda: plugin.value("motion") is True)
        seen_s = time.monotonic()
    enough_s = 0.005 / scene.box[1] / ((1 + scene.box[0]) / 4.0)
    return seen_s - camera.began_s - scene.begin_s - enough_s


def work(width: int, height: int, fps: int, seconds: float, **keys: object) -> float:
    """ffmpeg's CPU seconds a second of video: the plugin's own command, buffer and all, not held to real time."""
    config = CameraConfig(**keys)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        scene = Scene(width=width, height=height, fps=fps)
        path = folder / "scene.mkv"
        subprocess.run([*encoder(scene, "ffmpeg", ()), "-t", str(seconds), "-y", str(path)], check=True)
        line = stream_command(CameraConfig(url=str(path), keyframes_only=config.keyframes_only), str(path), 1,
                              (2, folder / "1-%06d.mkv"))
        line = [word for word in line if word != "-re"]
        loop = line.index("-stream_loop")
        del line[loop : loop + 2]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / seconds


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    print(f"false events in {minutes:g} min of a still scene each")
    for noise in (0, 6, 20, 40, 80):
        got = still(noise, 60 * minutes)
        print(f"  noise +-{noise:2}: {len(got.events)} in {got.pictures} pictures, {got.cpu_us:.0f} us each",
              flush=True)
    got = still(10, 60 * minutes, lamp_s=20)
    print(f"  a lamp every 20 s: {len(got.events)}, {got.lights} changes of the light")
    print("from 0.5 % of the picture covered to motion, 4 pictures a second")
    for noise, box in ((6, (0.08, 0.35)), (20, (0.08, 0.35)), (20, (0.05, 0.2))):
        found, waits = delays(10, noise, box)
        waits.sort()
        print(f"  noise +-{noise}, box {box[0] * box[1]:.1%}: median {waits[len(waits) // 2]:.2f} s, "
              f"worst {waits[-1]:.2f} s, {len(found.events)} events of 10", flush=True)
    print(f"  live over RTSP, until the reading is given: {live():.2f} s")
    print("ffmpeg's work, of one core of this machine")
    for width, height, fps in ((640, 360, 10), (1280, 720, 15)):
        for keys in ({}, {"keyframes_only": True}):
            part = work(width, height, fps, 60, **keys)
            print(f"  {width} x {height}, {fps} a second{', key frames alone' if keys else ''}: {part:.1%}", flush=True)


if __name__ == "__main__":
    main()
