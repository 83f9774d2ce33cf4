"""All parts of the hub under one parent in the foreground, and the file for those who run them under supervisord.

The parent never gives a part up: one that ends is started again, after 0.5 s at first and at most 30 s when it ends
again at once. SIGTERM, SIGINT and the death of the parent (PR_SET_PDEATHSIG, B58) end all of them. No part needs
another to start or to stay up, so the order is for a quiet log only.
"""

from __future__ import annotations

import configparser
import contextlib
import ctypes
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import msgspec
from msgspec import Struct

from hub import parts_log
from hub.settings import Settings, SettingsError

PR_SET_PDEATHSIG = 1
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
STEADY_S = 20.0
"""A part that ran this long is started again at once."""
STOP_S = 10.0
LOOK_S = 0.25
OOM = {"web": 500, "mirror": 400, "notify": 200, "ingest": 200}
"""B60: pages go first; on one machine with an agent its plugins (300) come before ingest, and control never."""
LIVES = "parts.json"


class Life(Struct, frozen=True, omit_defaults=True):
    """Of one part, in ``<run_dir>/parts.json``: for the status report."""

    pid: int
    """0: it does not run now."""
    since_us: int
    restarts: int = 0
    last_end: str = ""
    """How it ended the last time."""
    last_end_us: int = 0


def lives(run_dir: Path) -> dict[str, Life]:
    """What ``hutkeeper-hub run`` says of its parts; {} where another supervisor runs them."""
    try:
        return msgspec.json.decode((run_dir / LIVES).read_bytes(), type=dict[str, Life])
    except (OSError, msgspec.DecodeError):
        return {}


def parts(settings: Settings) -> list[str]:
    """In the order of their start; they are stopped the other way round, so that receipts still find a broker."""
    own = ["broker"] if settings.embedded_broker else []
    return [*own, "ingest", "notify", *(["mirror"] if settings.mirror.homie4 else []), "web"]


def command(settings: Settings, part: str) -> list[str]:
    """How this very installation starts a part: its own script, else the module."""
    script = Path(sys.executable).with_name("hutkeeper-hub")
    own = [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "hub.cli"]
    return [*own, part, "--config", str(settings.path)]


def first_to_go(score: int) -> None:
    """Where the kernel's OOM killer finds this process (proc(5), oom_score_adj): a higher one goes first."""
    path = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError, ValueError):
        if score > int(path.read_text()):
            path.write_text(str(score))


