"""One command at a time over a byte stream: its answer, and apart from it what came by itself. Every wait ends."""

from __future__ import annotations

from contextlib import suppress

from agent.api import ByteStream, Io

from .at_lines import PROMPT, Line, LineReader
from .at_replies import failure, is_final
from .transport import Mute, Refused, Stopping

ANSWER_S = 5.0
TICK_S = 0.001
"""Less time than this is no time left: a clock of whole microseconds would never use up the rest."""
READ_S = 0.5
READ_BYTES = 2048
ESC, CTRL_Z = b"\x1b", b"\x1a"


class Dialogue:
    """``told`` collects lines that no command asked for, in order."""

    def __init__(self, io: Io, stream: ByteStream) -> None:
        self._io = io
        self._stream = stream
        self._reader = LineReader()
        self._waiting: list[Line] = []
        self.told: list[Line] = []

    @property
    def damaged(self) -> int:
        """Lines that held no text."""
        return self._reader.damaged

    def ask(self, command: str, prefix: str | tuple[str, ...] = (), *, timeout_s: float | None = None
            ) -> list[Line]:
        """Send it; the lines of its answer that begin with ``prefix``. ``""``: every line. Raises Refused, Mute."""
        self._write(command.encode("latin-1", "replace") + b"\r")
        return self._answer(command, prefix, ANSWER_S if timeout_s is None else timeout_s)

    def submit(self, command: str, unit: str, prefix: str, *, prompt_s: float, timeout_s: float) -> list[Line]:
        """A command that asks for a unit by its prompt. Whatever goes wrong, the prompt is left."""
        self._write(command.encode("latin-1") + b"\r")
        self._answer(command, (), prompt_s, prompt=True)
        self._write(unit.encode("ascii") + CTRL_Z)
        try:
            return self._answer(command, prefix, timeout_s)
        except (Mute, Stopping) as error:
            error.handed_over = True
            raise

    def escape(self) -> None:
        """Leave a prompt that may be open."""
        self._write(ESC + b"\r")

    def listen(self, timeout_s: float) -> list[Line]:
        """Lines that came by themselves, waiting for the first at most ``timeout_s``."""
        until = self._io.clock.monotonic_s() + timeout_s
        with suppress(Stopping):
            while not self.told:
                left = until - self._io.clock.monotonic_s()
                line = self._next(max(0.0, left))
                if line is not None:
                    self._by_itself(line)
                elif left < TICK_S:
                    break
        while (line := self._pop()) is not None:
            self._by_itself(line)
        told, self.told = self.told, []
        return told

    def drop(self) -> None:
        """Forget late answers: what is there now belongs to nobody."""
        for line in self.listen(0.2):
            self.told.append(line)

    # --- inside -------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        # A late answer to what was given up must not count as the answer to this.
        self._waiting += self._reader.feed(self._stream.read(READ_BYTES, 0.0))
        while (line := self._pop()) is not None:
            self._by_itself(line)
        self._stream.write(data)

    def _answer(self, command: str, prefix: str | tuple[str, ...], timeout_s: float, prompt: bool = False
                ) -> list[Line]:
        found: list[Line] = []
        try:
            return self._collect(command, prefix, timeout_s, prompt, found)
        except (Mute, Stopping):
            self.told += found  # half an answer is true too
            raise

    def _collect(self, command: str, prefix: str | tuple[str, ...], timeout_s: float, prompt: bool, found: list[Line]
                 ) -> list[Line]:
        until = self._io.clock.monotonic_s() + timeout_s
        while True:
            left = until - self._io.clock.monotonic_s()
            line = self._next(max(0.0, left))
            if line is None:
                if left < TICK_S:
                    raise Mute(f"no answer to {shown(command)} in {timeout_s:.0f} s")
            elif prompt and line == PROMPT:
                return found
            elif is_final(line.text):
                refusal = failure(line.text)
                if refusal is not None:
                    raise Refused(str(refusal), permanent=refusal.permanent)
                if not prompt:
                    return found
            elif line.text.startswith(prefix) and prefix != () and not line.text.startswith("AT"):
                found.append(line)
            else:
                self._by_itself(line)

    def _by_itself(self, line: Line) -> None:
        if line != PROMPT and not is_final(line.text) and not line.text.upper().startswith("AT"):
            self.told.append(line)
            del self.told[:-500]

    def _pop(self) -> Line | None:
        return self._waiting.pop(0) if self._waiting else None

    def _next(self, timeout_s: float) -> Line | None:
        """The next line, or None after at most ``timeout_s``. Raises Stopping."""
        if not self._waiting:
            if self._io.stopping:
                raise Stopping
            self._waiting += self._reader.feed(self._stream.read(READ_BYTES, min(READ_S, timeout_s)))
        return self._pop()


def shown(command: str) -> str:
    """A command as it may stand in a log: no PIN, no number."""
    return command.partition("=")[0] if command.startswith(("AT+CPIN=", "AT+CUSD=")) else command
