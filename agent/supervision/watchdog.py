"""The local half of the watchdog: a supervisord event listener that wakes at events and every 5 s, and never polls.

It starts again what supervisord gave up (agent.supervision.rearm), kills what makes no progress (B57), and carries an
edited agent.toml over to the running processes, plugin by plugin (B80). stdout is supervisord's protocol and nothing
else: one stray byte makes a listener deaf for ever.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.api import ConfigError
from agent.ruling import desired
from agent.supervision import conf, rpc
from agent.supervision.heartbeat import Heartbeat, Progress
from agent.supervision.ladder import TRIES, Ladder, Step
from agent.supervision.lastwords import LastWords
from agent.supervision.machine import STUCK_S, Machine
from agent.supervision.notices import Notices
from agent.supervision.plan import GUARD
from agent.supervision.progress import ProgressWatch
from agent.supervision.rearm import Action, Rearm
from agent.supervision.tally import Tally
from agent.wire import crashes

WATCHDOG = "watchdog"
UPLINK = "uplink"
LOOK_TICKS = 12
"""Every minute the states are read instead of believed."""
UPDATE_TIMEOUT_S = 120.0
STILL_S = 1.5
HELD = "restarts_held"
HELD_GOOD_S = 900.0
"""It is touched every minute while it holds; an old one is nobody's word any more."""
CONFIG_REFUSED = "exit code 2"
"""To start anything again does not mend an agent.toml."""

Rpc = Callable[..., Any]


