"""Is the hub alive: on moved clocks."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.hub_watch.config import HubWatchConfig
from plugins.hub_watch.events import Event, decode
from plugins.hub_watch.post import KEEP_US, Post, back, lost
from plugins.hub_watch.verdict import US, Watch

CONFIG = HubWatchConfig(url="https://hub.example", to=("+33612345678",))


class Night:
    """A watch, asked every 30 s; ``web`` is what the page says."""

    def __init__(self, config: HubWatchConfig = CONFIG) -> None:
        self.now_us = 1000 * US
        self.watch = Watch(config, self.now_us)
        self.receipts = False
        self.n = 0

    def run(self, seconds: int, web: str | None) -> list[str]:
        states = []
        for _ in range(0, seconds, 30):
            self.now_us += 30 * US
            if web is not None:
                self.watch.take(Event(web=web, ms=3.0), self.now_us)
            if self.receipts:
                self.n += 1
                self.watch.take(Event(node="sys", property="last_receipt", value=f"t{self.n}"), self.now_us)
            states.append(self.watch.state(self.now_us))
        return states


@pytest.mark.parametrize("word", ["refused", "timeout", "unreachable", "tls", "foreign", "not_ready", "error"])
def test_b71_a_dead_hub_is_noticed_within_five_minutes(word: str) -> None:
    night = Night()
    assert set(night.run(600, "alive")) == {"alive"}
    states = night.run(600, word)
    assert 150 <= 30 * states.index("dead") <= 300
    assert set(states[states.index("dead"):]) == {"dead"}


def test_b71_a_hub_that_was_never_there_is_dead_too() -> None:
    states = Night().run(600, "timeout")
    assert states[0] == "starting" and states[-1] == "dead"


def test_a_page_that_is_gone_is_no_dead_hub_while_receipts_come() -> None:
    night = Night()
    night.receipts = True
    night.run(300, "alive")
    assert night.run(900, "refused")[-1] == "web_down"
    night.receipts = False
    assert night.run(300, "refused")[-1] == "dead"


def test_a_page_that_answers_is_no_proof_that_anything_is_stored() -> None:
    night = Night()
    night.run(300, "alive")
    night.watch.take(Event(node="sys", property="outbox_oldest_age_s", value=400.0), night.now_us)
    assert night.watch.state(night.now_us) == "not_storing"


def test_an_old_receipt_that_is_told_again_is_no_sign_of_life() -> None:
    night = Night(HubWatchConfig())
    for _ in range(20):
        night.now_us += 30 * US
        night.watch.take(Event(node="sys", property="last_receipt", value="yesterday"), night.now_us)
    assert night.watch.state(night.now_us) == "dead"


def test_back_is_back_once_it_lasts() -> None:
    night = Night()
    night.run(600, "timeout")
    night.run(30, "alive")
    assert night.watch.steady_s(night.now_us) == 0
    night.run(60, "alive")
    assert night.watch.steady_s(night.now_us) == 60


@pytest.mark.parametrize(("node", "name", "value", "own"), [
    ("internet", "fault", "gateway", "no_network"), ("internet", "internet_reached", False, "no_internet"),
    ("mains", "mains_present", False, "mains_lost"), ("internet", "fault", "none", "ok")])
def test_what_is_wrong_here_is_said_as_such(node: str, name: str, value: Any, own: str) -> None:
    night = Night()
    night.run(600, "timeout")
    night.watch.take(Event(node=node, property=name, value=value), night.now_us)
    assert night.watch.own(night.now_us, lambda: None) == own
    assert night.watch.own(night.now_us + 400 * US, lambda: None) == "ok", "old words of others count for nothing"
    assert night.watch.own(night.now_us, lambda: False) in ("no_network", "mains_lost")


def test_a_message_is_owed_once_and_until_it_is_taken() -> None:
    kept: dict[str, Any] = {}
    post = Post(kept)
    post.owe("hub-watch-1-lost", ("+331", "+332"), "x", 10 * KEEP_US)
    post.owe("hub-watch-1-lost", ("+331", "+332"), "x", 10 * KEEP_US)
    assert [one["to"] for one in post.due(0.0, None)] == ["+331", "+332"]
    post.taken("hub-watch-1-lost-0")
    post.later("hub-watch-1-lost-1", 100.0)
    assert post.due(120.0, None) == [] and len(post.due(131.0, None)) == 1
    again = Post(kept)  # another process
    assert [one["to"] for one in again.due(0.0, 10 * KEEP_US + 1)] == ["+332"]
    assert again.due(0.0, 11 * KEEP_US + 1) == [] and again.owed == []


def test_the_words_are_calm_and_name_no_number() -> None:
    text = lost(CONFIG, "since 02:14", "its page does not answer", "mains_lost")
    assert text.startswith("the hub shows no life since 02:14: its page does not answer. The mains is away here.")
    assert len(text) <= 306 and "+33" not in text
    assert "20 min" in back(CONFIG, 20.2)


@pytest.mark.parametrize("line", [b"", b"{", b'{"web": "perhaps"}', b'{"webb": 1}', b"\xff\xfe", b"[]"])
def test_a_line_that_cannot_be_read_is_one_line(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        decode(line)


@pytest.mark.parametrize(("more", "words"), [
    ({"url": "hub.example"}, "url: expected"), ({"url": "https://a:b@hub"}, "no password"),
    ({"url": "http://hub", "ca": "x.pem"}, "only with https"), ({"ca": "x.pem"}, "only with a url"),
    ({"url": "http://hub:99999"}, "url: ")])
def test_a_wrong_config_says_which_key(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        HubWatchConfig(**more)
