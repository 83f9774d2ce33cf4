"""Keeps one broker running: files, checked start, restart, and new certificates or rights without a gap for long."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from hub.broker import conf, events, ports
from hub.broker.child import BrokerError, Child, find_mosquitto, have_iotcore, print_line

START_S = 30.0
PORT_FREE_S = 3.0
"""A predecessor that is just ending may hold the port this long."""
WATCH_S = 1.0
"""How often new certificates and rights are looked for."""
BACK_OFF_S = (0.1, 10.0)
STEADY_S = 10.0
"""A broker that lived this long started well."""


class Plan(Struct, frozen=True, kw_only=True):
    """What to run; :func:`hub.broker.plan` makes it from hub.toml."""

    state_dir: Path
    run_dir: Path
    port: int
    tls_listen: str = "0.0.0.0"
    tls_port: int = 8883
    max_devices: int = 1000
    save_s: int = 0
    """0: at every change."""
    tls: Callable[[], conf.TlsFiles | None] = lambda: None
    """Asked at each start and once a second: the files appear with the first pairing."""
    reads: Callable[[], dict[str, list[str]]] = dict
    foreign: tuple[tuple[str, str, str], ...] = ()
    """Topics of others: (device or ``*``, ``read`` or ``write``, topic)."""
    moved: Callable[[], None] = lambda: None
    """Called with each look at a broker that lives."""
    program: str = "auto"
    """``mosquitto``, ``iotcore``, or ``auto``: the first of the two that is there."""


class Keeper:
    """The broker of one plan. Not thread-safe; ``run`` belongs on the main thread (signals)."""

    def __init__(self, plan: Plan, log: Callable[[str], None] = print_line) -> None:
        self.plan = plan
        self.log = log
        self.child: Child | None = None
        self._tls: conf.TlsFiles | None = None
        self._seen: tuple[object, ...] = ()
        mosquitto = find_mosquitto() if plan.program != "iotcore" else None
        if mosquitto is None and (plan.program == "mosquitto" or not have_iotcore()):
            raise BrokerError("no broker found: sudo apt-get install mosquitto, or set [mqtt] host to one that runs"
                              " (for a try-out without root: pip install 'hutkeeper[broker]')")
        self.mosquitto = mosquitto

    # --- files ---------------------------------------------------------------------------------------------

    @property
    def database(self) -> Path:
        return self.plan.state_dir / "mosquitto.db"

    def _write(self, name: str, text: str) -> Path:
        path = self.plan.state_dir / name
        part = path.with_suffix(".part")
        part.touch(mode=0o600)
        part.chmod(0o600)
        part.write_text(text)
        part.rename(path)
        return path

    def _command(self) -> list[str]:
        """Write the program's files and give its command line."""
        plan = self.plan
        plan.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.mosquitto is None:
            toml = self._write("rumqttd.toml", conf.rumqttd_toml(plan.port, plan.max_devices))
            return [sys.executable, "-m", "hub.broker.rumqttd", str(toml)]
        self._tls = plan.tls()
        self._seen = self._look()
        user = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() == 0 else None
        acl = self._write("acl", conf.acl(plan.reads(), plan.foreign))
        file = self._write("mosquitto.conf", conf.mosquitto_conf(
            port=plan.port, state_dir=plan.state_dir, acl=acl, max_devices=plan.max_devices, user=user,
            save_s=plan.save_s, tls=self._tls, tls_listen=plan.tls_listen, tls_port=plan.tls_port))
        return [self.mosquitto, "-c", str(file)]

    @property
    def _ports(self) -> dict[str, int]:
        """The setting that moves a port -> the port."""
        return {"port": self.plan.port} | ({"tls_port": self.plan.tls_port} if self._tls else {})

    # --- start ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the broker and return once it listens; a state file that it cannot read is set aside and reported.

        Raises BrokerError: port taken, or the program fails with an empty state too."""
        command = self._command()
        self._await_ports()
        if self._try(command):
            return
        assert self.child is not None
        how = self.child.ended()
        if self.mosquitto is None or not self.database.exists():
            raise BrokerError(f"the broker does not start: {how}")
        bad = self.set_aside()
        if not self._try(command):
            bad.rename(self.database)  # the file was not to blame
            raise BrokerError(f"the broker does not start: {self.child.ended()}")
        self.report_reset(bad)

    def _try(self, command: list[str]) -> bool:
        self.child = Child(command, list(self._ports.values()), self.log)
        if self.child.ready(START_S):
            return True
        self.child.stop()
        return False

    def _await_ports(self) -> None:
        deadline = time.monotonic() + PORT_FREE_S
        for setting, port in self._ports.items():
            while holder := ports.holder_of(port):
                if time.monotonic() > deadline:
                    raise BrokerError(f"port {port} is taken by {holder}: stop it, or set [broker] {setting} in"
                                      " hub.toml to another port")
                time.sleep(0.1)

    def set_aside(self) -> Path:
        """Rename the state file to ``.bad`` (one is kept, the newest) and return where it is now."""
        bad = self.database.with_suffix(".db.bad")
        self.database.rename(bad)
        return bad

    def report_reset(self, bad: Path) -> None:
        """E_BROKER_STATE_RESET, in our log and for the hub's event log."""
        try:
            event = events.report(self.plan.run_dir, "E_BROKER_STATE_RESET", path=bad)
            self.log(event.line)
        except OSError as error:
            self.log(f"E_BROKER_STATE_RESET {bad}; the event could not be left in {self.plan.run_dir}: {error}")

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()

    # --- while it runs -------------------------------------------------------------------------------------

    def _look(self) -> tuple[object, ...]:
        """Changes when the certificate or somebody's rights change."""
        tls = self.plan.tls()
        void = tls and tls.crl.stat().st_mtime_ns
        certificate = tls and tls.cert.stat().st_mtime_ns
        rights = sorted((device, *inputs) for device, inputs in self.plan.reads().items())
        return (tls is None, void), certificate, rights

    def watch(self) -> None:
        """Once a second. New rights or a new certificate need a SIGHUP only; a new CA opens the TLS listener, and a
        certificate that became void must be cut off where it is connected: both need a restart, 0.1 s."""
        if self.mosquitto is None or self.child is None or not self.child.alive:
            return
        try:
            seen = self._look()
            if seen == self._seen:
                return
            if seen[0] != self._seen[0]:
                self.log("the hub's CA or its list of void certificates is new: the broker starts again")
                self.child.stop()
                return
            self._command()
            self.child.process.send_signal(signal.SIGHUP)
            self.log("certificate or rights changed: the broker read them again")
        except OSError as error:
            self.log(f"cannot look for new certificates or rights: {error}")

    def run(self) -> None:
        """Start, and start again whatever ends it, until SIGTERM or SIGINT. Raises BrokerError as ``start`` does."""
        wanted = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP}
        signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
        wait_s, crashes = BACK_OFF_S[0], 0
        try:
            while True:
                self.start()
                child = self.child
                assert child is not None
                self.log(f"broker {Path(child.command[0]).name} (process {child.pid}) listens on "
                         + ", ".join(str(port) for port in child.ports))
                began = time.monotonic()
                while child.alive:
                    got = signal.sigtimedwait(wanted, WATCH_S)
                    if got is not None and got.si_signo in (signal.SIGTERM, signal.SIGINT):
                        return
                    if got is not None and got.si_signo == signal.SIGHUP:
                        child.process.send_signal(signal.SIGHUP)
                    self.watch()
                    self.plan.moved()
                code = child.process.returncode
                if code == 0:
                    continue  # we stopped it, in watch
                self.log(f"the broker went: {child.ended()}; it starts again")
                steady = time.monotonic() - began > STEADY_S
                wait_s = BACK_OFF_S[0] if steady else min(2 * wait_s, BACK_OFF_S[1])
                # a state file may be read and still kill: twice in a row, and not by somebody's kill -9
                crashes = 0 if steady or code == -signal.SIGKILL else crashes + 1
                if crashes >= 2 and self.mosquitto is not None and self.database.exists():
                    self.report_reset(self.set_aside())
                    crashes = 0
                got = signal.sigtimedwait(wanted - {signal.SIGCHLD}, wait_s)
                if got is not None and got.si_signo != signal.SIGHUP:
                    return
        finally:
            self.stop()
            with contextlib.suppress(ValueError):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, wanted)
