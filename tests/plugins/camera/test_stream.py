"""The plugin on real streams by the real ffmpeg: RTSP with a password, HTTP, a file; and all that goes wrong there."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from agent.api import CommandRefused, ConfigError, Reading, RetryLater
from agent.testing import io_over
from plugins.camera.captured import stamped_pictures
from plugins.camera.clips import Clips
from plugins.camera.config import CameraConfig
from plugins.camera.events import EventTracker
from plugins.camera.plugin import Camera
from plugins.camera.simulate import Scene, SimulatedCamera, encoder
from tests.plugins.camera import figures
from tests.plugins.camera.scenes import children_of, ffmpegs_on, needs_ffmpeg, running

pytestmark = needs_ffmpeg
SMALL = Scene(width=160, height=90, fps=20, key_s=0.25, begin_s=1e6, end_s=1e6 + 1, period_s=2e6)
PASSWORD = "s3cr&t/pass"


def config(folder: Path, url: str, **more: Any) -> CameraConfig:
    keys: dict[str, Any] = {"interval_s": 0.5, "segment_s": 0.5, "free_min_mb": 0, "buffer_dir": folder / "ring",
                            "clips_dir": folder / "clips", "pre_s": 2.0, "post_s": 0.5, "quiet_s": 0.75} | more
    return CameraConfig(url=url, **keys)


def recording(folder: Path, scene: Scene, seconds: float) -> str:
    path = folder / "scene.mkv"
    subprocess.run([*encoder(scene, "ffmpeg", ()), "-t", str(seconds), "-y", str(path)], check=True)
    return str(path)


# --- it works -----------------------------------------------------------------------------------------------------


def test_motion_on_rtsp_becomes_an_event_with_a_clip_of_what_was_before(tmp_path: Path) -> None:
    """From the moving box to the file: the password is needed, and is in no word that the plugin says."""
    scene = SMALL._replace(begin_s=3.5, end_s=4.5, period_s=9.0)  # again and again: a loaded machine misses the first

    def crossing() -> Any:
        """An event that was seen from left to right."""
        return next((event for event in plugin.values("motion_event") if event["clip"] and event["box"]
                     and event["box"][0] < 0.2 and event["box"][2] > 0.6), None)

    with SimulatedCamera(scene, user="viewer", password=PASSWORD) as camera:
        (tmp_path / "password").write_text(PASSWORD + "\n")
        own = config(tmp_path, f"rtsp://viewer@127.0.0.1:{camera.server.port}/scene",
                     password_file=tmp_path / "password")
        with running(own) as plugin:
            plugin.wait(lambda: plugin.value("motion") is False)
            plugin.wait(lambda: plugin.value("motion"))
            plugin.wait(crossing)
            event = crossing()
            assert plugin.order("snapshot", "take").ok
            plugin.wait(lambda: plugin.value("saved"))
            saved = plugin.value("saved")
        assert camera.server.refused == 1, "digest: the first request is always without"
        told = msgspec.json.encode(plugin.readings).decode() + repr(plugin.lines.lines) + repr(plugin.items)
        assert PASSWORD not in told and "s3cr" not in told
        assert not ffmpegs_on(str(tmp_path))
    assert event["duration_s"] >= 0.5 and event["start"] is not None
    clip = tmp_path / "clips" / event["clip"]
    assert clip.stat().st_size == event["clip_bytes"] and clip.suffix == ".mp4"
    pictures = stamped_pictures(own, clip.read_bytes())
    first = np.frombuffer(pictures[0][1], np.uint8).astype(int)
    moves = [t for t, picture in pictures if (abs(np.frombuffer(picture, np.uint8) - first) > 40).sum() > 100]
    assert moves[0] >= 1.0, "the clip begins before the motion"
    assert pictures[-1][0] > moves[-1] > moves[0] + 0.4, "and ends after it"
    jpeg = (tmp_path / "clips" / saved["file"]).read_bytes()
    assert saved["kind"] == "snapshot" and jpeg[:2] == b"\xff\xd8" and jpeg[-2:] == b"\xff\xd9"
    assert not (tmp_path / "ring").exists(), "the buffer goes with the plugin"
    assert [file.name for file in (tmp_path / "clips").iterdir() if file.suffix == ".part"] == []


def test_multipart_jpeg_over_http(tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["ffmpeg", "-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i", SMALL.source(), "-c:v", "mjpeg",
         "-q:v", "5", "-pix_fmt", "yuvj420p", "-f", "mpjpeg", "-listen", "1", f"http://127.0.0.1:{port}/video.mjpg"])
    try:
        deadline = time.monotonic() + 30
        while not listening(port) and time.monotonic() < deadline:
            time.sleep(0.02)
        with running(config(tmp_path, f"http://127.0.0.1:{port}/video.mjpg", post_s=0.1)) as plugin:
            plugin.wait(lambda: len(plugin.values("fps_hz")) >= 2)
            assert 2.5 <= plugin.value("fps_hz") <= 5.5
            assert plugin.value("stream") == "up"
            plugin.wait(lambda: list((tmp_path / "ring").glob("*.mkv")))
            assert plugin.order("clip", "save").ok
            plugin.wait(lambda: plugin.value("saved"))
        assert plugin.value("saved")["kind"] == "manual" and plugin.value("saved")["file"] is not None
    finally:
        server.kill()
        server.wait()


def test_a_clip_that_the_disk_has_no_room_for_is_said(tmp_path: Path) -> None:
    """A file as the camera."""
    url = recording(tmp_path, SMALL._replace(fps=10), 10)
    with running(config(tmp_path, url, free_min_mb=1_000_000, post_s=0.1)) as plugin:
        plugin.wait(lambda: list((tmp_path / "ring").glob("*-000001.mkv")))
        assert plugin.order("clip", "save").ok
        plugin.wait(lambda: plugin.value("saved"))
    assert plugin.value("saved")["file"] is None and "are for others" in plugin.value("saved")["error"]
    assert any("clip not kept" in line for line in plugin.lines.of("warning"))
    assert list((tmp_path / "clips").iterdir()) == []


def listening(port: int) -> bool:
    """Without a connection, which would be the only one that this server takes (proc(5): state 0A is LISTEN)."""
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
               for line in Path("/proc/net/tcp").read_text().splitlines()[1:])


# --- it goes wrong ------------------------------------------------------------------------------------------------


def test_a_camera_that_is_unplugged_is_named_and_comes_back(tmp_path: Path) -> None:
    """B41, B54: down within a second, motion unknown, again up by itself; no descriptor and no process is left."""
    with SimulatedCamera(SMALL) as camera, running(config(tmp_path, camera.url)) as plugin:
        plugin.wait(lambda: plugin.value("stream") == "up")
        before = len(os.listdir("/proc/self/fd"))
        camera.unplug()
        plugin.wait(lambda: plugin.value("stream") == "down")
        plugin.wait(lambda: any("127.0.0.1" in line for line in plugin.lines.of("warning")))
        assert plugin.values("motion")[-1] is None
        camera.plug()
        plugin.wait(lambda: plugin.value("stream") == "up")
        plugin.wait(lambda: plugin.value("motion") is False)
        plugin.wait(lambda: (plugin.value("stream_starts") or 0) >= 2)
        assert len(ffmpegs_on(camera.url)) == 1
        assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert ffmpegs_on(camera.url) == []


def test_a_stopped_ffmpeg_is_killed_by_the_watchdog(tmp_path: Path) -> None:
    """B57: SIGSTOP is deaf to SIGTERM; after stall_s without a picture it is gone, and the next try comes."""
    url = recording(tmp_path, SMALL._replace(fps=5), 5)
    with running(config(tmp_path, url, stall_s=0.6)) as plugin:
        plugin.wait(lambda: plugin.value("stream") == "up")
        first = ffmpegs_on(url)
        assert len(first) == 1
        os.kill(first[0], signal.SIGSTOP)
        plugin.wait(lambda: plugin.value("stream") == "stalled")
        assert not Path(f"/proc/{first[0]}").exists()
        plugin.wait(lambda: any("no picture for 1 s" in line for line in plugin.lines.of("warning")))
    assert ffmpegs_on(url) == []


def test_a_stream_is_damaged_then_falls_silent(tmp_path: Path) -> None:
    """B53: broken packets are counted and end nothing; B42: the connection stays and nothing comes: stalled."""
    with SimulatedCamera(SMALL) as camera, running(config(tmp_path, camera.url, stall_s=3.0)) as plugin:
        plugin.wait(lambda: plugin.value("stream") == "up")
        camera.server.damage = 0.5
        plugin.wait(lambda: (plugin.value("stream_errors") or 0) >= 5)
        assert plugin.value("stream") == "up" and plugin.value("stream_starts") == 1
        assert len(plugin.lines.of("warning")) <= 2, "one line, not one for each"
        camera.server.silent = True
        plugin.wait(lambda: plugin.value("stream") == "stalled")
        answer = plugin.order("clip", "save")
        assert not answer.ok and "the camera" in answer.message


KILLED = """
import sys, time
from pathlib import Path
from plugins.camera.clips import Clips
from plugins.camera.config import CameraConfig
from plugins.camera.events import EventTracker
from plugins.camera.opening import open_camera
source = open_camera(CameraConfig(url=sys.argv[1], record="off"), None, sys.argv[1], 0.0)
time.sleep(0.3)
print(source.process.pid, flush=True)
time.sleep(60)
"""


def test_no_ffmpeg_outlives_an_agent_that_is_killed(tmp_path: Path) -> None:
    """B56: SIGKILL runs no clean-up; even a stopped ffmpeg, which cannot notice that its pipe broke, ends."""
    url = recording(tmp_path, SMALL._replace(fps=5), 5)
    root = Path(__file__).resolve().parents[3]
    agent = subprocess.Popen([sys.executable, "-c", KILLED, url], stdout=subprocess.PIPE, cwd=root)
    assert agent.stdout is not None
    child = int(agent.stdout.readline())
    assert children_of(agent.pid) == [child]
    os.kill(child, signal.SIGSTOP)
    agent.kill()
    agent.wait()
    agent.stdout.close()
    deadline = time.monotonic() + 30
    while ffmpegs_on(url) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ffmpegs_on(url) == []


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    """B41: a device that is absent, a password file that is, a program that is not installed: one line each."""
    with io_over(b"x") as io:
        for keys, error, text in (
            ({"url": "/dev/video77"}, RetryLater, "/dev/video77 is not there: is the camera plugged in?"),
            ({"url": "rtsp://a@127.0.0.1/s", "password_file": tmp_path / "none"}, RetryLater, "No such file"),
            ({"url": __file__, "ffmpeg": "ffmpeg-none"}, ConfigError, "apt install ffmpeg"),
            ({"url": "rtsp://127.0.0.1/s", "password_file": Path(__file__)}, ConfigError, "needs a user"),
        ):
            camera = Camera(CameraConfig(record="off", **keys))
            with pytest.raises(error, match=text.replace("?", ".")):
                camera._open(io)
        with pytest.raises(CommandRefused, match="record is off"):
            camera.command(io, "clip", "save")


def test_while_the_time_is_not_known_private_hours_keep_the_camera_shut(tmp_path: Path) -> None:
    camera = Camera(config(tmp_path, "/dev/video77", off_hours=("08:00-09:00",)))
    with io_over(b"x") as io:  # its wall time is unknown
        run: Any = camera.run(io)
        reading = next(run)
        assert (reading.property, reading.value) == ("stream", "off")
        run.close()
    assert not (tmp_path / "ring").exists()


def test_in_private_hours_the_camera_is_shut_and_its_buffer_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                 ) -> None:
    """The wall clock is the test's: outside the hours, then inside, then outside again."""
    monkeypatch.setattr("plugins.camera.plugin.SLOW_LOOK_S", 0.1)
    noon_us = round(time.mktime((2026, 11, 22, 12, 0, 0, 0, 0, -1)) * 1e6)
    offset_us = noon_us - time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    hour_us = 3_600_000_000
    url = recording(tmp_path, SMALL._replace(fps=5), 10)
    with running(config(tmp_path, url, off_hours=("13:00-14:00",)), lambda: offset_us) as plugin:
        plugin.wait(lambda: plugin.value("stream") == "up" and (tmp_path / "ring").exists())
        offset_us += hour_us
        plugin.wait(lambda: plugin.value("stream") == "off")
        assert plugin.value("motion") is None, "nobody looks: the last word of motion does not stand for an hour"
        assert ffmpegs_on(url) == [] and not (tmp_path / "ring").exists()
        offset_us += hour_us
        plugin.wait(lambda: plugin.value("stream") == "up")
    watched = {prop.name for prop in plugin.worker._plugin.declare() if not prop.event and not prop.comes_and_goes}
    assert watched == {"stream"}, "silence in private hours is no alert"


