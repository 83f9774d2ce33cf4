"""Lock, line, quiet hours and what is said when something fails: pure, on a moved clock."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.api import Message
from agent.testing import Lines, io_over
from plugins.announcer import asking, hours
from plugins.announcer.cache import Journal
from plugins.announcer.desk import CUT_MAX, RETRY_S, Desk, Moment
from plugins.announcer.gate import Gate, Refused
from plugins.announcer.plugin import Announcer
from plugins.announcer.settings import PRIORITIES, AnnouncerConfig

PARIS = ZoneInfo("Europe/Paris")


def wall(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


def at(now_s: float, wall_us: int | None = None) -> Moment:
    return Moment(now_s, wall_us)


def desk(boot: str = "boot-1", **fields: Any) -> Desk:
    return Desk(AnnouncerConfig(timezone="Europe/Paris", **fields), PARIS, boot)


def wish(text: str, priority: str = "normal", **more: Any) -> asking.Wish:
    return asking.Wish(text, priority, **more)


def speak(one: Desk, now_s: float) -> list[str]:
    """Let it speak until nothing waits, 2 s each; returns the texts in order."""
    spoken = []
    for _ in range(100):
        one.turn(at(now_s))
        if one.current is None:
            break
        spoken.append(one.current.item.text)
        one.heard(one.current.job, "playing", at(now_s), seconds=2.0)
        now_s += 2.0
        one.heard(one.current.job, "played", at(now_s))
    return spoken


# --- the lock, as the interphone's --------------------------------------------------------------------------------


def test_lock_gives_a_key_and_another_service_is_told_who_holds_it() -> None:
    gate = Gate(60.0)
    key = gate.lock("door", 0.0)
    assert re.fullmatch("[0-9a-f]{32}", key)
    with pytest.raises(Refused, match="already locked by service door"):
        gate.lock("kitchen", 59.9)
    assert gate.lock("kitchen", 60.0) != key, "a key lasts 60 s"


@pytest.mark.parametrize("shown", [None, "0" * 32, "", "é"])
def test_a_wrong_or_missing_key_is_refused_while_it_is_locked(shown: str | None) -> None:
    gate = Gate(60.0)
    key = gate.lock("door", 0.0)
    with pytest.raises(Refused, match="locked by service door and"):
        gate.admit(shown, 1.0)
    assert gate.admit(key, 1.0) == 1
    assert gate.admit(shown, 60.0) == 0, "nobody holds it any more"


def test_an_expired_key_is_refused_once_another_holds_the_lock() -> None:
    gate = Gate(60.0)
    old = gate.lock("door", 0.0)
    gate.lock("kitchen", 61.0)
    with pytest.raises(Refused, match="kitchen and the key is wrong or has expired"):
        gate.admit(old, 62.0)


def test_only_the_same_name_releases_and_no_key_is_asked_for() -> None:
    gate = Gate(60.0)
    key = gate.lock("door", 0.0)
    with pytest.raises(Refused, match="locked by service door"):
        gate.release("kitchen", 1.0)
    assert gate.release("door", 1.0) and not gate.release("door", 1.0)
    gate.lock("kitchen", 2.0)
    with pytest.raises(Refused):
        gate.admit(key, 2.0)


def test_disabled_only_the_holder_of_a_key_speaks() -> None:
    gate = Gate(60.0)
    gate.enabled = False
    key = gate.lock("door", 0.0)
    assert gate.admit(key, 1.0) == 1
    for now_s in (1.0, 61.0):
        with pytest.raises(Refused):
            gate.admit(None, now_s)
    with pytest.raises(Refused, match="disabled"):
        gate.admit(key, 61.0)
    assert gate.admit(None, 61.0, frozenset({"disabled"})) == 0


def test_what_was_waiting_when_somebody_took_the_lock_waits_for_its_end() -> None:
    one = desk()
    one.ask(wish("before"), at(0.0))
    key = one.gate.lock("door", 0.0)
    one.ask(wish("dialogue", key=key), at(0.0))
    assert speak(one, 0.0) == ["dialogue"]
    assert speak(one, 60.0) == ["before"]


def test_an_alarm_is_refused_by_the_lock_unless_the_operator_lets_it_pass() -> None:
    one = desk()
    one.gate.lock("door", 0.0)
    with pytest.raises(Refused, match="locked by service door"):
        one.ask(wish("fire", "alarm"), at(1.0))
    other = desk(alarms_pass=("quiet_hours", "lock", "disabled"))
    other.gate.enabled = False
    other.gate.lock("door", 0.0)
    other.ask(wish("fire", "alarm"), at(1.0))
    assert speak(other, 1.0) == ["fire"]


# --- the line -----------------------------------------------------------------------------------------------------


def test_higher_priority_first_and_in_order_within_one() -> None:
    one = desk()
    for n, priority in enumerate(["low", "normal", "high", "normal", "alarm", "low"]):
        one.ask(wish(f"{priority}{n}", priority), at(float(n)))
    assert speak(one, 10.0) == ["alarm4", "high2", "normal1", "normal3", "low0", "low5"]
    assert [event["result"] for event in one.told] == ["spoken"] * 6


def test_only_an_alarm_interrupts_and_the_rest_is_said_again_from_its_beginning() -> None:
    one = desk()
    one.ask(wish("long"), at(0.0))
    one.turn(at(0.0))
    one.heard(1, "playing", at(0.1), seconds=20)
    one.ask(wish("urgent", "high"), at(1.0))
    assert one.current is not None and one.current.item.text == "long"
    one.ask(wish("fire", "alarm"), at(2.0))
    assert one.orders[-1] == {"stop": 1}
    one.heard(1, "played", at(2.1))  # its last words come too late to count
    assert speak(one, 3.0) == ["fire", "urgent", "long"]
    assert one.told[-1]["cut"] == 1 and one.spoken == 3


def test_what_is_cut_short_again_and_again_is_given_up() -> None:
    one = desk()
    one.ask(wish("long"), at(0.0))
    for n in range(CUT_MAX):
        one.turn(at(n * 10.0))
        assert one.current is not None and one.current.item.text == "long"
        one.heard(one.current.job, "playing", at(n * 10.0 + 1), seconds=5)
        one.ask(wish("fire", "alarm"), at(n * 10.0 + 2))
        one.turn(at(n * 10.0 + 2))
        assert one.current is not None
        one.heard(one.current.job, "playing", at(n * 10.0 + 2), seconds=1)
        one.heard(one.current.job, "played", at(n * 10.0 + 3))
    assert [e["result"] for e in one.told if e["text"] == "long"] == ["cut_off"] and len(one.line) == 0


def test_a_full_line_drops_the_newest_of_the_lowest_or_refuses() -> None:
    one = desk(queue_max=2)
    one.ask(wish("a", "low"), at(0.0))
    one.ask(wish("b", "low"), at(0.0))
    with pytest.raises(Refused, match="2 announcements are waiting, queue_max is 2"):
        one.ask(wish("c", "low"), at(0.0))
    one.ask(wish("d", "high"), at(0.0))
    assert [(e["text"], e["result"]) for e in one.told] == [("b", "dropped")]
    assert speak(one, 1.0) == ["d", "a"]


def test_the_same_id_is_spoken_once() -> None:
    one = desk()
    assert one.ask(wish("x", id="i"), at(0.0))["state"] == "waiting"
    assert one.ask(wish("x", id="i"), at(0.0)) == {"id": "i", "state": "known"}
    assert speak(one, 1.0) == ["x"]
    assert one.ask(wish("x", id="i"), at(9.0))["state"] == "known"


def test_too_late_is_not_spoken() -> None:
    one = desk(good_s=300)
    one.ask(wish("chime", good_s=45), at(0.0))
    one.ask(wish("dinner", good_s=9999), at(0.0))
    one.turn(at(46.0))
    assert one.current is not None and one.current.item.text == "dinner"
    assert one.told[0]["result"] == "expired" and "45 s" in one.told[0]["why"]


# --- programs that fail -------------------------------------------------------------------------------------------


def test_B57_speech_that_hangs_is_stopped_and_the_next_is_begun() -> None:
    one = desk(tts_timeout_s=20)
    one.ask(wish("a"), at(0.0))
    one.ask(wish("b"), at(0.0))
    one.turn(at(0.0))
    one.turn(at(19.9))
    assert one.orders == [{"say": {"job": 1, "text": "a", "volume_pct": 30}}]
    one.turn(at(20.0))
    assert one.orders[1:] == [{"stop": 1}, {"say": {"job": 2, "text": "b", "volume_pct": 30}}]
    assert one.told[0]["result"] == "failed" and one.trouble == "no speech within 20 s, the program was killed"


def test_B57_a_player_that_hangs_is_stopped_after_the_length_of_what_it_plays() -> None:
    one = desk(player_grace_s=5)
    one.ask(wish("a"), at(0.0))
    one.turn(at(0.0))
    one.heard(1, "playing", at(1.0), seconds=10)
    one.turn(at(15.9))
    assert one.current is not None
    one.turn(at(16.0))
    assert one.orders[-1] == {"stop": 1} and one.sound == "failed" and one.trouble is not None
    one.turn(at(16.0 + RETRY_S[0]))
    assert one.orders[-1]["say"]["job"] == 2


def test_B54_an_absent_device_is_tried_again_ever_more_rarely_until_it_is_too_late() -> None:
    one = desk(good_s=100)
    one.ask(wish("a"), at(0.0))
    tries, now_s = [], 0.0
    while now_s < 120:
        one.turn(at(now_s))
        if one.current is not None:
            tries.append(now_s)
            one.heard(one.current.job, "playing", at(now_s), seconds=1)
            one.heard(one.current.job, "failed", at(now_s), where="sound", why="gone", state="absent")
        now_s += 0.5
    assert tries == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 61.0, 91.0]
    assert [(e["result"], e["why"]) for e in one.told] == [("expired", "gone")]
    one.ask(wish("fire", "alarm"), at(121.5))
    one.turn(at(121.5))
    assert one.current is not None, "an alarm does not wait for the next try"


def test_a_device_that_fails_in_the_middle_again_and_again_is_given_up() -> None:
    one = desk()
    one.ask(wish("a"), at(0.0))
    for now_s in (0.0, 50.0, 100.0):
        one.turn(at(now_s))
        assert one.current is not None
        one.heard(one.current.job, "playing", at(now_s), seconds=20)
        one.heard(one.current.job, "failed", at(now_s + 5), where="sound", why="I/O error")
    assert [e["result"] for e in one.told] == ["cut_off"] and len(one.line) == 0


# --- quiet hours --------------------------------------------------------------------------------------------------


def test_quiet_hours_let_an_alarm_pass_and_a_key_not() -> None:
    one = desk(quiet_hours=("22:00-07:00",))
    night = wall("2026-11-20T23:00:00+01:00")
    key = one.gate.lock("door", 0.0)
    with pytest.raises(Refused, match="quiet hours until 07:00: only an alarm is spoken"):
        one.ask(wish("x", key=key), at(1.0, night))
    one.ask(wish("fire", "alarm", key=key), at(1.0, night))
    deaf = desk(quiet_hours=("22:00-07:00",), alarms_pass=())
    with pytest.raises(Refused, match="quiet hours until 07:00"):
        deaf.ask(wish("fire", "alarm"), at(1.0, night))


def test_what_waits_when_quiet_hours_begin_is_not_spoken() -> None:
    one = desk(quiet_hours=("22:00-07:00",))
    evening = wall("2026-11-20T21:59:59+01:00")
    one.ask(wish("x"), at(1.0, evening))
    one.turn(at(3.0, evening + 2_000_000))
    assert one.current is None and one.told[0]["result"] == "quiet"


@pytest.mark.parametrize(("text", "when", "until"), [
    ("22:00-07:00", "2026-11-20T21:59:59+01:00", None), ("22:00-07:00", "2026-11-20T22:00:00+01:00", "07:00"),
    ("22:00-07:00", "2026-11-21T06:59:59+01:00", "07:00"), ("22:00-07:00", "2026-11-21T07:00:00+01:00", None),
    ("sat,sun 20:00-09:00", "2026-11-20T20:30:00+01:00", None),
    ("sat,sun 20:00-09:00", "2026-11-21T20:30:00+01:00", "09:00"),
    ("sat,sun 20:00-09:00", "2026-11-23T08:59:00+01:00", "09:00"),
    ("sat,sun 20:00-09:00", "2026-11-21T08:59:00+01:00", None),
    ("13:00-24:00", "2026-11-21T23:59:00+01:00", "00:00"),
    ("01:00-03:30", "2026-10-25T02:30:00+01:00", "03:30"), ("01:00-03:30", "2026-03-29T03:15:00+02:00", "03:30"),
])
def test_quiet_hours_by_the_wall_clock_of_the_zone(text: str, when: str, until: str | None) -> None:
    assert hours.quiet_until([hours.parse_hours(text)], PARIS, wall(when)) == until


def test_while_the_time_is_not_known_it_is_quiet_but_for_alarms() -> None:
    """A stopped clock wakes nobody."""
    one = desk(quiet_hours=("22:00-07:00",))
    unknown = Moment(1.0, None)
    with pytest.raises(Refused, match="quiet hours until the time is known"):
        one.ask(wish("x"), unknown)
    one.ask(wish("fire", priority="alarm"), unknown)
    one.turn(unknown)
    assert one.current is not None and one.current.item.text == "fire"
    assert desk().ask(wish("no quiet hours, no question"), unknown)["state"] == "waiting"


# --- over a restart -----------------------------------------------------------------------------------------------


def restart(before: Desk, now: Moment, boot: str = "boot-1", begun: tuple[str, ...] = (), **fields: Any) -> Desk:
    after = desk(boot, **fields)
    after.restore(json.loads(json.dumps(before.kept())), lambda id_: id_ in begun, now)
    return after


def test_what_waits_survives_a_restart_for_a_bounded_age() -> None:
    one = desk(good_s=300)
    one.ask(wish("a", id="a"), at(100.0))
    one.ask(wish("b", id="b"), at(250.0))
    one.gate.enabled, one.volume_pct = True, 55
    two = restart(one, at(401.0))
    assert speak(two, 401.0) == ["b"] and two.told[0]["result"] == "expired" and two.volume_pct == 55
    assert two.ask(wish("b", id="b"), at(405.0))["state"] == "known"


def test_after_a_boot_the_age_is_told_by_the_wall_clock_and_waits_for_it() -> None:
    one = desk(good_s=300)
    one.ask(wish("a"), at(5000.0, wall("2026-11-20T12:00:00+01:00")))
    two = restart(one, at(20.0), "boot-2")
    two.turn(at(20.0))
    assert two.current is None and len(two.line) == 1, "nobody knows yet how old it is"
    two.turn(at(40.0, wall("2026-11-20T12:04:00+01:00")))
    assert two.current is not None
    three = restart(one, at(20.0), "boot-2")
    three.turn(at(40.0, wall("2026-11-20T12:06:00+01:00")))
    assert three.current is None and three.told[0]["result"] == "expired"
    four = restart(one, at(20.0), "boot-2")
    four.turn(at(301.0))
    assert len(four.line) == 0 and four.told[0]["result"] == "expired"


def test_what_an_alarm_sent_back_above_a_full_line_has_an_end_after_a_restart() -> None:
    one = desk(queue_max=2)
    one.ask(wish("a", "low", id="a"), at(0.0))
    one.turn(at(1.0))
    one.ask(wish("b", "low", id="b"), at(1.0))
    one.ask(wish("fire", "alarm", id="fire"), at(1.0))
    assert [item.id for item in one.line] == ["fire", "a", "b"]
    two = desk(queue_max=2)
    two.restore(json.loads(json.dumps(one.kept())), lambda id_: False, at(1.0))
    assert [item.id for item in two.line] == ["fire", "a"]
    assert [(event["id"], event["result"]) for event in two.told] == [("b", "dropped")]


def test_what_was_being_spoken_is_not_spoken_again() -> None:
    one = desk()
    one.ask(wish("a", id="a"), at(0.0))
    stale = json.loads(json.dumps(one.kept()))  # committed before it was begun, then the power went
    one.turn(at(1.0))
    two = restart(one, at(2.0))
    assert speak(two, 3.0) == [] and two.told[0]["result"] == "cut_off"
    three = desk()
    three.restore(stale, {"a"}.__contains__, at(2.0))
    assert speak(three, 3.0) == [] and three.told[0]["result"] == "cut_off"


@pytest.mark.parametrize("kept", [{}, {"waiting": 5}, {"waiting": [{"id": 1}], "seen": 3, "volume_pct": 900},
                                  {"enabled": "no", "now": [1]}])
def test_kept_state_that_is_none_of_ours_is_as_none(kept: dict[str, Any]) -> None:
    one = desk()
    one.restore(kept, lambda id_: False, at(0.0))
    assert one.gate.enabled and one.volume_pct == 30 and len(one.line) == 0


# --- what is asked for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "why"), [
    ("text", "expected an object"), ({}, "text: missing"), ({"text": " \n\x07"}, "nothing to say"),
    ({"text": "x" * 501}, "501 characters, max_chars is 500"), ({"text": "x", "volum": 1}, "did you mean volume"),
    ({"text": "x", "priority": 3}, "expected one of low, normal, high, alarm"),
    ({"text": "x", "volume": True}, "0..100"),
    ({"text": "x", "volume": float("nan")}, "0..100"), ({"text": "x", "service": "a\nb"}, "printable"),
    ({"text": "x", "key": 5}, "key: expected a string"), ({"text": "x", "good_s": 0}, "good_s"),
])
def test_B42_a_wish_that_is_none_is_refused_in_one_line(value: Any, why: str) -> None:
    with pytest.raises(Refused, match=re.escape(why)) as error:
        asking.say(value, 500)
    assert "\n" not in str(error.value)


# --- everything at once -------------------------------------------------------------------------------------------


class Speech(RuleBasedStateMachine):
    """Whatever happens, each admitted announcement has one end, and a finished one is never begun again."""

    @initialize()
    def begin(self) -> None:
        self.desk = desk(queue_max=5, good_s=100)
        self.now = 0.0
        self.admitted: set[str] = set()
        self.ends: Counter[str] = Counter()
        self.done: set[str] = set()
        self.number = 0

    def _moment(self) -> Moment:
        return at(self.now)

    @rule(priority=st.sampled_from(PRIORITIES), locked=st.booleans())
    def ask(self, priority: str, locked: bool) -> None:
        self.number += 1
        try:
            answer = self.desk.ask(wish(f"t{self.number}", priority, id=f"i{self.number}"), self._moment())
        except Refused:
            return
        assert answer["state"] == "waiting"
        self.admitted.add(answer["id"])

    @rule(seconds=st.floats(0.1, 60))
    def later(self, seconds: float) -> None:
        self.now += seconds
        self.desk.turn(self._moment())

    @rule(did=st.sampled_from(["playing", "played", "failed"]), where=st.sampled_from(["sound", "speech", "text"]),
          stale=st.booleans())
    def speaker(self, did: str, where: str, stale: bool) -> None:
        self.desk.turn(self._moment())
        if self.desk.current is not None:
            self.desk.heard(self.desk.current.job - stale, did, self._moment(), seconds=3.0, where=where, why="w")

    @rule(enabled=st.booleans())
    def switch(self, enabled: bool) -> None:
        self.desk.gate.enabled = enabled

    @rule()
    def lock(self) -> None:
        try:
            self.desk.gate.lock("door", self.now)
        except Refused:
            self.desk.gate.release("door", self.now)

    @rule()
    def restart(self) -> None:
        kept, told = json.loads(json.dumps(self.desk.kept())), self.desk.told
        self.desk = desk(queue_max=5, good_s=100)
        self.desk.restore(kept, lambda id_: False, self._moment())
        self.desk.told = told + self.desk.told

    @invariant()
    def one_end_each(self) -> None:
        if not hasattr(self, "desk"):
            return
        for event in self.desk.told:
            self.ends[event["id"]] += 1
            self.done.add(event["id"])
        self.desk.told.clear()
        waiting = [item.id for item in self.desk.line]
        current = [] if self.desk.current is None else [self.desk.current.item.id]
        assert set(self.ends.values()) <= {1}
        assert sorted([*waiting, *current, *self.done]) == sorted(self.admitted), "none lost, none twice"


Speech.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSpeech = Speech.TestCase


class Done(Exception):
    pass


def test_the_journal_takes_back_what_failed_before_it_is_begun_once_more(tmp_path: Path) -> None:
    """The device fails, and in the same moment another alarm has it tried again at once."""
    journal, lines = Journal(tmp_path / "begun"), Lines()

    class Stream:
        """The programs' words, and commands that come in the middle of them."""

        def __init__(self, plugin: Announcer, io: Any) -> None:
            failed = Message(b'{"job": 1, "did": "failed", "at": "sound", "why": "no such device"}')
            self._script = [lambda: plugin.command(io, "say", {"text": "fire", "priority": "alarm", "id": "a"}),
                            lambda: failed,
                            lambda: plugin.command(io, "say", {"text": "smoke", "priority": "alarm", "id": "b"})]

        def read(self, timeout_s: float) -> Message | None:
            if not self._script:
                raise Done
            said = self._script.pop(0)()
            return said if isinstance(said, Message) else None

        def write(self, data: bytes) -> None:
            return

        def close(self) -> None:
            return

    with io_over(b"x", lines) as io:
        plugin = Announcer(AnnouncerConfig())
        plugin._journal, plugin._speaker = journal, SimpleNamespace(wake=lambda: None)  # type: ignore[assignment]
        io.messages = lambda _: Stream(plugin, io)  # type: ignore[method-assign,assignment,return-value]
        with pytest.raises(Done):
            list(plugin.run(io))
    assert (tmp_path / "begun").read_text().splitlines() == ["+a", "-a", "+a"]
    assert Journal(tmp_path / "begun").begun("a")
