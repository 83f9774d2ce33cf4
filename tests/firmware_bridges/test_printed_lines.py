"""Logs as people keep them, and noise."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridges.printed_lines import MAX_LINE, Splitter, stamped


@pytest.mark.parametrize("log", [
    b"2026-11-02 10:00:01 PIR1\n2026-11-02 10:00:03.5 PIR2\n",
    b"2026-11-02T10:00:01Z,PIR1\r\n2026-11-02T12:00:03.5+02:00,PIR2\r\n",
    b"[2026-11-02 10:00:01] PIR1\n[2026-11-02 10:00:03,5] PIR2\n",
    b"10:00:01.000 -> PIR1\n10:00:03.500 -> PIR2\n",
    b"[23:59:59] PIR1\n[00:00:01.5] PIR2\n",
    b"1793000000 PIR1\n1793000002.5 PIR2\n",
    b"1793000000000;PIR1\n1793000002500;PIR2\n",
])
def test_stamps_of_every_kind(log: bytes) -> None:
    assert stamped(log) == [(0.0, b"PIR1\n"), (2.5, b"PIR2\n")]


def test_a_table_with_a_header_names_its_columns() -> None:
    log = b"time,lux,Tmp\n2026-11-02 10:00:00,120.5,20.1\n2026-11-02 10:01:00,118.0,\n2026-11-02 10:02:00,117,20.2\n"
    assert stamped(log) == [(0.0, b"lux=120.5\n"), (0.0, b"Tmp=20.1\n"), (60.0, b"lux=118.0\n"),
                            (120.0, b"lux=117\n"), (120.0, b"Tmp=20.2\n")]


def test_a_clock_that_was_set_back_goes_on() -> None:
    log = b"2026-11-02 10:00:00 a\n2026-11-02 10:00:10 b\n1970-01-01 00:00:05 c\n1970-01-01 00:00:06 d\n"
    found = stamped(log)
    assert found is not None and [t_s for t_s, _ in found] == [0.0, 10.0, 10.0, 11.0]


@pytest.mark.parametrize("data", [
    b"", b"PIR1\nPIR2\n", b"Lit 23%\nlux=1793000000\n", b"2026-11-02 10:00:01 only one\n", b"12.5 lx\n13.5 lx\n",
    b"2026-13-45 10:00:00 a\n2026-13-45 10:00:01 b\n",
])
def test_what_has_no_stamps(data: bytes) -> None:
    assert stamped(data) is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2000), st.integers(1, 700))
def test_noise_is_cut_the_same_however_it_comes_and_bounded(data: bytes, step: int) -> None:
    stamped(data)
    splitter, rest = Splitter(), Splitter()
    lines = [line for start in range(0, len(data), step) for line in splitter.feed(data[start : start + step])]
    whole = rest.feed(data)
    assert [line for line in lines if len(line) <= MAX_LINE] == [line for line in whole if len(line) <= MAX_LINE]
    assert len(splitter._rest) <= MAX_LINE
