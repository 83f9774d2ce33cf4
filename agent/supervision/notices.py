"""What the watchdog has to say: a line in its log, and over the local bus an alert of the device and a log line.

The bus is joined at the first thing to say: a healthy device pays nothing for it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.wire import faults

if TYPE_CHECKING:
    import zmq

INSTANCE = "watchdog"


class Notices:
    """Alerts that are raised now, and lines that were said once."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._raised: dict[str, str] = {}
        self._lane: zmq.Socket[bytes] | None = None

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
            self.say("error", text)
            self._alert(alert_id, text)

    def clear(self, alert_id: str) -> None:
        """Resolve an alert that was raised."""
        if self._raised.pop(alert_id, None) is not None:
            self.say("info", f"{alert_id}: over")
            self._alert(alert_id, None)

    def repeat(self) -> None:
        """Uplink is new: it does not know what was raised."""
        for alert_id, text in self._raised.items():
            self._alert(alert_id, text)

    def _alert(self, alert_id: str, text: str | None) -> None:
        from agent import bus

        self._send(bus.encode(bus.Alert(INSTANCE, alert_id, text)))

    def _log(self, level: str, text: str) -> None:
        from agent import bus

        boottime_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        self._send(bus.encode(bus.LogLine(INSTANCE, level, text[:2000], boottime_us)))

    def _send(self, message: bytes) -> None:
        import zmq

        from agent import bus

        try:
            if self._lane is None:
                self._lane = bus.connect(zmq.Context.instance(), self._run_dir, INSTANCE)
                self._lane.setsockopt(zmq.SNDTIMEO, 0)  # uplink may be the one that is down
            self._lane.send(message, zmq.NOBLOCK)
            while self._lane.poll(0):
                self._lane.recv(zmq.NOBLOCK)  # "who are you?": nothing of ours waits for an answer
        except (zmq.ZMQError, ValueError):
            return  # the line in the log stands; alerts are repeated when uplink comes
