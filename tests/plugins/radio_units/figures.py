"""The table of the README: ``python -m tests.plugins.radio_units.figures [frames]``."""

from __future__ import annotations

import sys

from tests.plugins.radio_units.damage import measure


def main() -> None:
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print("| bits flipped | damaged frames | pass the format | values believed | wrong |\n|---|---|---|---|---|")
    for flips in (0.0, 0.0001, 0.001, 0.01):
        found = measure(frames, flips)
        print(f"| {flips:g} | {found.damaged} | {found.passed_by_format} | {found.believed} | {found.wrong} |",
              flush=True)


if __name__ == "__main__":
    main()
