"""``hutkeeper-agent check``: is agent.toml right, and is the machine as it says? One finding a line, with its way out.

Looks at the configuration first, then at what only this machine knows: serial ports (missing, held by another process,
not permitted), the broker, TLS files, disk, clock, and who shares a process.
"""

from __future__ import annotations

import difflib
import grp
import os
import re
import shutil
import socket
import ssl
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from agent import loader, settings
from agent.api import ConfigError, Plugin
from agent.clock import FLOOR_US, ClockState
from agent.ports import holders_of, others, user_name
from agent.settings import PluginEntry, Settings, SettingsError
from agent.supervision.plan import plan

Level = Literal["ok", "info", "problem"]
CONNECT_TIMEOUT_S = 5.0
LOW_DISK_BYTES = 100 << 20
PIN = re.compile(r"GPIO\w+|gpiochip\d+/\d+|sim:.+")


class Finding(Struct, frozen=True):
    """One thing that was looked at."""

    level: Level
    subject: str
    """``config``, ``plugins.main-meter``, ``mqtt``, ``disk``, ``clock``, ``processes``"""
    message: str


def check(path: Path, *, hardware: bool = True) -> list[Finding]:
    """Everything there is to say about this agent.toml on this machine. Never raises for what it finds."""
    try:
        loaded = settings.load(path)
    except SettingsError as error:
        return [Finding("problem", "config", str(error))]
    findings = [Finding("ok", "config", f"{path}: device {loaded.device.id}, {len(loaded.plugins)} plugins")]
    for entry in loaded.plugins.values():
        findings += _plugin(entry, loaded, hardware=hardware)
    findings += _sharing(loaded)
    findings += _same_port(loaded)
    if hardware:
        for looked in (_hardware_watchdog, _broker, _disk, _clock, _folders):
            findings += looked(loaded)
    return findings


def _plugin(entry: PluginEntry, loaded: Settings, *, hardware: bool) -> Iterator[Finding]:
    subject = f"plugins.{entry.id}"
    if not entry.enabled:
        yield Finding("info", subject, "disabled")
        return
    try:
        kind = loader.load(entry.use)
        config = settings.plugin_config(entry, kind)
    except SettingsError as error:
        yield Finding("problem", "config", str(error))
        return
    except ConfigError as error:
        yield Finding("problem", "config", f"{loaded.path.name}: {subject}: {error}")
        return
    deaf = list(_unheard(loaded, subject, kind.hears(config)))
    if entry.simulate:
        yield Finding("info", subject, f"{entry.use}: simulated, the real device is not touched")
        return
    found = deaf
    if hardware:
        found += [port_finding(subject, f"{subject}.{key}", port) for key, port in serial_ports(config)]
        found += pins(subject, input_lines(config))
        if kind.actuator:
            from agent.guard import look

            found += [Finding("problem", subject, text) for text in look.problems(config.relay, kind.duty(config))]
        found += [Finding("problem", subject, text) for text in kind.look(config, Path("/"))]
    yield from found or [Finding("ok", subject, entry.use)]


def _unheard(loaded: Settings, subject: str, topics: Iterable[str]) -> Iterator[Finding]:
    """Whom a plugin listens to that never says anything here: a typing error would be silence for ever."""
    for topic in dict.fromkeys(topics):
        lane, _, place = topic.partition("/")
        if lane == "now" and not any(place == id_ or place.startswith(f"{id_}-") for id_ in loaded.plugins):
            near = difflib.get_close_matches(place, loaded.plugins, 1)
            yield Finding("problem", subject, f"it listens to {place}, and there is no [plugins.{place}] here: " + (
                f"did you mean {near[0]}?" if near else "add it, or correct the name"))
        elif lane == "live" and not any(one.startswith(f"{place}/") for one in loaded.device.inputs):
            yield Finding("problem", subject, f"it listens to {place}, of which nothing is in device.inputs: add "
                          f'inputs = ["{place}/<property>"] here, and publish_live there')


def serial_ports(config: Any) -> list[tuple[str, Path]]:
    """(key, path) of what a Config opens below /dev: fields named ``port``, ``device`` or ``..._port``."""
    if not isinstance(config, Struct):
        return []
    values = msgspec.structs.asdict(config)
    return [(key, Path(value)) for key, value in values.items()
            if (key in ("port", "device") or key.endswith(("_port", "_device")))
            and isinstance(value, str | Path) and str(value).startswith("/")]


