"""supervisord's file, rendered from agent.toml: one unix socket for its owner alone, capped logs, restarts for ever.

supervisord restarts at once what ran and ended; a program that ends within START_S it leaves at once (FATAL), and the
watchdog starts it again, later and later (agent.supervision.rearm). So nothing is ever given up.
"""

from __future__ import annotations

import configparser
import json
import os
import shlex
import sys
from pathlib import Path

from agent.bus import MAX_IPC_PATH
from agent.settings import GOOD, Settings, SettingsError
from agent.supervision.plan import GUARD, RULES, UPLINK, WATCHDOG, Plan, Program

SOCKET = "supervisor.sock"
CONF = "supervisord.conf"
PLAN = "supervision.json"
LOG_BYTES = 1 << 20
LOG_BACKUPS = 1
START_S = 3
QUICK_RETRIES = 0


def render(settings: Settings, plan: Plan) -> str:
    """The text of supervisord.conf. Raises SettingsError when run_dir is too long for a unix socket."""
    device = settings.device
    for key, path in (("data_dir", device.data_dir), ("run_dir", device.run_dir)):
        if set(str(path)) & set("\"'\\;\n\r"):
            raise SettingsError(f"{settings.path.name}: device.{key}: {str(path)!r}: supervisord's file cannot hold "
                                "quotes, backslashes, semicolons and line ends, choose a plainer path")
    socket = device.run_dir / SOCKET
    if len(os.fsencode(socket)) > MAX_IPC_PATH:
        raise SettingsError(f"{settings.path.name}: device.run_dir: {socket} is longer than {MAX_IPC_PATH} bytes "
                            "(unix sockets), set a shorter one")
    log = device.data_dir / "log"
    sections: dict[str, dict[str, object]] = {
        "unix_http_server": {"file": socket, "chmod": "0700"},
        "supervisord": {
            "nodaemon": "true", "identifier": f"hutkeeper-{device.id}", "umask": "027", "silent": "true",
            "logfile": log / "supervisord.log", "logfile_maxbytes": LOG_BYTES, "logfile_backups": LOG_BACKUPS,
            "pidfile": device.run_dir / "supervisord.pid", "childlogdir": log, "minfds": 256, "minprocs": 64,
        },
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        f"eventlistener:{WATCHDOG}": {
            # supervisord drops the oldest event of a full buffer: 10, its default, is one restart of eight plugins
            "buffer_size": 100, "events": "PROCESS_STATE,TICK_5,REMOTE_COMMUNICATION",
            "autorestart": "true", "startretries": 1_000_000, "startsecs": 0, "stopwaitsecs": 3,
            **_log(log, WATCHDOG, stdout=False), "stdout_logfile": "NONE",
            "command": _command(settings, WATCHDOG), "environment": _environment(settings, ""),
        },
    }
    for program in plan.programs:
        sections[f"program:{program.name}"] = _program(settings, program, log)
    return _ini(sections)


def _program(settings: Settings, program: Program, log: Path) -> dict[str, object]:
    uplink = program.name == UPLINK
    guard = program.name.startswith(GUARD)
    words = (UPLINK,) if uplink else ("plugin", *program.instances)
    if guard:
        words = ("guard", program.name.removeprefix(GUARD))
    if program.name == RULES:
        words = (RULES,)
    return {
        "command": _command(settings, *words),
        "environment": _environment(settings, program.section),
        "autorestart": "true", "startsecs": START_S, "startretries": QUICK_RETRIES,
        # the highest number stops first: control before its guard, and a plugin's last batch finds uplink still there
        "priority": 10 if uplink else 50 if guard else 100,
        "stopwaitsecs": 10 if uplink else 5, "stopasgroup": "false", "killasgroup": "true",
        **_log(log, program.name, stdout=True),
    }


def _log(folder: Path, name: str, *, stdout: bool) -> dict[str, object]:
    stream = "stdout" if stdout else "stderr"  # a listener's stdout is its protocol
    both: dict[str, object] = {"redirect_stderr": "true"} if stdout else {}
    return both | {f"{stream}_logfile": folder / f"{name}.log", f"{stream}_logfile_maxbytes": LOG_BYTES,
                   f"{stream}_logfile_backups": LOG_BACKUPS}


def executable() -> list[str]:
    """How this very installation is started again: its own script, else the module."""
    script = Path(sys.executable).with_name("hutkeeper-agent")
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "agent.cli"]


def _command(settings: Settings, *words: str) -> str:
    return shlex.join([*executable(), *words, "--config", str(settings.path)])


def _environment(settings: Settings, section: str) -> str:
    values = {
        "HUTKEEPER_DATA_DIR": str(settings.device.data_dir),
        "HUTKEEPER_GOOD": str(settings.device.data_dir / GOOD),
        "HUTKEEPER_SECTION": section,
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",  # glibc keeps an arena per thread otherwise: megabytes for nothing
    }
    return ",".join(f'{key}="{value}"' for key, value in values.items())


def _ini(sections: dict[str, dict[str, object]]) -> str:
    parser = configparser.RawConfigParser()
    for name, values in sections.items():
        parser.add_section(name)
        for key, value in values.items():
            parser.set(name, key, str(value).replace("%", "%%"))  # supervisord expands %(...)s itself
    lines = ["; Rendered from agent.toml by hutkeeper-agent supervisor-conf: edits are lost."]
    for name in parser.sections():
        lines += ["", f"[{name}]", *(f"{key} = {value}" for key, value in parser.items(name))]
    return "\n".join(lines) + "\n"


def write(settings: Settings, plan: Plan) -> Path:
    """Make the folders, write the file and the watchdog's plan into run_dir, whole or not at all; returns its path."""
    run_dir = settings.device.run_dir
    for folder in (run_dir, settings.device.data_dir / "log"):
        folder.mkdir(parents=True, exist_ok=True)
    conf = run_dir / CONF
    replace(conf, render(settings, plan))
    limits = {program.name: {"instances": program.instances, "hang_after_s": program.hang_after_s}
              for program in plan.programs}
    device = settings.device
    machine = {"reboot": device.reboot, "data_dir": str(device.data_dir), "clock": device.clock,
               "hardware_watchdog": str(device.hardware_watchdog) if device.hardware_watchdog else "",
               "guards": any(program.name.startswith(GUARD) for program in plan.programs)}
    replace(run_dir / PLAN, json.dumps({"config": str(settings.path), "programs": limits, "machine": machine}))
    return conf


def replace(path: Path, text: str) -> None:
    """Write a small file of this user alone so that a reader sees the old or the new one."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
    scratch.replace(path)
