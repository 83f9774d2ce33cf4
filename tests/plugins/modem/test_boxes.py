"""Queues, caps, inbox, codes and PIN on a clock that the test moves; their state goes through JSON at every step."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plugins.modem import at_transport
from plugins.modem.codes import COMMANDS, Codes, Command, NoCommand
from plugins.modem.inbox import Full, Inbox, Message, Unreadable
from plugins.modem.numbers import dialable, normal, redacted
from plugins.modem.outbox import Held, Limits, Outbox
from plugins.modem.pdu import split
from plugins.modem.pdu_in import StatusReport, deliver, status_report
from plugins.modem.pin import Locked, Pin
from plugins.modem.when import Now

ME, OTHER = "+33612345678", "+33699999999"
AT = datetime(2026, 11, 26, 18, 0, tzinfo=UTC)


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    """As ``io.kept`` comes back after a power cut."""
    return json.loads(json.dumps(state))


# --- caps ------------------------------------------------------------------------------------------------------------


def test_B67_10000_alerts_in_60_s_make_5_sms_and_a_digest_with_the_exact_count() -> None:
    state: dict[str, Any] = {}
    sent, held = 0, 0
    for number in range(10_000):
        if number % 1000 == 0:
            state = through_json(state)  # a restart in the middle changes nothing
        box = Outbox(state, Limits())
        try:
            entry = box.offer(ME, f"alert {number}", Now("boot", 1000 + number * 0.006, None))
        except Held as error:
            held += 1
            assert "held back: 5 in 10 min" in str(error) and f"{held} held back for …678 so far" in str(error)
        else:
            sent += 1
            box.sent(entry)
    box = Outbox(through_json(state), Limits())
    assert (sent, held, box.held) == (5, 9995, 9995)
    assert list(box.digests(Now("boot", 1100, None))) == []
    digests = list(box.digests(Now("boot", 1000 + 601, None)))
    assert [(to, "9995 messages" in text) for to, text in digests] == [(ME, True)]
    assert box.held == 0 and list(box.digests(Now("boot", 1602, None))) == []


def test_20_a_day_to_one_number_over_reboots_with_and_without_a_clock() -> None:
    state: dict[str, Any] = {}
    wall = 1_800_000_000.0
    for number in range(20):
        box = Outbox(state, Limits())
        box.sent(box.offer(ME, "x", Now("a", 100 + number * 700.0, wall + number * 700)))
    for boot, up_s, wall_s in (("a", 15_000.0, wall + 15_000), ("b", 10.0, wall + 15_000), ("c", 10.0, None),
                               ("d", 86_000.0, None), ("e", 50.0, wall + 86_000)):
        with pytest.raises(Held, match="to one number"):
            Outbox(through_json(state), Limits()).offer(ME, "x", Now(boot, up_s, wall_s))
    # a day later by a good clock, or a day of one boot later without one
    assert Outbox(through_json(state), Limits()).offer(ME, "x", Now("f", 50.0, wall + 100_000))
    assert Outbox(through_json(state), Limits()).offer(ME, "x", Now("g", 86_401.0, None))


def test_all_numbers_together_are_capped_and_strangers_make_no_state() -> None:
    state: dict[str, Any] = {}
    box = Outbox(state, Limits(all_per_day=10))
    now = Now("a", 5.0, None)
    for number in range(10):
        box.sent(box.offer(f"+3361234{number:04d}", "x", now))
    for number in range(500):
        with pytest.raises(Held, match="all numbers together"):
            box.offer(f"+3379{number:07d}", "x", now)
    assert len(json.dumps(state)) < 3000


def test_an_id_is_taken_once_also_after_a_restart() -> None:
    state: dict[str, Any] = {}
    box = Outbox(state, Limits(burst=1000, per_day=1000, all_per_day=1000))
    entry = box.offer(ME, "x", Now("a", 1.0, None), id_="alarm-7")
    assert Outbox(through_json(state), Limits()).known("alarm-7") == "queued"
    box.sent(entry)
    assert Outbox(through_json(state), Limits()).known("alarm-7") == "sent"
    for number in range(400):
        box.sent(box.offer(OTHER, "x", Now("a", 2.0 + number, None)))
    assert box.known("alarm-7") is None and len(state["ids"]) <= 301


class Offers(RuleBasedStateMachine):
    """Whatever is offered, fails, restarts and reboots: no number ever gets more than its caps, nothing is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.state: dict[str, Any] = {}
        self.true_s = 1_800_000_000.0
        self.boot, self.up_s, self.knows = 0, 10.0, True
        self.accepted: list[tuple[float, str]] = []
        self.offered = self.held = self.out = 0

    @property
    def now(self) -> Now:
        return Now(f"boot{self.boot}", self.up_s, self.true_s if self.knows else None)

    @property
    def box(self) -> Outbox:
        return Outbox(self.state, Limits(burst=3, burst_s=600, per_day=6, all_per_day=9))

    @rule(to=st.sampled_from(["+331111111", "+332222222", "+333333333"]))
    def offer(self, to: str) -> None:
        self.offered += 1
        try:
            self.box.offer(to, "x", self.now)
        except Held:
            self.held += 1
        else:
            self.accepted.append((self.true_s, to))

    @precondition(lambda self: self.box.due(self.now) is not None)
    @rule(works=st.booleans(), permanent=st.booleans())
    def try_one(self, works: bool, permanent: bool) -> None:
        box = self.box
        entry = box.due(self.now)
        assert entry is not None
        if works:
            box.sent(entry)
            self.out += 1
        else:
            self.out += box.failed(entry, self.now, permanent)

    @rule(seconds=st.sampled_from([1.0, 60.0, 599.0, 3600.0, 40_000.0]))
    def wait(self, seconds: float) -> None:
        self.true_s += seconds
        self.up_s += seconds

    @rule(reboot=st.booleans(), knows=st.booleans())
    def restart(self, reboot: bool, knows: bool) -> None:
        self.state = through_json(self.state)
        if reboot:
            self.boot, self.up_s, self.knows = self.boot + 1, 5.0, knows
            self.true_s += 30.0

    @invariant()
    def caps_hold_and_nothing_is_lost(self) -> None:
        assert self.offered == self.held + self.out + self.box.depth
        for to in {to for _, to in self.accepted}:
            at = [when for when, number in self.accepted if number == to]
            assert all(sum(end - 600 < one <= end for one in at) <= 3 for end in at)
            assert all(sum(end - 86_400 < one <= end for one in at) <= 6 for end in at)
        every = [when for when, _ in self.accepted]
        assert all(sum(end - 86_400 < one <= end for one in every) <= 9 for end in every)


