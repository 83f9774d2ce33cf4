"""``check`` against real ports, real holders, a real broker socket and wrong permissions."""

from __future__ import annotations

import grp
import os
import pty
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import check, settings
from agent.check import Finding
from agent.clock import FLOOR_US, ClockState, Sources
from agent.simpins import SimPins
from tests.agent.supervision.device import STAND_INS

HEAD = '[device]\nid = "bench"\ndata_dir = "data"\nrun_dir = "run"\nclock = "trust"\n'


@pytest.fixture
def port() -> Iterator[str]:
    """A serial device that is there: the slave side of a pty."""
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    yield name
    os.close(master)


def findings(folder: Path, plugins: str, *, hardware: bool = True) -> list[Finding]:
    (folder / "agent.toml").write_text(HEAD + plugins)
    return check.check(folder / "agent.toml", hardware=hardware)


def problems(found: list[Finding], subject: str) -> list[str]:
    return [item.message for item in found if item.subject == subject and item.level == "problem"]


def meter(port: str, name: str = "main-meter") -> str:
    return f'[plugins.{name}]\nuse = "power_meter"\nport = "{port}"\n'


def test_a_port_that_is_there_and_free(tmp_path: Path, port: str) -> None:
    found = findings(tmp_path, meter(port))
    assert Finding("ok", "plugins.main-meter", f"{port} is there and free") in found


def test_a_missing_port_is_named_with_the_key_to_set(tmp_path: Path) -> None:
    (message,) = problems(findings(tmp_path, meter("/dev/ttyNOTHERE")), "plugins.main-meter")
    assert message.startswith("/dev/ttyNOTHERE is missing: plug it in, or set plugins.main-meter.port (")


def test_a_port_that_is_a_file_is_no_device(tmp_path: Path) -> None:
    (tmp_path / "capture.bin").touch()
    (message,) = problems(findings(tmp_path, meter(str(tmp_path / "capture.bin"))), "plugins.main-meter")
    assert "is no device: set plugins.main-meter.port" in message


def test_a_port_held_by_another_process_names_it(tmp_path: Path, port: str) -> None:
    script = f"import os, time; os.open({port!r}, os.O_RDWR | os.O_NOCTTY); print('open', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == b"open\n"
            (message,) = problems(findings(tmp_path, meter(port)), "plugins.main-meter")
        finally:
            holder.kill()
    assert f"(process {holder.pid}): stop it, or set plugins.main-meter.port to another port" in message
    assert message.startswith(f"{port} is held by python")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to take a right away and become another user")
def test_a_port_without_permission_names_the_group(tmp_path: Path, port: str) -> None:
    os.chown(port, 0, grp.getgrnam("dialout").gr_gid)
    os.chmod(port, 0o660)
    script = (f"import os; from pathlib import Path; from agent.check import port_finding\n"
              f"os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
              f"print(port_finding('plugins.x', 'plugins.x.port', Path({port!r})).message)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == (f"{port}: no permission for user nobody: sudo usermod -aG dialout nobody, "
                           "then log in again\n"), done.stderr


def test_two_plugins_on_one_port_are_told(tmp_path: Path, port: str) -> None:
    (tmp_path / "by-id").symlink_to(port)
    found = findings(tmp_path, meter(port) + meter(str(tmp_path / "by-id"), "second"), hardware=False)
    assert problems(found, "config") == [
        f"agent.toml: plugins.main-meter and plugins.second use the same port {port}: only one of them can have it"]


def test_config_problems_of_every_plugin_are_listed_at_once(tmp_path: Path) -> None:
    three = '[plugins.a]\nuse = "hots"\n[plugins.host]\nintervall_s = 5\n[plugins.c]\nuse = "host"\n'
    found = findings(tmp_path, three, hardware=False)
    told = problems(found, "config")
    assert told[0].startswith('agent.toml: plugins.a: use = "hots": no such plugin, did you mean host?')
    assert told[1] == "agent.toml: plugins.host.intervall_s: unknown key, did you mean interval_s? (agent.toml:9)"
    assert Finding("ok", "plugins.c", "host") in found


