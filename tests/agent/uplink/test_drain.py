"""Samples from a plugin's bus end through the real uplink process and a real Mosquitto to a hub with receipts."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.spool.ranges import Ranges
from agent.testing.broker import Broker, mosquitto_path
from tests.agent.uplink.hub import SmallHub
from tests.agent.uplink.rig import Rig
from tests.fakes.faultproxy import FaultProxy
from tests.waiting import until

LONG = os.environ.get("HUTKEEPER_LONG") == "1"

pytestmark = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed: apt install mosquitto")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as broker:
        yield broker


def test_samples_reach_the_hub_once_and_the_ledger_is_quiet(broker: Broker, tmp_path: Path) -> None:
    hub = SmallHub(broker.port)
    with Rig(tmp_path, broker.port) as rig:
        plugin = rig.start().plugin()
        for _ in range(30):
            plugin.make(10)
            plugin.step()
            time.sleep(0.01)
        plugin.wait_acked()
        until("all stored", lambda: hub.samples >= 300)
        assert sorted(hub.values) == list(range(300)) and not hub.errors
        header = next(iter(hub.headers.values()))
        assert header.clock.quality == "synced" and header.clock.offset_us is not None
        ledger = until("a quiet ledger", lambda: (found := rig.status().get("ledger")) and found["receipted"] == 300
                       and found, 15)
        assert (ledger["produced"], ledger["spooled"], ledger["in_flight"], ledger["dropped"]) == (300, 0, 0, {})
        assert rig.stop() == 0
        assert rig.status()["running"] is False
    hub.close()


def test_B01_B56_kill_9_of_broker_uplink_and_plugin_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Random moments from a printed seed; plugin batches that were acknowledged count, the rest is repeated."""
    seed = random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}")
    rng = random.Random(seed)
    with Broker(tmp_path, persistence=rng.random() < 0.5) as broker, Rig(
            tmp_path, broker.port, env={"HUTKEEPER_TEST_BACKOFF": "1"}) as rig:
        hub = SmallHub(broker.port)
        plugin = rig.start().plugin()
        for _ in range(30 if LONG else 6):
            for _ in range(rng.randrange(2, 30)):
                plugin.make(rng.randrange(1, 20))
                plugin.step()
                time.sleep(rng.uniform(0, 0.02))
            if rng.random() < 0.5:
                rig.kill9()
                rig.start()
            else:
                broker.kill9()
                time.sleep(rng.uniform(0, 0.3))
                broker.start()
        plugin.wait_acked(60)
        until("all stored", lambda: hub.samples >= plugin.value, 60)
        time.sleep(0.3)
        assert sorted(hub.values) == list(range(plugin.value)), f"seed {seed}"
        assert not hub.errors and not hub.dropped
        until("a quiet ledger", lambda: rig.status().get("ledger", {}).get("receipted") == plugin.value, 15)
        hub.close()