TestOffers = Offers.TestCase
TestOffers.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)


# --- per-recipient queues --------------------------------------------------------------------------------------------


def test_B70_one_bad_recipient_holds_nobody_up() -> None:
    """Each try with the bad one costs the longest a send can take; everybody else is out within 60 s."""
    state: dict[str, Any] = {}
    longest_s = (at_transport.PROMPT_S + at_transport.SEND_S + 0.4 + at_transport.WAKE_TRIES * at_transport.WAKE_S)
    box = Outbox(state, Limits())
    up_s = 100.0
    for number in range(3):
        box.offer(OTHER, f"bad {number}", Now("a", up_s + number * 0.01, None))
    for number in range(8):
        box.offer(f"+3361234567{number}", "good", Now("a", up_s + 1, None))
    out: dict[str, float] = {}
    tries: list[float] = []
    while box.depth > 3 or len(tries) < 6:
        entry = box.due(Now("a", up_s, None))
        if entry is None:
            up_s += 0.5
        elif entry["to"] == OTHER:
            tries.append(up_s)
            up_s += longest_s
            assert not box.failed(entry, Now("a", up_s, None), permanent=False)
        else:
            up_s += 0.5
            box.sent(entry)
            out[entry["to"]] = up_s - 101
    assert len(out) == 8 and max(out.values()) <= 60.0
    gaps = [round(later - earlier - longest_s) for earlier, later in pairwise(tries)]
    assert gaps == [30, 60, 120, 240, 480], "the bad one is tried again and again, ever more rarely"
    assert [entry["text"] for entry in box.queue] == ["bad 0", "bad 1", "bad 2"], "its own order holds"


def test_given_up_after_a_day_or_at_once_where_trying_is_useless() -> None:
    state: dict[str, Any] = {}
    box = Outbox(state, Limits())
    entry = box.offer(ME, "x", Now("a", 0.0, None), id_="one")
    assert not box.failed(entry, Now("a", 86_399.0, None), permanent=False)
    assert box.failed(entry, Now("a", 86_401.0, None), permanent=False) and box.known("one") == "failed"
    entry = box.offer(ME, "x", Now("a", 86_402.0, None), id_="two")
    assert box.failed(entry, Now("a", 86_402.0, None), permanent=True) and box.depth == 0


