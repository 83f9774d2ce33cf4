"""``sudo hutkeeper-hub install | uninstall``: user, folders, hub.toml, a systemd unit. For those without Ansible.

Everything is said before it is done, nothing that exists is overwritten, a second run changes nothing. With ``--root``
files are written below that folder and commands are only shown (images, tests).
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hub import settings as hub_settings
from hub.broker.child import find_mosquitto

USER = "hutkeeper-hub"
UNIT = "hutkeeper-hub.service"
DATA = Path("/var/lib/hutkeeper/hub")
COMMAND_S = 90.0

HUB_TOML = """\
# The hub of this house. Every key: the README, "hub.toml".
[hub]
name = "{name}"

# [mqtt]                  # another machine's broker; without it the hub runs its own
# host = "bc-hq.local"

[broker]
# port = 1883             # plain MQTT, this machine only
# tls_port = 8883         # devices, by certificate (hutkeeper-hub pair-code)
# names = ["basecamp.example"]

[web]
host = "0.0.0.0"          # https with the hub's own certificate; "127.0.0.1": this machine only
port = 8080

[retention]
raw_days = 90
minute_days = 400

# [[notify.channel]]      # who is told when something is wrong; a test is on the page Who is told
# name = "push"
# url_file = "push.url"   # chmod 600, one line: ntfys://ntfy.sh/your-topic, pover://USER@TOKEN, mailtos://...
# [[notify.channel]]
# name = "sms"
# modem = "bc-watch/sms"  # <device>/<node> of the plugin modem
# to = ["+33612345678"]
# [notify]
# quiet_hours = "22:00-07:00"
# [heartbeat]
# url_file = "heartbeat.url"      # called while this hub works: whoever keeps it notices a dead hub

# [energy]                # what a kilowatt-hour costs: pages of days and months
# timezone = "Europe/Paris"
# [[energy.tariff]]
# since = 2026-01-01
# import_per_kwh = 0.25   # or by the meter's registers: {{ peak = 0.27, off_peak = 0.2068 }}
# standing_per_day = 0.52

# [[broker.foreign]]      # topics of Tasmota, Zigbee2MQTT, ... that a device may hear and speak to
# device = "garage"
# read = ["tele/#", "zigbee2mqtt/#"]
# write = ["cmnd/#", "zigbee2mqtt/+/set"]

# [mirror]
# homie4 = true           # every device once more as Homie 4, which openHAB reads
"""

SERVICE = """\
# Written by hutkeeper-hub install.
[Unit]
Description=Hutkeeper hub: broker, store and pages
After=network.target
# no requirement of another service, and never "start limit hit": a hub that cannot start tries again
StartLimitIntervalSec=0

[Service]
User={user}
Group={user}
ExecStart={program} run --config /etc/hutkeeper/hub.toml
Restart=always
RestartSec=2
KillMode=control-group
# Out of memory, the kernel takes pages and plugins first, and the rest goes on.
OOMScoreAdjust=-200
OOMPolicy=continue
TimeoutStopSec=30
UMask=0027
RuntimeDirectory=hutkeeper-hub
RuntimeDirectoryMode=0750
NoNewPrivileges=true
PrivateTmp=true
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={data}
LimitNOFILE=65536
{capabilities}
[Install]
WantedBy=multi-user.target
"""


class InstallError(RuntimeError):
    """What stands in the way, and what to do, in one line."""


class Machine:
    """``/`` or the folder that stands for it; ``say`` gets one line for each thing done."""

    def __init__(self, root: Path, say: Callable[[str], object]) -> None:
        self.root = root.absolute()
        self.real = self.root == Path("/")
        self.say = say
        if self.real and os.geteuid() != 0:
            raise InstallError("this needs root: sudo hutkeeper-hub install (or --root DIR to look at the files first)")

    def path(self, absolute: str | Path) -> Path:
        return self.root / str(absolute).lstrip("/")

    def run(self, *command: str, may_fail: bool = False) -> None:
        """Raises InstallError unless ``may_fail``."""
        if not self.real:
            self.say(f"would run: {' '.join(command)}")
            return
        self.say(f"run: {' '.join(command)}")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            if not may_fail:
                raise InstallError(f"{command[0]}: {error}") from None
            return
        if done.returncode and not may_fail:
            words = (done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"]
            raise InstallError(f"{' '.join(command)}: {words[-1]}")

    def folder(self, absolute: Path, mode: int, owner: str | None = None) -> None:
        path = self.path(absolute)
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
        path.chmod(mode)
        if owner is not None and self.real:
            shutil.chown(path, owner, owner)
        self.say(f"folder {path} (mode {mode:o}{f', {owner}' if owner else ''})")

    def file(self, absolute: Path, text: str, mode: int, *, keep: bool) -> bool:
        """Write a file; ``keep``: never over one that is there. True when it changed."""
        path = self.path(absolute)
        if path.exists() and (keep or path.read_text() == text):
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_text(text)
        part.chmod(mode)
        part.rename(path)
        self.say(f"file {path}")
        return True

    @property
    def systemd(self) -> bool:
        return not self.real or Path("/run/systemd/system").is_dir()


def program() -> Path:
    """The command of this installation."""
    return Path(sys.executable).parent / "hutkeeper-hub"


def reachable_by_all(path: Path) -> Path | None:
    """None when every user may run ``path``, else the folder or file that keeps others out."""
    for part in (path, *path.parents):
        if not part.stat().st_mode & stat.S_IXOTH:
            return part
    return None


def debian_broker(machine: Machine) -> bool:
    """True when Debian's own mosquitto.service starts at boot (it listens on 1883)."""
    wanted = machine.path("/etc/systemd/system/multi-user.target.wants/mosquitto.service")
    masked = machine.path("/etc/systemd/system/mosquitto.service")
    return wanted.is_symlink() and not (masked.is_symlink() and os.readlink(masked) == "/dev/null")