def test_B04_hub_away_then_a_window_at_a_time_and_the_newest_first(broker: Broker, tmp_path: Path) -> None:
    with Rig(tmp_path, broker.port) as rig:
        plugin = rig.start().plugin()
        backlog = 40_000 if LONG else 8000
        for _ in range(backlog // 20):
            plugin.make(20)
            if plugin.n % 20 == 0:
                plugin.wait_acked()
        plugin.wait_acked()
        until("everything waits", lambda: rig.status().get("ledger", {}).get("spooled") == backlog, 15)
        rig.kill9()  # the backlog is from before: it must drain from the disk
        rig.start()
        hub = SmallHub(broker.port, answering=False)
        until("a full window", lambda: len(hub.order) >= 10, 20)
        time.sleep(0.5)
        window = len(hub.order)
        assert window <= 20, "not one more without a receipt"
        plugin.wait_acked()
        hub.answering, hub.pace_s = True, 0.05  # a hub that takes two seconds and more for all of it
        hub.say("full")
        hub.say("ready")  # it let the first window go unanswered: sent again
        until("it drains", lambda: hub.samples, 20)
        plugin.make(5)
        plugin.wait_acked()
        until("all stored", lambda: hub.samples >= plugin.value, 60)
        assert sorted(hub.values) == list(range(plugin.value))
        assert hub.values.index(plugin.value - 1) < backlog * 0.9, "the live end did not wait for the backlog"
        hub.close()


def test_B10_receipts_of_an_old_term_and_of_foreign_epochs_count_nothing(broker: Broker, tmp_path: Path) -> None:
    from agent.wire import messages, topics
    from agent.wire.messages import Receipt

    hub = SmallHub(broker.port, term=7, answering=False)
    with Rig(tmp_path, broker.port) as rig:
        plugin = rig.start().plugin()
        plugin.make(10)
        plugin.wait_acked()
        until("it is sent", lambda: hub.order, 20)
        epoch = until("an epoch", lambda: rig.status().get("ledger", {}).get("epoch"), 10)
        for receipt in (Receipt(epoch, 1, [], 6), Receipt("0" * 16, 1, [], 7)):
            hub.client.publish(topics.receipt("rig"), messages.encode(receipt), 1)
        hub.client.publish(topics.receipt("rig"), b"{broken", 1)
        time.sleep(2.5)
        assert rig.status()["ledger"]["receipted"] == 0
        hub.client.publish(topics.receipt("rig"), messages.encode(Receipt(epoch, 1, [], 7)), 1)
        until("settled", lambda: rig.status()["ledger"]["receipted"] == 10, 10)
    hub.close()


def test_B09_each_batch_repeated_on_the_way_is_stored_once(broker: Broker, tmp_path: Path) -> None:
    hub = SmallHub(broker.port)
    with FaultProxy(broker.port) as proxy, Rig(tmp_path, proxy.port) as rig:
        proxy.repeat = 3
        plugin = rig.start().plugin()
        for _ in range(20):
            plugin.make(7)
        plugin.wait_acked()
        until("all stored", lambda: hub.samples >= 140)
        time.sleep(0.3)
        assert sorted(hub.values) == list(range(140)) and proxy.repeated > 0
    hub.close()


def test_B33_a_batch_the_hub_cannot_read_blocks_nothing_and_is_set_aside_after_three_tries(
        broker: Broker, tmp_path: Path) -> None:
    hub = SmallHub(broker.port)
    hub.deaf_to = {1}
    with Rig(tmp_path, broker.port, commit_s=0.01) as rig:
        plugin = rig.start().plugin()
        plugin.make(10)
        plugin.wait_acked()
        until("the poison is sent", lambda: -1 in hub.order, 20)
        for _ in range(130):
            plugin.make(1)
            plugin.wait_acked()
        until("the good ones are stored", lambda: hub.samples >= 130, 30)
        until("set aside", lambda: rig.status()["ledger"]["dropped"] == {"quarantined": 10}, 30)
        until("told to the hub", lambda: hub.dropped["quarantined"] == 10, 20)
        assert hub.order.count(-1) == 3
    hub.close()


def test_B34_batches_above_the_brokers_limit_are_split_and_nothing_blocks(tmp_path: Path) -> None:
    with Broker(tmp_path, extra=["max_packet_size 20000"]) as broker, Rig(tmp_path, broker.port) as rig:
        hub = SmallHub(broker.port)
        plugin = rig.start().plugin()
        rng = random.Random(3)
        plugin.make(400, values=[rng.randbytes(200).hex() for _ in range(400)])
        plugin.make(10)
        plugin.wait_acked()
        until("all stored", lambda: hub.samples >= 410, 30)
        assert len(hub.values) == 410 and len({str(value) for value in hub.values}) == 410
        assert all(header.n < 100 for header in hub.headers.values())
        until("a quiet ledger", lambda: rig.status()["ledger"]["receipted"] == 410, 10)
        hub.close()


def test_B81_a_restored_hub_gets_what_it_lost_and_hears_what_is_gone(broker: Broker, tmp_path: Path) -> None:
    hub = SmallHub(broker.port)
    with Rig(tmp_path, broker.port) as rig:
        plugin = rig.start().plugin()
        for _ in range(30):
            plugin.make(10)
            plugin.wait_acked()
        until("all stored", lambda: hub.samples >= 300)
        until("all receipted", lambda: rig.status()["ledger"]["receipted"] == 300, 10)
        hub.close()
        restored = SmallHub(broker.port, term=2, generation="g2")
        epoch = rig.status()["ledger"]["epoch"]
        with restored.lock:
            restored.settled[epoch] = Ranges([(1, 12)])  # the backup held twelve batches
        until("the rest again", lambda: restored.samples >= 180, 30)
        until("all receipted again", lambda: rig.status()["ledger"]["receipted"] == 300, 15)
        assert sorted(restored.values) == list(range(120, 300)) and not restored.dropped
        restored.close()
