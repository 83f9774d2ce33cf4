"""A camera's address, its ffmpeg and its folders, from the configuration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from agent.api import ConfigError, RetryLater

from .archive import Archive
from .child import CameraSource
from .command import Redactor, stream_command, with_password
from .config import CameraConfig
from .recorder import Recorder
from .ring import Ring

SHM = Path("/dev/shm")
DATA_DIR = Path("/var/lib/hutkeeper/agent")
MB = 1 << 20
DAY_S = 86_400.0


def address(config: CameraConfig) -> str:
    """The url with its password. Raises RetryLater, ConfigError."""
    if config.password_file is None:
        return config.url
    try:
        password = config.password_file.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RetryLater(f"password_file: {config.password_file}: {reason}") from None
    try:
        return with_password(config.url, password)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def lacks(config: CameraConfig, root: Path) -> Iterator[str]:
    """For ``hutkeeper-agent check``: what this machine lacks, one line each with its way out."""
    if shutil.which(config.ffmpeg) is None:
        yield f"no program {config.ffmpeg}: sudo apt install ffmpeg, or set ffmpeg to its path"
    if find_spec("numpy") is None:
        yield "numpy is not installed: pip install 'hutkeeper[camera]'"
    if config.scheme == "" and not (root / config.url.lstrip("/")).exists():
        yield f"{config.url} is not there: plug the camera in, or set url"
    elif config.is_device and not os.access(root / config.url.lstrip("/"), os.R_OK | os.W_OK):
        yield f"{config.url}: no permission: add the agent's user to the group video"
    if config.password_file is not None and not (root / str(config.password_file).lstrip("/")).exists():
        yield f"password_file: {config.password_file} is missing: write the password of the url's user into it"


def open_recorder(config: CameraConfig, instance: str) -> Recorder:
    """Buffer and clips of this camera. Raises RetryLater naming the folder."""
    shm = SHM if os.access(SHM, os.W_OK) else Path(os.environ.get("TMPDIR", "/tmp"))
    buffer = config.buffer_dir or shm / f"hutkeeper-camera-{os.geteuid()}-{instance}"
    data = Path(os.environ.get("HUTKEEPER_DATA_DIR", DATA_DIR))
    archive = Archive(config.clips_dir or data / "clips" / instance, config.clips_max_mb * MB,
                      config.clips_max_age_days * DAY_S, config.free_min_mb * MB)
    return Recorder(Ring(buffer, config.buffer_max_mb * MB), archive, config.ffmpeg, config.pre_s)


def open_camera(config: CameraConfig, recorder: Recorder | None, url: str, now_s: float) -> CameraSource:
    """The one ffmpeg. Raises ConfigError when it is not installed, RetryLater where a /dev/video is not there."""
    if config.scheme == "" and not Path(config.url).exists():
        raise RetryLater(f"{config.url} is not there: is the camera plugged in?")
    if config.is_device and not os.access(config.url, os.R_OK | os.W_OK):
        raise RetryLater(f"{config.url}: no permission: add the agent's user to the group video")
    pattern = None if recorder is None else recorder.ring.begin_run(now_s)

    def command(pictures_fd: int, pieces_fd: int) -> list[str]:
        return stream_command(config, url, pictures_fd, None if pattern is None else (pieces_fd, pattern))

    return CameraSource(command, config.width * config.height, Redactor(url))
