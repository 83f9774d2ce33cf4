"""B59: broker, ingest, notify and the agent, each a process of its own, in all 24 orders of their starts.

``python -m tests.agent.supervision.start_orders [GAP_S]``: all of them; with 600 they start ten minutes apart.
"""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

from hub.notify import asks
from tests.house import House, until

SERVICES = ("broker", "ingest", "notify", "agent")
GAP_S = 0.4


class Came(NamedTuple):
    order: tuple[str, ...]
    up_s: float
    """From the last start until a sample has its receipt and notify answers."""
    left: list[str]
    """Services that ended meanwhile."""


def start(house: House, service: str) -> None:
    if service == "agent":
        house.start_agent("first", '[plugins.quiet]\nuse = "house_quiet"\ninterval_s = 0.2\n')
    else:
        house.start(service, "hutkeeper-hub", service, "--config", str(house.hub_toml))


def come_up(order: tuple[str, ...], gap_s: float = GAP_S) -> Came:
    with tempfile.TemporaryDirectory() as folder, House(Path(folder)) as house:
        for service in order:
            start(house, service)
            time.sleep(gap_s)
        began = time.monotonic()
        until(f"{' '.join(order)}: a receipt", lambda: any(row["stored"] and row["difference"] == 0
                                                           for row in house.ledger("first")), 60, every_s=0.3)
        until(f"{' '.join(order)}: notify", lambda: _answers(house))
        left = [name for name, process in house.roots.items() if process.poll() is not None]
        return Came(order, time.monotonic() - began, left)


def _answers(house: House) -> bool:
    try:
        asks.ask(house.run / "h", "no.such", who="test", timeout_s=1)
    except asks.Refused:
        return True  # it lives, and knows no such question
    except asks.Away:
        return False
    return True


def main(gap_s: float) -> int:
    came = []
    for order in permutations(SERVICES):
        came.append(come_up(order, gap_s))
        print(f"{' '.join(order):36} {came[-1].up_s:5.1f} s  ended: {', '.join(came[-1].left) or '-'}", flush=True)
    print(f"{sum(not one.left for one in came)} of {len(came)} with all four running; slowest "
          f"{max(one.up_s for one in came):.1f} s after the last start")
    return int(any(one.left for one in came))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else GAP_S))
