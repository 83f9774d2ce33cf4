"""ffmpeg's command lines, and its words without the passwords. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, unquote

from .config import CameraConfig

#: A camera is not to make ffmpeg read files of this device (a playlist that names one).
PROTOCOLS = "rtsp,rtp,udp,tcp,tls,http,https,httpproxy,crypto"
QUIET = ("-nostdin", "-hide_banner", "-loglevel", "level+error")
#: Bit-exact, so that a recording gives the same pictures on every machine.
SCALE = "flags=area+accurate_rnd+bitexact"


def with_password(url: str, password: str) -> str:
    """``rtsp://user@host`` -> ``rtsp://user:password@host``, quoted. Raises ValueError when there is no user."""
    scheme, colon, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    if not colon or not user or ":" in user:
        raise ValueError("password_file: needs a user and no password in url, as rtsp://user@host/stream")
    return f"{scheme}://{user}:{quote(password, safe='')}{at}{host}{slash}{path}"


class Redactor:
    """Takes user, password and query values of an address out of any text."""

    def __init__(self, url: str) -> None:
        self._secrets: list[str] = []
        authority = url.partition("://")[2].partition("/")[0]
        user_info = authority.rpartition("@")[0]
        secret = user_info.partition(":")[2]
        query = url.partition("?")[2].partition("#")[0]
        values = [part.partition("=")[2] for part in re.split("[&;]", query)]
        for word in (secret, *values):
            for form in {word, unquote(word), quote(unquote(word), safe="")}:
                if len(form) >= 3:
                    self._secrets.append(form)
        self._secrets.sort(key=len, reverse=True)

    def __call__(self, text: str) -> str:
        text = re.sub(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/]*@", r"\1***@", text)
        text = re.sub(r"(://[^\s?]*\?)[^\s'\"]+", r"\1***", text)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def plain_line(text: str) -> str:
    """``[tcp @ 0x55d0] [error] Connection refused`` -> ``Connection refused``."""
    return re.sub(r"^(\[[^\]]*\]\s*)+", "", text.strip())


def _pictures(config: CameraConfig) -> list[str]:
    """The branch that is looked at: at most ``fps`` pictures a second, never one twice, small and grey."""
    rate = f"{config.fps:g}"
    return [
        "-map", "0:v:0", "-an", "-sn", "-dn",
        # the first picture of each 1/fps of the stream's own time
        "-vf", f"select='isnan(prev_selected_t)+gt(floor(t*{rate}),floor(prev_selected_t*{rate}))',"
        f"scale={config.width}:{config.height}:{SCALE},format=gray",
        "-fps_mode", "passthrough", "-f", "rawvideo",
    ]


def _input(config: CameraConfig, url: str) -> list[str]:
    args = ["-threads", "1"]
    if config.keyframes_only:
        args += ["-skip_frame", "nokey"]
    if config.is_device:
        args += ["-f", "v4l2"]
        if config.input_format != "auto":
            args += ["-input_format", config.input_format]
    elif config.scheme == "":
        args += ["-re", "-stream_loop", "-1"]
    else:
        args += ["-protocol_whitelist", PROTOCOLS, "-analyzeduration", "2000000", "-fpsprobesize", "0"]
        if config.scheme.startswith("rtsp"):
            args += ["-rtsp_transport", config.transport]
        elif config.input_format != "auto" or re.search("mjpe?g", url.partition("://")[2].lower()):
            # multipart JPEG has no stamps of its own, ffmpeg would guess 25 pictures a second
            kind = "mpjpeg" if config.input_format == "auto" else config.input_format
            args += ["-use_wallclock_as_timestamps", "1", "-f", kind]
    return [*args, "-i", url]


def stream_command(config: CameraConfig, url: str, pictures_fd: int, segments: tuple[int, Path] | None) -> list[str]:
    """The one process of a camera: grey pictures to ``pictures_fd``; ``segments``: where it writes the buffer's
    pieces (a ``%`` pattern) and the descriptor to which it tells each one that is whole."""
    args = [config.ffmpeg, *QUIET, *_input(config, url), *_pictures(config), f"pipe:{pictures_fd}"]
    if segments is None:
        return args
    list_fd, pattern = segments
    args += ["-map", "0:v:0"]
    if config.audio:
        args += ["-map", "0:a:0?", "-c:a", "copy"]
    if config.record == "h264":
        keyframes = f"expr:gte(t,n_forced*{config.segment_s:g})"
        args += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-crf", "26", "-threads", "1",
                 "-pix_fmt", "yuv420p", "-force_key_frames", keyframes]
    else:
        args += ["-c:v", "copy"]
    return [*args, "-f", "segment", "-segment_format", "matroska", "-segment_time", f"{config.segment_s:g}",
            "-reset_timestamps", "1", "-segment_list_type", "csv", "-segment_list", f"pipe:{list_fd}", str(pattern)]


def join_command(ffmpeg: str, listing: Path, target: Path, kind: str) -> list[str]:
    """Pieces to one clip without encoding anew. ``kind``: ``mp4`` or ``matroska``."""
    args = [ffmpeg, *QUIET, "-y", "-f", "concat", "-safe", "0", "-i", str(listing), "-map", "0", "-c", "copy"]
    if kind == "mp4":
        args += ["-movflags", "+faststart"]
    return [*args, "-f", kind, str(target)]


def listing(pieces: Iterable[Path]) -> str:
    """The file that :func:`join_command` reads."""
    return "".join("file '{}'\n".format(str(piece).replace("'", "'\\''")) for piece in pieces)


def snapshot_command(ffmpeg: str, piece: Path, target: Path) -> list[str]:
    """The last picture of a piece as JPEG: each one overwrites the one before."""
    return [ffmpeg, *QUIET, "-y", "-threads", "1", "-i", str(piece), "-map", "0:v:0", "-q:v", "3", "-update", "1",
            "-f", "image2", str(target)]


def file_command(config: CameraConfig, path: Path) -> list[str]:
    """A recording: grey pictures to stdout, their stamps (``pts_time:``) to stderr."""
    args = [config.ffmpeg, "-nostdin", "-hide_banner", "-loglevel", "info", "-nostats", "-threads", "1"]
    if config.keyframes_only:
        args += ["-skip_frame", "nokey"]
    branch = _pictures(config)
    where = branch.index("-vf") + 1
    branch[where] += ",showinfo=checksum=0"
    return [*args, "-protocol_whitelist", "file", "-i", str(path), *branch, "pipe:1"]
