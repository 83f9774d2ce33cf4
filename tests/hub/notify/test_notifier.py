"""Who is told, by which way and when; over real HTTP, with a clock that the test moves."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.settings import SettingsError
from hub.alerts.model import Event
from hub.notify import links
from hub.notify.asks import Refused
from hub.notify.channels.url import UrlWay, _library, without
from hub.notify.settings import Channel, Notify, Step
from hub.settings import load
from hub.store import outbox_rows as rows
from tests.hub.notify.killing import kill
from tests.hub.notify.lab import PARIS, S, bench, provider
from tests.waiting import until


def channel(name: str, url: str) -> str:
    return f'[[notify.channel]]\nname = "{name}"\nurl = "{url}"\n'


def test_a_message_names_cause_since_when_what_is_safe_and_what_to_do(tmp_path: Path) -> None:
    with provider() as p, bench(tmp_path, PARIS + channel("push", p.url("a"))) as b:
        event = b.opened(kept="the valve is shut", do="look at the stopcock")
        b.second(Event("opened", event.alert, b.now, children=4))
        [(_, _, said)] = p.got
        assert said["title"] == "Basecamp: critical: Water in the cellar"
        assert said["message"].splitlines() == [
            "Since 21:00 CET.", "Safe: the valve is shut.",
            "What to do: look at the stopcock.", "4 more are listed under it."]
        b.second(Event("resolved", replace(event.alert, state="resolved", resolved_us=b.now + 17 * 60 * S), b.now),
                 by_s=17 * 60)
        assert p.texts()[1].splitlines() == [
            "Basecamp: over: Water in the cellar", "Over since 21:17 CET. It began at 21:00 CET and lasted 17 min."]
        assert [one.kind for one in b.sent()] == ["alert", "resolved"]


def test_what_happens_within_a_second_is_one_message_and_resolved_goes_to_those_who_were_told(tmp_path: Path) -> None:
    with provider() as p, bench(tmp_path, channel("push", p.url("a")) + channel("mail", p.url("b"))
                                + '[[notify.ladder.error]]\nchannels = ["push"]\n') as b:
        one, two = b.opened(1, "error", "No water"), b.opened(2, "error", "No light")
        b.second(one, two)
        assert len(p.texts("/a")) == 1 and p.texts("/b") == []
        assert "2 alerts" in p.texts()[0] and "error: No water" in p.texts()[0] and "error: No light" in p.texts()[0]
        b.second(Event("resolved", replace(one.alert, state="resolved", resolved_us=b.now), b.now))
        assert len(p.texts("/a")) == 2 and p.texts("/b") == []


def test_an_alert_that_is_over_before_it_could_be_told_is_not_told(tmp_path: Path) -> None:
    with provider() as p, bench(tmp_path, channel("push", p.url("a"))) as b:
        p.down = True
        one = b.opened(1, "error")
        b.second(one)
        b.second(Event("resolved", replace(one.alert, state="resolved"), b.now))
        p.down = False
        b.seconds(100)
        assert p.got == [] and b.sent() == []
        assert rows.messages(b.db, 10, state="dropped")[0].error == "over before it could be told"


def test_B65_provider_down_queue_waits_and_the_second_channel_gets_a_critical_one_after_60_s(tmp_path: Path) -> None:
    toml = (channel("push", "PUSH") + channel("second", "SECOND") + '[[notify.ladder.critical]]\nchannels = ["push"]\n'
            '[[notify.ladder.critical]]\nchannels = ["second"]\nafter_s = 900\n')
    with provider() as p, bench(tmp_path, toml.replace("PUSH", p.url("500")).replace("SECOND", p.url("b"))) as b:
        b.second(b.opened(1), b.opened(2, "error", "No light"))
        s = 0
        while s < 120:
            s += 1
            b.second()
            if any("Water" in text for text in p.texts("/b")):
                break
        assert 55 <= s <= 65, "fallback_s is 60"
        told = len(p.texts("/b"))
        conditions = b.second(by_s=60)
        assert [(one.key, one.code, one.of_absence) for one in conditions] == [("channel:push", "E_NOTIFY_DOWN", True)]
        assert "error=500" in conditions[0].title and str(p.port) not in conditions[0].title
        # the trouble of a channel goes by the others
        b.second(b.opened(3, "error", "push is down", key="channel:push"))
        b.second(b.opened(4, "critical", "push is down too", key="channel:push"))
        assert [text.splitlines()[0] for text in p.texts("/b")[told:]] == [
            "Basecamp: error: push is down", "Basecamp: critical: push is down too"]


def test_B65_a_channel_that_hangs_is_left_behind_and_holds_up_nobody(tmp_path: Path) -> None:
    toml = ('[[notify.channel]]\nname = "push"\nurl = "PUSH"\ntimeout_s = 60\n' + channel("other", "OTHER"))
    with provider() as p, bench(tmp_path, toml.replace("PUSH", p.url("hang")).replace("OTHER", p.url("b"))) as b:
        clock = [0.0]
        b.notifier.sending._clock_s = lambda: clock[0]
        b.second(b.opened(1), settle=False)
        for n in range(2, 12):
            b.second(b.opened(n, title=f"Alert {n}!"), settle=False)
            clock[0] += 100  # beyond the limit
            b.second(by_s=100, settle=False)

            def told(n: int = n) -> bool:
                b.second(by_s=0.01, settle=False)
                return any(f"Alert {n}!" in text for text in p.texts("/b"))

            until("the other one", told)
        lane = next(one for one in rows.lanes(b.db) if one.channel == "push")
        assert lane.abandoned == 3 and lane.failed > 3, "then it is left alone until one of them ends"
        assert "hang" in lane.error or "no answer" in lane.error
        p.release.set()


def test_the_ladder_goes_up_until_somebody_has_acknowledged(tmp_path: Path) -> None:
    ladder = "".join(f'[[notify.ladder.critical]]\nchannels = ["c{n}"]\nafter_s = {n * 120}\n' for n in range(3))
    with provider() as p, bench(tmp_path, "".join(channel(f"c{n}", p.url(f"c{n}")) for n in range(3)) + ladder) as b:
        one = b.opened()
        b.second(one)
        b.second(by_s=119)
        assert [at for _, at, _ in p.got] == ["/c0"]
        b.second(by_s=1)
        assert [at for _, at, _ in p.got] == ["/c0", "/c1"]
        b.second(Event("acknowledged", replace(one.alert, state="acknowledged"), b.now, who="anna"))
        b.seconds(60, by_s=120)
        assert [at for _, at, _ in p.got] == ["/c0", "/c1"], "no step and no reminder after it"
        b.second(Event("resolved", replace(one.alert, state="resolved"), b.now))
        assert sorted(at for _, at, _ in p.got[2:]) == ["/c0", "/c1"]


def test_a_critical_alert_that_nobody_acknowledges_is_told_again_every_hour(tmp_path: Path) -> None:
    with provider() as p, bench(tmp_path, channel("push", p.url("a"))) as b:
        b.second(b.opened())
        b.seconds(7, by_s=30 * 60)
        assert len(p.got) == 4
        assert p.texts()[1].startswith(
            "Basecamp: still critical: Water in the cellar\nNobody has acknowledged it.\nSince")


def test_quiet_hours_hold_all_but_critical_for_the_morning_digest(tmp_path: Path) -> None:
    night = round(datetime(2026, 3, 27, 23, 30, tzinfo=UTC).timestamp() * S)
    toml = PARIS + '[notify]\nquiet_hours = "22:00-07:00"\ndigest_at = "06:30"\n'
    with provider() as p, bench(tmp_path, toml + channel("push", p.url("a")), now_us=night) as b:
        warn, gone = b.opened(1, "warning", "Cold cellar"), b.opened(2, "error", "No light")
        b.second(warn, gone, b.opened(3))
        assert len(p.got) == 1 and "Water" in p.texts()[0]
        b.second(Event("resolved", replace(gone.alert, state="resolved", resolved_us=b.now), b.now))
        b.second(by_s=6 * 3600 + 1700)
        assert not any("Cold" in text for text in p.texts()), "06:30 lies within the quiet hours"
        b.second(by_s=200)
        digest = p.texts()[-1]
        assert digest.startswith("Basecamp: 2 alerts\n2 alerts while nobody was to be disturbed. Over or seen: 1.")
        assert "warning: Cold cellar, since 00:30 CET" in digest and "over: No light" in digest
        assert b.sent()[-1].kind == "digest"


def test_info_waits_for_the_daily_digest(tmp_path: Path) -> None:
    with provider() as p, bench(tmp_path, PARIS + channel("push", p.url("a"))) as b:
        b.second(b.opened(1, "info", "The balance is low"))
        b.seconds(10, by_s=3600)
        assert p.got == []
        b.seconds(2, by_s=3600)
        assert len(p.got) == 1


def test_B68_the_same_is_told_once_in_ten_minutes_unless_it_gets_worse(tmp_path: Path) -> None:
    with provider() as p, bench(tmp_path, channel("push", p.url("a"))) as b:
        one = b.opened(1, "error", "Flaps")
        b.second(one)
        for _ in range(20):
            b.second(Event("again", replace(one.alert, times=2), b.now), by_s=7)
        assert len(p.got) == 1
        b.second(Event("worse", replace(one.alert, severity="critical"), b.now))
        assert len(p.got) == 2 and p.texts()[1].startswith("Basecamp: worse, critical: Flaps\nIt got")


def test_B67_a_storm_makes_few_messages_and_the_count_is_exact(tmp_path: Path) -> None:
    toml = '[[notify.channel]]\nname = "push"\nurl = "URL"\nper_10_min = 5\nper_day = 20\n'
    with provider() as p, bench(tmp_path, toml.replace("URL", p.url("a"))) as b:
        n = 0
        for _ in range(60):
            events = [b.opened(n + k, "error" if k else "critical", f"Alert {n + k}") for k in range(1, 21)]
            n += 20
            b.second(*events)
        b.seconds(120)
        assert len(p.got) <= 5
        assert sum(one.n for one in b.sent()) == 1200
        last = p.texts()[-1]
        assert "1,200 since" in last and "held back" in last
        assert len(last) < 4000


def test_the_outbox_is_written_with_the_alert_and_a_failed_second_leaves_nothing(tmp_path: Path) -> None:
    with provider() as p, bench(tmp_path, channel("push", p.url("a"))) as b:
        with pytest.raises(RuntimeError), b.db.writing():
            b.notifier.take([b.opened()], b.now)
            raise RuntimeError("what else was in this second failed")
        b.second()
        assert p.got == [] and b.sent() == []
        b.second(b.opened())
        assert len(p.got) == 1


def test_what_was_under_way_at_the_end_of_a_process_is_sent_again_and_counted(tmp_path: Path) -> None:
    with provider() as p:
        toml = channel("push", p.url("a"))
        with bench(tmp_path, toml) as b, b.db.writing():
            b.notifier.take([b.opened()], b.now)  # committed, and the process is killed before it leaves
        with bench(tmp_path, toml) as b:
            b.second()
            assert len(p.got) == 1
            [one] = b.sent()
            assert one.unsure == 1 and one.tries == 2
            assert rows.lanes(b.db)[0].unsure == 1


def test_B66_killed_at_random_moments_nothing_is_lost(tmp_path: Path) -> None:
    """The short form of ``python -m tests.hub.notify.figures``, which makes a thousand kills."""
    seen = kill(tmp_path, 5, seed=7, most_s=0.6)
    assert seen.alerts > 0 and seen.messages > 0
    assert seen.lost == 0
    assert seen.twice <= seen.unsure <= 5 * 3 + 3, "what came twice was counted"


def test_B18_a_full_database_is_said_once_by_a_channel_that_does_not_need_it(tmp_path: Path) -> None:
    with provider() as p, bench(tmp_path, channel("bad", p.url("500")) + channel("push", p.url("a"))) as b:
        for _ in range(5):
            b.notifier.store_failed("E_DB_FULL the hub's disk is full (/x)")
        until("said", lambda: p.got)
        b.second()
        b.notifier.store_failed("E_DB_FULL the hub's disk is full (/x)")
        b.second()
        assert len(p.got) == 1 and "E_DB_FULL" in p.texts()[0]
        b.second(by_s=700)
        b.notifier.store_failed("E_DB_FULL the hub's disk is full (/x)")
        until("said again", lambda: len(p.got) == 2)


def test_a_link_acknowledges_exactly_the_alerts_of_its_message_for_a_while(tmp_path: Path) -> None:
    toml = '[web]\npublic_url = "https://hut.example"\n[notify]\nack_link_h = 2\n'
    with provider() as p, bench(tmp_path, toml + channel("push", p.url("a"))) as b:
        b.second(b.opened(7))
        b.second(b.opened(8))
        token = p.texts()[0].rpartition("/a/")[2]
        assert token and token not in str([list(row) for row in b.db.rows("SELECT * FROM ack_links")])
        assert all(token not in one.text for one in b.sent())
        found = links.find(b.db, token, b.now)
        assert found is not None and [one.id for one in found.alerts] == [7]
        assert b.desk.handlers["link.acknowledge"]({"token": token}, "link") == {"acknowledged": 1}
        assert b.seen == [(7, "link by push")]
        for bad in (token[:-1] + "x", "", None, "x" * 5000, token + "\x00"):
            with pytest.raises(Refused, match="not good any more"):
                b.desk.handlers["link.acknowledge"]({"token": bad}, "link")
        b.now += 2 * 3600 * S
        with pytest.raises(Refused):
            b.desk.handlers["link.acknowledge"]({"token": token}, "link")


def test_the_test_button_sends_one_message_beyond_the_caps(tmp_path: Path) -> None:
    with provider() as p, bench(tmp_path, channel("push", p.url("a"))) as b:
        made = b.desk.handlers["channel.test"]({"name": "push"}, "anna")
        assert len(made["messages"]) == 1
        with pytest.raises(Refused, match="under way"):
            b.desk.handlers["channel.test"]({"name": "push"}, "anna")
        b.second()
        assert p.got[0][2]["title"] == "Basecamp: test" and "Nothing is wrong" in p.texts()[0]
        with pytest.raises(Refused, match="no channel"):
            b.desk.handlers["channel.test"]({"name": "pusj"}, "anna")


def test_secrets_of_a_channel_are_in_no_message_log_or_condition(tmp_path: Path,
                                                                   caplog: pytest.LogCaptureFixture) -> None:
    secret = tmp_path / "push.url"
    secret.write_text("pover://UserKeyThatIsSecret\n")
    secret.chmod(0o644)
    toml = f'[[notify.channel]]\nname = "push"\nurl_file = "{secret}"\n'
    with bench(tmp_path, toml) as b:
        conditions = b.second(b.opened())
        assert conditions[0].key == "channel:push" and "chmod 600" in conditions[0].do
    secret.chmod(0o600)
    with bench(tmp_path, toml) as b:
        b.seconds(2, by_s=120)
        error = rows.lanes(b.db)[0].error
        assert error.startswith("Apprise does not take the URL: ")
        assert "UserKeyThatIsSecret" not in error + caplog.text
        assert b"UserKeyThatIsSecret" not in b.settings.alerts_db.read_bytes()


@pytest.mark.parametrize(("toml", "said"), [
    ('[[notify.channel]]\nname = "p"\n', "notify.channel.0.url_file: missing"),
    ('[[notify.channel]]\nname = "p"\nmodem = "a/b"\n', "notify.channel.0.to: missing"),
    ('[[notify.channel]]\nname = "p"\nmodem = "a"\nto = ["+33612345678"]\n', "notify.channel.0.modem: 'a': expected"),
    ('[[notify.channel]]\nname = "p"\nmodem = "a/b"\nto = ["06 12"]\n', "notify.channel.0.to: expected telephone"),
    ('[[notify.channel]]\nname = "p"\nurl = "x://y"\nto = ["+33612345678"]\n', "notify.channel.0.to: only a modem"),
    ('[[notify.channel]]\nname = "p"\nurl = "secretword"\n', "notify.channel.0.url: expected an Apprise URL"),
    ('[notify]\nquiet_hours = "22"\n', "notify.quiet_hours: '22': expected two times"),
    ('[notify]\nquiet_hour = "22"\n', "did you mean quiet_hours?"),
    ('[notify]\nquiet = ["critical"]\n', "critical never waits"),
    ('[notify]\nbutton = "a/b"\n', "notify.button: 'a/b': expected <device>/<node>/<property>"),
    ('[[notify.channel]]\nname = "push"\nurl = "json://x"\n[[notify.ladder.error]]\nchannels = ["psuh"]\n',
     "no channel 'psuh', did you mean push?"),
    ('[[notify.channel]]\nname = "push"\nurl = "json://x"\n[[notify.ladder.error]]\nchannels = ["push"]\n'
     '[[notify.ladder.error]]\nchannels = ["push"]\n', "each step comes after the one before it"),
])
def test_wrong_settings_are_one_line(tmp_path: Path, toml: str, said: str) -> None:
    path = tmp_path / "hub.toml"
    path.write_text(toml)
    with pytest.raises(SettingsError) as refused:
        load(path)
    assert said in str(refused.value) and "\n" not in str(refused.value) and "secretword" not in str(refused.value)


@pytest.mark.parametrize("url", [
    "ntfys://ntfy.sh/a-long-topic-of-your-own", "pover://uQiRzpo4DXghDmr9QzzfQu27cmVRsG@azGDORePK8gMaC0QOYAMyEEuzJnyUi",
    "pover://uQiRzpo4DXghDmr9QzzfQu27cmVRsG@azGDORePK8gMaC0QOYAMyEEuzJnyUi?priority=high",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#hut", "tgram://123456789:abcdefg_hijklmnop/12315544",
    "mailtos://user:password@smtp.example.org?from=hut@example.org&to=me@example.org"])
def test_the_examples_of_the_readme_are_taken_and_hidden(url: str) -> None:
    way = UrlWay(Channel(name="push", url=url, timeout_s=7), "Basecamp")
    service = way._make(_library())
    assert service is not None and service.socket_read_timeout == 7
    for secret in ("uQiRzpo4DXghDmr9QzzfQu27cmVRsG", "azGDORePK8gMaC0QOYAMyEEuzJnyUi", "TIiajkdnlazkcOXrIdevi7FQ",
                   "abcdefg_hijklmnop", "password", "a-long-topic-of-your-own"):
        assert secret not in without(f"Max retries exceeded with {url} ({url.partition('://')[2]})", url)
    assert way.about == url.partition(":")[0]


def test_the_process_starts_without_the_library_of_a_hundred_services() -> None:
    code = "import sys, hub.notify.parts, hub.notify.service; sys.exit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_without_a_ladder_it_is_push_then_sms_then_speech() -> None:
    from msgspec import convert

    made = convert({"channel": [{"name": "voice", "announcer": "a/b"}, {"name": "sms", "modem": "a/m", "to": ["+3361"]},
                                {"name": "push", "url": "json://x"}]}, Notify)
    assert made.steps("critical") == (Step(channels=("push",)), Step(channels=("sms",), after_s=120),
                                      Step(channels=("voice",), after_s=300))
    assert made.steps("warning") == (Step(channels=("push",)),)
    assert Notify().steps("critical") == ()


def test_B67_twenty_a_day_and_what_was_held_back_is_told_with_its_count_when_there_is_room(tmp_path: Path) -> None:
    toml = '[notify]\nreminder_min = 0\n[[notify.channel]]\nname = "push"\nurl = "URL"\nper_10_min = 5\nper_day = 20\n'
    with provider() as p, bench(tmp_path, toml.replace("URL", p.url("a"))) as b:
        first_us = b.now
        for n in range(1, 31):
            b.second(b.opened(n, "error", f"Alert {n}!"), by_s=660)
            b.seconds(2, by_s=20)
        assert len(p.got) == 20
        b.second(by_s=(first_us + 86_400 * S - b.now) / S + 661)
        b.seconds(3, by_s=60)
        assert len(p.got) == 21, "one has room again, and that one waited for calm"
        assert sum(one.n for one in b.sent()) == 30
        assert "10 more alerts, 29 since" in p.texts()[-1] or "30 since" in p.texts()[-1], p.texts()[-1]
        assert rows.lanes(b.db)[0].held == 10


def test_B65_a_critical_alert_that_a_cap_holds_back_goes_by_the_next_channel(tmp_path: Path) -> None:
    toml = ('[[notify.channel]]\nname = "push"\nurl = "URL"\nper_10_min = 2\n' + channel("second", "SECOND")
            + '[[notify.ladder.critical]]\nchannels = ["push"]\n[[notify.ladder.critical]]\nchannels = ["second"]\n'
            'after_s = 3600\n')
    with provider() as p, bench(tmp_path, toml.replace("URL", p.url("a")).replace("SECOND", p.url("b"))) as b:
        for n in range(1, 4):
            b.second(b.opened(n, title=f"Alert {n}!"))
            b.seconds(10, by_s=2)
        assert len(p.texts("/a")) == 2
        b.seconds(30, by_s=2)
        assert len(p.texts("/a")) == 2 and [text.splitlines()[0] for text in p.texts("/b")] == [
            "Basecamp: critical: Alert 3!"]
