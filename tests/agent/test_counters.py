"""Counter ledger (FEATURES row 26): 0 spurious units over 10^4 faults, and every true unit booked in the end."""

from __future__ import annotations

import json
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.api import Property
from agent.counters import CONFIRM, Counter, CounterEvent, of_another_boot

KWH = Property(name="energy_kwh", datatype="float", unit="kWh", state_class="total_increasing", max_rate_per_h=40.0)
S = 1_000_000
LONG = bool(os.environ.get("HUTKEEPER_LONG"))


def feed_all(counter: Counter, raws: list[float], t_s: int = 0, step_s: int = 10) -> tuple[list[float], list[str]]:
    """Totals booked and kinds of events for raw readings ``step_s`` apart."""
    totals, kinds = [], []
    for n, raw in enumerate(raws):
        booked, events = counter.feed(raw, (t_s + n * step_s) * S)
        totals += [total for _, total in booked]
        kinds += [event.kind for event in events]
    return totals, kinds


def test_a_reading_is_booked_with_its_own_time_once_the_next_confirms_it() -> None:
    counter = Counter(KWH)
    assert counter.feed(100.0, 0) == ([], [])
    assert counter.feed(100.1, 10 * S)[0] == [(0, 100.0)]
    assert counter.feed(100.2, 20 * S)[0] == [(10 * S, 100.1)]
    assert counter.feed(100.2, 30 * S)[0] == [(20 * S, 100.2), (30 * S, 100.2)]
    assert counter.feed(100.2, 40 * S)[0] == [(40 * S, 100.2)]


@pytest.mark.parametrize(
    "fault", [0.0, 50.0, 100.15, 100.35, 999.0, 99.9], ids=["zero", "dip", "small dip", "small spike", "spike", "back"])
def test_a_single_wrong_reading_books_nothing(fault: float) -> None:
    totals, events = feed_all(Counter(KWH), [100.0, 100.1, 100.2, fault, 100.22, 100.24, 100.26])
    assert events == []
    assert totals[-1] == 100.24
    assert all(total <= 100.26 for total in totals) and totals == sorted(totals)


def test_a_reset_books_no_jump_and_then_goes_on() -> None:
    totals, events = feed_all(Counter(KWH), [100.0, 100.1, 100.1, 0.0, 0.05, 0.1, 0.15, 0.15])
    assert events == ["reset"]
    assert totals[-1] == pytest.approx(100.25)


def test_a_swapped_meter_goes_on_from_the_same_total() -> None:
    totals, events = feed_all(Counter(KWH), [100.0, 100.1, 100.1, 7300.0, 7300.05, 7300.1, 7300.1])
    assert events == ["swap"]
    assert totals[-1] == pytest.approx(100.2)


def test_a_line_that_comes_back_is_taken_up_where_it_was() -> None:
    """A meter that shows 0 for a minute while it boots loses nothing of what it counted meanwhile."""
    totals, events = feed_all(Counter(KWH), [100.0, 100.1, 100.1, 0, 0, 0, 0, 100.2, 100.2, 100.25, 100.25])
    assert events == ["reset", "returned"]
    assert totals[-1] == pytest.approx(100.25)


def test_two_equal_wrong_readings_are_retracted_without_units() -> None:
    """The only fault that can be booked, a repeated plausible one: the total stands still until the meter is there."""
    totals, events = feed_all(Counter(KWH), [100, 100.1, 100.1, 100.4, 100.4, 100.2, 100.2, 100.2, 100.4, 100.5, 100.5])
    assert events == ["retracted"]
    assert totals == sorted(totals) and totals[-1] == 100.5