def user_exists() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


def install(root: Path, say: Callable[[str], object], name: str = "Hutkeeper") -> None:
    """Make everything and start the hub now and at every boot. Raises InstallError, SettingsError, OSError."""
    machine = Machine(root, say)
    command = program()
    if machine.real and (closed := reachable_by_all(command)):
        raise InstallError(f"{command}: the user {USER} cannot reach it because of {closed}: install hutkeeper where"
                           " every user may read, e.g. python3 -m venv /opt/hutkeeper")
    if not machine.real or not user_exists():
        machine.run("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", str(DATA),
                    "--shell", "/usr/sbin/nologin", USER)
    machine.folder(Path("/etc/hutkeeper"), 0o755)
    machine.file(hub_settings.DEFAULT_PATH, HUB_TOML.format(name=name), 0o644, keep=True)
    settings = hub_settings.load(machine.path(hub_settings.DEFAULT_PATH))
    data = settings.hub.data_dir
    machine.folder(data.parent, 0o755)
    machine.folder(data, 0o700, USER)
    ports = [settings.web.port] + ([settings.broker.port, settings.broker.tls_port] if settings.embedded_broker else [])
    low = "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" if min(ports) < 1024 else ""
    machine.file(Path("/etc/systemd/system") / UNIT,
                 SERVICE.format(user=USER, program=command, data=data, capabilities=low), 0o644, keep=False)
    if settings.embedded_broker:
        broker_hints(machine, settings.broker.port)
    if machine.systemd:
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "enable", UNIT)
        machine.run("systemctl", "restart", UNIT)
    else:
        say(f"systemd does not run here; start it with: {command} run --config {hub_settings.DEFAULT_PATH}")
    say("first admin: sudo hutkeeper-hub user first-code    each device: sudo hutkeeper-hub pair-code")


def broker_hints(machine: Machine, port: int) -> None:
    """What a person has to do about Mosquitto; never done silently: both are somebody's system."""
    if find_mosquitto() is None:
        machine.say("to do: Mosquitto is missing: sudo apt-get install --no-install-recommends mosquitto")
    if port == 1883 and debian_broker(machine):
        machine.say("to do: Debian's own mosquitto.service takes port 1883 at boot: sudo systemctl mask --now mosquitto"
                    " (or set [broker] port in hub.toml; or use it: [mqtt] host = \"localhost\")")


def uninstall(root: Path, say: Callable[[str], object], *, purge: bool = False) -> None:
    """Remove what :func:`install` made. hub.toml and the data stay unless ``purge``. Raises InstallError, OSError."""
    machine = Machine(root, say)
    unit = machine.path(Path("/etc/systemd/system") / UNIT)
    if machine.systemd:
        machine.run("systemctl", "disable", "--now", UNIT, may_fail=True)
    if unit.exists():
        unit.unlink()
        say(f"removed {unit}")
    if machine.systemd:
        machine.run("systemctl", "daemon-reload", may_fail=True)
    toml = machine.path(hub_settings.DEFAULT_PATH)
    data = hub_settings.load(toml).hub.data_dir if toml.exists() else DATA
    if not purge:
        say(f"kept: {toml} and {machine.path(data)} (--purge removes them)")
        return
    if len(data.parts) < 4:
        raise InstallError(f"[hub] data_dir is {data}: too near the root to be removed whole, remove the hub's files by"
                           " hand")
    for path in (machine.path(data), toml):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        else:
            continue
        say(f"removed {path}")
    if not machine.real or user_exists():
        machine.run("userdel", USER, may_fail=True)