def input_lines(config: Any) -> list[str]:
    """Input pins that a Config names: fields ``line`` and ``..._line``, and tables of places with a pin each."""
    if not isinstance(config, Struct):
        return []
    found: list[str] = []
    for key, value in msgspec.structs.asdict(config).items():
        if isinstance(value, str) and (key == "line" or key.endswith("_line")):
            found.append(value)
        elif isinstance(value, dict):
            found += [pin for pin in value.values() if isinstance(pin, str) and PIN.fullmatch(pin)]
    return found


def pins(subject: str, lines: list[str]) -> list[Finding]:
    """Opens them for a moment: missing, not permitted (names the group), held (names the holder), or free."""
    if not lines:
        return []
    from agent.runner.gpio import EdgeSource
    from agent.runner.gpio_lines import CONSUMER, GpioTrouble
    from agent.runner.logs import CappedLog

    names = ", ".join(lines)
    try:
        EdgeSource(tuple(lines), "none", False, CappedLog()).close()
    except GpioTrouble as error:
        if f"held by {CONSUMER}" in str(error):  # the agent that runs
            return [Finding("ok", subject, f"{names}: in use by the agent itself")]
        return [Finding("problem", subject, str(error))]
    except ConfigError as error:
        return [Finding("problem", subject, str(error))]
    return [Finding("ok", subject, f"{names}: there and free")]


def port_finding(subject: str, key: str, port: Path) -> Finding:
    """Missing, no device, not permitted (names the group), held (names the process), or free."""
    try:
        mode = port.stat()
    except FileNotFoundError:
        return Finding("problem", subject, f"{port} is missing: plug it in, or set {key}{_ports_hint(port)}")
    except OSError as error:
        return Finding("problem", subject, f"{port}: {error.strerror}")
    if not stat.S_ISCHR(mode.st_mode):
        return Finding("problem", subject, f"{port} is no device: set {key}{_ports_hint(port)}")
    if not os.access(port, os.R_OK | os.W_OK):
        return Finding("problem", subject, f"{port}: no permission for user {user_name()}: {_permission_hint(mode)}")
    holders = holders_of(port, but_agent=True)
    if holders:
        return Finding("problem", subject, f"{port} is held by {', '.join(holders)}: stop it, or set {key} "
                                           "to another port")
    return Finding("ok", subject, f"{port} is there and free")


def _ports_hint(port: Path) -> str:
    """What there is instead."""
    there = others(port)
    return f" (there is {', '.join(there)})" if there else " (no serial port was found)"


def _permission_hint(mode: os.stat_result) -> str:
    try:
        group = grp.getgrgid(mode.st_gid).gr_name
    except KeyError:
        group = str(mode.st_gid)
    if mode.st_mode & 0o060 == 0o060 and group != "root":
        return f"sudo usermod -aG {group} {user_name()}, then log in again"
    return f"it belongs to {group} with mode {stat.filemode(mode.st_mode)}, give it to group dialout by a udev rule"


def _sharing(loaded: Settings) -> Iterator[Finding]:
    for word, instances in plan(loaded).shared.items():
        yield Finding("info", "processes", f"{', '.join(instances)} share one process ({word}): "
                                           "what ends one of them ends them all")


def _same_port(loaded: Settings) -> Iterator[Finding]:
    users: dict[str, list[str]] = {}
    for entry in loaded.plugins.values():
        port = entry.config.get("port")
        if entry.enabled and not entry.simulate and isinstance(port, str) and port.startswith("/"):
            users.setdefault(os.path.realpath(port), []).append(f"plugins.{entry.id}")
    for port, names in users.items():
        if len(names) > 1:
            yield Finding("problem", "config", f"{loaded.path.name}: {' and '.join(names)} use the same port {port}: "
                                               "only one of them can have it")


