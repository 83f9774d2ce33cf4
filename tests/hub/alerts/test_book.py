"""The life of alerts, on a real alerts.db and a moved clock."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from hub.alerts.graph import House
from hub.notify.asks import Refused
from hub.store import alert_rows
from tests.hub.alerts.desk import T0, Bench, S, condition, said


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def lost(device: str, at_s: float = 0) -> object:
    return condition(f"lost:{device}", f"device:{device}", absent=True, since_us=T0 + round(at_s * S),
                     title=f"{device}: no longer connected")


def test_an_alert_is_told_once_and_its_end_once(bench: Bench) -> None:
    bench.at(0)
    bench.set(condition("a"))
    assert said(bench.at(4)) == []
    assert said(bench.at(60)) == [("opened", "a")]
    bench.clear("a")
    assert said(bench.at(65)) == [], "it must last"
    assert said(bench.at(90)) == [("resolved", "a")]
    assert bench.events[-1].alert.state == "resolved"


def test_a_critical_one_that_no_cause_explains_is_told_at_once(bench: Bench) -> None:
    bench.at(0)
    bench.set(condition("leak", severity="critical"))
    assert said(bench.at(1)) == [("opened", "leak")]


def test_what_is_short_is_nobodys_message_but_in_the_history(bench: Bench) -> None:
    bench.at(0)
    bench.set(condition("a"))
    bench.at(3)
    bench.clear("a")
    assert said(bench.at(100)) == []
    assert [row.key for row in alert_rows.history(bench.db, alert_rows.LATEST, 10)] == ["a"]


def test_the_cause_comes_within_the_settle_time(bench: Bench) -> None:
    bench.at(0)
    bench.set(*(lost(f"d{n}") for n in range(7)))
    bench.at(3)
    bench.set(condition("mains", "mains"))
    told = bench.at(200)
    assert said(told) == [("opened", "mains")]
    assert told[0].children == 7
    assert {row.cause_id for row in alert_rows.open_alerts(bench.db) if row.key != "mains"} == {told[0].alert.id}


def test_a_child_that_was_told_before_its_cause_is_attached_and_not_told_again(bench: Bench) -> None:
    bench.at(0)
    bench.set(lost("d1"))
    assert said(bench.at(20)) == [("opened", "lost:d1")]
    bench.set(condition("internet", "internet", since_us=T0 + 20 * S))
    bench.book.house = House(remote=frozenset({"d1"}))
    assert said(bench.at(60)) == [("opened", "internet")]
    assert bench.events[-1].children == 1
    bench.clear("internet")
    assert said(bench.at(600)) == [("resolved", "internet")], "it is still known to people"
    bench.clear("lost:d1")
    assert said(bench.at(620)) == [("resolved", "lost:d1")]


def test_children_that_stay_wrong_have_a_grace_time_and_are_told_then(bench: Bench) -> None:
    bench.at(0)
    bench.set(condition("mains", "mains"), lost("d1", 1), lost("d2", 1))
    assert said(bench.at(100)) == [("opened", "mains")]
    bench.clear("mains")
    assert said(bench.at(120)) == [("resolved", "mains")]
    bench.clear("lost:d1")
    assert said(bench.at(400)) == []
    assert said(bench.at(500)) == [("opened", "lost:d2")]


def test_what_was_lost_an_hour_before_is_no_child(bench: Bench) -> None:
    bench.at(0)
    bench.set(lost("d1"))
    assert said(bench.at(20)) == [("opened", "lost:d1")]
    bench.at(3600)
    bench.set(condition("mains", "mains", since_us=T0 + 3600 * S))
    told = bench.at(3700)
    assert said(told) == [("opened", "mains")] and told[0].children == 0


def test_what_was_lost_an_hour_before_is_no_child_after_a_restart_either(tmp_path: Path) -> None:
    bench = Bench(tmp_path, started_s=0)
    bench.set(condition("mains", "mains", since_us=T0 - 60 * S), lost("d1", -3600), lost("d2", -50))
    assert said(bench.at(44)) == [("opened", "mains")], "a process that has just started waits"
    assert said(bench.at(60)) == [("opened", "lost:d1")]
    assert bench.book._life.listed(bench.events[0].alert.id) == 1


def test_a_value_is_never_explained(bench: Bench) -> None:
    bench.at(0)
    bench.set(condition("internet", "internet"), condition("leak", "property:d1/meter/flow_l_h", "critical"))
    assert said(bench.at(60)) == [("opened", "leak"), ("opened", "internet")]


@pytest.mark.parametrize("severity", ["warning", "error", "critical"])
def test_B68_a_square_wave_of_7_s_makes_one_message_in_10_min(bench: Bench, severity: str) -> None:
    bench.at(0)
    wrong = condition("pump", severity=severity)
    for second in range(0, 3600, 7):
        bench.set(wrong)
        bench.at(second + 3)
        bench.clear("pump")
        bench.at(second + 7)
    times = [event.t_us for event in bench.events]
    assert said(bench.events)[:2] == [("opened", "pump"), ("again", "pump")]
    assert 5 <= len(times) <= 7
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 600 * S
    assert bench.events[1].alert.times >= 80, "flapping 80 times"
    assert said(bench.at(3600 + 700)) == [("resolved", "pump")], "over once it has been quiet"


def test_a_slow_wave_is_the_same_alert_and_a_critical_one_that_was_called_over_is_told_at_once(bench: Bench) -> None:
    bench.at(0)
    for key, severity in (("slow", "error"), ("leak", "critical")):
        bench.set(condition(key, severity=severity))
    bench.at(60)
    bench.clear("slow", "leak")
    bench.at(120)
    bench.set(condition("slow", severity="error"), condition("leak", severity="critical"))
    assert said(bench.at(122)) == [("again", "leak")]
    assert said(bench.at(600)) == []
    assert said(bench.at(700)) == [("again", "slow")]
    assert {event.alert.id for event in bench.events} == {1, 2}


def test_severity_that_rises_is_told_also_after_an_acknowledge(bench: Bench) -> None:
    bench.at(0)
    bench.set(condition("disk", severity="warning"))
    bench.at(10)
    bench.handlers["alert.acknowledge"]({"id": 1}, "marc")
    assert said(bench.at(12)) == [("acknowledged", "disk")]
    assert bench.events[-1].who == "marc"
    bench.set(condition("disk", severity="critical"))
    told = bench.at(100)
    assert said(told) == [("worse", "disk")] and told[0].alert.state == "open"
    bench.set(condition("disk", severity="warning"))
    assert said(bench.at(200)) == []


def test_an_acknowledge_before_anybody_was_told_needs_no_message(bench: Bench) -> None:
    bench.at(0)
    bench.set(condition("a"))
    bench.at(2)
    bench.book.acknowledge(1, "lena", bench.now_us)
    bench.book.acknowledge(1, "lena", bench.now_us)
    assert said(bench.at(60)) == [("acknowledged", "a")]


def test_the_same_on_many_devices_is_one_alert_with_the_list(bench: Bench) -> None:
    bench.at(0)
    bench.set(*(lost(f"d{n}") for n in range(20)))
    told = bench.at(20)
    assert [event.what for event in told] == ["opened"]
    assert told[0].children == 20 and told[0].alert.title == "20 devices: no longer connected"
    bench.set(lost("late", 20))
    assert [(event.what, event.children) for event in bench.at(90)] == [("worse", 21)]
    bench.set(lost("much-later", 100))
    assert said(bench.at(150)) == [("opened", "lost:much-later")]
    bench.clear(*(f"lost:d{n}" for n in range(20)))
    assert said(bench.at(200)) == []
    bench.clear("lost:late")
    assert [event.what for event in bench.at(250)] == ["resolved"]


def test_a_group_whose_cause_turns_up_is_attached(bench: Bench) -> None:
    bench.at(0)
    bench.set(*(lost(f"d{n}") for n in range(20)))
    assert len(bench.at(30)) == 1
    bench.set(condition("mains", "mains", since_us=T0))
    told = bench.at(60)
    assert said(told) == [("opened", "mains")] and told[0].children == 21


def test_a_silence_is_kept_shown_and_ends_by_itself(bench: Bench) -> None:
    bench.at(0)
    made = bench.handlers["alert.silence"]({"match": "d1", "minutes": 10, "why": "new kernel"}, "lena")
    assert made == {"id": 1}
    bench.set(lost("d1"), lost("d2"))
    bench.at(2)
    bench.kill()
    assert said(bench.at(599)) == [("opened", "lost:d2")]
    assert [row.silenced_until_us for row in alert_rows.open_alerts(bench.db)] == [T0 + 600 * S, None]
    assert [one.why for one in alert_rows.silences(bench.db, bench.now_us)] == ["new kernel"]
    assert said(bench.at(615)) == [("opened", "lost:d1")]
    assert alert_rows.silences(bench.db, bench.now_us) == []


def test_a_silenced_alert_that_ends_is_over(bench: Bench) -> None:
    bench.at(0)
    bench.book.silence("d*", 600, "work", "lena", bench.now_us)
    bench.set(lost("d1"))
    bench.at(20)
    bench.clear("lost:d1")
    assert said(bench.at(60)) == []
    assert alert_rows.open_alerts(bench.db) == []


def test_a_silence_that_is_ended_by_hand(bench: Bench) -> None:
    bench.at(0)
    bench.book.silence("d1/heater", 60, "work", "lena", bench.now_us)
    bench.set(condition("plugin:d1/heater", "plugin:d1/heater"))
    assert said(bench.at(30)) == []
    bench.handlers["alert.unsilence"]({"id": 1}, "lena")
    assert said(bench.at(33)) == [("opened", "plugin:d1/heater")]
    with pytest.raises(Refused, match="over already"):
        bench.book.unsilence(1, "lena", bench.now_us)


@pytest.mark.parametrize(("args", "line"), [
    ({"match": "", "minutes": 5, "why": "x"}, "match"), ({"match": "d1", "minutes": 5, "why": " "}, "why"),
    ({"match": "d1", "minutes": 0, "why": "x"}, "minutes"), ({"match": "d1", "minutes": 1e9, "why": "x"}, "minutes"),
    ({"match": "d1", "minutes": float("nan"), "why": "x"}, "minutes"), ({"match": "d1", "why": "x"}, "minutes"),
    ({"match": 7, "minutes": 5, "why": "x"}, "match"), ({"match": "a\nb", "minutes": 5, "why": "x"}, "match"),
    ({"match": "x" * 201, "minutes": 5, "why": "x"}, "match"), ({"match": "d1", "minutes": True, "why": "x"}, "min"),
])
def test_bad_silences_are_refused_with_a_line(bench: Bench, args: dict[str, object], line: str) -> None:
    with pytest.raises(Refused, match=line):
        bench.handlers["alert.silence"](args, "lena")
    assert alert_rows.silences(bench.db, bench.now_us) == []


def test_bad_acknowledges_are_refused_with_a_line(bench: Bench) -> None:
    for args in ({}, {"id": "1"}, {"id": 99}, {"id": 1 << 70}, {"id": True}, {"id": -1}):
        with pytest.raises(Refused, match="alert"):
            bench.handlers["alert.acknowledge"](args, "lena")


def test_who_cannot_see_calls_nothing_over(bench: Bench) -> None:
    bench.at(0)
    bench.set(lost("d1"))
    bench.at(20)
    bench.clear("lost:d1")
    bench.blind["devices"] = lambda key, subject: key.startswith("lost:")
    assert said(bench.at(600)) == []
    bench.blind["devices"] = lambda key, subject: False
    assert said(bench.at(620)) == [("resolved", "lost:d1")]


def test_history_is_bounded(bench: Bench) -> None:
    bench.at(0)
    bench.set(condition("old"))
    bench.at(10)
    bench.clear("old")
    bench.at(30)
    bench.now_us += 401 * 86_400 * S
    bench.tick()
    assert alert_rows.history(bench.db, alert_rows.LATEST, 10) == [] and alert_rows.steps(bench.db, 1) == []


def test_a_transaction_that_is_undone_is_undone_in_memory_too(bench: Bench) -> None:
    bench.at(0)
    bench.set(condition("leak", severity="critical"))
    with pytest.raises(ZeroDivisionError), bench.db.writing():
        assert said(bench.book.update(dict(bench.wrong), bench.now_us)) == [("opened", "leak")]
        raise ZeroDivisionError
    assert alert_rows.open_alerts(bench.db) == []
    assert said(bench.at(2)) == [("opened", "leak")]


def test_B67_a_thousand_different_ones_are_told_each_and_counted(bench: Bench) -> None:
    bench.at(0)
    bench.set(*(condition(f"alert:d{n}:e{n}", f"device:d{n}", code=f"E_{n}") for n in range(1000)))
    assert len({event.alert.id for event in bench.at(10) if event.what == "opened"}) == 1000


def test_B67_ten_thousand_at_once_are_one_alert_with_the_exact_count(bench: Bench) -> None:
    bench.at(0)
    bench.set(*(condition(f"rule:no-data:d{n}/a/b", f"property:d{n}/a/b", absent=True) for n in range(10_000)))
    told = bench.at(10)
    assert [(event.what, event.children) for event in told] == [("opened", 10_000)]
    assert told[0].alert.title.startswith("10000 devices: ")
    assert len(alert_rows.children(bench.db, told[0].alert.id, 20_000)) == 10_000
    bench.kill()
    bench.wrong.clear()
    assert said(bench.at(100)) == [("resolved", told[0].alert.key)]