class Watchdog:
    """What to do at each event. Everything outside comes in by the constructor."""

    def __init__(self, run_dir: Path, config: Path, notices: Notices, data_dir: Path, *,
                 monotonic_s: Callable[[], float] = time.monotonic, wall_s: Callable[[], float] = time.time) -> None:
        self.run_dir = run_dir
        self.config = config
        self.notices = notices
        self.rearm = Rearm(monotonic_s, short=lambda program: program == UPLINK or program.startswith(GUARD))
        self.progress = ProgressWatch(run_dir, monotonic_s)
        self.ladder = Ladder(monotonic_s)
        self.machine = Machine(run_dir, notices, monotonic_s)
        self.last_words = LastWords(data_dir / "log")
        self._wall_s = wall_s
        self.beat: Callable[[], None] = lambda: None
        """Of this process's own fuse."""
        self._desired = data_dir / desired.FILE
        self.tally = Tally(run_dir)
        self._own = Progress(run_dir, WATCHDOG, 30.0)
        self._looping: dict[str, tuple[str, ...]] = {}
        """program -> the plugins whose alert was raised"""
        self._ticks = 0
        self._seen = self._signature()
        self._pending: object = None
        self.read_plan()
        self._take_over()
        self.machine.tell()

    def _take_over(self) -> None:
        """What a watchdog before this one raised is over when it is over, and at once where its plugin is gone."""
        programs = {instance: program for program in self.progress.programs()
                    for instance in self.progress.instances(program)}
        for alert in self.notices.raised:
            kind, _, instance = alert.partition("-")
            program = programs.get(instance)
            if alert == "config":
                self._seen = None  # it may have been mended meanwhile
            elif kind not in ("crashloop", "hung"):
                continue
            elif program is None and instance != UPLINK:
                self.notices.clear(alert)
            elif kind == "hung":
                self.progress.was_hung(instance)
            else:
                self._looping[program or UPLINK] = self.progress.instances(program or UPLINK) or (UPLINK,)
                self.rearm.alerted(program or UPLINK)

    # --- events ---------------------------------------------------------------------------------------------

    def event(self, name: str, payload: str) -> None:
        """One event of supervisord: its name and its payload."""
        if name.startswith("PROCESS_STATE_"):
            fields = dict(part.split(":", 1) for part in payload.split() if ":" in part)
            program, state = fields.get("processname", ""), name.removeprefix("PROCESS_STATE_")
            if program:
                self.tally.state(program, state, int(fields.get("pid", "0")))
            if program and program != WATCHDOG:
                if state == "STARTING":
                    self.last_words.started(program)
                elif state in ("EXITED", "FATAL", "BACKOFF"):
                    self._last_words(program)
                self.progress.state(program, state)
                self._do(self.rearm.state(program, state))
                if program == UPLINK and state == "RUNNING":
                    self.notices.repeat()
        elif name == "REMOTE_COMMUNICATION":
            kind, _, data = payload.partition("\n")
            words = data.split()
            if kind == "type:exit" and len(words) == 2:
                self.tally.exited(words[0], int(words[1]))
            if kind == "type:exit" and len(words) == 2 and words[0] != WATCHDOG:
                self.rearm.exited(words[0], int(words[1]))
        elif name == "TICK_5":
            self.tick()
        self.due()
        self.tally.write()

    def tick(self) -> None:
        """Every 5 s."""
        if self._ticks % LOOK_TICKS == 0:
            self.look()
        self._ticks += 1
        self.notices.deliver()
        self.machine.tick()
        held = self.held()
        self.ladder.hold(held)
        self._own.touch()
        for hung in self.progress.tick():
            if held and not hung.program.startswith(GUARD) and hung.program != UPLINK:
                continue  # what it waits for is dark; it is looked at anew when the mains is back (B63)
            self.ladder.stood_still(hung.instance, f"{hung.instance} made no progress for {hung.silent_s:.0f} s")
            try:
                self._call("supervisor.signalProcess", hung.program, "KILL")
            except rpc.RpcFailed as error:
                self.notices.say("error", str(error))
                continue
            self.notices.fault(f"hung-{hung.instance}", "E_PLUGIN_HUNG", instance=hung.instance, age_s=hung.silent_s)
        for instance in self.progress.moved_again():
            self.notices.clear(f"hung-{instance}")
            self.ladder.moved(instance)
        for step in self.ladder.tick():
            self._step(step)
        if not self.ladder.sick:
            self.machine.well()
        self._config_tick()

    def held(self) -> bool:
        """The mains is away, or has just come back (agent.uplink.held)."""
        try:
            return -60.0 < self._wall_s() - (self.run_dir / HELD).stat().st_mtime < HELD_GOOD_S
        except OSError:
            return False

    def _step(self, step: Step) -> None:
        why = f"{step.why}, after {TRIES} restarts or more"
        if step.verb == "machine":
            self.machine.restart(why)
            return
        self.notices.say("warning", f"uplink is restarted: {why}")
        try:
            self._call("supervisor.signalProcess", UPLINK, "TERM")  # it commits, and is started again at once
        except rpc.RpcFailed as error:
            self.notices.say("warning", str(error))

    def _last_words(self, program: str) -> None:
        message = self.last_words.crash(program)
        if message:
            self.notices.crash(program, message)

    def look(self) -> None:
        """Read all states: an event may have been lost, or this process is new."""
        try:
            infos = self._call("supervisor.getAllProcessInfo")
        except rpc.RpcFailed as error:
            self.notices.say("warning", str(error))
            return
        for info in infos:
            self.tally.seen(info["name"], info["statename"], info["pid"])
            if info["name"] != WATCHDOG:
                self.progress.state(info["name"], info["statename"], only_if_new=True)
                self.rearm.seen(info["name"], info["statename"])

    def due(self) -> None:
        """Start what may start now."""
        self._do(self.rearm.due())

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if action.verb in ("start", "stop"):
                self._start_or_stop(action)
            elif action.verb == "alert":
                line = self.last_words.line(action.program)
                reason = f"{action.reason}: {line}" if line else action.reason
                if action.program == UPLINK and action.reason != CONFIG_REFUSED:
                    self.ladder.stood_still(UPLINK, f"uplink ended {action.deaths} times: {reason}")
                # kept: once the program is gone from agent.toml nobody says whose it was
                self._looping[action.program] = self.progress.instances(action.program) or (action.program,)
                for instance in self._looping[action.program]:
                    self.notices.fault(f"crashloop-{instance}", "E_PLUGIN_CRASHLOOP", instance=instance,
                                       n=action.deaths, reason=reason)
            elif action.verb == "clear":
                if action.program == UPLINK:
                    self.ladder.moved(UPLINK)
                for instance in self._looping.pop(action.program, ()):
                    self.notices.clear(f"crashloop-{instance}")

    def _start_or_stop(self, action: Action) -> None:
        try:
            # without waiting: a crasher would hold this process for the length of its start
            self._call(f"supervisor.{action.verb}Process", action.program, False)
        except rpc.RpcFailed as error:
            if error.code in (rpc.ALREADY_STARTED, rpc.NOT_RUNNING, rpc.BAD_NAME):
                return  # what was wanted is so, or the program is gone from agent.toml
            if action.verb == "start":
                self.rearm.failed_to_start(action.program)
            self.notices.say("warning", f"{action.program}: {error}")

    def _call(self, method: str, *args: Any) -> Any:
        self.beat()  # a long round of many calls is no standstill
        self.machine.beat()
        return rpc.call(self.run_dir / conf.SOCKET, method, *args)

    # --- an edited agent.toml -------------------------------------------------------------------------------

    def _signature(self) -> object:
        """Changes whenever agent.toml or an overlay does, or the rules that the hub wants here."""
        found = []
        for path in (self.config, *sorted((self.config.parent / "agent.d").glob("*.toml")), self._desired):
            try:
                stat = path.stat()
                found.append((str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino))
            except OSError:
                found.append((str(path), 0, 0, 0))
        return found

    def _still(self) -> bool:
        """agent.toml was written a while ago, by the wall clock; when that was moved, the next tick decides."""
        try:
            return STILL_S < time.time() - self.config.stat().st_mtime < 3600
        except OSError:
            return False

    def _config_tick(self) -> None:
        """A change counts once the file has been still for a while: an editor may write in two steps."""
        now = self._signature()
        if now == self._seen:
            self._pending = None
        elif now != self._pending and not self._still():
            self._pending = now
        else:
            self._seen, self._pending = now, None
            self.reload()

    def reload(self) -> None:
        """Judge agent.toml in a process of its own (it imports every plugin) and apply what changed."""
        try:
            done = subprocess.run([*conf.executable(), "supervisor-conf", "--write", "--config", str(self.config)],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=UPDATE_TIMEOUT_S,
                                  check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            self.notices.say("error", f"agent.toml was not read again: {error}")
            return
        problems = [line for line in done.stderr.splitlines() if line.strip()]
        written = done.stdout.strip()
        if done.returncode == 0 and written != str(self.run_dir / conf.CONF):
            problems = [f"device.run_dir is another one now ({written}): restart the agent"]
        if done.returncode != 0 or problems:
            self.notices.fault("config", "E_CONFIG", error="; ".join(problems)[:1000] or f"exit {done.returncode}")
        else:
            self.notices.clear("config")
        if done.returncode in (0, 1):  # 1: the last good one was rendered again, which changes nothing
            self.apply()

    def apply(self) -> None:
        """Let supervisord take over the new file: only groups that changed are restarted; then uplink is told."""
        before = self.progress.programs()
        try:
            ((added, changed, removed),) = self._call("supervisor.reloadConfig")
            for group in (*removed, *changed):
                if group != WATCHDOG:
                    self._remove(group)
            for group in (*changed, *added):
                if group != WATCHDOG:
                    self._call("supervisor.addProcessGroup", group)
        except rpc.RpcFailed as error:
            self.notices.say("error", f"agent.toml was not applied: {error}")
            self._seen = None  # try again
            return
        plugins = self.progress.plugins()
        self.read_plan()
        for instance in plugins - self.progress.plugins():
            self.notices.clear(f"hung-{instance}")
        self._do(self.rearm.forget(self.progress.programs()))
        self.tally.keep_only({*self.progress.programs(), WATCHDOG})
        if (before != self.progress.programs() or changed) and UPLINK not in changed:
            try:
                self._call("supervisor.signalProcess", UPLINK, "HUP")
            except rpc.RpcFailed as error:
                if error.code != rpc.NOT_RUNNING:  # one that starts later reads the new file anyway
                    self.notices.say("warning", f"uplink was not told of the new agent.toml: {error}")
        if added or changed or removed:
            lists = ", ".join(f"{word} {' '.join(names)}" for word, names in
                              (("added", added), ("restarted", changed), ("removed", removed)) if names)
            self.notices.say("info", f"agent.toml applied: {lists}")

    def _remove(self, group: str) -> None:
        self._call("supervisor.stopProcessGroup", group)
        deadline = time.monotonic() + 15
        while True:
            try:
                self._call("supervisor.removeProcessGroup", group)
                return
            except rpc.RpcFailed as error:
                if error.code == rpc.BAD_NAME:
                    return
                if error.code != rpc.STILL_RUNNING or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def read_plan(self) -> None:
        """The programs and their limits, as rendered beside supervisord.conf."""
        try:
            plan = json.loads((self.run_dir / conf.PLAN).read_text(encoding="utf-8"))
            self.progress.plan({name: (tuple(item["instances"]), float(item["hang_after_s"]))
                                for name, item in plan["programs"].items()})
            self.ladder.forget({instance for item in plan["programs"].values() for instance in item["instances"]})
            self.machine.plan(plan)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.notices.say("error", f"{self.run_dir / conf.PLAN}: {error}; hung plugins are not noticed until it is "
                                      "written again: hutkeeper-agent supervisor-conf --write")


class Protocol:
    """supervisord's event listener protocol (its manual, "Event Listeners"): READY, an event, RESULT."""

    def __init__(self, source: int = 0, sink: int = 1) -> None:
        self._source, self._sink = source, sink
        self._buffer = b""

    def ready(self) -> None:
        self._write(b"READY\n")

    def ok(self) -> None:
        self._write(b"RESULT 2\nOK")

    def wait(self, timeout_s: float | None) -> tuple[str, str] | None:
        """The next event as (name, payload), or None after the time. Raises EOFError when supervisord is gone."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (event := self._parse()) is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._source], [], [], left)[0]:
                return None
            data = os.read(self._source, 65536)
            if not data:
                raise EOFError
            self._buffer += data
        return event

    def _parse(self) -> tuple[str, str] | None:
        head, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return None
        fields = dict(part.split(":", 1) for part in head.decode("utf-8", "replace").split() if ":" in part)
        length = int(fields.get("len", "0"))
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        return fields.get("eventname", ""), rest[:length].decode("utf-8", "replace")

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._sink, data):]


def main(config: Path) -> int:
    """Run as supervisord's listener until it closes our stdin."""
    if os.environ.get("SUPERVISOR_SERVER_URL") is None:
        raise ConfigError("watchdog is started by supervisord (hutkeeper-agent run), not by hand")
    run_dir = Path(os.environ["SUPERVISOR_SERVER_URL"].removeprefix("unix://")).parent
    protocol = Protocol()
    sys.stdout = sys.stderr  # nothing but the protocol goes to fd 1
    data_dir = Path(os.environ.get("HUTKEEPER_DATA_DIR", run_dir))
    watchdog = Watchdog(run_dir, config.absolute(), Notices(run_dir), data_dir)
    heartbeat = Heartbeat(limit_s=STUCK_S)
    heartbeat.start()
    watchdog.beat = heartbeat.beat
    waiting = False
    while True:
        if not waiting:
            protocol.ready()
            waiting = True
        heartbeat.beat()
        try:
            event = protocol.wait(watchdog.rearm.next_due_s())
        except EOFError:
            return 0
        if event is None:
            watchdog.due()
            continue
        try:
            watchdog.event(*event)
        except Exception as error:  # the watchdog outlives its own mistakes; they are told, with their type
            watchdog.notices.say("error", f"{event[0]}: {type(error).__name__}: {error}")
            watchdog.notices.crash(WATCHDOG, crashes.text(error))
        protocol.ok()
        waiting = False