# --- clips without waiting for them -------------------------------------------------------------------------------


def told_by(clips: Clips, io: Any, t_s: float, tracker: EventTracker) -> list[tuple[str, Any]]:
    """Steps until a clip is made: the joining ffmpeg is real, the clock is not."""
    found: list[tuple[str, Any]] = []
    deadline = time.monotonic() + 20
    while not found and time.monotonic() < deadline:
        found += [(one.property, one.value) for one in clips.step(io, t_s, tracker) if isinstance(one, Reading)]
        time.sleep(0.01)
    return found


def test_an_event_that_needs_more_than_the_buffer_is_cut_and_goes_on(tmp_path: Path) -> None:
    """Six seconds of motion at a piece every 2 s; four pieces fill 0.8 of the MB."""
    piece = Path(recording(tmp_path, SMALL._replace(width=320, height=180, noise=20), 0.5)).read_bytes()
    assert 0.2 < len(piece) / (1 << 20) < 0.25
    clips = Clips(config(tmp_path, "/dev/video0", buffer_max_mb=1), lambda io, what, text: None)
    tracker = EventTracker(0.5, 5.0, 120.0)
    with io_over(b"x") as io:
        recorder = clips.open(io)
        assert recorder is not None
        pattern = recorder.ring.begin_run(0.0).name
        told: list[Any] = []
        t_s = 0.0
        while not told and t_s < 30:
            t_s += 0.5
            tracker.feed(t_s, 3.0, (0.1, 0.1, 0.2, 0.2))
            if t_s % 2 == 0:
                (recorder.ring.folder / (pattern % t_s)).write_bytes(piece)
                clips.piece(pattern % t_s, t_s)
            told = list(clips.step(io, t_s, tracker))
            assert recorder.ring.size <= 1 << 20
            if recorder.busy:
                told += told_by(clips, io, t_s, tracker)
        name, event = told[0]
        assert name == "motion_event" and event["continues"] and event["clip"] is not None
        assert tracker.motion and tracker.begin_s == t_s == 8.0, "the next one began where this one was cut"
        clips.close()


