"""Buffer, clips and command lines: bounded, ours alone, and without a password in any word."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import check
from agent.api import RetryLater
from agent.toml_typed import SettingsError, Source, Sources, convert
from plugins.camera.archive import Archive
from plugins.camera.command import Redactor, listing, plain_line, stream_command, with_password
from plugins.camera.config import CameraConfig
from plugins.camera.events import Event
from plugins.camera.hours import is_off, parse_hours
from plugins.camera.recorder import Saved
from plugins.camera.ring import Ring
from plugins.camera.telling import event_record, saved_record

MB = 1 << 20


def piece(ring: Ring, number: int, end_s: float, size: int = 100) -> None:
    path = ring.folder / f"1-{number:06d}.mkv"
    path.write_bytes(b"x" * size)
    assert ring.add(path.name, end_s) is not None


# --- the buffer ---------------------------------------------------------------------------------------------------


def test_the_buffer_keeps_what_is_asked_for_and_no_more(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "ring", max_bytes=1000)
    ring.begin_run(100.0)
    for number in range(6):
        piece(ring, number, 102.0 + 2 * number)
    assert [(one.begin_s, one.end_s) for one in ring.pieces][:2] == [(100.0, 102.0), (102.0, 104.0)]
    assert [one.end_s for one in ring.window(103.0, 105.0)] == [104.0, 106.0]
    held = ring.window(100.0, 102.0)
    ring.hold(held, 1)
    ring.trim(keep_from_s=109.0)
    assert [one.end_s for one in ring.pieces] == [102.0, 110.0, 112.0], "what a clip is made of stays"
    ring.hold(held, -1)
    ring.trim(keep_from_s=109.0)
    assert sorted(file.name for file in ring.folder.iterdir()) == ["1-000004.mkv", "1-000005.mkv"]


def test_the_buffer_never_holds_more_bytes_than_it_may(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "ring", max_bytes=250)
    ring.begin_run(0.0)
    for number in range(20):
        piece(ring, number, float(number))
        ring.trim(keep_from_s=0.0)
        assert sum(file.stat().st_size for file in ring.folder.iterdir()) <= 250


def test_what_a_crash_left_is_removed_and_names_of_others_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    folder.mkdir()
    for name in ("3-000001.mkv", "join1.txt", "holiday.mkv"):
        (folder / name).write_text("x")
    ring = Ring(folder, 1000)
    assert [file.name for file in folder.iterdir()] == ["holiday.mkv"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert ring.add("../../etc/passwd", 1.0) is None and ring.add("holiday.mkv", 1.0) is None
    assert ring.add("1-000009.mkv", 1.0) is None, "it is not there"


def test_a_folder_that_somebody_else_put_there_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(RetryLater, match="is not a folder of this user"):
        Ring(tmp_path / "link", 1000)
    (tmp_path / "file").write_text("")
    with pytest.raises(RetryLater, match="buffer_dir"):
        Ring(tmp_path / "file", 1000)


# --- the clips ----------------------------------------------------------------------------------------------------


def archive(folder: Path, **more: float) -> Archive:
    keys = {"max_bytes": 1000, "max_age_s": 3600.0, "free_min_bytes": 0} | more
    return Archive(folder, **keys)  # type: ignore[arg-type]


def clip(folder: Path, name: str, size: int, age_s: float = 0.0) -> Path:
    path = folder / name
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_the_oldest_clips_go_first_and_files_of_others_stay(tmp_path: Path) -> None:
    clips = archive(tmp_path)
    for number in range(4):
        clip(tmp_path, f"20261122T04000{number}Z-motion.mp4", 300 if number else 50, 500 - number)
    mine = clip(tmp_path, "holiday.mp4", 5000, 9999)
    assert sum(kept.size for kept in clips.files()) == 950
    assert clips.make_room(400) is None
    assert [kept.path.name[14:16] for kept in clips.files()] == ["2Z", "3Z"] and mine.exists()
    assert clips.make_room(5000) == "0 MB is more than clips_max_mb"
    assert len(clips.files()) == 2, "what cannot be kept anyway costs no clip"


def test_old_clips_go_and_none_while_the_time_is_not_known(tmp_path: Path) -> None:
    clips = archive(tmp_path)
    clip(tmp_path, "20261122T040000Z-motion.mp4", 10, 7200)
    clip(tmp_path, "boot77-manual.jpg", 10, 60)
    assert clips.expire(None) == 0 and len(clips.files()) == 2
    assert clips.expire(time.time()) == 1
    assert [kept.path.name for kept in clips.files()] == ["boot77-manual.jpg"]


def test_the_disk_is_never_filled(tmp_path: Path) -> None:
    clips = archive(tmp_path, max_bytes=1 << 50, free_min_bytes=1 << 60)
    clip(tmp_path, "20261122T040000Z-motion.mp4", 10)
    problem = clips.make_room(100)
    assert problem is not None and "are for others" in problem and len(clips.files()) == 1


def test_half_a_clip_of_a_power_cut_is_removed_and_a_whole_one_gets_its_name(tmp_path: Path) -> None:
    (tmp_path / "20261122T040000Z-motion.mp4.part").write_text("half")
    clips = archive(tmp_path)
    assert list(tmp_path.iterdir()) == []
    target = clips.name(1_795_320_000_000_000, 5.0, "motion", "mp4")
    assert target.name == "20261122T040000Z-motion.mp4"
    part = tmp_path / f"{target.name}.part"
    part.write_text("whole")
    assert clips.name(1_795_320_000_000_000, 5.0, "motion", "mp4").name == "20261122T040000Z-motion-1.mp4"
    assert clips.settle(part, target) == 5 and [kept.path for kept in clips.files()] == [target]
    assert clips.name(None, 77.4, "motion", "mp4").name == "boot77-motion.mp4"
    part.write_text("")
    with pytest.raises(OSError):
        clips.settle(part, target)


# --- configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("raw", "error"), [
    ({"url": "concat:/etc/passwd"}, "plugins.x.url: expected rtsp://"),
    ({"url": "-i"}, "plugins.x.url: expected rtsp://"),
    ({"url": "rtsp://cam/a b"}, "plugins.x.url: has a blank"),
    ({"roi": [[0, 0]]}, "plugins.x.roi: expected 2 corners"),
    ({"roi": [[0, 0], [1, 0]]}, "plugins.x.roi: the region has no area"),
    ({"mask": [[[0, 0], [2, 1]]]}, "plugins.x.mask: expected corners"),
    ({"off_hours": ["8-18"]}, 'plugins.x.off_hours: "8-18": expected HH:MM-HH:MM'),
    ({"off_hours": ["08:00-08:00"]}, "expected two different times"),
])
def test_a_mistake_in_agent_toml_is_named(raw: dict[str, object], error: str) -> None:
    with pytest.raises(SettingsError) as caught:
        convert(raw, CameraConfig, Sources(Source("agent.toml", "", {})), ("plugins", "x"))
    assert error in str(caught.value)


def test_hours_over_midnight_and_an_unknown_time() -> None:
    night = parse_hours("22:00-06:30")
    assert 23 * 60 in night and 6 * 60 in night and 12 * 60 not in night and 6 * 60 + 30 not in night
    assert is_off([night], None), "privacy is not for the clock to break"
    assert not is_off([], None)
    noon = time.mktime((2026, 11, 22, 12, 0, 0, 0, 0, -1)) * 1e6
    assert not is_off([night], round(noon)) and is_off([parse_hours("11:00-13:00")], round(noon))


# --- passwords and command lines ----------------------------------------------------------------------------------

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=6, max_size=20)


@given(WORDS)
def test_no_form_of_a_password_is_left_in_a_text(password: str) -> None:
    url = with_password("rtsp://viewer@cam.example/stream?channel=2&pwd=topsecret", password)
    redact = Redactor(url)
    quoted = url.partition("viewer:")[2].rpartition("@")[0]
    told = redact(f"[error] {url}: refused; login {password} / {quoted} was wrong, topsecret too")
    assert password not in told.replace("***", "\0") and quoted not in told and "topsecret" not in told
    assert "cam.example" in told


def test_a_password_needs_a_user_and_only_one_password() -> None:
    assert with_password("rtsp://me@cam/s", "a/b@c") == "rtsp://me:a%2Fb%40c@cam/s"
    for url in ("rtsp://cam/s", "rtsp://me:old@cam/s", "/dev/video0"):
        with pytest.raises(ValueError, match="password_file: needs a user"):
            with_password(url, "new")


def test_the_command_line_fits_the_source() -> None:
    def line(**keys: object) -> str:
        config = convert(keys, CameraConfig, Sources(Source("agent.toml", "", {})))
        return " ".join(stream_command(config, config.url, 7, (8, Path("/ring/1-%06d.mkv"))))

    rtsp = line(url="rtsp://cam/s")
    assert "-rtsp_transport tcp -i rtsp://cam/s" in rtsp and "-protocol_whitelist rtsp," in rtsp
    assert "file" not in rtsp, "a camera's playlist must not make ffmpeg read files"
    assert "-c:v copy -f segment" in rtsp and "-an" in rtsp and "pipe:7" in rtsp and "pipe:8" in rtsp
    assert "-use_wallclock_as_timestamps 1 -f mpjpeg -i" in line(url="http://cam/video.mjpg")
    assert "mpjpeg" not in line(url="http://cam/live.ts")
    assert "-f v4l2 -input_format mjpeg -i /dev/video0" in line(input_format="mjpeg")
    assert "-re -stream_loop -1 -i /srv/yard.mp4" in line(url="/srv/yard.mp4")
    assert "-skip_frame nokey" in line(keyframes_only=True)
    assert "libx264" in line(record="h264") and "0:a:0?" in line(audio=True)
    config = CameraConfig(record="off")
    assert "segment" not in " ".join(stream_command(config, config.url, 7, None))


def test_an_event_whose_clip_is_not_kept_says_why() -> None:
    event = Event(10.0, 12.5, 3.14159, (0.1, 0.2, 0.3, 0.4), continues=True)
    assert event_record(event, None) == {"start": None, "duration_s": 2.5, "score_pct": 3.14,
                                         "box": [0.1, 0.2, 0.3, 0.4], "clip": None, "continues": True}
    record = event_record(event, 1_795_320_000_250_000, Saved("motion", event, 12.5, None, 0, "the disk is full"))
    assert record["start"] == "2026-11-22T04:00:00.250Z" and record["clip_error"] == "the disk is full"
    assert saved_record(Saved("snapshot", None, 1.0, "a.jpg", 7, None)) == {
        "kind": "snapshot", "file": "a.jpg", "bytes": 7}


def test_lists_and_lines_are_quoted_and_plain() -> None:
    assert listing([Path("/a/it's.mkv")]) == "file '/a/it'\\''s.mkv'\n"
    assert plain_line("[tcp @ 0x55d0] [error] Connection refused\n") == "Connection refused"
    assert msgspec.structs.asdict(CameraConfig())["url"] == "/dev/video0"


def test_check_says_what_the_machine_lacks(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(
        '[device]\nid = "bench"\ndata_dir = "data"\nrun_dir = "run"\n[plugins.yard]\nuse = "camera"\n'
        f'url = "{tmp_path}/yard.mp4"\nffmpeg = "no-such-ffmpeg"\npassword_file = "{tmp_path}/password"\n')
    found = [one.message for one in check.check(tmp_path / "agent.toml") if one.subject == "plugins.yard"]
    assert found == [
        "no program no-such-ffmpeg: sudo apt install ffmpeg, or set ffmpeg to its path",
        f"{tmp_path}/yard.mp4 is not there: plug the camera in, or set url",
        f"password_file: {tmp_path}/password is missing: write the password of the url's user into it"]