class Part:
    """One child process and when it may be started again."""

    def __init__(self, name: str, words: list[str], log: parts_log.Keeper | None = None) -> None:
        self.name = name
        self.words = words
        self.log = log
        self.starts = 0
        self.since_us = 0
        self.last_end = ""
        self.last_end_us = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.started_s = 0.0
        self.due_s = 0.0
        self.wait_s = 0.0

    def start(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        parent = os.getpid()

        def bind_to_parent() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)  # it died between fork and prctl
            first_to_go(OOM.get(self.name, 0))

        self.started_s = time.monotonic()
        # A group of its own: Ctrl-C reaches the parent alone, and the parent stops the parts in their order.
        said: int | None = None
        if self.log is not None:
            reader, said = os.pipe2(os.O_CLOEXEC)
            self.log.follow(reader)
        try:
            self.process = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, preexec_fn=bind_to_parent,
                                            process_group=0, stdout=said, stderr=said)
        finally:
            if said is not None:
                os.close(said)
        self.starts += 1
        self.since_us = time.time_ns() // 1000

    def life(self) -> Life:
        return Life(self.process.pid if self.process is not None else 0, self.since_us, max(0, self.starts - 1),
                    self.last_end, self.last_end_us)

    def look(self) -> None:
        """Start it when it is due, note when it has ended."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.due_s:
                self.start()
            return
        code = self.process.poll()
        if code is None:
            if now - self.started_s > STEADY_S:
                self.wait_s = 0.0
            return
        self.process = None
        if code == -signal.SIGKILL:  # from outside (a person, a machine short of memory): not its own failure
            self.wait_s = min(self.wait_s, FIRST_WAIT_S)
        self.due_s = now + self.wait_s
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        self.last_end, self.last_end_us = how, time.time_ns() // 1000
        say(f"{self.name} ended ({how}), starting it again in {self.wait_s:g} s")
        self.wait_s = min(LONGEST_WAIT_S, max(FIRST_WAIT_S, 2 * self.wait_s))

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            say(f"{self.name} did not end within {STOP_S:g} s and is killed")
            self.process.kill()
            self.process.wait(STOP_S)


def say(text: str) -> None:
    print(f"hub: {text}", file=sys.stderr, flush=True)


def run(settings: Settings) -> None:
    """Run all parts until SIGTERM or SIGINT. Exits 1 when this hub runs already."""
    run_dir = settings.hub.run_dir
    try:
        for folder in (settings.hub.data_dir, run_dir):
            folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(run_dir / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        sys.exit(f"hub: {error}: set [hub] data_dir and run_dir in {settings.path} to folders of this user")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
        sys.exit(f"hub: process {holder or '?'} runs this hub already ({run_dir}): stop it first")
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, stop)
    children = [Part(name, command(settings, name), parts_log.Keeper(parts_log.file_of(settings.hub.data_dir, name)))
                for name in parts(settings)]
    told: dict[str, Life] = {}
    say(f"pages at {'https' if settings.web.cert else 'http'}://{settings.web.host}:{settings.web.port}, "
        f"broker at {settings.broker_host}:{settings.broker_port}, data in {settings.hub.data_dir}")
    try:
        while not stopping:
            for child in children:
                child.look()
            told = tell(run_dir, children, told)
            time.sleep(LOOK_S)
    finally:
        for child in reversed(children):
            child.stop()
    say("stopped")


def tell(run_dir: Path, children: list[Part], told: dict[str, Life]) -> dict[str, Life]:
    """Write ``parts.json`` when something changed; returns what stands there."""
    now = {child.name: child.life() for child in children}
    if now != told:
        scratch = run_dir / f".{LIVES}.{os.getpid()}"
        try:
            scratch.write_bytes(msgspec.json.encode(now))
            scratch.replace(run_dir / LIVES)
        except OSError:
            return told  # tried again with the next look
    return now


def render(settings: Settings) -> str:
    """supervisord's file for the same parts, each with its own log. Raises SettingsError."""
    folders = settings.hub.data_dir, settings.hub.run_dir, settings.path
    for path in folders:
        if set(str(path)) & set("\"'\\;\n\r"):
            raise SettingsError(f"{settings.path.name}: {str(path)!r}: supervisord's file cannot hold quotes, "
                                "backslashes, semicolons and line ends, choose a plainer path")
    log = settings.hub.data_dir / "log"
    file = configparser.RawConfigParser()
    sections: dict[str, dict[str, object]] = {
        "unix_http_server": {"file": settings.hub.run_dir / "supervisor.sock", "chmod": "0700"},
        "supervisord": {"nodaemon": "true", "umask": "027", "logfile": log / "supervisord.log",
                        "logfile_maxbytes": 1 << 20, "logfile_backups": 1,
                        "pidfile": settings.hub.run_dir / "supervisord.pid", "childlogdir": log},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
    }
    for number, part in enumerate(parts(settings)):
        sections[f"program:{part}"] = {
            "command": shlex.join(command(settings, part)), "priority": 10 * (number + 1), "autorestart": "true",
            "startsecs": 1, "startretries": 1_000_000, "stopwaitsecs": int(STOP_S), "killasgroup": "true",
            "redirect_stderr": "true", "stdout_logfile": log / f"{part}.log", "stdout_logfile_maxbytes": 4 << 20,
            "stdout_logfile_backups": 2,
        }
    for name, values in sections.items():
        file.add_section(name)
        for key, value in values.items():
            file.set(name, key, str(value).replace("%", "%%"))
    lines = ["; Rendered from hub.toml by hutkeeper-hub supervisor-conf: edits are lost."]
    for name in file.sections():
        lines += ["", f"[{name}]", *(f"{key} = {value}" for key, value in file.items(name))]
    return "\n".join(lines) + "\n"
