"""What uplink itself carries out: the requests of the hub, and the command ``sys/restart``."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import msgspec

from agent import bus
from agent.api import homie_id
from agent.clock import boottime_us
from agent.settings import Settings
from agent.uplink.requests import Handler, Later, Refused, Reply
from agent.wire.logfiles import MAX_BYTES
from agent.wire.private import redacted

if TYPE_CHECKING:
    from agent.uplink.service import Uplink

log = logging.getLogger(__name__)

MAX_LINES = 500
RESTART_S = 2.0
"""Time for the answer to leave before the restart."""


def leaving(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest of uplink's own lines that fit into one answer, without secrets: as from a file."""
    kept: list[dict[str, Any]] = []
    size = 0
    for line in reversed(lines):
        told = {key: redacted(value) if isinstance(value, str) else value for key, value in line.items()}
        size += len(msgspec.json.encode(told))
        if size > MAX_BYTES:
            break
        kept.append(told)
    return kept[::-1]


class Orders:
    """Handlers for :class:`agent.uplink.requests.Requests` and for commands to the node ``sys``."""

    def __init__(self, loaded: Settings, uplink: Uplink) -> None:
        self._settings = loaded
        self._uplink = uplink
        self.restart_at_s: float | None = None
        self._restart_what = ""
        self._restart_program: str | None = None

    def handlers(self) -> dict[str, Handler]:
        return {"log_tail": self._log_tail, "restart": self._restart, "self_test": self._self_test,
                "ledger": self._ledger, "services": self._services, "canary": self._canary,
                "set": self._set}

    def command(self, command: bus.Command) -> bus.Answer:
        """``homie/5/<device>/sys/restart/set``."""
        if command.property != "restart":
            return bus.Answer("sys", command.id, False, f"sys has no command {command.property}")
        try:
            self._restart({"what": command.value})
        except Refused as error:
            return bus.Answer("sys", command.id, False, str(error))
        return bus.Answer("sys", command.id, True, f"{command.value} restarts", command.value)

    # --- handlers -----------------------------------------------------------------------------------------

    def _log_tail(self, args: dict[str, Any]) -> Any:
        """``{"lines": 100, "instance": "uplink"}`` -> newest lines last. Plugins log through supervisord's files.

        ``{"service": "guard-heater", "lines": 100, "after": ""}`` -> ``{"service", "lines", "cursor", "more"}`` of any
        program's file: with ``after`` the lines behind that cursor."""
        lines = args.get("lines", 100)
        if not isinstance(lines, int) or not 1 <= lines <= MAX_LINES:
            raise Refused(f"lines: expected 1..{MAX_LINES}")
        if "service" in args:
            return self._service_log(str(args["service"]), lines, str(args.get("after", "")))
        instance = args.get("instance", "uplink")
        if instance != "uplink":
            return {"instance": instance, "lines": self._plugin_tail(str(instance), lines)}
        handler = self._uplink.log_tail
        return {"instance": "uplink", "lines": leaving(list(handler.tail)[-lines:]) if handler is not None else []}

    def _service_log(self, service: str, lines: int, after: str) -> Any:
        from agent.uplink import services
        from agent.wire import logfiles

        device = self._settings.device
        program = services.program_of(device.run_dir, f"plugin:{service}") or service
        known = services.programs(device.run_dir)
        if program not in known:
            raise Refused(f"no service {service[:60]!r}, known are {', '.join(known)}")
        try:
            piece = logfiles.read(device.data_dir / "log" / f"{program}.log", lines, after)
        except logfiles.BadCursor as error:
            raise Refused(str(error)) from None
        except OSError as error:
            raise Refused(f"its log cannot be read: {error}") from None
        return {"service": service, **piece._asdict()}

    def _canary(self, args: dict[str, Any]) -> Any:
        """One now, and not only with the hour."""
        self._uplink.canary.now()
        self._uplink.soon()
        return {"sent": self._uplink.canary.sent + 1}

    def _services(self, args: dict[str, Any]) -> Any:
        from agent.uplink import services

        return msgspec.to_builtins(services.gather(self._settings.device.run_dir, self._uplink.clock.wall_us,
                                                   memory=True))

    def _plugin_tail(self, instance: str, lines: int) -> list[str]:
        from agent.supervision import conf, rpc

        if instance not in self._settings.plugins:
            raise Refused(f"no plugin {instance[:60]!r}, known are {', '.join(sorted(self._settings.plugins))}, uplink")
        try:
            text, _, _ = rpc.call(self._settings.device.run_dir / conf.SOCKET, "supervisor.tailProcessStderrLog",
                                  f"plugin-{instance}", 0, 60_000, timeout_s=3.0)
        except rpc.RpcFailed as error:
            raise Refused(f"its log cannot be read: {error}") from None
        return [redacted(line) for line in str(text).splitlines()[-lines:]]

    def _restart(self, args: dict[str, Any]) -> Any:
        """``{"what": "agent"}``: agent, host, uplink, watchdog, ``plugin:<id>`` or ``guard:<id>``."""
        what, program = args.get("what", "agent"), None
        if what not in ("agent", "host"):
            from agent.uplink import services

            program = services.program_of(self._settings.device.run_dir, str(what)[:100])
            if program is None:
                raise Refused("what: expected agent, host, uplink, watchdog, plugin:<id> or guard:<id> of this device")
        if self.restart_at_s is None or self._restart_what != what:
            if self.restart_at_s is not None:
                raise Refused(f"{self._restart_what} is just being restarted: ask again in {RESTART_S:g} s")
            self.restart_at_s, self._restart_what = time.monotonic() + RESTART_S, what
            self._restart_program = program
            log.warning("%s is restarted on request", what)
        return {"restarts": self._restart_what, "in_s": RESTART_S}

    def _self_test(self, args: dict[str, Any]) -> Any:
        """Numbers that were measured now: a real commit to the spool's disk, and the state of everything else."""
        began = time.monotonic()
        self._uplink.spool.record()
        commit_s = time.monotonic() - began
        return {"spool_commit_s": round(commit_s, 4), **self._uplink.telling.as_status(boottime_us())}

    def _set(self, args: dict[str, Any]) -> Later:
        """``{"node": "heater", "property": "setpoint_c", "value": 20.5, "who": "anna"}`` -> ``{"value": 20.5}``: what
        is true now, once the plugin has said so."""
        node, name, value = args.get("node"), args.get("property"), args.get("value")
        if not isinstance(node, str) or not isinstance(name, str) or value is None:
            raise Refused("expected node, property and value")
        who = str(args.get("who", "request"))[:100]

        def begin(reply: Reply) -> None:
            self._uplink.state.order(node, homie_id(name), as_payload(value), who,
                                     lambda now_true, refusal: reply({"value": now_true} if refusal is None else None,
                                                                     refusal))

        return Later(begin)

    def _ledger(self, args: dict[str, Any]) -> Any:
        spool = self._uplink.spool
        return [spool.ledger(epoch) for epoch in spool.epochs.values()]

    # --- carrying out ---------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Do the restart that was ordered."""
        if self.restart_at_s is None or now_s < self.restart_at_s:
            return
        self.restart_at_s = None
        try:
            if self._restart_what == "host":
                import subprocess  # not before it is needed: this process counts its memory

                done = subprocess.run(["systemctl", "reboot"], capture_output=True, text=True, timeout=10)
                if done.returncode != 0:
                    log.error("the host was not restarted: %s", done.stderr.strip()[:300])
            elif self._restart_what != "agent":
                self._restart_one(str(self._restart_program))
            else:
                from agent.supervision import conf, rpc

                rpc.call(self._settings.device.run_dir / conf.SOCKET, "supervisor.restart", timeout_s=3.0)
        except Exception as error:
            log.error("the %s was not restarted: %s", self._restart_what, error)
            if self._restart_what == "agent":
                self._uplink.exit_code = 1  # without supervisord: end, and whoever started this starts it again
                self._uplink.stop()


    def _restart_one(self, program: str) -> None:
        """supervisord starts again what ends; a word to stop it first would leave it stopped if we ended in between."""
        from agent.supervision import conf, rpc
        from agent.uplink.services import UPLINK

        if program == UPLINK:
            self._uplink.exit_code = 1
            self._uplink.stop()
            return
        socket = self._settings.device.run_dir / conf.SOCKET
        try:
            rpc.call(socket, "supervisor.signalProcess", program, "TERM", timeout_s=3.0)
        except rpc.RpcFailed as error:
            if error.code != rpc.NOT_RUNNING:
                raise
            rpc.call(socket, "supervisor.startProcess", program, False, timeout_s=3.0)


def as_payload(value: Any) -> bytes:
    """A JSON value as the text that a ``/set`` topic takes."""
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)