def test_gas_that_is_told_once_an_hour_is_not_too_fast() -> None:
    gas = Property(name="gas_m3", datatype="float", unit="m³", state_class="total_increasing", max_rate_per_h=6.0)
    counter = Counter(gas)
    booked = [b for t_s in range(0, 3 * 3600, 10) for b in counter.feed(10.0 + 4.0 * (t_s // 3600), t_s * S)[0]]
    assert booked[-1].total == 18.0 and counter.rejected == 0


def test_a_manual_reading_sets_the_total_and_says_the_difference() -> None:
    counter = Counter(KWH)
    feed_all(counter, [100.0, 100.1, 100.1])
    assert counter.reconcile(105.0, 30 * S) == [CounterEvent("reconciled", 100.1, 105.0, 105.0)]
    totals, events = feed_all(counter, [100.2, 100.2], t_s=40)
    assert totals[-1] == pytest.approx(105.1) and events == []
    fresh = Counter(KWH)
    fresh.reconcile(50.0, 0)
    assert feed_all(fresh, [7.0, 7.0, 7.1, 7.1])[0][-1] == pytest.approx(50.1)


def test_over_a_power_cut_growth_is_bounded_by_the_real_time_away() -> None:
    """Away for an hour: 30 kWh are possible at 40 kW, 300 are another meter; with no clock a week is assumed."""
    offset_us = 1_800_000_000 * S
    for back_raw, clock, kind in ((130.0, True, None), (400.0, True, "swap"), (400.0, False, None)):
        counter = Counter(KWH)
        feed_all(counter, [100.0, 100.0])
        state = json.loads(json.dumps(of_another_boot(counter.state(offset_us))))
        back = Counter(KWH)
        back.restore(state)
        assert back.needs_wall
        events = []
        for n in range(4):
            # this boot began 3610 s after the other: boot time starts at 0 again, wall time goes on
            offset = offset_us + 3610 * S if clock else None
            booked, new = back.feed(back_raw, n * 10 * S, offset)
            events += [event.kind for event in new]
        assert events == ([kind] if kind else [])
        assert booked[-1].total == (100.0 if kind else back_raw)


def test_damaged_state_is_refused_with_its_text() -> None:
    with pytest.raises(ValueError, match="damaged"):
        Counter(KWH).restore({"offset": 0.0, "high": "many"})


class House:
    """A true meter, what goes wrong with its readings, and how many units the ledger may at most have booked."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.t_us = 10**9
        self.wall_us = 1_800_000_000 * S
        self.used = 0.0
        """True consumption since the beginning."""
        self.raw_zero = -self.random.uniform(500, 50_000)
        """raw = used - raw_zero: another meter has another zero."""
        self.counter = Counter(KWH)
        self.committed = self.counter.state()
        self.first: tuple[float, float] | None = None
        """(total, used) at the reading that was booked first."""
        self.total = 0.0
        self.faults = 0
        self.lost = 0.0
        self.seen: dict[int, float] = {}
        """Time of a right reading -> true consumption then."""
        self.confirmed_used = 0.0
        """Consumption at the last right reading that was booked."""
        self.clock_known = True
        self.spurious = 0.0

    def raw(self) -> float:
        return round(self.used - self.raw_zero, 3)

    def wait(self, seconds: float) -> None:
        self.t_us += int(seconds * S)
        self.wall_us += int(seconds * S)
        self.used += self.random.choice((0.0, self.random.uniform(0, 0.99))) * 40.0 * seconds / 3600

    def read(self, raw: float) -> None:
        offset = self.wall_us - self.t_us if self.clock_known else None
        booked, _ = self.counter.feed(raw, self.t_us, offset)
        for t_us, total in booked:
            if self.first is None:
                self.first = (total, total + self.raw_zero)
            assert total >= self.total or self.total == 0.0
            self.total = total
            self.confirmed_used = self.seen.get(t_us, self.confirmed_used)
            self.spurious = max(self.spurious, total - self.first[0] - (self.used - self.first[1]))
        if booked:
            self.committed = json.loads(json.dumps(self.counter.state(offset)))

    def good(self, times: int = 1) -> None:
        for _ in range(times):
            self.wait(self.random.choice((1, 10, 60)))
            self.seen[self.t_us] = self.used
            self.read(self.raw())

    def fault(self) -> None:
        """One fault of a kind, between readings that are right."""
        self.faults += 1
        kind = self.random.choice(
            ("zero", "spike", "dip", "digit", "reset", "swap", "gap", "restart", "reboot", "stuck"))
        self.wait(self.random.choice((1, 10, 60)))
        raw = self.raw()
        if kind == "zero":
            self.read(0.0)
        elif kind == "spike":
            self.read(raw + 10 ** self.random.uniform(-3, 5))
        elif kind == "dip":
            self.read(max(0.0, raw - 10 ** self.random.uniform(-3, 5)))
        elif kind == "digit":
            digits = list(f"{raw:012.3f}")
            place = self.random.choice([n for n, c in enumerate(digits) if c.isdigit()])
            digits[place] = str((int(digits[place]) + self.random.randrange(1, 10)) % 10)
            self.read(float("".join(digits)))
        elif kind == "stuck":
            for _ in range(self.random.randrange(1, 3 * CONFIRM)):
                self.wait(1)
                self.read(0.0)
            self.good(CONFIRM + 2)
        elif kind == "gap":
            self.wait(self.random.uniform(60, 6 * 3600))
        elif kind in ("reset", "swap"):
            # unknown for ever: what was used between the last confirmed reading and the first of the new index
            confirmed = self.confirmed_used
            if kind == "swap" or raw < 5.0:  # (a reset of a meter at 1 kWh cannot be told from a wrong reading)
                new = raw + self.random.uniform(300, 450) * (1 if raw < 1000 else self.random.choice((-1, 1)))
            else:
                new = 0.0
            self.raw_zero = self.used - new
            self.good()
            self.lost += self.used - confirmed
            self.good(CONFIRM + 1)
        elif kind == "restart":
            self.restart(self.committed)
        else:
            self.reboot()

    def restart(self, state: dict[str, object]) -> None:
        self.counter = Counter(KWH)
        self.counter.restore(state)

    def reboot(self) -> None:
        away_s = self.random.uniform(20, 8 * 3600)
        self.wait(away_s)
        self.t_us = self.random.randrange(10**7)
        self.seen.clear()
        self.clock_known = self.random.random() < 0.8
        self.restart(of_another_boot(self.committed))
        self.good(2)
        self.clock_known = True


def run_house(seed: int, faults: int) -> House:
    house = House(seed)
    house.good(4)
    while house.faults < faults:
        house.fault()
        house.good(house.random.randrange(2, 6))
    house.good(CONFIRM + 2)
    house.read(house.raw())  # an unchanged index: nothing waits for its successor any more
    return house


@pytest.mark.parametrize("seed", range(20 if LONG else 4))
def test_row_26_no_spurious_unit_over_many_faults_and_no_true_unit_lost(seed: int) -> None:
    """4 x 2500 faults (20 x 5000 with HUTKEEPER_LONG): zeros, spikes, dips, wrong digits, stuck zeros, resets, swaps,
    gaps, restarts from the last committed state and reboots, with a growth of up to the full rate."""
    house = run_house(seed, 5000 if LONG else 2500)
    assert house.first is not None
    booked = house.total - house.first[0]
    true = house.used - house.first[1]
    assert house.spurious <= 0.001, f"seed {seed}: {house.spurious} units too many"
    assert house.lost < true / 100
    rounding = 0.001 * house.faults  # the meter shows thousandths, and every new index starts with one
    assert booked >= true - house.lost - rounding, f"seed {seed}: booked {booked}, true {true}, unknowable {house.lost}"


@settings(max_examples=400 if LONG else 60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["good", "zero", "spike"]), st.floats(0, 1e5, allow_nan=False)), max_size=60))
def test_never_falls_and_never_outruns_the_truth(steps: list[tuple[str, float]]) -> None:
    """Any order of good readings, zeros and spikes in which no two wrong ones are neighbours."""
    counter, used, top, last = Counter(KWH), 1000.0, 0.0, "good"
    for n, (kind, size) in enumerate(steps):
        used += min(size, 40.0 * 10 / 3600)
        kind = "good" if last != "good" else kind
        last = kind
        raw = {"good": used, "zero": 0.0, "spike": used + size}[kind]
        for _, total in counter.feed(raw, n * 10 * S)[0]:
            assert top <= total <= used
            top = total
