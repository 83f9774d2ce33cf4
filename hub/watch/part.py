"""The watch within the notify process: conditions of machines and services, canaries, staged restarts, the dead man."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from hub.alerts.model import Condition
from hub.fleet.facts import SYS
from hub.live import LiveDevice, NotConnected
from hub.logbook.model import Entry
from hub.notify.asks import Refused
from hub.notify.part import Hall, Part
from hub.store import watch_rows
from hub.store.errors import StoreError
from hub.store.watch_rows import Canary, DiskPoint
from hub.watch import hub_side, judge
from hub.watch.canaries import SERIES, SKEW_US, Ears, Sorter
from hub.watch.canaries import judge as timed
from hub.watch.deadman import DeadMan, Word
from hub.watch.homie import HubDevice
from hub.watch.model import Machine, Report
from hub.watch.outbox_canary import OutboxCanary
from hub.watch.pulse import Pulse, moves
from hub.watch.report import HERE, device_machine
from hub.watch.supply import held_by, supplies_of

log = logging.getLogger(__name__)

LOOK_US = 5_000_000
"""How often all machines are judged: nothing here is decided in less than 10 s."""
DISK_US = 3_600_000_000
ECHO_S = 10.0
ECHO_LATE_S = 45.0
AFTER_RETURN_US = 120_000_000
BETWEEN_US = 10_000_000
"""One restart at a time: what comes up together trips over itself."""
RESTART_S = 5.0
MAX_STAGED = 1000


class Watch(Part):
    def __init__(self, hall: Hall) -> None:
        super().__init__(hall)
        self.ears = Ears(hall.settings)
        self.sorter = Sorter(hall.reader, self.ears)
        self.pulse = Pulse(hall.settings.hub.run_dir, "notify")
        self.hub_device = HubDevice(lambda topic, payload, retain: hall.client.publish(topic, payload, retain=retain),
                                    hall.settings.hub.name)
        self.deadman: DeadMan | None = None
        self.outbox = OutboxCanary(hall.db)
        self.canaries: dict[str, Canary] = {}
        self.machines: tuple[Machine, ...] = ()
        self._deadman_fault = ""
        self._began_us = hall.now_us()
        self._caught_up = False
        self._looked_us = -LOOK_US
        self._disk_us = -DISK_US
        self._points: list[DiskPoint] = []
        self._seen: dict[str, int] = {}
        """device -> since when it is here, as this process saw it"""
        self._found: tuple[Condition, ...] = ()
        self._since = judge.Since()
        self._echo_sent_s = float("-inf")
        self._echo_s = time.monotonic()
        self._held_until_us = 0
        self._next_restart_us = 0
        self._restart: watch_rows.Staged | None = None
        """Taken off the list in this second; ordered once that is committed."""
        self._carried: list[Entry] = []
        self._written = 0
        """So many of them are in this second's transaction."""
        self._rolled_back = False
        self._lock = threading.Lock()
        self._trouble = ""

    # --- life ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.hall.desk.handlers["watch.report"] = self._ask_report
        self.hall.desk.handlers["watch.restart"] = self._ask_restart
        self.canaries = watch_rows.canaries(self.hall.db)
        self._points = watch_rows.disk_points(self.hall.db)
        self.outbox.begin()
        self.ears.start()
        try:
            url = self.hall.settings.heartbeat.read()
        except (OSError, ValueError) as error:
            self._deadman_fault = f"heartbeat.url_file: {error}"
            log.error("%s", self._deadman_fault)
            return
        if url is not None:
            self.deadman = DeadMan(self.hall.settings.heartbeat, url)
            self.deadman.start()

    def close(self) -> None:
        self.ears.stop()
        if self.deadman is not None:
            self.deadman.stop()
        self.hub_device.end()
        self.pulse.end()
        for thread in (self.ears, self.deadman):
            if thread is not None and thread.is_alive():
                thread.join(1)

    # --- each second --------------------------------------------------------------------------------------------

    def step(self, now_us: int) -> None:
        if self._rolled_back:
            self._read_again()
        self._take_canaries(now_us)
        self.outbox.step(now_us)
        self._note_disk(now_us)
        with self._lock:
            carried = list(self._carried)
        for entry in carried:
            self.hall.logbook.add(entry)
        self._written = len(carried)
        if now_us - self._looked_us >= LOOK_US or now_us < self._looked_us:
            self._looked_us = now_us
            self._look(now_us)
        self._restarts(now_us)

    def conditions(self, now_us: int) -> Iterable[Condition]:
        return self._found

    def after(self, now_us: int) -> None:
        with self._lock:
            del self._carried[:self._written]
        self._written = 0
        if self._restart is not None:
            threading.Thread(target=self._order, args=(self._restart,), name="restart", daemon=True).start()
            self._restart = None
        self.pulse.beat()
        self._send_echo()
        up, since_us = self.hall.client.connected
        self.hub_device.tell(since_us if up else None, self._values(), now_us)
        self._say(self._trouble)

    def store_failed(self, error: str) -> None:
        self._restart = None  # it waits still: ordered now, it would be ordered again in every second
        self._written, self._rolled_back = 0, True
        self._say("the hub's alert database cannot be written")

    def _read_again(self) -> None:
        """What this process believes to be kept was never committed."""
        self.canaries = watch_rows.canaries(self.hall.db)
        self._points = watch_rows.disk_points(self.hall.db)
        self.outbox.rolled_back()
        self._caught_up, self._rolled_back = False, False

    # --- canaries -----------------------------------------------------------------------------------------------

    def _take_canaries(self, now_us: int) -> None:
        if not self._caught_up:
            self._catch_up(now_us)
        for one in self.sorter.take():
            latency_us, how = timed(self.hall.tree.device(one.device), one.t_us, one.got_us)
            self._note(one.device, one.t_us, one.got_us, latency_us, how)

    def _catch_up(self, now_us: int) -> None:
        """What came while we did not run: it did come, and nobody knows how quickly."""
        try:
            newest: dict[str, int] = {}
            for device, sample in self.hall.reader.newest(SYS, SERIES, 1000):
                newest.setdefault(device, sample.t_us)
        except StoreError:
            return  # there is no store yet
        self._caught_up = True
        for device, t_us in newest.items():
            if t_us <= now_us + SKEW_US:
                self._note(device, t_us, now_us, None, "late")

    def _note(self, device: str, t_us: int, got_us: int, latency_us: int | None, how: str) -> None:
        t_us = min(t_us, got_us)  # a clock that is ahead must not make those to come look old
        if watch_rows.note_canary(self.hall.db, device, t_us, got_us, latency_us, how):
            self.canaries = watch_rows.canaries(self.hall.db)

    # --- the hub's own disk -------------------------------------------------------------------------------------

    def _note_disk(self, now_us: int) -> None:
        if 0 <= now_us - self._disk_us < DISK_US:
            return
        self._disk_us = now_us
        if self._points and 0 <= now_us - self._points[-1].t_us < DISK_US:
            return
        free, _ = hub_side.disk_of(self.hall.settings)
        watch_rows.note_disk(self.hall.db, DiskPoint(now_us, free, hub_side.own_bytes(self.hall.settings)))
        self._points = watch_rows.disk_points(self.hall.db)

    # --- judging ------------------------------------------------------------------------------------------------

    def _look(self, now_us: int) -> None:
        devices = self.hall.tree.devices()
        self._watch_presence(devices, now_us)
        hub = hub_side.hub_machine(self.hall.settings, now_us, self._points, broker=self.hall.client.connected)
        self.machines = (hub, *(device_machine(device, now_us, self.canaries.get(device.id)) for device in devices))
        gone = set(self.canaries) - {device.id for device in devices}
        if gone and self.hall.client.connected[0] and now_us - self._began_us > judge.OVERDUE_US:
            for device_id in gone:  # taken off the fleet
                watch_rows.forget_canary(self.hall.db, device_id)
            self.canaries = watch_rows.canaries(self.hall.db)
        found = [*judge.hub(hub, now_us, echo_s=self._echo_age(), connected=self.hall.client.connected[0],
                            points=self._points)]
        for machine in self.machines[1:]:
            found += judge.services(machine)
            found += judge.canary(machine, self._seen.get(machine.id), now_us)
        found += self.outbox.conditions(now_us)
        found += judge.deadman(self._deadman_fault, self.deadman.failing_since_us if self.deadman else None,
                               self.deadman.error if self.deadman else "", now_us, self._began_us)
        self._found = tuple(self._since.held(found, now_us))
        self._trouble = judge.trouble(self._found, hub)

    def _watch_presence(self, devices: list[LiveDevice], now_us: int) -> None:
        here = {device.id for device in devices if device.state in HERE} if self.hall.client.connected[0] else set()
        self._seen = {device: self._seen.get(device, now_us) for device in here}

    # --- the broker moves ---------------------------------------------------------------------------------------

    def _send_echo(self) -> None:
        now_s = time.monotonic()
        if now_s - self._echo_sent_s < ECHO_S:
            return
        self._echo_sent_s = now_s
        try:
            self.hall.client.echo(self._echoed)
        except NotConnected:
            return  # that is what the age says

    def _echoed(self) -> None:
        late = self._echo_age() > ECHO_LATE_S
        self._echo_s = time.monotonic()
        if late:  # a broker whose queue for us was full has dropped some: a state among them would stay wrong for good
            self.hall.client.read_anew()

    def _echo_age(self) -> float:
        return time.monotonic() - self._echo_s

    # --- the dead man's ping ------------------------------------------------------------------------------------

    def _say(self, trouble: str) -> None:
        if self.deadman is not None:
            moving = moves(self.hall.settings.hub.run_dir, "ingest") and self._echo_age() < ECHO_LATE_S
            self.deadman.say(Word(time.monotonic(), moving, trouble))

    # --- what others read ---------------------------------------------------------------------------------------

    def _values(self) -> dict[tuple[str, str], float | int]:
        values: dict[tuple[str, str], float | int] = {
            ("canary", device): round(one.latency_us / 1e6, 3) for device, one in self.canaries.items()
            if one.latency_us is not None}
        if self.machines:
            values["watch", "machines"] = len(self.machines)
            values["watch", "machines-well"] = sum(machine.state == "ok" for machine in self.machines)
        if self._points:
            values["watch", "disk-free"] = self._points[-1].free_bytes
        return values

    def report(self, now_us: int) -> Report:
        return Report(now_us, self.machines, supplies_of(self.hall.tree.devices(), self.hall.reader),
                      len(watch_rows.staged(self.hall.db)))

    def _ask_report(self, args: dict[str, Any], who: str) -> Any:
        return msgspec.to_builtins(self.report(self.hall.now_us()))

    # --- restarts -----------------------------------------------------------------------------------------------

    def _ask_restart(self, args: dict[str, Any], who: str) -> Any:
        """``{"machine": "attic", "what": "plugin:heater"}``: carried out now, or when mains are back for a while."""
        machine, what = args.get("machine"), args.get("what")
        if not isinstance(machine, str) or not isinstance(what, str) or not what or len(what) > 100:
            raise Refused("watch.restart: expected machine and what")
        if self.hall.tree.device(machine) is None:
            raise Refused(f"there is no device {machine[:60]!r}")
        if len(watch_rows.staged(self.hall.db)) >= MAX_STAGED:
            raise Refused(f"{MAX_STAGED} restarts wait already")
        holder = held_by(self.hall.tree.devices())
        watch_rows.stage(self.hall.db, machine, what, who, self.hall.now_us())
        return {"waits_for": holder}

    def _restarts(self, now_us: int) -> None:
        """One at a time, and none while mains are away or have come back only just now (B63)."""
        if held_by(self.hall.tree.devices()):
            self._held_until_us = now_us + AFTER_RETURN_US
        if now_us < self._held_until_us or now_us < self._next_restart_us:
            return
        for one in watch_rows.staged(self.hall.db):
            device = self.hall.tree.device(one.machine)
            if device is None or device.state not in HERE:
                if now_us - one.asked_us > DISK_US:
                    watch_rows.unstage(self.hall.db, one.id)
                    self.hall.logbook.add(Entry(
                        now_us, one.machine, "restart", "warning",
                        f"the restart of {one.what} was given up: the device is away", who=one.who))
                continue
            watch_rows.unstage(self.hall.db, one.id)  # at most once: a restart that is lost is asked for again
            self._next_restart_us, self._restart = now_us + BETWEEN_US, one
            return

    def _order(self, one: watch_rows.Staged) -> None:
        try:
            answer = self.hall.client.request(one.machine, "restart", {"what": one.what}, RESTART_S)
            error = "" if answer.status == "ok" else answer.error or answer.status
        except NotConnected as gone:
            error = str(gone)
        self._carry(Entry(self.hall.now_us(), one.machine, "restart", "warning" if error else "info",
                          f"{one.what} is not restarted: {error}" if error else f"{one.what} restarts", "command",
                          who=one.who))

    def _carry(self, entry: Entry) -> None:
        with self._lock:
            self._carried.append(entry)


