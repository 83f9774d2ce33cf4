"""B66: a notifier that is killed while messages flow. What was lost, what came twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from msgspec import Struct

from hub.store import outbox_rows as rows
from hub.store.alerts_db import AlertsReader
from tests.hub.notify.lab import provider
from tests.waiting import until

CHANNELS = 3


class Kills(Struct, frozen=True):
    kills: int
    alerts: int
    messages: int
    """That the provider took, those of all channels."""
    lost: int
    twice: int
    """Messages of which the provider got another one."""
    unsure: int
    """That the notifier itself counted as perhaps sent twice."""


def kill(folder: Path, kills: int, seed: int, least_s: float = 0.2, most_s: float = 1.8) -> Kills:
    rng = random.Random(seed)
    run = Path(tempfile.mkdtemp(prefix="hk-", dir="/tmp"))
    toml = folder / "hub.toml"
    with provider() as p:
        toml.write_text(f'[hub]\ndata_dir = "{folder}/data"\nrun_dir = "{run}"\n[mqtt]\nhost = "127.0.0.1"\nport = 1\n'
                        + "".join(f'[[notify.channel]]\nname = "c{n}"\nurl = "{p.url(f"c{n}")}"\nper_day = 10000\n'
                                  for n in range(CHANNELS)))
        child = subprocess.Popen([sys.executable, "-m", "tests.hub.notify.kill_child", str(toml), "1000000000"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                 stderr=(folder / "child.log").open("a"))
        assert child.stdin is not None and child.stdout is not None

        def fork(most: int) -> int:
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write(f"{most}\n")
            child.stdin.flush()
            return int(child.stdout.readline())

        try:
            assert child.stdout.readline() == "ready\n", (folder / "child.log").read_text()
            for _ in range(kills):
                pid = fork(1_000_000_000)
                time.sleep(rng.uniform(least_s, most_s))
                os.kill(pid, signal.SIGKILL)
                assert child.stdout.readline() == "ended\n"
            reader = AlertsReader(folder / "data" / "alerts.db")
            alerts = int(bytes(reader.rows("SELECT value FROM meta WHERE key = 'n'")[0]["value"]))
            pid = fork(alerts)  # no new ones: what waits goes out
            until("all delivered", lambda: not rows.open_messages(reader) and not rows.waiting_counts(reader),
                  timeout_s=60)
            os.kill(pid, signal.SIGKILL)
            unsure = sum(one.unsure for one in rows.lanes(reader))
            # every alert of every channel, the message that it was told with, and that one at the provider
            told = {(row["channel"], row["alert_id"]): row["text"] for row in reader.rows(
                "SELECT n.channel, n.alert_id, m.text FROM notices n JOIN messages m ON m.id = n.message_id "
                "WHERE n.state = 'told'")}
            reader.close()
        finally:
            child.stdin.close()
            child.wait(20)
            shutil.rmtree(run, ignore_errors=True)
        got = Counter((path[1:], said["message"]) for _, path, said in p.got)
    wanted = [(f"c{n}", one) for n in range(CHANNELS) for one in range(1, alerts + 1)]
    lost = sum(one not in told or (one[0], told[one]) not in got for one in wanted)
    return Kills(kills, alerts, got.total(), lost, got.total() - len(got), unsure)
