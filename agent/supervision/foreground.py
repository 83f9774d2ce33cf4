"""``hutkeeper-agent run``: everything of this device in the foreground, under a supervisord of its own.

A killed supervisord is started again (B58); its orphans were ended by the kernel. Ctrl-C, SIGTERM or a closed
terminal end every process, a second Ctrl-C at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from agent import bus
from agent.api import PluginError
from agent.supervision import prepare
from agent.supervision.supervisord import FOREGROUND_PARENT

STOP_S = 25
UP_S = 3.0
"""A supervisord that lived this long was up; one that never is cannot be helped by starting it again."""
GIVE_UP_AFTER = 3


class Foreground:
    """One device in the foreground. ``say`` prints a line for the person in front of it."""

    def __init__(self, config: Path, say: Callable[[str], None]) -> None:
        self._config = config
        self._say = say
        self._child: subprocess.Popen[bytes] | None = None
        self._signals = 0

    def _stopping(self) -> bool:
        return self._signals > 0

    def run(self) -> int:
        """Until stopped; returns the exit code. Raises SettingsError, PluginError."""
        prepared, conf = prepare.prepare_and_write(self._config)
        for problem in prepared.problems:
            print(f"{problem}", file=sys.stderr, flush=True)
        device = prepared.settings.device
        try:
            fd = bus.lock(device.run_dir, "supervisord")
        except bus.BusTaken as error:
            raise PluginError(f"{error} (another hutkeeper-agent run of {device.id})") from None
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._stop)
        signal.signal(signal.SIGALRM, self._too_late)
        try:
            names = ", ".join(program.name for program in prepared.plan.programs)
            self._say(f"{device.id}: {names}; logs in {device.data_dir / 'log'}; Ctrl-C ends them all")
            return self._keep(conf)
        finally:
            os.close(fd)

    def _keep(self, conf: Path) -> int:
        failures = 0
        while not self._stopping():
            began = time.monotonic()
            command = [sys.executable, "-m", "agent.supervision.supervisord", "-c", str(conf)]
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True,
                                           env={**os.environ, FOREGROUND_PARENT: str(os.getpid())})
            if self._stopping():  # the signal came between the test above and the start
                self._child.terminate()
                signal.alarm(STOP_S)
            code = self._wait(self._child)
            if self._stopping():
                return 0
            failures = failures + 1 if time.monotonic() - began < UP_S and code >= 0 else 0
            if failures >= GIVE_UP_AFTER:
                raise PluginError(f"supervisord ends at once (exit {code}): see the lines above")
            self._say(f"supervisord ended ({code}), starting it again")
            time.sleep(0.1 if failures == 0 else 1.0)
        return 0

    def _wait(self, child: subprocess.Popen[bytes]) -> int:
        """Wait for its end, asleep: a wait with a time-out would wake up twenty times a second."""
        code = child.wait()
        signal.alarm(0)
        return code

    def _stop(self, signum: int, frame: object) -> None:
        self._signals += 1
        child = self._child
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGTERM if self._signals == 1 else signal.SIGKILL)
            signal.alarm(STOP_S)

    def _too_late(self, signum: int, frame: object) -> None:
        child = self._child
        if child is not None and child.poll() is None:
            self._say(f"still not ended after {STOP_S} s, killing what is left")
            child.kill()
