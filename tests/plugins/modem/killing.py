"""Kill -9 at random moments while SMS go out and come in; what was lost, what came twice. Short in the tests, long in
``python -m tests.plugins.modem.figures``."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from plugins.modem.fake_modem import FakeModem

ROOT = Path(__file__).resolve().parents[3]
ME = "+33612345678"
PATIENCE_S = 60.0


class Outcome(NamedTuple):
    kills: int
    accepted: int
    sent: int
    lost: int
    twice: int
    came: int
    told: int
    unread_lost: int
    told_twice: int


def life(journal: Path, modem: FakeModem) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "tests.plugins.modem.kill_child", str(journal), modem.port, ME],
                            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(folder: Path, kills: int, seed: int, most_s: float = 0.4) -> Outcome:
    """Each life gets messages to send and to read, and is killed somewhere in them; the last one may finish."""
    rng = random.Random(seed)
    journal = folder / "journal"
    accepted: set[str] = set()
    came = 0
    with FakeModem(folder) as modem:
        for number in range(kills + 1):
            process = life(journal, modem)
            assert process.stdin is not None and process.stdout is not None
            ready = threading.Event()
            texts = {f"{process.pid}-{n}": f"sms {number}-{n} " + "x" * rng.choice([5, 200]) for n in range(4)}

            def listen(process: subprocess.Popen[str] = process, texts: dict[str, str] = texts,
                       ready: threading.Event = ready) -> None:
                for line in process.stdout or ():
                    id_, ok, _ = json.loads(line)
                    if ok:
                        accepted.add(texts[id_])
                    ready.set()

            listener = threading.Thread(target=listen)
            listener.start()
            for n, text in enumerate(texts.values()):
                process.stdin.write(json.dumps({"to": f"+3361200{number:03d}{n}", "text": text}) + "\n")
                process.stdin.flush()
                modem.incoming(ME, f"in {number}-{n} " + "y" * rng.choice([5, 200]), reference=rng.randrange(256))
                came += 1
            if number < kills:
                ready.wait(PATIENCE_S)
                time.sleep(rng.random() * most_s)
            else:
                _finish(journal, modem, accepted)
            process.kill()
            process.wait()
            listener.join()
        outs = [message for message in modem.sent if not message.text.startswith("y")]
        units = Counter((message.to, message.concatenation and message.concatenation[2]) for message in outs)
        whole = {text for text in accepted if text in _texts(modem)}
    told = [value["text"] for line in journal.read_text().split("\n")[:-1] for name, value in json.loads(line)["told"]
            if name == "incoming"]
    return Outcome(kills, len(accepted), len(outs), len(accepted) - len(whole), sum(n - 1 for n in units.values()),
                   came, len(told), came - len(set(told)), len(told) - len(set(told)))


def _texts(modem: FakeModem) -> set[str]:
    """The whole texts that reached each number."""
    parts: dict[str, dict[int, str]] = {}
    for message in modem.sent:
        parts.setdefault(message.to, {})[message.concatenation[2] if message.concatenation else 1] = message.text
    return {"".join(text for _, text in sorted(of.items())) for of in parts.values()}


def _finish(journal: Path, modem: FakeModem, accepted: set[str]) -> None:
    from tests.plugins.modem.kill_child import kept_in

    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        kept = kept_in(journal)
        if (kept and not modem.units and not kept["outbox"]["queue"] and not kept["inbox"]["parts"]
                and accepted <= _texts(modem)):
            return
        time.sleep(0.05)
    raise AssertionError(f"not done in {PATIENCE_S:.0f} s: {len(modem.units)} units, {kept.get('outbox')}")
