"""``hutkeeper-agent install|uninstall``: the agent as a service of a machine, for those without Ansible.

Install can be repeated: what is so already stays. It notes what it made, and uninstall removes that and nothing else;
agent.toml and everything recorded stay unless purged. With ``root`` other than ``/`` (an image that is being built)
files and the user are made below it, and systemd's commands are shown instead of run.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from agent import settings
from agent.api import PluginError
from agent.settings import Settings
from agent.supervision import conf
from agent.wire.topics import HUB, is_id

USER = "hutkeeper"
HOME = Path("/var/lib/hutkeeper")
ETC = Path("/etc/hutkeeper")
UNIT = Path("/etc/systemd/system/hutkeeper-agent.service")
HUB_UNIT = Path("/etc/systemd/system/hutkeeper-hub.service")
MADE = HOME / "agent.installed.json"
GROUPS = ("dialout", "gpio", "i2c", "spi", "audio", "video", "bluetooth", "plugdev")
"""Who may use serial ports, pins and buses; those that this machine has."""
COMMAND_TIMEOUT_S = 60

STARTER = """\
# This device. hutkeeper-agent check says whether it is right; plugins: hutkeeper-agent plugins
[device]
id = "{device}"

[mqtt]
host = "localhost"            # the hub's machine; hutkeeper-agent pair HUB CODE sets up TLS

[plugins.host]                # the machine itself
"""

SERVICE = """\
# Made by hutkeeper-agent install; hutkeeper-agent uninstall removes it.
[Unit]
Description=Hutkeeper agent
Documentation=file:{etc}/agent.toml
# The network is not waited for: sensing does not need it.
After=local-fs.target
StartLimitIntervalSec=0

[Service]
User={user}
Group={user}
{runtime}# A refused agent.toml leaves the last good one: the start goes on.
ExecStartPre=-{agent} supervisor-conf --write --config {etc}/agent.toml
ExecStart={python} -m agent.supervision.supervisord -c {conf}
Restart=always
RestartSec=2
# mixed: supervisord ends its children in order (plugins, then uplink, which takes their last samples); whatever is
# left of the control group after it, also after a crash, is killed.
KillMode=mixed
Environment=HUTKEEPER_SERVICE=1
# Out of memory, the kernel takes others first, of ours the plugins first, and the rest goes on.
OOMScoreAdjust=-500
OOMPolicy=continue
TimeoutStopSec=30
NoNewPrivileges=yes
ProtectSystem=full
ProtectHome=read-only
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""

POLKIT = Path("/etc/polkit-1/rules.d/49-hutkeeper.rules")
MAY_REBOOT = f"""\
// The watchdog of hutkeeper-agent may restart this machine, in order and at most 3 times in 24 h (device.reboot).
polkit.addRule(function(action, subject) {{
    if (action.id.indexOf("org.freedesktop.login1.reboot") == 0 && subject.user == "{USER}") {{
        return polkit.Result.YES;
    }}
}});
"""

Echo = Callable[[str], object]


class InstallError(PluginError):
    """What is in the way and what to do, in one line."""


class Made(Struct):
    """What install made on this machine, for uninstall."""

    made: list[str] = []
    user: bool = False
    data_dir: str = str(HOME / "agent")


