"""Limits of minutes, hours and days, with the plugin's real patience, on a moved clock."""

from __future__ import annotations

import pytest

from agent.api import CommandRefused
from plugins.modem.config import ModemConfig
from plugins.modem.dialogue import Dialogue
from plugins.modem.transport import Mute
from tests.plugins.modem.virtual import played

ME = "+33612345678"


def test_B70_others_wait_at_most_60_s_behind_a_recipient_that_never_answers() -> None:
    with played() as play:
        play.modem.slow.add("+33600000000")
        play.until(lambda: "ready" in play.of("state"))
        play.send("+33600000000", "bad")
        play.until(lambda: any(line.startswith("AT+CMGS") for line in play.modem.commands) or play.of("sent"))
        asked_s = play.now_s
        for number in range(4):
            play.send(f"+3361234567{number}", "good")
        play.until(lambda: len(play.of("sent")) == 4)
        waited_s = [at - asked_s for at, name, _ in play.values if name == "sent"]
        assert max(waited_s) <= 60.0, waited_s
        assert play.of("resets_total")[-1] == 0, "a slow network is no dead modem"


def test_an_sms_that_may_have_gone_out_each_time_is_given_up_after_three() -> None:
    with played() as play:
        play.modem.slow.add(ME)
        play.send(ME, "perhaps", id="one")
        play.until(lambda: play.of("sent"))
        assert play.of("sent")[0]["ok"] is False and "no answer to AT+CMGS" in play.of("sent")[0]["error"]
        assert sum(line.startswith("AT+CMGS") for line in play.modem.commands) == 3
        assert play.send(ME, "perhaps", id="one") == {"id": "one", "state": "failed", "again": True}


def test_B70_a_mute_modem_climbs_the_ladder_and_is_back_in_two_minutes() -> None:
    with played() as play:
        play.until(lambda: "ready" in play.of("state"))
        play.modem.mute, play.modem.heals_by_restart = True, True
        muted_s = play.now_s
        play.send(ME, "while it hung")
        play.until(lambda: play.of("sent"))
        assert play.now_s - muted_s <= 120.0 and play.modem.resets == 1
        assert play.of("state")[-1] == "ready" and "hung" in play.of("state")


def test_a_modem_that_is_dead_for_hours_costs_few_lines_and_no_message() -> None:
    with played() as play:
        play.until(lambda: "ready" in play.of("state"))
        play.modem.mute = True
        play.send(ME, "kept for hours", id="one")
        play.until(lambda: play.now_s > 6 * 3600, 86_400.0)
        assert len(play.lines.of("warning", "error")) < 6 * 60 * 3, "at most one a minute of each kind"
        play.modem.mute = False
        play.until(lambda: play.of("sent"))
        assert play.of("sent")[0]["ok"] and [message.text for message in play.modem.sent] == ["kept for hours"]


def test_the_balance_is_asked_once_a_day_and_a_digest_comes_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.modem.session.LISTEN_S", 60.0)
    monkeypatch.setattr("plugins.modem.dialogue.READ_S", 60.0)
    with played(ModemConfig(port="x", balance_ussd="#123#", interval_s=600)) as play:
        play.modem.ussd = lambda code: '+CUSD: 0,"Solde 7,50 EUR",15'
        play.until(lambda: play.of("balance_value"))
        for number in range(5):
            play.send(ME, f"alert {number}")
        for number in range(7):
            with pytest.raises(CommandRefused, match=rf"5 in 10 min to one .* 10 min, {number + 1} held"):
                play.send(ME, f"alert {number}")
        began_s = play.now_s
        play.until(lambda: len(play.of("sent")) == 6)
        assert 600 <= play.now_s - began_s < 900
        assert play.modem.sent[-1].text.startswith("hutkeeper: 7 messages to you were held back")
        play.until(lambda: play.now_s > 3.5 * 86_400, 4 * 86_400.0)
        assert len(play.of("balance_value")) == 4 and len(play.of("sent")) == 6


