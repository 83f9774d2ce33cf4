"""The live tree: from a real broker, through its restarts, and against what foreign devices may send."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.testing.broker import Broker, free_port
from agent.wire import messages, topics
from hub.live import FLEET, Connection, Feed, LiveClient, LiveTree, NotConnected
from hub.live.tree import MAX_ALERTS, MAX_LOG_LINES, MAX_PROPERTIES, parse_description
from tests.hub.web.lab import Devices
from tests.waiting import until

NOW = 1_790_000_000_000_000


class Live:
    def __init__(self, port: int) -> None:
        self.feed = Feed()
        self.tree = LiveTree(self.feed)
        self.client = LiveClient(Connection("127.0.0.1", port), self.tree, self.feed)
        self.client.start()

    def synced(self) -> None:
        until("the tree", lambda: self.client.connected[0] and self.tree._confirmed is None)


@pytest.fixture
def live(broker: Broker) -> Iterator[Live]:
    live = Live(broker.port)
    yield live
    live.client.stop()


def tree_of(*told: tuple[str, str | bytes]) -> LiveTree:
    tree = LiveTree(Feed())
    for topic, payload in told:
        tree.apply(topic, payload if isinstance(payload, bytes) else payload.encode(), retained=False, now_us=NOW)
    return tree


def test_what_is_retained_is_there_and_what_comes_is_told_at_once(live: Live, broker: Broker) -> None:
    with Devices(broker.port) as devices:
        devices.device("a")
        until("the device", lambda: live.tree.device("a") and live.tree.device("a").state == "ready")
        reader, resumed = live.feed.subscribe("a")
        assert not resumed
        devices.send("homie/5/a/host/cpu-percent", "77.5")
        told: set[tuple[str, ...]] = set()  # also of retained values that were still on their way
        until("the news", lambda: told.update(reader.wait(1)) or ("v", "host", "cpu-percent") in told)
        until("the value", lambda: live.tree.device("a").value("host", "cpu-percent") == "77.5")
        reader.close()


def test_B01_after_a_broker_that_forgot_everything_the_tree_is_what_comes_again(live: Live, broker: Broker) -> None:
    with Devices(broker.port) as devices:
        devices.device("gone")
        devices.device("stays")
        until("both", lambda: len(live.tree.devices()) == 2)
        live.synced()
    broker.kill9()
    until("the loss", lambda: not live.client.connected[0])
    broker.start()
    with Devices(broker.port) as devices:
        devices.device("stays", host__cpu_percent="3")
        until("the broker", lambda: live.client.connected[0])
        until("the sweep", lambda: [device.id for device in live.tree.devices()] == ["stays"])
        until("the value", lambda: live.tree.device("stays").value("host", "cpu-percent") == "3")
        live.synced()
        assert live.client.fault is None


def test_a_device_removed_while_we_were_away_is_gone_after_the_sync(broker: Broker, tmp_path: Path) -> None:
    tree = LiveTree(Feed())
    for device in ("a", "b"):
        tree.apply(f"homie/5/{device}/$state", b"ready", retained=True, now_us=NOW)
        tree.apply(f"homie/5/{device}/m/p", b"1", retained=True, now_us=NOW)
    reader, _ = tree.feed.subscribe(FLEET)
    tree.begin_sync()
    tree.apply("homie/5/a/$state", b"ready", retained=True, now_us=NOW)
    tree.end_sync()
    assert [device.id for device in tree.devices()] == ["a"]
    assert tree.device("a").value("m", "p") is None
    assert ("gone", "b") in reader.wait(0)


def test_a_request_is_answered_by_the_device_and_a_mute_one_is_said(live: Live, broker: Broker) -> None:
    with Devices(broker.port) as devices:
        live.synced()
        asked: list[messages.Request] = []

        def answer(client: object, userdata: object, message: object) -> None:
            request = messages.decode(message.payload, messages.Request)  # type: ignore[attr-defined]
            asked.append(request)
            devices.client.publish(topics.response("bc", "log_tail"), messages.encode(
                messages.Response(request.id, "ok", {"lines": ["one", "two"]})), 1)

        devices.client.on_message = answer
        devices.client.subscribe(topics.request("bc", "log_tail"), 1)
        response = until("an answer", lambda: _try(live, "bc"))
        assert response.data == {"lines": ["one", "two"]}
        assert 0 < asked[0].ttl_s <= 60
        with pytest.raises(NotConnected, match="did not answer"):
            live.client.request("mute", "log_tail", {}, timeout_s=0.1)


def _try(live: Live, device: str) -> messages.Response | None:
    try:
        return live.client.request(device, "log_tail", {}, timeout_s=1)
    except NotConnected:
        return None


def test_b13_two_hubs_at_one_broker_do_not_throw_each_other_out(live: Live, broker: Broker) -> None:
    other = Live(broker.port)
    try:
        until("the other one", lambda: other.client.connected[0])
        since = live.client.connected[1]
        with Devices(broker.port) as devices:
            for n in range(20):
                devices.send("homie/5/a/$state", "ready" if n % 2 else "init")
        until("both", lambda: all(one.tree.device("a") is not None for one in (live, other)))
        assert live.client.connected == (True, since) and other.client.connected[0]
    finally:
        other.client.stop()


def test_without_a_broker_asking_says_so() -> None:
    live = Live(free_port())
    with pytest.raises(NotConnected, match="broker"):
        live.client.request("bc", "log_tail", {})
    live.client.stop()


def test_B64_a_dead_thread_is_a_fault_and_the_process_is_to_end(
    live: Live, broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    live.synced()

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(live.tree, "apply", broken)
    with caplog.at_level(logging.CRITICAL), Devices(broker.port) as devices:
        devices.send("homie/5/a/$state", "ready")
        assert "ZeroDivisionError" in until("the fault", lambda: live.client.fault)


def test_B35_topics_and_payloads_of_any_kind_neither_raise_nor_grow_the_tree() -> None:
    """Fuzz: 20 000 messages (200 000 with HUTKEEPER_LONG)."""
    import os

    rng = random.Random(20261122)
    parts = ["homie", "5", "a", "$state", "$description", "$alert", "$log", "error", "m", "p", "set", "$target", "",
             "+", "x" * 70, "é", "..", "hutkeeper", "1", "reported", "hub", "records"]
    payloads = [b"", b"\0", b"ready", b"lost", b"\xff\xfe", b"{}", b"[]", b"null", b'{"nodes":5}', b"[" * 5000,
                b'{"nodes":{"m":{"properties":{"p":{"datatype":7}}}}}', b"9" * 5000, b"NaN", b'{"\\ud800":1}']
    tree = LiveTree(Feed())
    for _ in range(200_000 if os.environ.get("HUTKEEPER_LONG") else 20_000):
        topic = "/".join(rng.choices(parts, k=rng.randint(1, 6)))
        if rng.random() < 0.5:
            topic = f"homie/5/a/{topic}"
        tree.apply(topic, rng.choice(payloads), retained=rng.random() < 0.5, now_us=NOW)
    assert [device.id for device in tree.devices()] in ([], ["a"])


def test_a_device_that_invents_names_is_bounded() -> None:
    """B40 on the state plane."""
    tree = tree_of(("homie/5/a/$state", "ready"))
    for n in range(MAX_PROPERTIES + 50):
        tree.apply(f"homie/5/a/m/p{n}", b"1", retained=False, now_us=NOW)
        tree.apply(f"homie/5/a/$alert/x{n}", b"1", retained=False, now_us=NOW)
        tree.apply("homie/5/a/$log/warn", b"1", retained=False, now_us=NOW)
    device = tree.device("a")
    assert len(device.values) == MAX_PROPERTIES and len(device.alerts) == MAX_ALERTS
    assert len(tree.log("a")) == MAX_LOG_LINES
    assert len(tree.retained_topics("a")) <= MAX_PROPERTIES + MAX_ALERTS + 1


def test_an_illegal_object_of_a_description_is_ignored_alone() -> None:
    raw = {"name": "x", "nodes": {
        "good": {"name": "Good", "properties": {"p": {"datatype": "float", "unit": "W"}, "BAD ID": {}, "q": 5}},
        "Bad Id": {}, "also-bad": [],
    }}
    found = parse_description(json.dumps(raw).encode())
    assert found is not None and list(found.nodes) == ["good"] and list(found.nodes["good"].properties) == ["p"]
    for broken in (b"", b"[]", b"{", b"[" * 100_000, b"\xff"):
        assert parse_description(broken) is None


@pytest.mark.parametrize("state", ["init", "ready", "disconnected", "sleeping", "lost"])
def test_every_state_of_homie_5_is_known(state: str) -> None:
    assert tree_of(("homie/5/a/$state", state)).device("a").state == state


def test_an_unknown_state_and_a_device_without_one_are_ignored() -> None:
    assert tree_of(("homie/5/a/$state", "ready"), ("homie/5/a/$state", "exploded")).device("a").state == "ready"
    assert tree_of(("homie/5/a/m/p", "1")).devices() == []


def test_another_domain_is_another_device() -> None:
    tree = tree_of(("homie/5/a/$state", "ready"), ("garden/5/a/$state", "lost"))
    assert {device.id: device.state for device in tree.devices()} == {"a": "ready", "garden.a": "lost"}


def test_a_slow_reader_gets_the_newest_and_no_queue() -> None:
    feed = Feed()
    reader, _ = feed.subscribe("a")
    for _ in range(10_000):
        feed.touch("a", ("v", "m", "p"))
    assert reader.wait(0) == [("v", "m", "p")] and reader.wait(0) == []
    feed.touch("b", ("v", "m", "p"))
    assert reader.wait(0) == []
    reader.close()
    assert feed.readers == 0


def test_last_event_id_goes_on_and_a_foreign_one_begins_anew() -> None:
    feed = Feed()
    feed.touch("a", ("v", "m", "p"), ("v", "m", "q"))
    mark = feed.event_id
    feed.touch("a", ("v", "m", "r"))
    reader, resumed = feed.subscribe("a", mark)
    assert resumed and reader.wait(0) == [("v", "m", "r")]
    for foreign in ("", "x", "deadbeef-1", f"{feed.run}-99999", f"{feed.run}-", f"{feed.run}-" + "9" * 40):
        assert feed.subscribe("a", foreign)[1] is False
