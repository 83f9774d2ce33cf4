"""Lines of the hub's processes on their way to the logbook: ``install(run_dir, "web")`` in each one's main.

A logging.Handler over a PUSH socket: it never waits and never raises. While notify is away up to QUEUE messages wait in
this process; what does not fit is counted and told with the next one. An exception that nobody caught, in any thread,
goes the same way with its trace. Lines about the logbook itself are left out: they would loop.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType

import msgspec
import zmq

from agent import bus
from hub.logbook.lines import LAST_WORDS, NAME, Said, What

QUEUE = 1_000
LINGER_MS = 300
MAX_TEXT = 2_000
MAX_TRACE = 16_000
OWN = ("hub.logbook", "hub.store.logbook_rows", "hub.store.alerts_db")
"""Loggers that write about the logbook."""


_installed: list[Lines] = []


class Lines(logging.Handler):
    """From WARNING up, as :class:`Said`. Bounded by the socket's own queue."""

    def __init__(self, run_dir: Path, part: str) -> None:
        super().__init__(logging.WARNING)
        self.part = part
        self._last_words = run_dir / LAST_WORDS if part == "notify" else None
        self._pid = os.getpid()
        self._lost = 0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.SNDHWM, QUEUE)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 100)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._socket.connect(bus.endpoint(run_dir, NAME))

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(OWN):
            return
        try:
            text = record.getMessage()
        except Exception:  # a format that does not fit its arguments: the line is worth having all the same
            text = str(record.msg)
        trace = trace_of(record.exc_info[1]) if record.exc_info and record.exc_info[1] is not None else ""
        self.tell("crash" if trace else "log", record.levelname.lower(), text, trace, t_us=int(record.created * 1e6))

    def tell(self, what: What, level: str, text: str, detail: str = "", *, who: str = "", t_us: int = 0) -> None:
        """Never waits, never raises; from any thread."""
        with self.lock or threading.RLock():
            if os.getpid() != self._pid or self._socket.closed:  # a forked child has no use of its parent's socket
                return
            said = Said(self.part, what, level, text[:MAX_TEXT], t_us or time.time_ns() // 1000,
                        shortened(detail), self._lost, who)
            try:
                self._socket.send(msgspec.msgpack.encode(said), zmq.NOBLOCK)
                self._lost = 0
            except (zmq.ZMQError, UnicodeEncodeError):
                self._lost += 1

    def write_down(self, trace: str) -> None:
        """The last words of notify, which the next notify reads."""
        if self._last_words is None:
            return
        said = Said(self.part, "crash", "critical", "notify ended", time.time_ns() // 1000, shortened(trace))
        try:
            self._last_words.write_bytes(msgspec.msgpack.encode(said))
        except (OSError, UnicodeEncodeError):
            return  # Python says it on stderr all the same

    def close(self) -> None:
        with self.lock or threading.RLock():
            if os.getpid() == self._pid and not self._socket.closed:
                self._socket.close()
                self._context.term()  # waits LINGER_MS at most
        super().close()


def trace_of(error: BaseException) -> str:
    """As Python prints it, with what it came from."""
    try:
        return "".join(traceback.format_exception(error))
    except Exception as worse:  # an exception whose own text raises
        return f"{type(error).__name__} (its text raised {type(worse).__name__})"


def shortened(trace: str) -> str:
    """The beginning and, more telling, the end."""
    if len(trace) <= MAX_TRACE:
        return trace
    return trace[: MAX_TRACE // 4] + "\n…\n" + trace[-MAX_TRACE * 3 // 4:]


def install(run_dir: Path, part: str, root: logging.Logger | None = None) -> Lines | None:
    """Every line of this process from WARNING up, its start and end, and what nobody catches go to the logbook.

    None, with a line in this process's log, where there can be no socket."""
    root = root or logging.getLogger()
    try:
        lines = Lines(run_dir, part)
    except (OSError, zmq.ZMQError, ValueError) as error:
        root.warning("no lines of this process come into the logbook: %s", error)
        return None
    if not root.handlers:
        logging.basicConfig()  # or its lines would no more be on stderr
    root.addHandler(lines)
    hook(lines)
    _installed.append(lines)
    if part != "notify":  # which says it itself, with what may be missing
        lines.tell("start", "info", f"{part} started")
    atexit.register(_end, lines)
    return lines


def change(text: str, who: str, *, warning: bool = False) -> None:
    """Somebody changed something that the logbook should know: a user, a token. Nothing without :func:`install`."""
    if _installed:
        _installed[-1].tell("change", "warning" if warning else "info", text, who=who)


def hook(lines: Lines) -> None:
    """What nobody catches, in this thread or another, is told before Python says it."""
    before, of_threads = sys.excepthook, threading.excepthook

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            lines.tell("crash", "critical", f"ended by {kind.__name__}", trace_of(error))
            lines.write_down(trace_of(error))
        before(kind, error, trace)

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            name = args.thread.name if args.thread is not None else "?"
            lines.tell("crash", "error", f"thread {name} ended by {args.exc_type.__name__}", trace_of(args.exc_value))
        of_threads(args)

    sys.excepthook = uncaught
    threading.excepthook = of_thread


def _end(lines: Lines) -> None:
    _installed.clear()
    lines.tell("end", "info", f"{lines.part} ended")
    lines.close()