def test_no_network_means_waiting_not_trying() -> None:
    with played() as play:
        play.modem.registered = 2
        play.send(ME, "later")
        play.until(lambda: play.now_s > 3600)
        assert play.of("state")[-1] == "searching" and play.modem.sent == [] and not play.of("sent")
        play.modem.registered = 5
        play.until(lambda: play.of("sent"))
        assert play.of("registration")[-1] == "roaming" and play.of("send_failures_total")[-1] == 0


def test_a_late_answer_is_not_taken_for_the_next_ones() -> None:
    """The network answers after our patience: what comes then belongs to nobody, and all later values are right."""
    with played() as play:
        play.until(lambda: "ready" in play.of("state"))
        play.modem.slow.add(ME)
        play.send(ME, "slow")
        play.until(lambda: len(play.of("rssi_dbm")) > 1 and play.of("send_failures_total")[-1] == 1)
        play.modem.later(0.0, lambda: play.modem.say("+CMGS: 9", "OK"))
        for csq in (10, 20, 30):
            play.modem.csq = csq
            count = len(play.of("rssi_dbm"))
            play.until(lambda count=count: len(play.of("rssi_dbm")) > count + 1)
            assert play.of("rssi_dbm")[-1] == csq * 2 - 113
        assert set(play.of("operator")) == {"F SFR"} and set(play.of("registration")) == {"home"}


def test_without_a_sim_it_says_so_and_looks_again() -> None:
    with played() as play:
        real = play.modem._asks
        play.modem._asks = lambda: "NOT READY"  # type: ignore[method-assign]
        play.modem._fixed_sim = True  # type: ignore[attr-defined]
        answer = play.modem._fixed

        def no_sim(line: str) -> list[str] | None:
            return None if line == "AT+CPIN?" else answer(line)

        play.modem._fixed = no_sim  # type: ignore[method-assign]
        say = play.modem.say
        play.modem.say = lambda *lines: say(*("+CME ERROR: 10" if line == "ERROR" and play.modem.commands[
            -1] == "AT+CPIN?" else line for line in lines))  # type: ignore[method-assign]
        play.until(lambda: "no_sim" in play.of("state"))
        play.modem._fixed, play.modem.say, play.modem._asks = answer, say, real  # type: ignore[method-assign]
        play.until(lambda: "ready" in play.of("state"))
    assert "no SIM in the modem" in str(play.lines.of("warning"))


def test_a_network_that_is_away_for_ten_minutes_is_an_alert_once_over_a_hung_modem_too() -> None:
    with played() as play:
        play.until(lambda: "ready" in play.of("state"))
        play.modem.registered = 2
        play.until(lambda: play.of("registration")[-1] == "searching")
        lost_s = play.now_s
        play.until(lambda: play.now_s >= lost_s + 300)
        play.modem.mute, play.modem.heals_by_restart = True, True  # another conversation begins meanwhile
        play.until(lambda: play.alerts.get("network-test"))
        assert 595 <= play.now_s - lost_s <= 660 and play.modem.resets == 1
        text = play.alerts["network-test"]
        assert text.startswith("E_MODEM_NETWORK ") and "10 min" in text and "kept: " in text and "do: " in text
        play.until(lambda: play.now_s >= lost_s + 1800)
        play.modem.registered = 5
        play.until(lambda: play.alerts["network-test"] is None)
    assert play.raised.count("network-test") == 1


@pytest.mark.parametrize(("command", "secret"), [
    ('AT+CPIN="4711"', "4711"), ('AT+CUSD=1,"*144*4711#",15', "4711"), ("AT+CMGS=4711", "")])
def test_B69_what_gets_no_answer_is_named_without_what_is_nobodys_business(command: str, secret: str) -> None:
    with played() as play:
        play.modem.mute = True
        with pytest.raises(Mute, match=r"no answer to AT\+C") as silent:
            Dialogue(play.io, play.modem).ask(command)
    assert not secret or secret not in str(silent.value)