def test_a_report_finds_its_message_by_reference_and_number() -> None:
    box = Outbox({}, Limits())
    now = Now("a", 0.0, None)
    for id_, to in (("one", "0612345678"), ("two", OTHER)):
        entry = box.offer(to, "x", now, id_=id_, report=True)
        box.part_sent(entry, 7, now)
        box.sent(entry)
    assert box.reported(7, ME, final=False) == "one" and box.reported(7, ME, final=True) == "one"
    assert box.reported(7, ME, final=True) is None and box.reported(8, OTHER, final=True) is None
    assert box.reported(7, OTHER, final=True) == "two"


# --- inbox -----------------------------------------------------------------------------------------------------------


def units(text: str, sender: str = ME, reference: int = 3) -> list[bytes]:
    return [deliver(sender, part, AT) for part in split(text, reference)]


def take(state: dict[str, Any], unit: bytes, now: Now | None = None) -> Any:
    return Inbox(state, (ME,), "").take(unit, now or Now("a", 1.0, None))


def test_long_messages_come_whole_in_any_order_with_doubles_and_restarts() -> None:
    rng = random.Random(5)
    for text in ("Fuite d'eau " * 40, "Οι αντλίες σταμάτησαν 😀 " * 20):
        parts = units(text)
        order = [*parts, *rng.sample(parts, 2)]
        rng.shuffle(order)
        state: dict[str, Any] = {}
        made = []
        for unit in order:
            state = through_json(state)
            made.append(take(state, unit))
        assert [one for one in made if one] == [Message(ME, text, "2026-11-26T18:00:00Z", len(parts), (), True)]
        assert state["parts"] == [] and take(state, parts[0]) is None


def test_two_long_messages_at_once_are_not_mixed() -> None:
    one, two = units("a" * 400, reference=1), units("b" * 400, reference=2)
    other = units("c" * 400, sender=OTHER, reference=1)
    state: dict[str, Any] = {}
    order = (one[0], two[0], other[2], one[1], other[0], two[2], two[1], other[1], one[2])
    made = [take(state, unit) for unit in order]
    assert [(m.sender, m.text[0], len(m.text), m.allowed) for m in made if m] == [
        (ME, "b", 400, True), (OTHER, "c", 400, False), (ME, "a", 400, True)]


def test_what_never_became_whole_is_told_after_a_day() -> None:
    state: dict[str, Any] = {}
    parts = units("x" * 400)
    take(state, parts[0], Now("a", 10.0, None))
    take(state, parts[2], Now("a", 20.0, None))
    inbox = Inbox(state, (ME,), "")
    assert list(inbox.overdue(Now("a", 86_000.0, None))) == []
    (message,) = inbox.overdue(Now("a", 86_500.0, None))
    assert message.missing == (2,) and len(message.text) == 153 + 94 and state["parts"] == []


def test_strangers_are_put_aside_until_there_is_no_room_and_then_stay_on_the_sim() -> None:
    state: dict[str, Any] = {}
    for number in range(60):
        made = take(state, deliver(OTHER, split(f"spam {number}", 0)[0], AT))
        if isinstance(made, Message):
            Inbox(state, (ME,), "").put_aside(made)
        else:
            assert isinstance(made, Full) and number >= 40
    assert len(state["strangers"]) == 40
    assert isinstance(take(state, units("from me")[0]), Message), "our own people are heard all the same"


def test_reports_and_damaged_units() -> None:
    state: dict[str, Any] = {}
    assert isinstance(take(state, status_report(7, ME, 0, AT)), StatusReport)
    for unit in (b"", b"\0", b"\0\x04\x0b", bytes(range(40)), units("x" * 100)[0][:-5]):
        assert isinstance(take(state, unit), Unreadable)
    assert len(state["seen"]) == 1, "what cannot be read is not counted as taken"


# --- codes -----------------------------------------------------------------------------------------------------------


def test_a_code_is_good_once_and_for_its_time() -> None:
    codes = Codes({})
    now = Now("a", 100.0, None)
    code = codes.issue(now, 30)
    assert codes.command("Bonjour", ME, now) is None and codes.command("12345 heater off", ME, now) is None
    assert codes.command(f" {code}: Heater  OFF!", ME, now) == Command("heater off", "")
    with pytest.raises(NoCommand, match="wrong, used or too old"):
        codes.command(f"{code} heater off", ME, now)
    late = codes.issue(now, 30)
    with pytest.raises(NoCommand):
        codes.command(f"{late} status", ME, Now("a", 100.0 + 1801, None))
    mine = codes.issue(now, 30, OTHER)
    with pytest.raises(NoCommand):
        codes.command(f"{mine} status", ME, now)
    assert codes.command(f"{mine} ack 4711-b", OTHER, now) == Command("ack", "4711-b")


