"""``python -m tests.evening``: play the evening and print what a person got."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.evening.house import Evening
from tests.evening.play import play


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="evening-") as folder, Evening(Path(folder)) as evening:
        for _ in play(evening, lambda text: print(text, flush=True)):
            pass


main()
