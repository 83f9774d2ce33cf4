"""What a process wrote before it died: the exception that killed it, or its last line. Read from supervisord's logs."""

from __future__ import annotations

from pathlib import Path

from agent.wire import crashes, private

TAIL_BYTES = 16384
MAX_LINE = 300


class LastWords:
    """``folder``: that of supervisord's log files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._began: dict[str, int] = {}
        """Program -> size of its log when it was started."""

    def started(self, program: str) -> None:
        self._began[program] = self._size(program)

    def crash(self, program: str) -> str:
        """The exception that nobody caught, as agent.wire.crashes writes it; empty when there was none."""
        return crashes.last_in(self._since_start(program))

    def line(self, program: str) -> str:
        """The last line that says something."""
        lines = [line.strip() for line in self._since_start(program).splitlines() if line.strip()]
        return private.in_trace(private.without(lines[-1], None))[:MAX_LINE] if lines else ""

    def _since_start(self, program: str) -> str:
        size, began = self._size(program), self._began.get(program, 0)
        if size < began:
            began = 0  # the log was rotated meanwhile
        try:
            with (self._folder / f"{program}.log").open("rb") as file:
                file.seek(max(began, size - TAIL_BYTES))
                return file.read(TAIL_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""

    def _size(self, program: str) -> int:
        try:
            return (self._folder / f"{program}.log").stat().st_size
        except OSError:
            return 0
