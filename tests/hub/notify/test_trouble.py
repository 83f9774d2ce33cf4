"""What goes wrong while people are to be told: no internet, a clock that is set, channels that come and go."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from hub.alerts.model import Alert, Event
from hub.notify.channels.url import without
from hub.notify.service import Service
from hub.settings import load
from hub.store import alert_rows
from hub.store import outbox_rows as rows
from hub.store.alert_rows import Row
from tests.hub.notify.lab import Bench, S, bench, provider
from tests.hub.notify.test_notifier import channel
from tests.waiting import until

SMS = '[[notify.channel]]\nname = "{name}"\nmodem = "bc-watch/{name}"\nto = ["{to}"]\n'
YEAR_S = 365 * 86_400


def over(alert: Alert, now_us: int) -> Event:
    return Event("resolved", replace(alert, state="resolved", resolved_us=now_us), now_us)


def keep(b: Bench, alert: Alert, state: str = "open") -> None:
    """As the book has it."""
    row = Row(alert.id, alert.key, alert.subject, alert.severity, alert.title, "", "", "", False, alert.since_us,
              alert.opened_us, b.now, state, None, None, b.now if state == "resolved" else None, "",  # type: ignore[arg-type]
              None, None, 1, b.now, b.now, alert.severity, 1, None, None, False, False)
    alert_rows.write(b.db, [row], [], 1, 100)


def lanes_of(b: Bench, alert_id: int) -> list[str]:
    return [row["channel"] for row in b.db.rows("SELECT channel FROM notices WHERE alert_id = ? ORDER BY id", alert_id)]


def test_over_goes_to_those_who_know_it_each_time_that_it_comes_and_goes(tmp_path: Path) -> None:
    toml = (channel("push", "PUSH") + channel("second", "SECOND") + '[notify.ladder]\ncritical = [{channels = ["push"]}'
            ', {channels = ["second"], after_s = 120}]\n')
    with provider() as p, bench(tmp_path, toml.replace("PUSH", p.url("a")).replace("SECOND", p.url("b"))) as b:
        one = b.opened()
        b.second(one)
        b.second(by_s=120)
        b.second(over(one.alert, b.now))
        assert (len(p.texts("/a")), len(p.texts("/b"))) == (2, 2)
        b.second(Event("again", replace(one.alert, times=2), b.now), by_s=700)
        assert rows.told_lanes(b.db, 1) == [("push", "")], "the second heard nothing of it this time"
        b.second(over(one.alert, b.now), by_s=60)
        assert (len(p.texts("/a")), len(p.texts("/b"))) == (4, 2)
        assert rows.told_lanes(b.db, 1) == []


def test_B65_what_was_told_before_it_got_worse_or_came_again_does_not_count_as_told(tmp_path: Path) -> None:
    toml = (channel("push", "PUSH") + channel("second", "SECOND") + '[notify.ladder]\nerror = [{channels = ["push"]}]\n'
            'critical = [{channels = ["push"]}, {channels = ["second"], after_s = 900}]\n')
    with provider() as p, bench(tmp_path, toml.replace("PUSH", p.url("a")).replace("SECOND", p.url("b"))) as b:
        one, two = b.opened(1, "error", "Dark"), b.opened(2, title="Wet")
        b.second(one, two)
        b.second(over(two.alert, b.now))
        assert len(p.texts("/a")) == 2
        p.hanging = "/a"
        b.second(Event("worse", replace(one.alert, severity="critical"), b.now),
                 Event("again", replace(two.alert, times=2), b.now), by_s=700, settle=False)
        b.second(by_s=61, settle=False)
        until("the second channel", lambda: p.texts("/b"))
        assert "Dark" in p.texts("/b")[0] and "Wet" in p.texts("/b")[0]
        p.release.set()


def test_a_silence_that_is_lifted_lets_the_ladder_go_on_where_it_stood(tmp_path: Path) -> None:
    toml = (channel("push", "PUSH") + channel("second", "SECOND") + '[notify.ladder]\ncritical = [{channels = ["push"]}'
            ', {channels = ["second"], after_s = 120}]\n')
    with provider() as p, bench(tmp_path, toml.replace("PUSH", p.url("a")).replace("SECOND", p.url("b"))) as b:
        one = b.opened()
        now = [one.alert]
        b.notifier.ladder._current = lambda alert_id: now[0]
        b.second(one)
        now[0] = replace(one.alert, silenced_until_us=b.now + 86_400 * S)
        b.seconds(12, by_s=60)
        assert p.texts("/b") == []
        now[0] = one.alert
        b.second(by_s=31)
        assert p.texts("/b") == [], "two minutes in which it was not silenced have not passed"
        b.seconds(7, by_s=20)
        assert len(p.texts("/b")) == 1, "the silence was to last for a day, and somebody ended it"


def test_row_37_internet_lost_goes_by_sms_at_once_and_so_does_what_is_critical_meanwhile(tmp_path: Path) -> None:
    toml = channel("push", "PUSH") + SMS.format(name="sms", to="+33612345678")
    with provider() as p, bench(tmp_path, toml.replace("PUSH", p.url("a"))) as b:
        p.down = True
        b.second(b.opened(1, "error", "No light"))
        assert lanes_of(b, 1) == ["push"], "half an hour later by SMS, as always"
        lost = b.alert(2, "error", "internet lost", key="internet:bc/line")
        lost = replace(lost, subject="internet")
        assert [one.channels for one in b.notifier.ladder._steps(replace(lost, severity="critical"))] == [("sms",)]
        b.second(Event("opened", lost, b.now))
        assert lanes_of(b, 2) == ["sms"], "and not once more by push when it is back"
        keep(b, lost)
        b.second(b.opened(3, title="Mains lost"), b.opened(4, "error", "No water"))
        assert lanes_of(b, 3) == ["push", "sms"] and lanes_of(b, 4) == ["push"]


def test_a_critical_alert_that_came_and_went_while_nobody_could_be_told_is_told_late(tmp_path: Path) -> None:
    with provider() as p, bench(tmp_path, channel("push", p.url("a"))) as b:
        p.down = True
        first, light = b.opened(1, "error", "First"), b.opened(3, "error", "Dark")
        mains = b.opened(2, title="Mains lost")
        b.second(first)
        b.second(mains, light)
        b.second(over(mains.alert, b.now + 3 * 3600 * S), over(light.alert, b.now), over(first.alert, b.now),
                 by_s=3 * 3600)
        p.down = False
        b.seconds(5, by_s=60)
        assert p.texts() == ["Basecamp: over: Mains lost\nOver since 23:00 UTC. It began at 20:00 UTC and lasted 3 h. "
                             "It could not be told while it lasted."]


def test_a_critical_message_under_way_is_not_dropped_because_it_is_over(tmp_path: Path) -> None:
    with provider() as p, bench(tmp_path, channel("push", p.url("a"))) as b:
        p.down = True
        mains = b.opened(2, title="Mains lost")
        keep(b, mains.alert)
        b.second(mains)
        keep(b, mains.alert, "resolved")
        b.second(over(mains.alert, b.now), by_s=600)
        p.down = False
        b.seconds(4, by_s=60)
        assert [one.splitlines()[0] for one in p.texts()] == ["Basecamp: critical: Mains lost",
                                                             "Basecamp: over: Mains lost"]


def test_an_alert_outlives_a_channel_that_is_away_for_days(tmp_path: Path) -> None:
    with provider() as p, bench(tmp_path, channel("push", p.url("a"))) as b:
        p.down = True
        one, two = b.opened(1, "error", "No light"), b.opened(2, "error", "No water")
        b.second(one, two)
        b.second(over(two.alert, b.now), by_s=20 * 3600)
        b.seconds(2, by_s=20 * 3600)
        p.down = False
        b.seconds(5, by_s=60)
        assert [text.splitlines()[0] for text in p.texts()] == ["Basecamp: error: No light"], "it still is so"
        assert len(rows.messages(b.db, 10, state="given_up")) == 1


def test_a_channel_that_is_taken_away_takes_no_alert_with_it(tmp_path: Path) -> None:
    with provider() as p:
        p.down = True
        with bench(tmp_path, channel("old", p.url("a"))) as b:
            one, two = b.opened(1, "error", "No light"), b.opened(2, "error", "No water")
            b.second(one)
            b.second(two)
            now = b.now
        p.down = False
        with bench(tmp_path, channel("new", p.url("b")), now_us=now) as b:
            b.seconds(2)
            assert "No light" in p.texts("/b")[0] and "No water" in p.texts("/b")[0]
            assert all(row["ended_us"] for row in b.db.rows("SELECT * FROM messages")), "or it is kept for ever"
        with bench(tmp_path, channel("newer", p.url("c")), now_us=now + 60 * S) as b:
            b.second(over(one.alert, b.now))
            assert b.db.rows("SELECT * FROM notices WHERE state = 'waiting'") == [], "nothing for whom there is no more"


def test_B67_a_number_has_one_cap_by_however_many_modems(tmp_path: Path) -> None:
    toml = SMS.format(name="one", to="+33612345678") + SMS.format(name="two", to="0612345678")
    with bench(tmp_path, toml) as b:
        for n in range(1, 6):
            with b.db.writing() as con:
                con.execute("INSERT INTO messages (key, channel, recipient, kind, severity, n, title, text, ack, state,"
                            " made_us, next_us, ended_us) VALUES (?, 'one', '+33612345678', 'alert', 'critical', 1, '',"
                            " '', 0, 'sent', ?, ?, ?)", (f"k{n}", b.now, b.now, b.now))
        b.second(b.opened(9))
        assert rows.open_messages(b.db) == [], "five of ten minutes are spent"
        b.second(by_s=601)
        assert sorted(one.channel for one in rows.open_messages(b.db)) == ["one", "two"]


def test_a_topic_of_ntfy_is_a_secret() -> None:
    assert "our-topic" not in without("HTTP 403 at https://ntfy.sh/our-topic", "ntfys://our-topic")


def moved(b: Bench, by_s: float) -> None:
    b.now += round(by_s * S)
    with b.db.writing():
        b.notifier.jumped(round(by_s * S), b.now)


def test_B27_a_clock_that_is_set_holds_up_no_message_and_makes_none(tmp_path: Path) -> None:
    toml = (channel("push", "PUSH") + channel("second", "SECOND") + '[notify.ladder]\ncritical = [{channels = ["push"]}'
            ', {channels = ["second"], after_s = 120}]\n')
    for n, by_s in enumerate((-3600, 3600, YEAR_S, -YEAR_S)):
        (tmp_path / str(n)).mkdir()
        with provider() as p, bench(tmp_path / str(n),
                                    toml.replace("PUSH", p.url("a")).replace("SECOND", p.url("b"))) as b:
            p.down = True
            b.second(b.opened())
            moved(b, by_s)
            p.down = False
            b.second(by_s=6)
            assert len(p.texts("/a")) == 1 and p.texts("/b") == [], by_s
            b.second(by_s=100)
            assert p.texts("/b") == []
            b.second(by_s=20)
            assert len(p.texts("/b")) == 1, "the second step comes after two minutes by any clock"


def test_B27_caps_and_cooldown_of_a_wrong_clock_end_with_it(tmp_path: Path) -> None:
    toml = '[[notify.channel]]\nname = "push"\nurl = "URL"\nper_10_min = 3\n'
    with provider() as p, bench(tmp_path, toml.replace("URL", p.url("a"))) as b:
        for n in range(3):
            b.second(b.opened(n + 1, "error", f"Alert {n}"), by_s=31)
            b.seconds(3, by_s=11)
        assert len(p.got) == 3
        moved(b, -YEAR_S)
        b.second(b.opened(1, "error", "Alert 0"))
        b.seconds(2, by_s=31)
        assert len(p.got) == 3, "no flood"
        b.seconds(3, by_s=600)
        assert len(p.got) == 4, "not for a year either"


def test_B27_what_the_process_itself_notices(tmp_path: Path) -> None:
    """The whole service: a process that sees its clock set, and one that starts with a clock behind the last one's."""
    with bench(tmp_path, ""):
        settings = load(tmp_path / "hub.toml")
    wall, steady = [2_000_000_000 * S], [5 * S]

    def made() -> Service:
        return Service(settings, lambda hall, book: [], lambda: wall[0], lambda: steady[0])

    def end(service: Service) -> None:
        service.hall.reader.close()
        service.desk.close()
        service.db.close()

    def left_s(service: Service) -> list[float]:
        return [(one.until_us - wall[0]) / S for one in alert_rows.silences(service.db, wall[0])]

    service = made()
    service.step()
    before = service.book.update({}, wall[0]), service.book._life
    for by_s in (0, YEAR_S, -3600):
        wall[0] += by_s * S + S
        steady[0] += S
        service.step()
    assert service.book._life is not before[1], "the alerts in memory have the times of the file"
    lifted = service.book.silence("*", 60, "mending the roof", "anna", wall[0])
    service.book.unsilence(lifted, "anna", wall[0] + S)
    service.book.silence("*", 60, "mending the roof", "anna", wall[0])
    wall[0] -= (YEAR_S - 1) * S
    steady[0] += S
    service.step()
    assert left_s(service) == [3600.0], "an hour, and what was lifted stays so"
    service.step()
    assert left_s(service) == [3600.0]
    end(service)
    wall[0] -= YEAR_S * S
    service = made()
    service.step()
    assert left_s(service) == [3600.0], "the machine was off, and came back with a clock of last year"
    end(service)
