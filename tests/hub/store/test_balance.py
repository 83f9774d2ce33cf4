"""The ledger is exact at every moment, not only when nothing moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.wire.messages import LedgerCounts
from hub.store.balance import balance


def told(produced: int, receipted: int, spooled: int, in_flight: int) -> LedgerCounts:
    return LedgerCounts("e", produced=produced, receipted=receipted, dropped={}, spooled=spooled, in_flight=in_flight,
                        upto=0, next_seq=0)


def test_at_rest_it_is_the_plain_sum() -> None:
    assert balance(told(100, 100, 0, 0), settled=100, newer=0) == (100, 0, 0, 0)
    assert balance(told(100, 60, 30, 10), settled=60, newer=0) == (100, 30, 10, 0)


def test_what_came_after_the_device_counted_is_no_difference() -> None:
    assert balance(told(100, 60, 30, 10), settled=130, newer=30) == (130, 0, 0, 0)
    assert balance(told(100, 60, 30, 10), settled=75, newer=5) == (105, 20, 10, 0)


def test_lost_and_doubled_samples_show() -> None:
    assert balance(told(100, 100, 0, 0), settled=97, newer=0).difference == 3
    assert balance(told(100, 60, 30, 10), settled=58, newer=0).difference == 2
    assert balance(told(100, 100, 0, 0), settled=104, newer=0).difference == -4


@given(st.lists(st.integers(1, 50), max_size=30), st.data())
def test_only_a_fault_is_a_difference_whatever_has_arrived(sizes: list[int], data: st.DataObject) -> None:
    """Batches arrive in any order, receipts come back late, the device counts at any moment before."""
    counted = data.draw(st.integers(0, len(sizes)))
    arrived = data.draw(st.sets(st.integers(0, len(sizes) - 1))) if sizes else set()
    receipted = {seq for seq in arrived if seq < counted and data.draw(st.booleans())}
    sent = data.draw(st.integers(0, 1000))
    produced, known = sum(sizes[:counted]), sum(sizes[seq] for seq in receipted)
    flying = min(sent, produced - known)
    now = balance(told(produced, known, produced - known - flying, flying), settled=sum(sizes[seq] for seq in arrived),
                  newer=sum(sizes[seq] for seq in arrived if seq >= counted))
    assert now.difference == 0 and now.spooled >= 0 and now.in_flight >= 0
    assert now.produced == sum(sizes[seq] for seq in arrived) + now.spooled + now.in_flight
