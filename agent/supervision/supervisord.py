"""supervisord as this agent runs it: ``python -m agent.supervision.supervisord -c FILE``.

The same program, plus what a device needs: it ends with the process that started it in the foreground, tells its
children its pid (agent.supervision.child), stops all plugins at once instead of one a second, and goes on when a log
file is removed or the log's disk is full (B24).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any

from supervisor import events, loggers, process
from supervisor import supervisord as upstream

from agent.supervision.child import SUPERVISOR_PID, end_with_parent

FOREGROUND_PARENT = "HUTKEEPER_FOREGROUND_PARENT"
"""Set by ``hutkeeper-agent run``: its pid; supervisord ends when it does."""
LOOK_EVERY = 64
"""Records between two looks whether the file is still there."""


class SteadyHandler(loggers.RotatingFileHandler):  # type: ignore[misc]
    """A rotating log file that never takes its writer down: a removed file is made anew, a full disk drops lines."""

    stream: Any
    _records = 0

    def emit(self, record: Any) -> None:
        self._records += 1
        if self._records % LOOK_EVERY == 1:
            self._look()
        raw = record.msg if isinstance(record.msg, bytes) and self.fmt == "%(message)s" else None
        try:
            data = raw if raw is not None else (self.fmt % record.asdict()).encode("utf-8", "backslashreplace")
            self.stream.write(data)
            self.stream.flush()
            self.doRollover()
        except (OSError, ValueError):
            self._reopen()

    def _look(self) -> None:
        try:
            there, ours = os.stat(self.baseFilename), os.fstat(self.stream.fileno())
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                return
        except (OSError, ValueError):
            pass  # removed, or the stream is closed
        self._reopen()

    def _reopen(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.stream.close()
        try:
            self.stream = open(self.baseFilename, "ab")  # noqa: SIM115 - the handler owns it
        except OSError:
            self.stream = open(os.devnull, "ab")  # noqa: SIM115 - the next look tries the file again


class Supervisor(upstream.Supervisor):  # type: ignore[misc]
    """Stops groups of the same priority together: eight plugins end within one second, not within eight."""

    stop_groups: list[Any] | None

    def ordered_stop_groups_phase_1(self) -> None:
        if self.stop_groups:
            last = self.stop_groups[-1].config.priority
            for group in self.stop_groups:
                if group.config.priority == last:
                    group.stop_all()

    def ordered_stop_groups_phase_2(self) -> None:
        # the groups are in order of priority, and a stopped one has nothing left to wait for
        self.stop_groups = [group for group in self.stop_groups or () if group.get_unstopped_processes()]


def tell_exits() -> None:
    """Send the listener ``REMOTE_COMMUNICATION exit`` with ``program signal-or-code`` at each end of a process.

    supervisord's own events hide a signal; the watchdog must know a kill from outside from a crash."""
    finish = process.Subprocess.finish

    def finish_and_tell(self: Any, pid: int, status: int) -> Any:
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        events.notify(events.RemoteCommunicationEvent("exit", f"{self.config.name} {code}"))
        return finish(self, pid, status)

    process.Subprocess.finish = finish_and_tell


def main(arguments: list[str] | None = None) -> None:
    """supervisord's own main with the parts above in place."""
    parent = os.environ.pop(FOREGROUND_PARENT, None)
    if parent is not None:
        end_with_parent(signal.SIGTERM)
        if os.getppid() != int(parent):
            sys.exit(0)
    os.environ[SUPERVISOR_PID] = str(os.getpid())
    loggers.RotatingFileHandler = SteadyHandler
    upstream.Supervisor = Supervisor
    tell_exits()
    upstream.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