def test_a_code_survives_a_reboot_only_with_a_clock() -> None:
    for wall_s, good in ((1_800_000_000.0, True), (None, False)):
        state: dict[str, Any] = {}
        code = Codes(state).issue(Now("a", 100.0, wall_s), 30)
        codes = Codes(through_json(state))
        later = Now("b", 5.0, None if wall_s is None else wall_s + 60)
        if good:
            assert codes.command(f"{code} status", ME, later) == Command("status", "")
        else:
            with pytest.raises(NoCommand):
                codes.command(f"{code} status", ME, later)


def test_guessing_is_shut_out_for_an_hour() -> None:
    codes = Codes({})
    for number in range(5):
        with pytest.raises(NoCommand, match="wrong"):
            codes.command(f"{number:06d} status", ME, Now("a", 100.0 + number, None))
    code = codes.issue(Now("a", 110.0, None), 200)
    with pytest.raises(NoCommand, match="5 wrong codes"):
        codes.command(f"{code} status", ME, Now("a", 111.0, None))
    assert codes.command(f"{code} status", ME, Now("a", 3800.0, None)) == Command("status", "")


@pytest.mark.parametrize("words", [
    "heater on", "heater", "on", "heater off on", "heater forced", "mode auto", "setpoint 30", "", "ack a b", "ack ;rm",
    "status now", "heater  o n"])
def test_nothing_by_sms_switches_a_heater_on(words: str) -> None:
    codes = Codes({})
    now = Now("a", 1.0, None)
    code = codes.issue(now, 30)
    with pytest.raises(NoCommand, match="no such command") as refused:
        codes.command(f"{code} {words}", ME, now)
    assert refused.value.right_code
    assert not any(word.endswith(" on") or word == "on" for word in COMMANDS)


# --- PIN -------------------------------------------------------------------------------------------------------------


def test_B69_one_try_a_boot_never_the_last_never_the_same_again() -> None:
    state: dict[str, Any] = {}
    with pytest.raises(Locked, match="1 try left"):
        Pin(state).begin("a", "v1", "sim", 1)
    Pin(state).begin("a", "v1", "sim", None)
    with pytest.raises(Locked, match="since this machine started"):  # killed before its result
        Pin(through_json(state)).begin("a", "v1", "sim", None)
    Pin(state).wrong()
    for boot in "abc":
        with pytest.raises(Locked, match="refused before"):
            Pin(through_json(state)).begin(boot, "v1", "sim", 3)
    Pin(state).begin("b", "v2", "sim", None)  # the operator wrote another one
    Pin(state).wrong()
    with pytest.raises(Locked, match="2 times without success"):
        Pin(through_json(state)).begin("c", "v3", "sim", None)
    Pin(state).begin("c", "v3", "sim", 2)  # the SIM says that there is room
    Pin(state).right()
    Pin(through_json(state)).begin("c", "v3", "sim", None)  # a stick that starts anew: no guess


def test_B69_a_pin_that_was_right_once_makes_no_third_try_without_an_answer() -> None:
    """Somebody changed it with a phone, and the modem dies at each try; it does not say how many are left."""
    state: dict[str, Any] = {}
    Pin(state).begin("a", "v1", "sim", None)
    Pin(state).right()
    tries = 0
    for boot in "bcdef":
        try:
            Pin(state).begin(boot, "v1", "sim", None)
        except Locked:
            continue
        tries += 1
        state = through_json(state)
    assert tries == 2


def test_B69_a_right_pin_is_not_given_to_another_sim_in_the_same_boot() -> None:
    state: dict[str, Any] = {}
    pin = Pin(state)
    pin.begin("a", "v1", "sim one", 3)
    pin.right()
    for sim in ("sim two", None):
        with pytest.raises(Locked, match="since this machine started"):
            Pin(through_json(state)).begin("a", "v1", sim, 3)


@pytest.mark.parametrize(("raw", "form"), [
    ("0033 6 12-34.56 78", "+33612345678"), ("06 12 34 56 78", "+33612345678"), ("+33(6)12345678", "+33612345678"),
    ("36180", "36180"), ("Free Mobile", "Free Mobile"), ("123", "123"), ("007", "007"),
])
def test_numbers_have_one_form(raw: str, form: str) -> None:
    assert normal(raw, "+33") == form and dialable(form) == (form != "Free Mobile")
    assert redacted("+33612345678") == "…678" and redacted("12") == "…"
