"""How long it takes from a command to the end of its speech on a device that swallows sound at once:
``python -m tests.plugins.announcer.figures``. With a real card the length of the speech comes on top."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from agent.testing import at_work
from plugins.announcer import wav
from plugins.announcer.plugin import Announcer
from tests.plugins.announcer.lab import Card

ROUNDS = 20


def seconds(effect: str, again: bool, rounds: int = ROUNDS) -> list[float]:
    """Of each of some texts; ``again``: all of them were spoken before."""
    found = []
    with (tempfile.TemporaryDirectory() as folder,
          at_work(Announcer, Card(Path(folder)).config(effect=effect, queue_max=100)) as plugin):
        for n in range(rounds * (1 + again)):
            began = time.monotonic()
            plugin.order("say", {"text": f"It is {n % rounds} minutes past seven."})
            plugin.until("its end", lambda n=n: len(plugin.values("spoken")) > n)  # type: ignore[misc]
            found.append(time.monotonic() - began)
    return found[-rounds:]


def main() -> None:
    print("effect | speech | median ms | worst ms")
    for effect in ("none", "radio"):
        for again in (False, True):
            took = seconds(effect, again)
            print(f"{effect} | {'kept' if again else 'made'} | {statistics.median(took) * 1e3:.0f} | "
                  f"{max(took) * 1e3:.0f}")
    sound = wav.Sound(22_050, 1, b"\1\x10" * 22_050 * 60)
    began = time.perf_counter()
    wav.louder(sound, 30)
    print(f"volume of 60 s of speech: {(time.perf_counter() - began) * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
