"""Who speaks next: lock, line, quiet hours, one announcement at a time, what is repeated and what is not. Pure.

Times are seconds since boot. The caller gives jobs to the speaker (:attr:`Desk.orders`) and tells what became of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from .asking import Wish
from .gate import Gate, Refused
from .hours import parse_hours, quiet_until
from .settings import AnnouncerConfig
from .waiting import Announcement, Line, restored

CUT_MAX = 3
"""An announcement that was cut short so often is given up."""
RETRY_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
SEEN = 50


class Moment(NamedTuple):
    """Now: seconds since boot, wall time in microseconds (None: not known)."""

    now_s: float
    wall_us: int | None


class Current(NamedTuple):
    """The announcement that the speaker has, under which number, and when it is hung."""

    item: Announcement
    job: int
    began_s: float
    deadline_s: float
    playing: bool = False
    seconds: float = 0.0


class Desk:
    """``told`` are the ``spoken`` events to be yielded, ``orders`` what the speaker is to be told."""

    def __init__(self, config: AnnouncerConfig, zone: Any, boot: str = "") -> None:
        self.gate = Gate(config.lock_s)
        self.volume_pct = config.volume_pct
        self.line = Line(config.queue_max)
        self.current: Current | None = None
        self.told: list[dict[str, Any]] = []
        self.orders: list[dict[str, Any]] = []
        self.begun: list[str] = []
        """Ids that the journal is to hold before their order goes out."""
        self.taken_back: list[str] = []
        self.sound = "unknown"
        self.trouble: str | None = None
        self.refused = self.failed = self.spoken = 0
        self.seen: list[str] = []
        """Ids that callers gave: the same one is not spoken twice."""
        self._config = config
        self._zone = zone
        self._boot = boot
        self._hours = tuple(parse_hours(one) for one in config.quiet_hours)
        self._passes = frozenset(config.alarms_pass)
        self._job = 0
        self._asked = 0
        self._tries = 0
        self._retry_s = float("-inf")

    # --- asking ---------------------------------------------------------------------------------------------------

    def ask(self, wish: Wish, at: Moment, age_s: float = 0.0) -> dict[str, Any]:
        """Take it into the line: what the asker is told. ``age_s``: how long it was under way. Raises Refused."""
        if wish.id is not None and wish.id in self.seen:
            return {"id": wish.id, "state": "known"}
        alarm = wish.priority == "alarm"
        try:
            lock = self.gate.admit(wish.key, at.now_s, self._passes if alarm else frozenset())
            if (until := self._quiet(wish.priority, at)) is not None:
                raise Refused(f"quiet hours until {until}: only an alarm is spoken"
                              if "quiet_hours" in self._passes else f"quiet hours until {until}")
            item = self._item(wish, lock, at, age_s)
            dropped = self.line.add(item)
            if dropped is item:
                raise Refused(f"{len(self.line)} announcements are waiting, queue_max is {self._config.queue_max}")
        except Refused:
            self.refused += 1
            raise
        if dropped is not None:
            self._tell(dropped, "dropped", at, why="the line is full")
        if wish.id is not None:
            self.seen = [*self.seen, wish.id][-SEEN:]
        if alarm:
            self._retry_s = float("-inf")
            self._make_way(at)
        return {"id": item.id, "state": "waiting", "before": list(self.line).index(item)}

    def _item(self, wish: Wish, lock: int, at: Moment, age_s: float) -> Announcement:
        self._asked += 1
        id_ = wish.id or f"{self._boot[:4]}{round(at.now_s * 1e3):x}-{self._asked}"
        good_s = min(wish.good_s or self._config.good_s, self._config.good_s)
        asked_us = None if at.wall_us is None else at.wall_us - round(age_s * 1e6)
        return Announcement(id=id_, text=wish.text, service=wish.service, priority=wish.priority,
                            volume_pct=wish.volume_pct, asked_s=at.now_s - age_s, asked_us=asked_us, boot=self._boot,
                            good_s=good_s, lock=lock)

    def _quiet(self, priority: str, at: Moment) -> str | None:
        if priority == "alarm" and "quiet_hours" in self._passes:
            return None
        return self.quiet_until(at)

    def quiet_until(self, at: Moment) -> str | None:
        return quiet_until(self._hours, self._zone, at.wall_us)

    def _make_way(self, at: Moment) -> None:
        """An alarm interrupts what is no alarm; that is spoken again, from its beginning, afterwards."""
        current = self.current
        if current is None or current.item.priority == "alarm":
            return
        self.orders.append({"stop": current.job})
        self.current = None
        self._again(current, at, "an alarm came again and again")

    def _again(self, current: Current, at: Moment, why: str) -> None:
        item = current.item
        item.cut += current.playing
        if item.cut >= CUT_MAX:
            self._tell(item, "cut_off", at, why=why)
        else:
            self.taken_back.append(item.id)
            self.line.put_back(item)

    # --- the turn -------------------------------------------------------------------------------------------------

    def turn(self, at: Moment) -> None:
        """Throw out what is too old, find what hangs, begin the next one."""
        self._throw_out(at)
        current = self.current
        if current is not None and at.now_s >= current.deadline_s:
            self.orders.append({"stop": current.job})
            if current.playing:
                self._sound_failed(current, at, "failed", f"sound device {self._config.device} hangs: the player was "
                                   f"killed {at.now_s - current.began_s:.0f} s after it began {current.seconds:.0f} s "
                                   "of speech; unplug and plug in the device")
            else:
                self._speech_failed(current, at, f"no speech within {self._config.tts_timeout_s:g} s, the program was "
                                                 "killed")
        if self.current is None and at.now_s >= self._retry_s and (item := self._next(at)) is not None:
            self._begin(item, at)

    def _throw_out(self, at: Moment) -> None:
        for item in self.line:
            why = self._too_late(item, at)
            if why is not None:
                self.line.remove(item)
                self._tell(item, why[0], at, why=why[1])

    def _too_late(self, item: Announcement, at: Moment) -> tuple[str, str] | None:
        age_s = item.age_s(self._boot, at.now_s, at.wall_us)
        if (at.now_s if age_s is None else age_s) > item.good_s:
            return "expired", (self.trouble or f"it waited longer than {item.good_s:g} s")
        alarm = item.priority == "alarm"
        if not self.gate.enabled and not item.lock and not (alarm and "disabled" in self._passes):
            return "disabled", "announcements were disabled"
        if age_s is not None and (until := self._quiet(item.priority, at)) is not None:
            return "quiet", f"quiet hours until {until}"
        return None

    def _next(self, at: Moment) -> Announcement | None:
        """What was admitted before somebody took the lock waits until that one is done."""
        held = self.gate.holder(at.now_s) is not None
        for item in self.line:
            if item.age_s(self._boot, at.now_s, at.wall_us) is None:
                continue
            through = item.priority == "alarm" and "lock" in self._passes
            if not held or through or item.lock == self.gate.number:
                return item
        return None

    def _begin(self, item: Announcement, at: Moment) -> None:
        self.line.remove(item)
        self._job += 1
        volume = self.volume_pct if item.volume_pct is None else item.volume_pct
        self.begun.append(item.id)
        self.orders.append({"say": {"job": self._job, "text": item.text, "volume_pct": volume}})
        self.current = Current(item, self._job, at.now_s, at.now_s + self._config.tts_timeout_s)

    # --- what the speaker says ------------------------------------------------------------------------------------

    def heard(self, job: int, did: str, at: Moment, *, seconds: float = 0.0, where: str = "", why: str = "",
              state: str = "failed") -> None:
        """Of another job than the current one: it was stopped, its words no longer count."""
        current = self.current
        if current is None or job != current.job:
            return
        if did == "playing":
            self.current = current._replace(playing=True, seconds=seconds, began_s=at.now_s,
                                            deadline_s=at.now_s + seconds + self._config.player_grace_s)
        elif did == "played":
            self.current, self._tries, self.spoken = None, 0, self.spoken + 1
            self.sound, self.trouble = "ok", None
            self._tell(current.item, "spoken", at, seconds=current.seconds)
        elif did == "failed" and where == "sound":
            self._sound_failed(current, at, state, why)
        elif did == "failed":
            self._speech_failed(current, at, why, trouble=where != "text")

    def _sound_failed(self, current: Current, at: Moment, state: str, why: str) -> None:
        """The announcement waits for the device, as long as it is good. A player that fails at once has said nothing;
        one that fails later may have said half of it: not more than some times."""
        self.current, self.sound, self.trouble = None, state, why
        self._retry_s = at.now_s + RETRY_S[min(self._tries, len(RETRY_S) - 1)]
        self._tries += 1
        heard = current.playing and at.now_s - current.began_s >= 1.0
        self._again(current._replace(playing=heard), at, why)

    def _speech_failed(self, current: Current, at: Moment, why: str, trouble: bool = True) -> None:
        """``trouble``: the program is to blame and the next one will fail too; else it is this text alone."""
        self.current, self.failed = None, self.failed + 1
        if trouble:
            self.trouble = why
        self._tell(current.item, "failed", at, why=why)

    def _tell(self, item: Announcement, result: str, at: Moment, *, seconds: float | None = None, why: str = ""
              ) -> None:
        age_s = item.age_s(self._boot, at.now_s, at.wall_us)
        event: dict[str, Any] = {"id": item.id, "text": item.text, "service": item.service,
                                 "priority": item.priority, "result": result}
        if seconds is not None:
            event["duration_s"] = seconds
            event["waited_s"] = round(max(0.0, (age_s or 0.0) - seconds), 1)
        if item.cut:
            event["cut"] = item.cut
        if why:
            event["why"] = why
        self.told.append(event)

    # --- over a restart -------------------------------------------------------------------------------------------

    def kept(self) -> dict[str, Any]:
        return {"waiting": self.line.as_json(), "seen": list(self.seen), "enabled": self.gate.enabled,
                "volume_pct": self.volume_pct,
                "now": None if self.current is None else msgspec.to_builtins(self.current.item)}

    def restore(self, kept: dict[str, Any], begun: Any, at: Moment) -> None:
        """``begun(id)``: whether its speech was begun. Then it is not begun again: spoken at most once."""
        if isinstance(kept.get("enabled"), bool):
            self.gate.enabled = kept["enabled"]
        if isinstance(kept.get("volume_pct"), int) and 0 <= kept["volume_pct"] <= 100:
            self.volume_pct = kept["volume_pct"]
        seen = kept.get("seen")
        self.seen = [str(one) for one in seen][-SEEN:] if isinstance(seen, list) else []
        for item in restored([kept.get("now")]):
            self._tell(item, "cut_off", at, why="the announcer ended while it was spoken")
        for item in restored(kept.get("waiting")):
            item.lock = 0  # the lock did not survive
            if begun(item.id):
                self._tell(item, "cut_off", at, why="the announcer ended while it was spoken")
            elif item.id not in self.line and (dropped := self.line.add(item)) is not None:
                # one that an alarm had sent back stood above the full line
                self._tell(dropped, "dropped", at, why="the line is full")