def _broker(loaded: Settings) -> Iterator[Finding]:
    mqtt = loaded.mqtt
    where = f"{mqtt.host}:{mqtt.port}"
    for key in ("ca", "cert", "key", "password_file"):
        path: Path | None = getattr(mqtt, key)
        if path is None:
            continue
        if not path.exists():
            yield Finding("problem", "mqtt", f"mqtt.{key}: {path} is missing: hutkeeper-agent pair {mqtt.host} CODE, "
                                             "or set its path")
            return
        if not os.access(path, os.R_OK):
            yield Finding("problem", "mqtt", f"mqtt.{key}: {path}: no permission for user {user_name()}")
            return
    try:
        with socket.create_connection((mqtt.host, mqtt.port), timeout=CONNECT_TIMEOUT_S) as plain:
            if mqtt.tls:
                context = ssl.create_default_context(cafile=str(mqtt.ca) if mqtt.ca else None)
                if mqtt.cert is not None and mqtt.key is not None:
                    context.load_cert_chain(mqtt.cert, mqtt.key)
                context.wrap_socket(plain, server_hostname=mqtt.host).close()
    except ssl.SSLCertVerificationError as error:
        yield Finding("problem", "mqtt", f"{where}: its certificate is refused ({error.verify_message}): "
                                         "check mqtt.host, mqtt.ca and this machine's clock")
    except ssl.SSLError as error:
        yield Finding("problem", "mqtt", f"{where}: TLS fails ({error.reason}): is this the TLS port, and are "
                                         "mqtt.cert and mqtt.key this device's?")
    except socket.gaierror:
        yield Finding("problem", "mqtt", f"{mqtt.host} is not known: check mqtt.host and the name server")
    except OSError as error:
        yield Finding("problem", "mqtt", f"{where}: {error.strerror or 'no answer'}: is the broker running, and does a "
                                         "firewall let this device in? Samples are kept until then")
    else:
        yield Finding("ok", "mqtt", f"{where} answers")


def _hardware_watchdog(loaded: Settings) -> Iterator[Finding]:
    path = loaded.device.hardware_watchdog
    if path is None:
        if any(finding_kind.actuator for finding_kind in _kinds(loaded)):
            yield Finding("info", "device", "no device.hardware_watchdog: a board that hangs while a relay is ON "
                                            'leaves it ON; on a Pi: hardware_watchdog = "/dev/watchdog"')
    elif not path.exists():
        yield Finding("problem", "device", f"device.hardware_watchdog: {path} is missing: on a Pi add "
                                           "dtparam=watchdog=on to config.txt and restart it, or leave the key out")
    elif not os.access(path, os.W_OK):
        yield Finding("problem", "device", f"device.hardware_watchdog: user {user_name()} may not write {path}: "
                                           "a udev rule gives it a group, or let systemd feed it (RuntimeWatchdogSec)")
    else:
        yield Finding("ok", "device", f"{path} is there")


def _kinds(loaded: Settings) -> Iterator[type[Plugin]]:
    for entry in loaded.plugins.values():
        if entry.enabled and not entry.simulate:
            with suppress(ConfigError):
                yield loader.load(entry.use)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _disk(loaded: Settings) -> Iterator[Finding]:
    folder = loaded.device.data_dir
    free = shutil.disk_usage(_existing(folder)).free
    need = loaded.spool.max_bytes + LOW_DISK_BYTES
    spool = folder / "spool.db"
    have = free + (spool.stat().st_size if spool.exists() else 0)
    text = f"{free >> 20} MiB free for {folder}"
    if have < need:
        yield Finding("problem", "disk", f"{text}, less than spool.max_bytes and 100 MiB more: free some, or lower "
                                         "spool.max_bytes")
    else:
        yield Finding("ok", "disk", text)


def _folders(loaded: Settings) -> Iterator[Finding]:
    for key in ("data_dir", "run_dir"):
        folder: Path = getattr(loaded.device, key)
        there = _existing(folder)
        if not os.access(there, os.W_OK | os.X_OK):
            yield Finding("problem", "device", f"device.{key}: user {user_name()} may not write {there}: "
                                               f"sudo chown {user_name()} {there}, or run as the agent's user")


def _clock(loaded: Settings, state: ClockState | None = None) -> Iterator[Finding]:
    state = state or ClockState(loaded.device.clock)
    if state.sources.wall_us() < FLOOR_US:
        day = time.strftime("%Y-%m-%d", time.gmtime(state.sources.wall_us() // 1_000_000))
        yield Finding("problem", "clock", f"the clock says {day}: samples are kept and moved to their time once NTP "
                                          "has set it: timedatectl")
    elif state.trust:
        yield Finding("info", "clock", 'taken as right (device.clock = "trust")')
    elif state.offset().offset_us is None:
        yield Finding("problem", "clock", "not synchronised: samples are kept and moved to their time later; start "
                                          'NTP: timedatectl set-ntp true (or set device.clock = "trust")')
    else:
        yield Finding("ok", "clock", "synchronised")
