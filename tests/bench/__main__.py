"""``make bench``: every ``bench_*.py`` of this folder; prints a line per figure, exits 1 when one is over its limit."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from pathlib import Path


def main(only: list[str]) -> int:
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f}")
    over = 0
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        if only and path.stem.removeprefix("bench_") not in only:
            continue
        print(f"{path.stem} ...", file=sys.stderr, flush=True)
        for figure in importlib.import_module(f"tests.bench.{path.stem}").measure():
            print(figure.line(), flush=True)
            over += figure.ratio > figure.at_most
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
