"""The whole way: a real hub, a real agent with the real modem and announcer, a stick on a pty, a provider over HTTP."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from hub.notify.channels import ordered
from hub.store import alert_rows
from hub.store import outbox_rows as rows
from hub.store.alerts_db import AlertsReader
from plugins.modem.fake_modem import FakeModem
from tests.house import House
from tests.hub.notify.figures import SMS, storm_at
from tests.hub.notify.lab import Provider, bench, provider
from tests.waiting import until

OWNER, OTHER = "+33612345678", "+33698765432"
HUB = """
public_url = "https://hut.example"
[alerts]
settle_s = 1
[[notify.channel]]
name = "push"
url = "{push}"
[[notify.channel]]
name = "sms"
modem = "home/modem"
to = ["{owner}", "{other}"]
[[notify.channel]]
name = "voice"
announcer = "home/voice"
[[notify.channel]]
name = "mail"
url_file = "/nonexistent/mail.url"
[[notify.ladder.error]]
channels = ["push"]
[[notify.ladder.error]]
channels = ["sms", "voice"]
after_s = 2
"""
AGENT = """
[plugins.voice]
use = "announcer"
simulate = true
cache_dir = "{speech}"
[plugins.modem]
port = "{port}"
allow = ["{owner}"]
"""


class Phone(NamedTuple):
    house: House
    modem: FakeModem
    push: Provider


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    folder = tmp_path_factory.mktemp("phone")
    (folder / "stick").mkdir()
    with FakeModem(folder / "stick") as modem, provider() as push, House(folder) as house:
        with house.hub_toml.open("a") as file:
            file.write(HUB.format(push=push.url("push"), owner=OWNER, other=OTHER))
        house.start_agent("home", AGENT.format(speech=folder / "speech", port=modem.port, owner=OWNER))
        house.start_hub()
        yield Phone(house, modem, push)


def test_push_then_sms_and_speech_then_an_answer_with_the_code_and_no_other_acknowledges(phone: Phone) -> None:
    """FEATURES 31; the alert is real too: the hub finds that its own channel "mail" cannot be used."""
    house, modem, p = phone
    until("the push", lambda: p.got, timeout_s=60)
    [(_, _, push)] = p.got
    assert push["title"] == "Test house: error: channel mail cannot be used"
    assert "What to do: /nonexistent/mail.url: No such file or directory" in push["message"]
    assert "Acknowledge without a login: https://hut.example/a/" in push["message"]
    until("both SMS", lambda: len(modem.sent) == 2, timeout_s=60)
    texts = {one.to: one.text for one in modem.sent}
    code = re.search(r"Reply (\d{6}) ack", texts[OWNER])
    assert code is not None and len(texts[OWNER]) <= 160 and "channel mail cannot be used" in texts[OWNER]
    reader = AlertsReader(house.data / "hub" / "alerts.db")

    def state() -> str:
        return next(one.state for one in alert_rows.open_alerts(reader) if one.key == "channel:mail")

    until("the speech", lambda: any(one.channel == "voice" for one in rows.messages(reader, 10)), timeout_s=30)
    assert (house.data / "speech").exists()
    modem.incoming(OTHER, f"{code[1]} ack")  # not in allow, and not its code
    modem.incoming(OWNER, "000000 ack" if code[1] != "000000" else "000001 ack")
    modem.incoming(OWNER, "ack")
    time.sleep(1.5)
    assert state() == "open", "B65/31: nothing but the code that was sent to this number"
    modem.incoming(OWNER, f"{code[1]} ack")
    until("acknowledged", lambda: state() == "acknowledged", timeout_s=20)
    row = next(one for one in alert_rows.open_alerts(reader) if one.key == "channel:mail")
    assert row.acknowledged_by == "SMS by sms", "no telephone number"
    told = house.command("hutkeeper-hub", "messages", "--config", str(house.hub_toml))
    assert told[0]["channel"] == "push" and sorted((one["channel"], one["recipient"]) for one in told[1:]) == [
        ("sms", "+336...32"), ("sms", "+336...78"), ("voice", "")]
    logs = (house.data / "hub.log").read_text()
    assert OWNER[1:] not in logs and code[1] not in logs and "/a/" not in logs
    assert all(one.tries == 1 for one in rows.messages(reader, 10) if one.channel == "push")
    reader.close()


def test_B70_one_bad_recipient_holds_up_nobody_and_what_the_modem_gives_up_counts_as_not_told(
        phone: Phone, tmp_path: Path) -> None:
    bad, good = "+33600000008", "+33600000009"
    phone.modem.cms[bad] = 28  # unidentified subscriber: the modem plugin gives it up at once
    (tmp_path / "b").mkdir()
    toml = SMS.format(owner=bad).replace(f'["{bad}"]', f'["{bad}", "{good}"]')
    with bench(tmp_path / "b", toml, house=phone.house, now_us=time.time_ns() // 1000) as b:
        until("the modem", lambda: b.hall.tree.device("home") and b.commander.own_term(), timeout_s=30)
        b.second(b.opened())
        until("the good one", lambda: any(one.to == good for one in phone.modem.sent), timeout_s=30)

        def given_up() -> list[rows.Message]:
            b.second(by_s=0.1)
            return rows.messages(b.db, 10, state="given_up")

        [message] = until("the modem's word that it was not delivered", given_up, timeout_s=30)
        assert message.recipient == bad and "CMS 28" in message.error
        assert rows.told_lanes(b.db, 1) == [("sms", good)]


def test_an_announcer_that_is_to_be_silent_is_no_trouble(phone: Phone, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    toml = '[[notify.channel]]\nname = "voice"\nannouncer = "home/voice"\n'
    with bench(tmp_path / "b", toml, house=phone.house, now_us=time.time_ns() // 1000) as b:
        until("the announcer", lambda: b.hall.tree.device("home") and b.commander.own_term(), timeout_s=30)
        assert ordered(b.commander, ("home", "voice"), "enabled", False).ok
        b.second(b.opened())
        [message] = rows.messages(b.db, 10, state="dropped")
        assert "announcements are disabled" in message.error
        assert b.second(by_s=120) == [] and rows.lanes(b.db)[0].fails == 0
        assert ordered(b.commander, ("home", "voice"), "enabled", True).ok
        b.second(b.opened(2, title="Smoke in the attic"))
        assert b.sent()[0].text.startswith("Attention, an alarm. Smoke in the attic, since ")


def test_B67_a_storm_over_a_real_modem_is_at_most_five_sms_with_the_exact_count(phone: Phone, tmp_path: Path) -> None:
    seen = storm_at(phone.house, phone.modem, tmp_path, "+33600000001", 300, seconds=20)
    assert seen.sms <= 5 and seen.told == 300
    assert "300 since" in seen.last
