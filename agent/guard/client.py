"""The control side of an actuator: asks, hears, and sees to it that there is a guard that answers.

A guard that says nothing for 10 s is killed; its successor starts with OFF. Normally supervisord starts that one; where
nobody does, this process does, so a pin is never left to itself while anybody lives.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from agent.api import Log, RelayState
from agent.guard import wire
from agent.guard.lease import Ask

SILENT_US = 10_000_000
ALONE_US = 5_000_000
"""How long nobody at all has the relay before a guard is started from here."""
KILL_AGAIN_US = 10_000_000
OWN_PAUSE_US = 3_000_000
"""Asked every second or two; what is longer is our own standing still, and no silence of the guard."""


def boottime_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def guard_starter(config: Path, instance: str) -> Callable[[], subprocess.Popen[bytes]]:
    """Starts a guard that ends with this process."""
    from agent.supervision.child import SUPERVISOR_PID
    from agent.supervision.conf import executable

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([*executable(), "guard", instance, "--config", str(config)], stdin=subprocess.DEVNULL,
                                env=os.environ | {SUPERVISOR_PID: str(os.getpid())})

    return start


class GuardedRelay:
    """:class:`agent.api.Relay`. ``start_guard`` starts one in place of a missing supervisor."""

    def __init__(self, run_dir: Path, instance: str, log: Log, alert: Callable[[str, str | None], None],
                 start_guard: Callable[[], subprocess.Popen[bytes]] | None) -> None:
        self._run_dir = run_dir
        self._instance = instance
        self._log = log
        self._alert = alert
        self._start_guard = start_guard
        self._own: subprocess.Popen[bytes] | None = None
        self._path = os.fspath(wire.socket_path(run_dir, instance))
        self._lock = wire.GuardLock(run_dir, instance)
        self._socket: socket.socket | None = None
        self._state = RelayState()
        now_us = boottime_us()
        self._heard_us = now_us
        self._held_us = now_us
        """When somebody held the lock, as far as we know."""
        self._healed_us = now_us
        self._killed_us = 0
        self._silent = False

    @property
    def state(self) -> RelayState:
        if self._socket is None:  # so a plugin hears where its relay is before it asks for anything
            self._connect()
        self._hear()
        return self._state

    def ask(self, on: bool, *, sample_us: int | None = None, sample_max_age_s: float = 0.0, frost: bool = False,
            heats: bool = False, insist: bool = False, why: str = "") -> RelayState:
        self._hear()
        self._send(Ask(on=on, sample_us=sample_us, sample_max_age_s=sample_max_age_s, frost=frost, heats=heats,
                       insist=insist, why=why[:500]))
        self._heal(boottime_us())
        return self._state

    def close(self) -> None:
        self._drop()
        if self._own is not None:
            self._own.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._own.wait(2)

    # --- talking --------------------------------------------------------------------------------------------

    def _send(self, ask: Ask) -> None:
        if self._socket is None and not self._connect():
            return
        assert self._socket is not None
        try:
            self._socket.send(wire.encode(ask))
        except BlockingIOError:
            return  # it does not read; the silence will show
        except OSError:
            self._drop()

    def _connect(self) -> bool:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            made.connect(self._path)
        except OSError:
            made.close()
            return False
        self._socket = made
        return True

    def _hear(self) -> None:
        while self._socket is not None:
            try:
                data = self._socket.recv(wire.MAX_PACKET)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._drop()
                return
            with suppress(msgspec.DecodeError, UnicodeDecodeError):  # a guard of another version: it is heard at least
                self._state = wire.decode_state(data)
            self._heard_us = boottime_us()

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # --- seeing to it that there is one ---------------------------------------------------------------------

    def _heal(self, now_us: int) -> None:
        own_us = max(0, now_us - self._healed_us - OWN_PAUSE_US)
        self._healed_us = now_us
        if own_us:  # we were stopped, or waited for a sensor: the guard could not be heard meanwhile
            self._heard_us = min(now_us, self._heard_us + own_us)
            self._held_us = min(now_us, self._held_us + own_us)
        silent_us = now_us - self._heard_us
        if silent_us < min(SILENT_US, ALONE_US):
            if self._silent:
                self._silent = False
                self._alert("guard", None)
            return
        if silent_us < SILENT_US and self._state.heard_us:
            return  # it was there a moment ago: a restart
        holder = self._lock.holder()
        if holder is not None:
            self._held_us = now_us
            if silent_us >= SILENT_US and now_us - self._killed_us >= KILL_AGAIN_US:
                self._kill(holder, now_us, silent_us / 1e6)
        elif now_us - self._held_us >= ALONE_US and self._start_guard is not None:
            self._held_us = now_us
            if self._own is None or self._own.poll() is not None:
                self._log.warning("nobody guards the relay: starting a guard from here")
                try:
                    self._own = self._start_guard()
                except OSError as error:  # no memory, no process: again in a moment, and never without control
                    self._log.error("a guard cannot be started: %s", error)

    def _kill(self, holder: int, now_us: int, silent_s: float) -> None:
        from agent.wire import faults

        self._killed_us = now_us
        if wire.kill(holder, self._instance, self._lock):
            self._silent = True
            text = faults.line("E_GUARD_SILENT", instance=self._instance, age_s=silent_s)
            self._log.error(text)
            self._alert("guard", text)
            self._drop()
            self._state = RelayState(why="its guard was killed, a new one starts with OFF")
            self._held_us = now_us
