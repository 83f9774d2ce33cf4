"""The schedule, the announcer and ``uplink`` as the processes that they are: from one to the samples of another."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.plugins.announcer.lab import Card, at_volume, processes, wait_for


def test_what_one_process_schedules_another_speaks_once(tmp_path: Path) -> None:
    card = Card(tmp_path)
    config = tmp_path / "agent.toml"
    config.write_text(f"""
[device]
id = "hall"
data_dir = "{tmp_path}/data"
run_dir = "{tmp_path}/run"

[plugins.voice]
use = "announcer"
device = "out"
alsa_config = "{card.config_file}"
player = "{card.player()}"
listen = ["schedule"]
cache_dir = "{tmp_path}/cache"

[plugins.schedule]
use = "schedule"
simulate = true
hello_after_s = 0
time = []
""")
    with ExitStack() as stack:
        def start(*command: str) -> None:
            process = subprocess.Popen([sys.executable, "-m", "agent.cli", *command, "--config", str(config)])
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)

        start("uplink")
        start("plugin", "voice")
        wait_for((tmp_path / "cache/begun").exists)  # it listens now
        start("plugin", "schedule")
        wait_for(lambda: any(card.takes()))
        wait_for(lambda: processes(tmp_path, "aplay") == [])
    [hello] = card.cached()
    assert card.takes() == [at_volume(hello, 30)], "said by one process, spoken by another, once"
    assert (tmp_path / "cache/begun").read_text().startswith("+hello-")
