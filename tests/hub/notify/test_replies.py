"""Answers of people, read from a real store: each is acted on once, old ones are not, and a number alone is no key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub.store.writer import Writer
from tests.hub.notify.lab import EVENING, Bench, S, bench, provider
from tests.hub.store import lab as store_lab

TOML = """
[notify]
button = "bc-hall/button/pressed"
[[notify.channel]]
name = "push"
url = "{url}"
"""
SMS = """
[[notify.channel]]
name = "sms"
modem = "bc-watch/sms"
to = ["0612345678"]
"""
BOOT_US = EVENING - 3600 * S


class Store:
    def __init__(self, b: Bench) -> None:
        self._path = b.settings.samples_db
        self._seq = 0

    def say(self, device: str, series: str, *samples: tuple[int, Any]) -> None:
        self._seq += 1
        with Writer(self._path) as writer:
            writer.commit([store_lab.batch(self._seq, {series: [(t - BOOT_US, value) for t, value in samples]},
                                           device=device, received_us=samples[-1][0], offset_us=BOOT_US)])


def test_a_button_acknowledges_what_was_told_at_each_press(tmp_path: Path) -> None:
    with provider() as p, bench(tmp_path, TOML.format(url=p.url("a"))) as b:
        store = Store(b)
        store.say("bc-hall", "button/pressed", (b.now - 7200 * S // 2, True))
        b.second(b.opened(1))
        b.second()
        assert b.seen == [], "a press of an hour ago was not meant for this"
        store.say("bc-hall", "button/pressed", (b.now, False))
        b.second()
        assert b.seen == []
        store.say("bc-hall", "button/pressed", (b.now, True))
        b.second()
        assert b.seen == [(1, "button in the house")]
        store.say("bc-hall", "button/pressed", (b.now, True))
        b.seconds(3)
        assert len(b.seen) == 1, "it is told again that it is pressed: that is no second press"
        store.say("bc-hall", "button/pressed", (b.now, False), (b.now + 1, True))
        b.second()
        assert len(b.seen) == 2


def test_commands_by_sms_reach_only_what_their_number_was_told(tmp_path: Path) -> None:
    with provider() as p, bench(tmp_path, TOML.format(url=p.url("a")) + SMS) as b:
        store = Store(b)
        silenced: list[dict[str, Any]] = []
        b.desk.handlers["alert.silence"] = lambda args, who: silenced.append({**args, "who": who})
        b.second(b.opened(1))
        b.second(b.opened(2))

        def command(number: str, name: str, word: str = "") -> None:
            store.say("bc-watch", "sms/command", (b.now, {"from": number, "command": name, "argument": word}))
            b.second()

        command("+33612345678", "ack")
        assert b.seen == [], "this number was told of nothing yet: its modem is away"
        with b.db.writing() as con:  # as after a delivery by SMS of the first one
            con.execute("UPDATE notices SET channel = 'sms', recipient = '0612345678' WHERE alert_id = 1")
        command("+33699999999", "ack")
        assert b.seen == []
        command("+33612345678", "ack", "2")
        assert b.seen == []
        command("+33612345678", "ack", "1")
        assert b.seen == [(1, "SMS by sms")]
        command("+33612345678", "silence", "90")
        command("+33612345678", "silence", "x" * 30)
        assert [(one["minutes"], one["match"], one["who"]) for one in silenced] == [
            (90, "*", "SMS by sms"), (60, "*", "SMS by sms")]


def test_an_answer_that_came_while_this_process_was_down_is_acted_on_once(tmp_path: Path) -> None:
    with provider() as p:
        with bench(tmp_path, TOML.format(url=p.url("a"))) as b:
            b.second(b.opened(1))
            Store(b).say("bc-hall", "button/pressed", (b.now, True))
            now = b.now
        for seen in ([(1, "button in the house")], []):
            with bench(tmp_path, TOML.format(url=p.url("a")), now_us=now + 60 * S) as b:
                b.seconds(2)
                assert b.seen == seen
