"""``make demo``: the hub with its embedded broker and a house of five devices, until Ctrl-C.

The first device is this machine with its real numbers; the others have simulated sensors (provisioning.demo_house).
Everything lives in ``.demo/`` and is kept from one start to the next; ``make demo`` again goes on where it stopped. The
processes are the ones of production: ``hutkeeper-hub run`` and ``hutkeeper-agent run``, one for each device.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

from agent.wire import topics
from provisioning import demo_house

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PR_SET_PDEATHSIG = 1
START_S = 60.0
STOP_S = 20.0
PATIENCE_S = 15.0
"""So long the other devices wait for this machine's first sample."""
MAX_FLEET = 100

HUB_TOML = """\
# The demo's hub, written anew at every `make demo`.
[hub]
name = "Demo"
data_dir = "{data}/hub"
run_dir = "{run}/h"

[broker]                        # embedded: no [mqtt] host
port = {mqtt_port}

[web]
host = "127.0.0.1"
port = {port}
"""


CHANNELS = """
[[notify.channel]]              # by the simulated stick: see the page Who is told
name = "sms"
modem = "garage/modem"
to = ["+33600000001"]
"""


class DemoError(Exception):
    """What is in the way and what to do, in one line."""


def holder_of(port: int) -> str:
    """Who listens on a TCP port of this machine, as ``name (process n)``, as far as we may see."""
    with contextlib.suppress(psutil.Error):
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid:
                return f"{psutil.Process(one.pid).name()} (process {one.pid})"
    return "another program"


def must_be_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise DemoError(f"port {port} needs root: choose one above 1023, e.g.  make demo PORT=18080") from None
        except OSError:
            raise DemoError(
                f"port {port} is taken by {holder_of(port)}: stop it, or choose another:  make demo PORT={port + 10000}"
            ) from None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def device_id() -> str:
    """This machine's host name as a device id."""
    text = re.sub("[^a-z0-9]+", "-", socket.gethostname().split(".")[0].lower()).strip("-")[:40]
    return text if topics.is_id(text) and text != topics.HUB else "this-machine"


def run_dir(port: int) -> Path:
    """A short path for unix sockets, ours alone."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"hutkeeper-{os.getuid()}-{port}"
    base.mkdir(mode=0o700, exist_ok=True)
    if base.stat().st_uid != os.getuid():
        raise DemoError(f"{base} belongs to somebody else: remove it, or choose another port:  make demo PORT=18080")
    return base


def die_with_parent() -> None:
    """In the child: never outlive the demo (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def start(log: Path, *command: str) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(
            [str(BIN / command[0]), *command[1:]], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True, preexec_fn=die_with_parent,
        )


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """SIGTERM to each, then SIGKILL to the groups of those that did not listen."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + STOP_S
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def tail(log: Path, lines: int = 15) -> str:
    return "\n".join("    " + line for line in log.read_text(errors="replace").splitlines()[-lines:])


def wait_for_page(address: str, watched: dict[Path, subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + START_S
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # http_proxy is not for this machine
    while time.monotonic() < deadline:
        for log, process in watched.items():
            if process.poll() is not None:
                raise DemoError(f"a process ended at once, the end of its log {log}:\n{tail(log)}")
        try:
            with direct.open(f"{address}/alive", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    log = next(iter(watched))
    raise DemoError(f"the page did not come up within {START_S:.0f} s, the end of {log}:\n{tail(log)}")


def has_value(status: Path) -> bool:
    """True once a sample of this agent was stored by the hub and receipted."""
    try:
        return int(json.loads(status.read_text())["ledger"]["receipted"]) > 0
    except (OSError, ValueError, KeyError, TypeError):
        return False


def affordable(wanted: int) -> int:
    """How many devices this machine's memory has room for, at least one."""
    return max(1, min(wanted, 1 + psutil.virtual_memory().available // 2 // demo_house.BYTES_EACH))


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="port of the page (default 8080)")
    parser.add_argument("--fleet", type=int, default=5, help="how many devices (default 5)")
    parser.add_argument("--dir", type=Path, default=ROOT / ".demo", help="where the demo keeps its data")
    arguments = parser.parse_args()
    port, data = arguments.port, arguments.dir.resolve()
    began = time.monotonic()
    stopping = False

    def interrupted(signum: int, frame: object) -> None:
        nonlocal stopping
        stopping = True

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, interrupted)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        must_be_free(port)
        sockets = run_dir(port)
        data.mkdir(exist_ok=True)
        if not 1 <= arguments.fleet <= MAX_FLEET:
            raise DemoError(f"FLEET={arguments.fleet}: expected 1 to {MAX_FLEET} devices")
        count = affordable(arguments.fleet)
        mqtt_port = free_port()
        house = list(demo_house.devices(count, device_id(), socket.gethostname().split(".")[0], data=data, run=sockets,
                                        mqtt_port=mqtt_port))
        hub_toml = data / "hub.toml"
        hub_toml.write_text(HUB_TOML.format(data=data, run=sockets, port=port, mqtt_port=mqtt_port)
                            + (CHANNELS if any("[plugins.modem]" in one.toml for one in house) else ""))
        watched = {data / "hub.log": start(data / "hub.log", "hutkeeper-hub", "run", "--config", str(hub_toml))}
        processes += watched.values()
        waiting = [(one, data / f"{one.folder}.toml", data / f"{one.folder}.log") for one in house]
        for one, toml, _ in waiting:
            toml.write_text(one.toml)

        def start_next() -> None:
            _, toml, log = waiting.pop(0)
            watched[log] = start(log, "hutkeeper-agent", "run", "--config", str(toml))
            processes.append(watched[log])

        start_next()
        address = f"http://127.0.0.1:{port}"
        wait_for_page(address, watched)
        code = subprocess.run(
            [str(BIN / "hutkeeper-hub"), "user", "first-code", "--config", str(hub_toml)],
            capture_output=True, text=True, timeout=30,
        ).stdout.strip()
        print(f"\n  Hutkeeper is at   {address}   (ready after {time.monotonic() - began:.1f} s)")
        print(f"  {code}\n" if code else "  Log in with the account that you made.\n")
        more = f"; its meter and {count - 1} more devices are" if count > 1 else "; its meter is"
        print(f"  This machine is the device {house[0].id!r}{more} simulated.")
        if count < arguments.fleet:
            print(f"  Memory is short here: {count} devices and not {arguments.fleet}.")
        print(f"  Logs: {data}/*.log.  Ctrl-C ends everything.\n", flush=True)
        told = False
        while not stopping:
            for log, process in watched.items():
                if process.poll() is not None:
                    raise DemoError(f"a process ended, the end of its log {log}:\n{tail(log)}")
            if not told and has_value(sockets / "a" / "status.json"):
                told = True
                print(f"  First sample stored after {time.monotonic() - began:.1f} s.", flush=True)
            if waiting and (told or time.monotonic() - began > PATIENCE_S):  # this machine first, then the others
                start_next()
                if not waiting:
                    print(f"  All {len(house)} devices are started.", flush=True)
            time.sleep(0.2)
        return 0
    except DemoError as error:
        print(f"make demo: {error}", file=sys.stderr)
        return 1
    finally:
        stop(processes)
        if processes:
            print("  Everything is stopped.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