def test_sound_that_mp4_does_not_take_makes_it_matroska(tmp_path: Path) -> None:
    clips = Clips(config(tmp_path, "/dev/video0", audio=True), lambda io, what, text: None)
    with io_over(b"x") as io:
        recorder = clips.open(io)
        assert recorder is not None
        first = recorder.ring.folder / (recorder.ring.begin_run(0.0).name % 0)
        subprocess.run(["ffmpeg", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", SMALL.source(), "-f", "lavfi",
                        "-i", "sine", "-t", "0.5", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "pcm_alaw",
                        str(first)], check=True)
        clips.piece(first.name, 1.0)
        recorder.want("manual", None, 0.0, 1.0, None)
        told = told_by(clips, io, 1.0, EventTracker(0.5, 5.0, 120.0))
        clips.close()
    assert told[0][0] == "saved" and told[0][1]["file"] == "boot0-manual.mkv", told


# --- recordings that nobody has seen ------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty_box"])
def test_a_damaged_recording_is_read_as_far_as_it_goes_or_refused_in_one_line(damage: str) -> None:
    case = Path(__file__).resolve().parents[3] / "plugins/camera/testcases/person_crosses_the_yard/wire.mp4"
    data = bytearray(case.read_bytes())
    if damage == "cut":
        del data[len(data) * 2 // 3 :]
    elif damage == "flipped":
        for at in range(2500, len(data), 97):
            data[at] ^= 0x55
    else:
        data = bytearray(b"\0\0\0\x08ftyp\0\0\0\x08moov")
    try:
        pictures = list(Camera.captured(CameraConfig(), bytes(data)) or [])
    except ConfigError as error:
        assert str(error) == "capture: no video in it that ffmpeg can decode"
        assert damage == "empty_box"
        return
    assert damage != "empty_box" and len(pictures) > 20
    assert all(len(picture) == 160 * 90 for _, picture in pictures)
    assert [t for t, _ in pictures] == sorted(t for t, _ in pictures)


def test_figures_in_short() -> None:
    """``python -m tests.plugins.camera.figures`` says it at length; through H.264, whose blocks are no white noise."""
    assert figures.still(20, 10).events == []
    found, waits = figures.delays(1, 20, (0.08, 0.35))
    assert len(found.events) == 1 and max(waits) <= 0.75
