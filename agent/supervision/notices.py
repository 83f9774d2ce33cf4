"""What the watchdog has to say: a line in its log, and over the local bus an alert of the device and a log line.

The bus is joined at the first thing to say: a healthy device pays nothing for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.supervision.conf import replace
from agent.wire import crashes, faults

if TYPE_CHECKING:
    import zmq

INSTANCE = "watchdog"
FILE = "raised.json"
"""``<run_dir>/raised.json``: uplink goes on to show what a killed watchdog raised; the next one has to know of it."""
MAX_UNSAID = 50
CONNECT_MS = 100
"""For the first word: what is sent before the socket is connected is lost."""


class Notices:
    """Alerts that are raised now, and lines that were said once."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._supervisor = os.getppid()
        self._raised: dict[str, str] = self._read()
        self._lane: zmq.Socket[bytes] | None = None
        self._unsaid: deque[bytes] = deque(maxlen=MAX_UNSAID)
        """Log lines that found no uplink."""
        self._pace = crashes.Pace()

    def say(self, level: str, text: str) -> None:
        """One line to stderr (supervisord keeps it); warnings and above also to the hub's logbook."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            sys.stderr.write(f"{stamp} {level.upper()} {INSTANCE}: {text}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass  # the log's reader is gone; the bus still carries it
        if level != "info":
            self._log(level, text)

    def fault(self, alert_id: str, code: str, **fields: Any) -> None:
        """Raise ``$alert/<alert_id>`` with the code's line; the same text again is not repeated."""
        text = faults.line(code, **fields)
        if self._raised.get(alert_id) != text:
            self._raised[alert_id] = text
            self._keep()
            self.say("error", text)
            self._alert(alert_id, text)

    def clear(self, alert_id: str) -> None:
        """Resolve an alert that was raised."""
        if self._raised.pop(alert_id, None) is not None:
            self._keep()
            self.say("info", f"{alert_id}: over")
            self._alert(alert_id, None)

    @property
    def raised(self) -> tuple[str, ...]:
        """The ids of what stands."""
        return tuple(self._raised)

    def _read(self) -> dict[str, str]:
        """What an earlier watchdog of the same supervisord raised; with another one uplink is another one too."""
        try:
            told = json.loads((self._run_dir / FILE).read_text(encoding="utf-8"))
            if told["supervisor"] == self._supervisor:
                return {str(id_): str(text) for id_, text in told["raised"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # none yet, or not one of ours
        return {}

    def _keep(self) -> None:
        with contextlib.suppress(OSError):  # then a watchdog that is killed now leaves them standing
            replace(self._run_dir / FILE, json.dumps({"supervisor": self._supervisor, "raised": self._raised}))

    def repeat(self) -> None:
        """Uplink is new: it does not know what was raised."""
        for alert_id, text in self._raised.items():
            self._alert(alert_id, text)
        self.deliver()

    def crash(self, program: str, message: str) -> None:
        """An exception that killed ``program``, as agent.wire.crashes writes it: to the hub alone, our log has it."""
        paced = self._pace.message(message)
        if paced is not None:
            self._log("error", paced, program)

    def deliver(self) -> None:
        """Lines that were said while uplink was away."""
        while self._unsaid and self._send(self._unsaid[0]):
            self._unsaid.popleft()

    def _alert(self, alert_id: str, text: str | None) -> None:
        from agent import bus

        self._send(bus.encode(bus.Alert(INSTANCE, alert_id, text)))

    def _log(self, level: str, text: str, instance: str = INSTANCE) -> None:
        from agent import bus

        boottime_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        line = bus.encode(bus.LogLine(instance, level, text[:crashes.MAX_CHARS + 100], boottime_us))
        self.deliver()
        if self._unsaid or not self._send(line):
            self._unsaid.append(line)

    def _send(self, message: bytes) -> bool:
        """False: there is no uplink. The line in the log stands; alerts are repeated when it comes, lines kept."""
        import zmq

        from agent import bus

        try:
            if self._lane is None:
                self._lane = bus.connect(zmq.Context.instance(), self._run_dir, INSTANCE)
                self._lane.setsockopt(zmq.SNDTIMEO, 0)  # uplink may be the one that is down
                self._lane.poll(CONNECT_MS, zmq.POLLOUT)
            self._lane.send(message, zmq.NOBLOCK)
            while self._lane.poll(0):
                self._lane.recv(zmq.NOBLOCK)  # "who are you?": nothing of ours waits for an answer
        except (zmq.ZMQError, ValueError):
            return False
        return True
