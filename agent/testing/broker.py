"""A real Mosquitto on a free port of loopback, for tests: start, kill -9, pause, start again on the same port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

START_S = 10.0
TRIES = 5


def mosquitto_path() -> str | None:
    """Where the broker's program is, or None (Debian keeps it in /usr/sbin, outside a user's PATH)."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A TCP port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """``with Broker(tmp_path) as broker: connect(broker.port)``.

    ``persistence`` writes the store at every change, a moment after the acknowledgement: ``kill9`` in that moment loses
    what was acknowledged, later it loses nothing. Without it a killed broker forgets everything. ``extra`` are further
    lines of the configuration. Raises RuntimeError with Mosquitto's own words when it does not start."""

    def __init__(
        self,
        folder: Path,
        *,
        persistence: bool = True,
        port: int | None = None,
        extra: Iterable[str] = (),
        listeners: bool = True,
    ) -> None:
        self.folder = folder / "mosquitto"
        self.persistence = persistence
        self.extra = tuple(extra)
        self.listeners = listeners
        """False: ``extra`` brings the listeners itself (TLS, ACL)."""
        self._chosen = port
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the broker is not started")
        return self._process.pid

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _config(self) -> str:
        lines = ["set_tcp_nodelay true", "max_queued_messages 0", "max_inflight_messages 0"]
        if self.listeners:
            lines += [f"listener {self.port} 127.0.0.1", "allow_anonymous true"]
        if os.geteuid() == 0:
            lines.append("user root")  # else it drops to `mosquitto`, which cannot read the test's folder
        lines.append(f"persistence {'true' if self.persistence else 'false'}")
        if self.persistence:
            lines += [f"persistence_location {self.folder}/", "autosave_on_changes true", "autosave_interval 1"]
        return "\n".join([*lines, *self.extra, ""])

    def start(self) -> Self:
        """Start (again) and wait until it accepts connections."""
        if self._process is not None and self._process.poll() is None:
            return self
        program = mosquitto_path()
        if program is None:
            raise RuntimeError("mosquitto is not installed: apt install mosquitto")
        self.folder.mkdir(parents=True, exist_ok=True)
        first_start = self._process is None
        for _ in range(TRIES):
            config = self.folder / "mosquitto.conf"
            config.write_text(self._config())
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [program, "-c", str(config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
                )
            if self._wait_ready(self._process):
                return self
            # Another test may have taken the port between our look and its bind; a chosen or known port stays.
            if self._chosen is None and first_start and self.listeners and "in use" in self.log:
                self.port = free_port()
        raise RuntimeError(f"mosquitto on port {self.port} did not start: {self.log[-500:]}")

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
                    pass
            except OSError:
                time.sleep(0.01)
                continue
            # Somebody else's broker may sit on the port: ours is ready only if it still lives after the bind.
            time.sleep(0.02)
            return process.poll() is None
        return False

    def _end(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(number)
        self._process.send_signal(signal.SIGCONT)  # a paused process takes SIGTERM only when it goes on
        try:
            self._process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10.0)

    def stop(self) -> None:
        """SIGTERM: it saves its store and ends."""
        self._end(signal.SIGTERM)

    def kill9(self) -> None:
        """SIGKILL: what is not on disk is lost."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing moves (FAULTS B04)."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def forget(self) -> None:
        """Remove the store of a stopped broker: retained messages and sessions are gone (FAULTS B02)."""
        (self.folder / "mosquitto.db").unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
