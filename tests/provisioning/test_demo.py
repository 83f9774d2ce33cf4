"""``make demo`` as a newcomer sees it: the address, the one-time code, live values in a real Chromium, Ctrl-C.

The pictures go to HUTKEEPER_SHOTS (``make shots``: build/shots), else to the test's own folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page

from agent import loader
from agent.testing.broker import free_port
from tests.waiting import until

ROOT = Path(__file__).parents[2]
PASSWORD = "a long walk by the river"


class Demo:
    """One run of the demo, its printed lines in a file."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.out = folder.parent / f"out-{time.monotonic_ns()}"
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "provisioning.demo", "--port", str(port), "--dir", str(folder)],
                env={**os.environ, "http_proxy": "http://127.0.0.1:9"},  # a site's proxy is not asked for this machine
                cwd=ROOT, stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    def printed(self) -> str:
        return self.out.read_text()

    def wait_for(self, words: str) -> None:
        until(f"{words!r} in {self.printed()!r}", lambda: words in self.printed(), 90)

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def processes(self) -> list[psutil.Process]:
        """Everything that the demo started, also orphans: its folder or run directory is in the arguments."""
        marks = (str(self.folder), f"hutkeeper-{os.getuid()}-{self.port}")
        found = []
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if any(mark in line for mark in marks):
                found.append(process)
        return found


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path / "demo", free_port())
    yield demo
    with contextlib.suppress(subprocess.TimeoutExpired):
        demo.interrupt()
    for process in demo.processes():
        with contextlib.suppress(psutil.Error):
            process.kill()


def log_in_as_first_admin(page: Page, address: str, code: str) -> None:
    page.goto(address)
    page.fill("input[name=code]", code)
    page.fill("input[name=name]", "anna")
    page.fill("input[name=password]", PASSWORD)
    page.fill("input[name=again]", PASSWORD)
    page.click("form button")
    page.wait_for_url(lambda url: "/login" not in url)


def missing(demo: Demo) -> set[str]:
    """Plugins of this installation that have no sample in the demo's hub yet."""
    listed = subprocess.run([str(Path(sys.executable).with_name("hutkeeper-hub")), "export", "--list", "--json",
                             "--config", str(demo.folder / "hub.toml")], capture_output=True, text=True, timeout=60)
    if listed.returncode:
        return {listed.stderr}
    told = {(row["device"], row["node"]) for row in json.loads(listed.stdout) if row["samples"]}
    uses = {}
    for path in demo.folder.glob("*.toml"):
        loaded = tomllib.loads(path.read_text())
        for instance, table in loaded.get("plugins", {}).items():
            here = any(device == loaded["device"]["id"] and (node == instance or node.startswith(f"{instance}-"))
                       for device, node in told)
            uses[table.get("use", instance.replace("-", "_"))] = here
    assert uses.keys() >= {name for name, one in loader.found().items() if one.target.startswith("plugins.")}
    return {use for use, here in uses.items() if not here}


def test_demo_shows_live_values_and_ctrl_c_ends_everything(demo: Demo, tmp_path: Path, chromium: Browser) -> None:
    shots = Path(os.environ.get("HUTKEEPER_SHOTS") or tmp_path / "shots")
    shots.mkdir(parents=True, exist_ok=True)
    demo.wait_for("Hutkeeper is at")
    address = re.search(r"http://\S+", demo.printed())
    code = re.search(r"\b[A-Z0-9]{4}-[A-Z0-9]{4}-[A-Z0-9]{4}\b", demo.printed())
    assert address and code, demo.printed()
    demo.wait_for("First sample stored")
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(90_000)  # a bound: six agents and a hub start beside the other tests
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    log_in_as_first_admin(page, address.group(), code.group())
    this_machine = re.search(r"device '([a-z0-9-]+)'", demo.printed())
    assert this_machine
    demo.wait_for("All 5 devices are started")
    until("five devices, each with a state", lambda: page.locator("a[href^='/device/']").count() >= 5, 60)
    until("samples of every plugin that is installed", lambda: not missing(demo), 90, every_s=2,
          found=lambda: f"none of {missing(demo)}")
    page.screenshot(path=shots / "demo-fleet.png")
    for device in ("hallway", "garage"):
        page.goto(f"{address.group()}/device/{device}")
        page.locator(".spark").first.wait_for()
        page.screenshot(path=shots / f"demo-{device}.png", full_page=True)
    page.goto(address.group())
    page.click(f"a[href='/device/{this_machine.group(1)}']")
    power = page.locator("[id^='v-main-meter-apparent-power']").first
    power.wait_for()
    assert re.search(r"\d.*VA", power.inner_text())
    cpu = page.locator("[id='v-host-cpu-usage-percent']")
    before = cpu.inner_text()
    assert re.search(r"\d.*%", before)
    until("another value, without a reload", lambda: cpu.inner_text() != before, 60)
    page.screenshot(path=shots / "demo-device.png", full_page=True)
    page.goto(page.locator("a[href^='/series/']").first.evaluate("link => link.href"))
    page.wait_for_load_state("load")
    page.screenshot(path=shots / "demo-series.png")
    page.close()
    assert not complaints
    assert len(demo.processes()) > 5
    assert demo.interrupt() == 0
    assert "Everything is stopped" in demo.printed()
    until("no process left", lambda: not demo.processes(), 10)

    again = Demo(demo.folder, demo.port)
    try:
        again.wait_for("First sample stored")
        assert "account that you made" in again.printed()
    finally:
        assert again.interrupt() == 0
        until("no process left", lambda: not again.processes(), 10)
