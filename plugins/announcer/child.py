"""One program that runs for us: its input all there at once, its end a descriptor, its complaints kept.

It never outlives us: the kernel kills it when we die, however we die (setpriv(1), prctl(2) PR_SET_PDEATHSIG)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from .programs import Step, last_words

STDERR_BYTES = 16_384


class Child:
    """One running program with its end as a descriptor. ``stdin`` is all there at once: it never waits for us."""

    def __init__(self, step: Step, env: dict[str, str]) -> None:
        setpriv = shutil.which("setpriv")
        # In a child of a process with threads nothing of Python's may run before exec: another program sets it.
        bound = [setpriv, "--pdeathsig", "KILL", "--", *step.command] if setpriv else step.command
        self.name = Path(step.command[0]).name
        self._stderr = bytearray()
        self.mute = False
        """It has closed its standard error, or we no longer listen."""
        stdin = os.memfd_create("stdin", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(stdin), "wb") as file:
                file.write(step.stdin)
            os.lseek(stdin, 0, os.SEEK_SET)
            self.process = subprocess.Popen(bound, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                            env=env, start_new_session=True)
        finally:
            os.close(stdin)
        os.set_blocking(self.stderr_fd, False)
        self.pidfd = os.pidfd_open(self.process.pid)

    @property
    def stderr_fd(self) -> int:
        assert self.process.stderr is not None
        return self.process.stderr.fileno()

    def listen(self) -> bool:
        """Take in what it complains about (a full pipe would stop it). False once there is nobody at the other end."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.stderr_fd, 65_536):
                self._stderr += data
                del self._stderr[:-STDERR_BYTES]
            return False
        return True

    @property
    def complaint(self) -> str:
        code = self.process.returncode or 0
        ended = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return last_words(bytes(self._stderr)) or f"{self.name} {ended}"

    def kill(self) -> None:
        """It and whatever it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    def close(self) -> None:
        assert self.process.stderr is not None
        self.process.stderr.close()
        os.close(self.pidfd)
