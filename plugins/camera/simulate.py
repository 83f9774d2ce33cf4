"""A camera for ``simulate = true``, the demo and the tests: a scene with a moving box, encoded as H.264 by ffmpeg and
served over real RTSP on this machine."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from agent.api import ConfigError

from .child import end, start
from .sim_rtsp import RtspServer

SDP_S = 20.0
"""Until the encoder has begun."""


class Scene(NamedTuple):
    """A still, noisy picture with detail, in which a box crosses from left to right at known times."""

    width: int = 320
    height: int = 180
    fps: int = 10
    noise: int = 6
    """Of 255, at most, uniform, new in every picture; 0: none."""
    period_s: float = 40.0
    begin_s: float = 12.0
    """In each period the box moves from then ..."""
    end_s: float = 18.0
    """... to then."""
    box: tuple[float, float] = (0.08, 0.35)
    """Its width and height in parts of the picture."""
    key_s: float = 1.0
    """From key frame to key frame."""

    def source(self) -> str:
        """The scene as a lavfi graph."""
        wide, high = max(2, round(self.width * self.box[0])), max(2, round(self.height * self.box[1]))
        at = f"mod(t,{self.period_s:g})"
        speed = (self.width + wide) / (self.end_s - self.begin_s)
        x = f"if(between({at},{self.begin_s:g},{self.end_s:g}),({at}-{self.begin_s:g})*{speed:g}-{wide},-{wide}*2)"
        noise = f",noise=alls={self.noise}:allf=t" if self.noise else ""
        return (f"smptehdbars=s={self.width}x{self.height}:r={self.fps},format=yuv420p[back];"
                f"color=c=0xd0d0d0:s={wide}x{high}:r={self.fps}[box];"
                f"[back][box]overlay=x='{x}':y={round(self.height * 0.45)}:eval=frame:format=yuv420{noise}")


def encoder(scene: Scene, ffmpeg: str, rate: tuple[str, ...] = ("-re",)) -> list[str]:
    """The command up to the output; the parameter sets come before each key frame."""
    return [ffmpeg, "-nostdin", "-hide_banner", "-loglevel", "error", *rate, "-f", "lavfi", "-i", scene.source(),
            "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-crf", "24", "-threads", "1",
            "-g", str(max(1, round(scene.fps * scene.key_s))), "-pix_fmt", "yuv420p"]


class SimulatedCamera:
    """An encoder and an RTSP server. ``began_s`` (monotonic) is the scene's second 0, within some 0.1 s."""

    def __init__(self, scene: Scene, ffmpeg: str = "ffmpeg", *, user: str = "", password: str = "") -> None:
        self._user, self._password = user, password
        self._rtp, self._rtcp, port = _udp_pair()
        with tempfile.TemporaryDirectory(prefix="hutkeeper-camera-") as scratch:
            sdp = Path(scratch) / "sdp"
            command = [*encoder(scene, ffmpeg), "-f", "rtp", "-sdp_file", str(sdp),
                       f"rtp://127.0.0.1:{port}?pkt_size=1300"]
            self.began_s = time.monotonic()
            self.process = start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            text = self._wait_for(sdp)
        self._sdp = text
        self.server = self._serve(0)

    def _wait_for(self, sdp: Path) -> str:
        deadline = time.monotonic() + SDP_S
        while time.monotonic() < deadline and self.process.poll() is None:
            text = sdp.read_text() if sdp.exists() else ""
            if "m=video" in text and text.endswith("\n"):
                self.began_s = time.monotonic()
                return text
            time.sleep(0.02)
        self._end()
        raise ConfigError("the simulated camera's ffmpeg does not start: has it libx264 and lavfi?")

    @property
    def url(self) -> str:
        login = f"{self._user}:{quote(self._password, safe='')}@" if self._user else ""
        return f"rtsp://{login}127.0.0.1:{self.server.port}/scene"

    def unplug(self) -> None:
        self.server.close()

    def plug(self) -> None:
        """Back under the same address."""
        self.server = self._serve(self.server.port)

    def _serve(self, port: int) -> RtspServer:
        return RtspServer(self._sdp, self._rtp, port=port, user=self._user, password=self._password)

    def _end(self) -> None:
        end(self.process)
        self._rtp.close()
        self._rtcp.close()

    def __enter__(self) -> SimulatedCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()
        self._end()


def _udp_pair() -> tuple[socket.socket, socket.socket, int]:
    """RTP takes an even port and RTCP the next one."""
    for _ in range(50):
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        rtp.bind(("127.0.0.1", 0))
        port = int(rtp.getsockname()[1])
        rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if port % 2 == 0:
            with contextlib.suppress(OSError):
                rtcp.bind(("127.0.0.1", port + 1))
                return rtp, rtcp, port
        rtp.close()
        rtcp.close()
    raise ConfigError("no pair of free UDP ports")


@contextlib.contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """The config with ``url`` on a simulated camera; clips go to a folder of their own unless one is named."""
    scene = Scene(begin_s=8.0 + seed * 7 % 20, end_s=14.0 + seed * 7 % 20)
    with tempfile.TemporaryDirectory(prefix="hutkeeper-clips-") as clips, \
            SimulatedCamera(scene, config.ffmpeg) as camera:
        changes: dict[str, Any] = {"url": camera.url, "password_file": None, "input_format": "auto",
                                   "transport": "tcp", "free_min_mb": 0}
        if config.clips_dir is None:
            changes["clips_dir"] = Path(clips)
        if config.buffer_dir is None:  # the default is one for all agents of this user: simulated ones are many
            changes["buffer_dir"] = Path(clips) / "buffer"
        yield msgspec.structs.replace(config, **changes)