def test_a_file_that_cannot_be_read_is_the_only_finding(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text("[device\n")
    (found,) = check.check(tmp_path / "agent.toml")
    assert (found.level, found.subject) == ("problem", "config") and found.message.startswith("agent.toml:1: ")


def test_the_broker_answers_or_not(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        number = server.getsockname()[1]
        mqtt = f'[mqtt]\nhost = "127.0.0.1"\nport = {number}\n'
        assert Finding("ok", "mqtt", f"127.0.0.1:{number} answers") in findings(tmp_path, mqtt)
    (message,) = problems(findings(tmp_path, mqtt), "mqtt")
    assert message.startswith(f"127.0.0.1:{number}: Connection refused: is the broker running")


def test_tls_files_are_looked_at_before_the_network(tmp_path: Path) -> None:
    (message,) = problems(findings(tmp_path, '[mqtt]\nhost = "hub.invalid"\n'), "mqtt")
    assert message == (f"mqtt.ca: {tmp_path}/data/tls/ca.pem is missing: hutkeeper-agent pair hub.invalid CODE, "
                       "or set its path")


def test_a_host_that_is_not_known(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").touch()
    files = 'ca = "ca.pem"\ncert = "cert.pem"\nkey = "key.pem"\n'
    (message,) = problems(findings(tmp_path, f'[mqtt]\nhost = "hub.invalid"\n{files}'), "mqtt")
    assert message == "hub.invalid is not known: check mqtt.host and the name server"


def test_a_plain_broker_behind_the_tls_port_is_told(tmp_path: Path) -> None:
    import threading

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(100)
                client.sendall(b"\x20\x02\x00\x00 no tls here")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        (tmp_path / "agent.toml").write_text(
            HEAD + f'[mqtt]\nhost = "127.0.0.1"\nport = {server.getsockname()[1]}\nusername = "x"\ntls = true\n')
        loaded = settings.load(tmp_path / "agent.toml")
        ca = tmp_path / "data/tls/ca.pem"
        ca.parent.mkdir(parents=True)
        make_ca(ca)
        (found,) = check._broker(loaded)
        thread.join(5)
    assert found.level == "problem" and "TLS fails" in found.message


def make_ca(path: Path) -> None:
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", str(path.with_suffix(".key")), "-out", str(path), "-subj", "/CN=test", "-days", "2"],
                   check=True, capture_output=True, timeout=30)


def test_too_little_disk_for_the_spool(tmp_path: Path) -> None:
    (message,) = problems(findings(tmp_path, f"[spool]\nmax_bytes = {1 << 40}\n"), "disk")
    assert "less than spool.max_bytes and 100 MiB more: free some, or lower spool.max_bytes" in message


def clock_finding(tmp_path: Path, wall_us: int, *, synchronised: bool, mode: str = "auto") -> Finding:
    (tmp_path / "agent.toml").write_text(HEAD)
    sources = Sources(boot=lambda: "b", boottime_us=lambda: 5, wall_us=lambda: wall_us,
                      synchronised=lambda: synchronised)
    (found,) = check._clock(settings.load(tmp_path / "agent.toml"), ClockState(mode, sources))
    return found


@pytest.mark.parametrize(("wall_us", "synchronised", "mode", "level", "text"), [
    (FLOOR_US + 10**12, True, "auto", "ok", "synchronised"),
    (FLOOR_US + 10**12, False, "auto", "problem", "not synchronised"),
    (FLOOR_US + 10**12, False, "trust", "info", "taken as right"),
    (86_400_000_000, True, "auto", "problem", "the clock says 1970-01-02"),
])
def test_the_clock(tmp_path: Path, wall_us: int, synchronised: bool, mode: str, level: str, text: str) -> None:
    found = clock_finding(tmp_path, wall_us, synchronised=synchronised, mode=mode)
    assert found.level == level and found.message.startswith(text)


def test_who_shares_a_process_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(STAND_INS))
    two = '[plugins.a]\nuse = "stand_in"\nprocess = "quiet"\n[plugins.b]\nuse = "stand_in"\nprocess = "quiet"\n'
    shared = [item.message for item in findings(tmp_path, two, hardware=False) if item.subject == "processes"]
    assert shared == ["a, b share one process (quiet): what ends one of them ends them all"]


def test_folders_that_are_not_ours(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        read_only = Path("/proc/1")  # also root cannot make a folder there
        if os.access(read_only, os.W_OK):
            pytest.skip("this root may write everywhere")
    else:
        read_only = tmp_path / "closed"
        read_only.mkdir(mode=0o500)
    (tmp_path / "agent.toml").write_text(HEAD.replace('"data"', f'"{read_only}/data"'))
    told = problems(check.check(tmp_path / "agent.toml"), "device")
    assert len(told) == 1 and told[0].startswith("device.data_dir: user ")


def test_the_agents_own_plugin_may_hold_its_port(tmp_path: Path, port: str) -> None:
    """A running agent is not told to stop itself."""
    fake = tmp_path / "hutkeeper-agent"
    fake.write_text(f"import os, sys, time\nos.open({port!r}, os.O_RDWR | os.O_NOCTTY)\n"
                    "print('open', flush=True)\ntime.sleep(60)\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    with subprocess.Popen([sys.executable, str(fake), "plugin", "main-meter"], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == b"open\n"
            time.sleep(0.05)
            found: Any = findings(tmp_path, meter(port))
        finally:
            holder.kill()
    assert problems(found, "plugins.main-meter") == []


def test_input_pins_are_looked_at(tmp_path: Path) -> None:
    """A machine without pins says so; simulated ones stand for real ones that are free."""
    water = '[plugins.water]\nuse = "water_meter"\nline = "{line}"\n'
    with SimPins("meter") as pins:
        line = pins.line("meter")
        found = findings(tmp_path, water.format(line=line))
        assert Finding("ok", "plugins.water", f"{line}: there and free") in found, found
    (message,) = problems(findings(tmp_path, water.format(line="gpiochip99/3")), "plugins.water")
    assert message.startswith("E_GPIO gpiochip99/3") and "gpiochip99" in message and "do:" in message
    places = '[plugins.pir]\n[plugins.pir.sensors]\nhall = "gpiochip99/4"\n'
    assert "gpiochip99/4" in problems(findings(tmp_path, places), "plugins.pir")[0]
    board = '[plugins.pir]\nport = "/dev/ttyNOTHERE"\n[plugins.pir.sensors]\nhall = "PIR1"\n'
    (message,) = problems(findings(tmp_path, board), "plugins.pir")
    assert message.startswith("/dev/ttyNOTHERE is missing")


def test_the_configuration_that_install_writes_is_looked_at(tmp_path: Path) -> None:
    found = findings(tmp_path, '[plugins.host]\nuse = "host"\n')
    assert [one.level for one in found if one.subject == "plugins.host"] == ["ok"]


def test_whom_a_plugin_listens_to_and_is_not_there_is_named(tmp_path: Path) -> None:
    """A typing error there is silence for ever: the valve would never hear of a burst."""
    found = findings(tmp_path, """
inputs = ["annex/bedroom/heat_demand"]
[plugins.voice]
use = "announcer"
listen = ["shedule", "schedule"]
[plugins.schedule]
use = "schedule"
presence = "badges-keys"
phrases = "/nowhere/phrases.toml"
[plugins.badges]
use = "ble"
[plugins.lamp]
use = "night_light"
relay = { driver = "plain", line = "GPIO17" }
sensor = "light/illuminance_lx"
[plugins.valve]
use = "water_valve"
relay = { driver = "plain", line = "GPIO18" }
water = "annex/water"
[plugins.boiler]
use = "boiler_demand"
relay = { driver = "plain", line = "GPIO19" }
heaters = ["annex/bedroom", "annex/attic"]
""")
    (voice,) = problems(found, "plugins.voice")
    assert voice == "it listens to shedule, and there is no [plugins.shedule] here: did you mean schedule?"
    (phrases,) = problems(found, "plugins.schedule")  # badges-keys is a node of [plugins.badges]
    assert "/nowhere/phrases.toml" in phrases
    assert "it listens to light, and there is no [plugins.light] here: add it, or correct the name" in problems(
        found, "plugins.lamp")
    assert any('inputs = ["annex/water/<property>"]' in text for text in problems(found, "plugins.valve"))
    heard = [text for text in problems(found, "plugins.boiler") if "listens" in text]
    assert len(heard) == 1 and "annex/attic" in heard[0]
