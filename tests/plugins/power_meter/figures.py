"""Print what a bad line lets through: ``python -m tests.plugins.power_meter.figures [TELEGRAMS] [RATES] [NAME ...]``,
RATES as ``0.01,0.001``."""

from __future__ import annotations

import sys
import time

from tests.plugins.power_meter.damage import MAKERS, run

RATES = (0.01, 0.001, 0.0001, 0.0)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    rates = [float(rate) for rate in sys.argv[2].split(",")] if len(sys.argv) > 2 else RATES
    names = sys.argv[3:] or list(MAKERS)
    print(f"{count} telegrams each; wrong = differs from what the meter said at that stamp")
    print(f"{'meter':22} {'flips':>7} {'believed':>9} {'counters':>9} {'wrong ctr':>9} {'wrong':>6}"
          f" {'alone ctr':>9} {'alone':>6} {'s':>5}")
    for name in names:
        for rate in rates:
            began = time.monotonic()
            got = run(name, count, rate)
            print(f"{name:22} {rate:7.2%} {got.accepted / got.offered:9.2%} "
                  f"{got.accepted_counters / max(1, got.offered_counters):9.2%} {got.wrong_counters:9d} "
                  f"{got.wrong_instant:6d} {got.alone_counters:9d} {got.alone_instant:6d} "
                  f"{time.monotonic() - began:5.0f}", flush=True)
            for example in got.examples[:3]:
                print("   ", example)


if __name__ == "__main__":
    main()
