"""Long figures: ``python -m tests.plugins.modem.figures [KILLS]``: SMS over kill -9, and real waiting behind a
recipient whose every try takes as long as a try can take (B70)."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from agent.testing import at_work
from plugins.modem.config import ModemConfig
from plugins.modem.fake_modem import FakeModem
from plugins.modem.plugin import Modem
from tests.plugins.modem import killing


def behind_a_bad_one() -> float:
    """Seconds until the last of four others was sent, one recipient leaving every try without an answer."""
    with tempfile.TemporaryDirectory() as folder, FakeModem(Path(folder)) as modem:
        modem.slow.add("+33600000000")
        with at_work(Modem, ModemConfig(port=modem.port)) as plugin:
            plugin.order("send", {"to": "+33600000000", "text": "bad"})
            plugin.wait(lambda: any(line.startswith("AT+CMGS") for line in modem.commands))
            began = time.monotonic()
            for number in range(4):
                plugin.order("send", {"to": f"+3361234567{number}", "text": "good"})
            plugin.until("all sent", lambda: len(modem.sent) == 4, 300.0)
            return time.monotonic() - began


def main(kills: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(killing.run(Path(folder), kills, seed=1, most_s=1.5))
    print(f"others were held up {behind_a_bad_one():.1f} s by one bad recipient (limit 60 s)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
