"""The ffmpeg of a camera as a source of messages: pictures, finished pieces, complaints. It never outlives us."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence

from agent.api import ConfigError, Message, RetryLater

from .command import plain_line

PIECE, COMPLAINT = "piece", "complaint"
"""Topics of messages that are no picture."""
READ_BYTES = 1 << 18
TERM_S = 0.3
"""What ffmpeg gets to finish its last piece; hung in the network, stopped or deaf it is killed then."""
NICE = 5
MAX_LINE = 500


class CameraGone(RetryLater):
    """The stream ended; another try comes soon, since a camera that was unplugged is back within seconds."""

    max_delay_s = 10.0

    def __init__(self, text: str, hung: bool = False) -> None:
        super().__init__(text)
        self.hung = hung


def bound(command: Sequence[str]) -> list[str]:
    """The command so that the kernel kills it when we die, however we die (setpriv(1), prctl(2) PR_SET_PDEATHSIG).

    In a child of a process with threads nothing of Python's may run before exec, so another program sets it."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else list(command)


def program(name: str) -> None:
    """Raises ConfigError when it is not installed."""
    if shutil.which(name) is None:
        raise ConfigError(f"ffmpeg: no program {name}: apt install ffmpeg, or name it by its path")


def start(command: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
    """Start a program of ours. Raises ConfigError when it is not installed, RetryLater when there is no room."""
    program(command[0])
    try:
        process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
            bound(command), stdin=subprocess.DEVNULL, **options)
    except OSError as error:
        raise RetryLater(f"{command[0]} cannot be started: {error.strerror}") from None
    with contextlib.suppress(OSError):  # it ended already
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
    return process


def end(process: subprocess.Popen[bytes], patience_s: float = TERM_S) -> None:
    """Ask, then kill; SIGKILL ends a stopped process too. Afterwards it is no zombie."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


class CameraSource:
    """:class:`agent.api.Source` over one ffmpeg. ``command`` is made with the descriptors for pictures and pieces."""

    def __init__(self, command: Callable[[int, int], list[str]], frame_bytes: int, redact: Callable[[str], str]
                 ) -> None:
        self._frame_bytes = frame_bytes
        self._redact = redact
        self._part = bytearray()
        self._last_complaint = ""
        pictures, pictures_in = os.pipe()
        pieces, pieces_in = os.pipe()
        try:
            # A picture is 14 KiB and a pipe 64: a plugin that is held up for a second must not hold up the recording.
            with contextlib.suppress(OSError):  # more than the kernel allows: then 64 KiB
                fcntl.fcntl(pictures, fcntl.F_SETPIPE_SZ, 1 << 20)
            self.process = start(command(pictures_in, pieces_in), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                 pass_fds=(pictures_in, pieces_in))
        except BaseException:
            os.close(pictures)
            os.close(pieces)
            raise
        finally:
            os.close(pictures_in)
            os.close(pieces_in)
        assert self.process.stderr is not None
        self._open: dict[int, bytearray | None] = {
            pictures: None, pieces: bytearray(), self.process.stderr.fileno(): bytearray()}
        self._pictures, self._pieces = pictures, pieces
        self._poll = select.epoll()
        for fd in self._open:
            os.set_blocking(fd, False)
            self._poll.register(fd, select.EPOLLIN)

    def fileno(self) -> int:
        return self._poll.fileno()

    def receive(self) -> list[Message | bytes]:
        """What is there. Raises CameraGone once ffmpeg has closed everything and everything was given."""
        found: list[Message | bytes] = []
        for fd, _ in self._poll.poll(0):
            lines = self._open[fd]
            try:
                data = os.read(fd, READ_BYTES)
            except BlockingIOError:
                continue
            if not data:
                self._poll.unregister(fd)
                del self._open[fd]
                if fd != self._fd_of_stderr():
                    os.close(fd)
            if lines is None:
                found += self._cut(data)
            else:
                topic = PIECE if fd == self._pieces else COMPLAINT
                found += self._lines(lines, data, topic)
        if not self._open and not found:
            raise self._gone()
        return found

    def _fd_of_stderr(self) -> int:
        assert self.process.stderr is not None
        return self.process.stderr.fileno()

    def _cut(self, data: bytes) -> Iterator[bytes]:
        self._part += data
        while len(self._part) >= self._frame_bytes:
            yield bytes(self._part[: self._frame_bytes])
            del self._part[: self._frame_bytes]

    def _lines(self, part: bytearray, data: bytes, topic: str) -> Iterator[Message]:
        part += data
        *whole, rest = bytes(part).split(b"\n") if data else [bytes(part), b""]
        part[:] = rest[-4 * MAX_LINE :]
        for raw in whole:
            text = raw.decode("utf-8", "replace").strip()
            if topic == COMPLAINT:
                text = self._redact(plain_line(text))[:MAX_LINE]
                self._last_complaint = text or self._last_complaint
            if text:
                yield Message(text.encode(), None, topic)

    def _gone(self) -> CameraGone:
        try:
            code = self.process.wait(TERM_S)
        except subprocess.TimeoutExpired:
            return CameraGone("ffmpeg closed its pipes and goes on, it is started anew")
        why = self._last_complaint or (f"killed by signal {-code}" if code < 0 else f"exit code {code}")
        return CameraGone(why)

    def send(self, data: bytes) -> None:
        raise RetryLater("a camera takes no bytes")

    def close(self) -> None:
        end(self.process)
        self._poll.close()
        for fd in list(self._open):
            if fd != self._fd_of_stderr():
                os.close(fd)
        self._open.clear()
        assert self.process.stderr is not None
        self.process.stderr.close()

