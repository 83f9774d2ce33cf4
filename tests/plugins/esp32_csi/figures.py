"""Print README's figures: ``python -m tests.plugins.esp32_csi.figures [motion|tune|speed|fuzz|damage] [COUNT]``."""

from __future__ import annotations

import itertools
import sys
import time
from collections import Counter

from plugins.esp32_csi.motion import Tuning
from tests.plugins.esp32_csi import damage, recordings, throughput


def motion() -> None:
    print("set by data: " + ", ".join(f"{name} {value}" for name, value in _values(Tuning())))
    for part in ("setting", "held_back"):
        print(f"\n{part}")
        for name in recordings.MOTION[part]:
            print(f"  csi_motion   {name:20} {recordings.csi_motion(part, name)}")
        print(f"  csi_activity {'all windows':20} {recordings.csi_activity(part)}")
        print(f"  csi_activity {'0.5 s after a label':20} "
              f"{recordings.csi_activity(part, settle_s=recordings.SETTLE_S)}")
    often = Tuning(hop_s=0.1, quiet_needed=40)
    print("\nheld_back, judged ten times a second")
    print(f"  csi_activity {'all windows':20} {recordings.csi_activity('held_back', often)}")
    print(f"  csi_activity {'0.5 s after a label':20} "
          f"{recordings.csi_activity('held_back', often, settle_s=recordings.SETTLE_S)}")
    for part, every in itertools.product(("setting", "held_back"), (2, 4, 8)):
        print(f"\n{part}, each {every}th packet only: about {100 / every:.0f} to {134 / every:.0f} a second")
        for name in recordings.MOTION[part]:
            print(f"  csi_motion   {name:20} {recordings.csi_motion(part, name, every=every)}")
        print(f"  csi_activity {'all windows':20} {recordings.csi_activity(part, every=every)}")
    print("\nstill scenes at 7 to 14 packets a second (csi_scene)")
    for name, tally in recordings.csi_scene().items():
        print(f"  {name:33} {tally}")


def tune() -> None:
    """The grid that ``Tuning`` was taken from, on the takes for it."""
    for window_s, factor, release in itertools.product((0.75, 1.0), (2.2, 2.5, 2.8), (0.9, 0.95, 1.0)):
        tuning = Tuning(window_s=window_s, factor=factor, release=release)
        print(f"window {window_s} factor {factor} release {release}")
        for name in recordings.MOTION["setting"]:
            print(f"  csi_motion {name:20} {recordings.csi_motion('setting', name, tuning)}")
        print(f"  csi_activity {'':18} {recordings.csi_activity('setting', tuning)}", flush=True)


def speed(rows: int) -> None:
    for values in (128, 256, 384):
        for name, rate in throughput.decoding(values, rows).items():
            print(f"decode {name:12} {rate.line_bytes:5d} B a row: {rate.rows_s:8.0f} rows/s, one core")
    for values in (128, 256, 384):
        rate = throughput.plugin(values, rows)
        print(f"whole plugin        {rate.line_bytes:5d} B a row: {rate.rows_s:8.0f} rows/s, one core")
    for transport in ("serial", "udp"):
        for offered in (500, 1000, 2000):
            got = throughput.live(transport, offered, 6.0)
            print(f"live {transport:7} {got.line_bytes:5d} B a row, {offered} offered a second: "
                  f"{got.rows_s:7.1f} rows/s taken, {got.lost} lost, {got.cpu:.0%} of a core")


def fuzz(count: int) -> None:
    began, seen, size = time.monotonic(), Counter[str](), 0
    for chunk, events in damage.fuzz(count):
        size += len(chunk)
        seen.update(type(event).__name__ for event in events)
    print(f"{count} damaged lines, {size / 1e6:.0f} MB, in {time.monotonic() - began:.0f} s: no exception; "
          + ", ".join(f"{number} {name}" for name, number in seen.most_common()))


def harm(count: int) -> None:
    for kind in damage.KINDS[:-2]:
        for dialect in damage.LINES:
            got = damage.measure(dialect, kind, count)
            print(f"{kind:13} {dialect:12} refused {got.refused / count:7.2%}   accepted with another content "
                  f"{got.wrong / count:7.2%}", flush=True)


def _values(tuning: Tuning) -> list[tuple[str, object]]:
    return [(name, getattr(tuning, name)) for name in tuning.__struct_fields__]


def main() -> None:
    what = sys.argv[1] if len(sys.argv) > 1 else "motion"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if what == "speed":
        speed(count or 5000)
    elif what == "fuzz":
        fuzz(count or 1_000_000)
    elif what == "damage":
        harm(count or 2000)
    elif what == "tune":
        tune()
    else:
        motion()


if __name__ == "__main__":
    main()
