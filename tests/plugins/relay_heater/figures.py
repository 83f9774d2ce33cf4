"""Print what the room model is worth: ``python -m tests.plugins.relay_heater.figures``. Half a minute."""

from __future__ import annotations

import statistics

from plugins.relay_heater.room_model import HORIZONS
from tests.plugins.relay_heater import winter

SHARE = 0.6


def recorded() -> None:
    rows = winter.recorded()
    known = round(len(rows) * SHARE)
    old, new = rows[:known], rows[known:]
    frozen = winter.examine(winter.learned(old), new)
    going_on = winter.examine(winter.learned(old), new, learning=True)
    indoors = winter.examine(winter.learned(old, blind=True), new, blind=True)
    held = winter.held_heat(winter.learned(old), new)
    print(f"A recorded winter, learned from {len(old)} rows of 15 minutes, scored on the {len(new)} after them; "
          "RMSE in °C.\nThe heat to come is told except where said; the weather to come never is.\n")
    print("| ahead | it stays as it is | model, frozen | learning on | without outdoors | heat to come not told |")
    print("|---|---|---|---|---|---|")
    for horizon in HORIZONS:
        model_c, persistence_c = frozen.scores[horizon].rmse_c
        print(f"| {horizon / 4:g} h | {persistence_c:.2f} | {model_c:.2f} | {going_on.scores[horizon].rmse_c[0]:.2f} "
              f"| {indoors.scores[horizon].rmse_c[0]:.2f} | {held[horizon].rmse_c[0]:.2f} |")
    print("\n| after heating began | it stays as it is | rise curve, frozen | beginnings |\n|---|---|---|---|")
    for rows_after, score in frozen.warm_up.scores.items():
        print(f"| {rows_after / 4:g} h | {score.rmse_c[1]:.2f} | {score.rmse_c[0]:.2f} | {score.count} |")
    rises = winter.rises(winter.learned(old), old, new)
    curve = [abs(rise.model - rise.truth) for rise in rises if rise.model is not None]
    print(f"\nMinutes until 1 °C warmer, {len(rises)} beginnings: mean error {statistics.mean(curve):.1f} by the curve "
          f"({len(rises) - len(curve)} not foreseen within 3 h), "
          f"{statistics.mean(abs(rise.median - rise.truth) for rise in rises):.1f} by the median of the known ones")


def simulated() -> None:
    print("\nA simulated room, 28 days, comfort at 06:00 and 17:00; minutes from then until it is warm.\n")
    print("| | beginnings | median | earliest | latest |\n|---|---|---|---|---|")
    for name, preheat in (("without pre-heat", False), ("with it, from the day it is trusted", True)):
        lived = winter.live(28, preheat=preheat)
        first = next(day for day, doubt in enumerate(lived.doubts) if doubt is None) if preheat else 0
        late = lived.late_min[2 * first :]
        print(f"| {name}{f' (day {first})' if preheat else ''} | {len(late)} | {statistics.median(late):.0f} "
              f"| {min(late):.0f} | {max(late):.0f} |")


def main() -> None:
    if winter.RECORDED.exists():
        recorded()
    else:
        print(f"no recording at {winter.RECORDED}")
    simulated()


if __name__ == "__main__":
    main()