class Machine:
    """The machine below ``root``: its files, its users and its commands. Notes what it made."""

    def __init__(self, root: Path, echo: Echo) -> None:
        self.root = root
        self.echo = echo
        self.real = root.resolve() == Path("/")
        self.made: list[str] = []
        self.user_made = False

    def at(self, path: Path) -> Path:
        return self.root / path.relative_to("/")

    def run(self, *words: str, only_real: bool = False) -> None:
        """Run a command, or show it when it would touch the running machine instead of the image."""
        if only_real and not self.real:
            self.echo(f"  would run: {' '.join(words)}")
            return
        self.echo(f"  {' '.join(words)}")
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=COMMAND_TIMEOUT_S, check=False)
        except FileNotFoundError:
            raise InstallError(f"{words[0]} is not installed on this machine: apt install "
                               f"{'passwd' if 'user' in words[0] else 'systemd'}") from None
        except subprocess.TimeoutExpired:
            raise InstallError(f"{' '.join(words)}: no answer within {COMMAND_TIMEOUT_S} s") from None
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise InstallError(f"{' '.join(words)}: exit {done.returncode}: {reason}")

    def ids(self) -> tuple[int, int]:
        """uid and gid of our user on that machine."""
        for line in self._table("passwd"):
            if line[0] == USER:
                return int(line[2]), int(line[3])
        raise InstallError(f"the user {USER} is missing in {self.at(Path('/etc/passwd'))}")

    def has_user(self) -> bool:
        return any(line[0] == USER for line in self._table("passwd"))

    def groups(self) -> list[str]:
        return [line[0] for line in self._table("group")]

    def member_of(self) -> set[str]:
        return {line[0] for line in self._table("group") if len(line) > 3 and USER in line[3].split(",")}

    def _table(self, name: str) -> list[list[str]]:
        if self.real:  # also what is not in the files (LDAP)
            if name == "passwd":
                return [[item.pw_name, "x", str(item.pw_uid), str(item.pw_gid)] for item in pwd.getpwall()]
            return [[item.gr_name, "x", str(item.gr_gid), ",".join(item.gr_mem)] for item in grp.getgrall()]
        try:
            return [line.split(":") for line in self.at(Path("/etc") / name).read_text().splitlines() if ":" in line]
        except OSError:
            return []

    def folder(self, path: Path, mode: int, uid: int, gid: int) -> None:
        place = self.at(path)
        for parent in reversed([place, *place.parents]):
            if not parent.exists():
                parent.mkdir(mode=0o755)
                self.made.append("/" + str(parent.relative_to(self.root)))
                self.echo(f"  made {parent}")
        os.chmod(place, mode)
        if uid and place.stat().st_uid != uid:  # a new user after an uninstall: its data are its own again
            for inner in place.rglob("*"):
                os.chown(inner, uid, gid, follow_symlinks=False)
        os.chown(place, uid, gid)

    def file(self, path: Path, text: str, mode: int, uid: int, gid: int) -> bool:
        """Write it unless it is so already; True when it changed."""
        place = self.at(path)
        if place.exists() and place.read_text() == text:
            return False
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            self.made.append(str(path))
        scratch = place.with_name(place.name + ".new")
        scratch.write_text(text)
        os.chmod(scratch, mode)
        os.chown(scratch, uid, gid)
        scratch.replace(place)
        self.echo(f"  wrote {place}")
        return True


def install(config: Path | None, root: Path, echo: Echo) -> int:
    """Make the user, the folders and the unit, and start it. Raises InstallError, SettingsError; returns 0."""
    machine = Machine(root, echo)
    _must_be_root("install")
    own = machine.at(ETC / "agent.toml")
    source = config or (own if own.exists() else None)
    text = source.read_text() if source is not None and source.exists() else _starter()
    if config is not None and not config.exists():
        raise InstallError(f"{config} does not exist")
    loaded = settings.load(source) if source is not None else None  # a wrong one is refused before anything is made
    if machine.real:
        _must_be_readable_for_all(Path(sys.executable))
    if not machine.real and not machine.at(Path("/etc/passwd")).exists():
        raise InstallError(f"{root} holds no system (no etc/passwd), so no user can be made in it: "
                           "give --root the mounted root of an image")
    echo(f"Installing the agent below {root}:")
    earlier = _made_before(machine)
    _user(machine)
    uid, gid = machine.ids()
    machine.folder(HOME, 0o755, uid, gid)
    machine.folder(ETC, 0o750, 0, gid)
    if config is not None or not own.exists():
        machine.file(ETC / "agent.toml", text, 0o640, 0, gid)
    loaded = settings.load(own) if loaded is None else loaded
    data_dir = loaded.device.data_dir
    machine.folder(data_dir, 0o750, uid, gid)
    changed = machine.file(UNIT, unit(loaded), 0o644, 0, 0)
    if machine.at(POLKIT.parent).is_dir():
        machine.file(POLKIT, MAY_REBOOT, 0o644, 0, 0)
    made = Made(list(dict.fromkeys([*earlier.made, *machine.made])), machine.user_made or earlier.user, str(data_dir))
    machine.file(MADE, msgspec.json.format(msgspec.json.encode(made)).decode() + "\n", 0o644, 0, 0)
    if changed or not machine.real:
        machine.run("systemctl", "daemon-reload", only_real=True)
    machine.run("systemctl", "enable", "--now", UNIT.name, only_real=True)
    echo(f"Done. {ETC}/agent.toml says what this device does; sudo -u {USER} hutkeeper-agent check looks at it.")
    return 0


