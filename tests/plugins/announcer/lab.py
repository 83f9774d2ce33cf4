"""A sound device that is a file or a FIFO behind the real ALSA library, and what was played on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from plugins.announcer import wav
from plugins.announcer.settings import AnnouncerConfig

RATE_HZ = 22_050
"""espeak-ng's."""


class Card:
    """``device = "out"``: whatever is played is appended to :attr:`file`, as ALSA's file plugin writes it (padded with
    silence to whole periods). ``device = "fifo"``: the same into a FIFO, so the player waits for who reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fifo = folder / "fifo"
        self.config_file = folder / "asound.conf"
        os.mkfifo(self.fifo)
        self.plug()

    def plug(self) -> None:
        self.config_file.write_text(textwrap.dedent(f"""
            pcm.null {{ type null }}
            pcm.out {{ type file  slave.pcm "null"  file "{self.folder}/%f.raw"  format "raw" }}
            pcm.fifo {{ type file  slave.pcm "null"  file "{self.fifo}"  format "raw" }}
            """).replace("%f", "played"))

    def unplug(self) -> None:
        self.config_file.write_text("pcm.null { type null }\n")

    def config(self, **more: Any) -> AnnouncerConfig:
        fields: dict[str, Any] = {"device": "out", "alsa_config": str(self.config_file),
                                  "cache_dir": self.folder / "cache", "interval_s": 60.0}
        return AnnouncerConfig(**fields | more)

    def player(self) -> str:
        """An aplay whose takes are told apart: each appends its own raw file to the list (ALSA's file plugin would
        write the next over the one before). It is the real aplay with the real library, on another name of the file."""
        path = self.folder / "aplay-takes"
        path.write_text(f"""#!/bin/sh
n=$(ls {self.folder} | grep -c '^take')
sed "s/played.raw/take-$n.raw/" {self.config_file} > {self.folder}/conf-$n
ALSA_CONFIG_PATH={self.folder}/conf-$n exec aplay "$@"
""")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def takes(self) -> list[bytes]:
        """What was played, one player after the other, without the silence at the end."""
        return [(self.folder / f"take-{n}.raw").read_bytes().rstrip(b"\0")
                for n in range(len(list(self.folder.glob("take-*.raw"))))]

    def cached(self) -> list[bytes]:
        """The samples of all speech that is kept, oldest first."""
        files = sorted((self.folder / "cache").glob("*.wav"), key=lambda path: path.stat().st_mtime_ns)
        return [wav.parse(path.read_bytes()).pcm for path in files]


def at_volume(pcm: bytes, pct: float) -> bytes:
    """What the device is to get: by NumPy, and not by the code that is tested."""
    samples = np.frombuffer(pcm, "<i2").astype(np.int64)
    return (samples * round(pct * 655.36) >> 16).astype("<i2").tobytes().rstrip(b"\0")


def rms(pcm: bytes) -> float:
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2") / 32768.0
    return float(np.sqrt(np.mean(samples**2)))


def dominant_hz(pcm: bytes) -> float:
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.fft.rfftfreq(len(samples), 1 / RATE_HZ)[spectrum.argmax()])


def share_below(pcm: bytes, hz: float) -> float:
    """Of the power, the part below a frequency."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(float)
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(power[np.fft.rfftfreq(len(samples), 1 / RATE_HZ) < hz].sum() / power.sum())


def script(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def processes(folder: Path, name: str = "") -> list[int]:
    """Living processes with this folder on their command line or among their variables; ``name``: of that program."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            seen = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
            head, _, tail = (proc / "stat").read_text().rpartition(")")
        except OSError:
            continue
        if str(folder).encode() in seen and tail.split()[0] != "Z" and head.partition("(")[2].startswith(name):
            found.append(int(proc.name))
    return found


def wait_for(check: Callable[[], object]) -> None:
    """The bound is for a loaded machine."""
    deadline = time.monotonic() + 45
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Listener(threading.Thread):
    """Reads as much of the FIFO as it may: the player goes no further than that (and the pipe's 4 KiB)."""

    def __init__(self, card: Card) -> None:
        super().__init__(daemon=True)
        self.heard = b""
        """All of it, of one player after the other: where one is killed and the next begins nobody sees an end."""
        self.may_read = 0
        """Bytes."""
        self.over = False
        self.fd = os.open(card.fifo, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, 4096)
        self.start()

    def run(self) -> None:
        while not self.over:
            data = b""
            if self.may_read > 0:
                with contextlib.suppress(BlockingIOError):
                    data = os.read(self.fd, min(65_536, self.may_read))
            self.heard += data
            self.may_read -= len(data)
            if not data:
                time.sleep(0.002)

    def close(self) -> None:
        self.over = True
        self.join()
        os.close(self.fd)