def unit(loaded: Settings) -> str:
    """The systemd unit for these settings."""
    run_dir = loaded.device.run_dir
    runtime = ""
    if run_dir.is_relative_to("/run"):
        runtime = f"RuntimeDirectory={run_dir.relative_to('/run')}\nRuntimeDirectoryMode=0750\n"
    return SERVICE.format(user=USER, etc=ETC, runtime=runtime, agent=" ".join(conf.executable()),
                          python=sys.executable, conf=run_dir / conf.CONF)


def uninstall(root: Path, echo: Echo, *, purge: bool = False) -> int:
    """Stop and remove what install made. Raises InstallError; returns 0."""
    machine = Machine(root, echo)
    _must_be_root("uninstall")
    made = _made_before(machine)
    if not machine.at(MADE).exists() and not machine.at(UNIT).exists():
        raise InstallError(f"the agent is not installed below {root} ({machine.at(UNIT)} is missing)")
    echo(f"Removing the agent below {root}:")
    if machine.at(UNIT).exists():
        machine.run("systemctl", "disable", "--now", UNIT.name, only_real=True)
        _remove(machine, UNIT)
        machine.run("systemctl", "daemon-reload", only_real=True)
    _remove(machine, POLKIT)
    _forget(machine)
    hub_stays = machine.at(HUB_UNIT).exists()
    if purge:
        _remove(machine, ETC / "agent.toml")
        _remove(machine, Path(made.data_dir))
    _remove(machine, MADE)
    for name in sorted(made.made, reverse=True):  # inner ones first; only empty ones go
        place = machine.at(Path(name))
        if place.is_dir() and not place.is_symlink() and not any(place.iterdir()):
            place.rmdir()
            echo(f"  removed {place}")
    if made.user and not hub_stays and machine.has_user():
        machine.run("userdel", *_prefix(machine), USER)
        if USER in machine.groups():  # userdel takes it along only where login.defs says so
            machine.run("groupdel", *_prefix(machine), USER)
    if not purge:
        echo(f"Done. {ETC}/agent.toml and {made.data_dir} are kept; uninstall --purge removes them too.")
    else:
        echo("Done.")
    return 0


def _forget(machine: Machine) -> None:
    """Take the device off its broker, as long as its settings and key are here; a broker that is away holds up
    nothing."""
    config = machine.at(ETC / "agent.toml")
    if not config.exists():
        return
    if not machine.real:
        machine.echo(f"  would run: hutkeeper-agent forget --config {ETC / 'agent.toml'}")
        return
    from agent.uplink.forget import forget  # paho is loaded by those who need it

    try:
        gone = forget(settings.load(config))
    except PluginError as error:
        machine.echo(f"  this device is not taken off its broker: {error}")
    else:
        machine.echo(f"  cleared {len(gone.cleared)} retained topics of {gone.device} on {gone.broker}")


def _remove(machine: Machine, path: Path) -> None:
    place = machine.at(path)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    elif place.exists() or place.is_symlink():
        place.unlink()
    else:
        return
    machine.echo(f"  removed {place}")


def _user(machine: Machine) -> None:
    if not machine.has_user():
        group = ("--gid", USER) if USER in machine.groups() else ("--user-group",)
        machine.run("useradd", *_prefix(machine), "--system", *group, "--home-dir", str(HOME), "--shell",
                    "/usr/sbin/nologin", USER)
        machine.user_made = True
    missing = [name for name in GROUPS if name in machine.groups() and name not in machine.member_of()]
    if missing:
        machine.run("usermod", *_prefix(machine), "--append", "--groups", ",".join(missing), USER)


def _prefix(machine: Machine) -> list[str]:
    return [] if machine.real else ["--prefix", str(machine.root)]


def _made_before(machine: Machine) -> Made:
    try:
        return msgspec.json.decode(machine.at(MADE).read_bytes(), type=Made)
    except (OSError, msgspec.DecodeError):
        return Made()


def _starter() -> str:
    name = socket.gethostname().split(".")[0].lower()
    return STARTER.format(device=name if is_id(name) and name != HUB else "this-machine")


def _must_be_root(verb: str) -> None:
    if os.geteuid() != 0:
        raise InstallError(f"{verb} changes the machine: sudo hutkeeper-agent {verb}")


def _must_be_readable_for_all(program: Path) -> None:
    """The service runs as its own user: a virtual environment below /root or a closed home is not for it."""
    for folder in program.resolve().parents:
        if not folder.stat().st_mode & 0o001:
            raise InstallError(f"{program} lies below {folder}, which the user {USER} may not enter: install into "
                               "/opt (python3 -m venv /opt/hutkeeper; /opt/hutkeeper/bin/pip install hutkeeper)")
