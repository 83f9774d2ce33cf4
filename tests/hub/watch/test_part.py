"""The watch as a part of notify: canaries, staged restarts, the hub's disk, the Homie device ``hub``. Clock moved."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from agent.testing.broker import Broker
from agent.wire import messages, topics
from hub import settings as hub_settings
from hub.notify.asks import Refused
from hub.notify.notifier import Notifier
from hub.notify.part import Part
from hub.notify.service import Service
from hub.store import logbook_rows, outbox_rows, watch_rows
from hub.store.logbook_rows import Query
from hub.store.outbox_rows import Message
from hub.watch.canaries import judge as timed
from hub.watch.part import Watch
from hub.watch.supply import POWER
from tests.agent.homie.homie_controller import Controller
from tests.hub.web.lab import Devices
from tests.test_house import Retained
from tests.waiting import until

S = 1_000_000


class Rig:
    """The notify service with a clock of its own, against a real broker."""

    def __init__(self, folder: Path, port: int) -> None:
        (folder / "hub.toml").write_text(f'[hub]\ndata_dir = "d"\nrun_dir = "r"\n[broker]\nport = {port}\n')
        self.now_us = time.time_ns() // 1000
        self.settings = hub_settings.load(folder / "hub.toml")
        self.settings.hub.data_dir.mkdir(exist_ok=True)
        self.service = Service(self.settings, lambda hall, book: [Watch(hall)], lambda: self.now_us)
        self.watch = next(part for part in self.service.parts if isinstance(part, Watch))
        for part in self.service.parts:
            part.begin()
        self.service.hall.client.start()
        until("the broker", lambda: self.service.hall.client.connected[0])

    def step(self, seconds: float = 1.0) -> None:
        self.now_us += round(seconds * S)
        self.service.step()
        assert self.service.faults == {}

    def close(self) -> None:
        for part in self.service.parts:
            part.close()
        self.service.hall.client.stop()
        self.service.hall.reader.close()
        self.service.desk.close()
        self.service.db.close()


@pytest.fixture
def rig(tmp_path: Path, broker: Broker) -> Iterator[Rig]:
    rig = Rig(tmp_path, broker.port)
    yield rig
    rig.close()


class Restarted:
    """A device that takes the request ``restart``."""

    def __init__(self, port: int, *devices: str) -> None:
        self.taken: list[tuple[str, str]] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = self.on_message
        ready = threading.Event()
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.connect("127.0.0.1", port)
        self.client.subscribe([(topics.request(device, "restart"), 1) for device in devices])
        self.client.loop_start()
        assert ready.wait(10)

    def on_message(self, client: Any, userdata: Any, message: mqtt.MQTTMessage) -> None:
        request = messages.decode(message.payload, messages.Request)
        device = message.topic.split("/")[2]
        self.taken.append((device, request.args["what"]))
        self.client.publish(topics.response(device, "restart"), messages.encode(messages.Response(request.id, "ok")), 1)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_B63_restarts_wait_for_the_mains_and_come_one_by_one(rig: Rig, broker: Broker) -> None:
    with Devices(broker.port) as devices:
        for device in ("attic", "cellar"):
            devices.device(device)
        devices.send(f"{topics.homie('cellar')}/power/{POWER}", "false")
        tree = rig.service.hall.tree
        until("all of it", lambda: len(tree.devices()) == 2 and tree.device("cellar").value("power", POWER) == "false")
        taker = Restarted(broker.port, "attic", "cellar")
        ask = rig.service.desk.handlers["watch.restart"]
        assert ask({"machine": "attic", "what": "plugin:host"}, "anna") == {"waits_for": "cellar/power"}
        ask({"machine": "attic", "what": "plugin:host"}, "anna")  # asked again: still one
        ask({"machine": "cellar", "what": "agent"}, "anna")
        for bad in ({}, {"machine": "attic"}, {"machine": "x", "what": "agent"}, {"machine": 3, "what": ["a"]}):
            with pytest.raises(Refused):
                ask(bad, "anna")
        for _ in range(20):
            rig.step(60)
        assert taker.taken == [] and len(watch_rows.staged(rig.service.db)) == 2
        devices.send(f"{topics.homie('cellar')}/power/{POWER}", "true")
        until("mains are back", lambda: tree.device("cellar").value("power", POWER) == "true")
        rig.step(100)
        assert taker.taken == []
        rig.step(30)
        until("the first", lambda: taker.taken == [("attic", "plugin:host")])
        rig.step(5)
        rig.step(1)
        assert taker.taken == [("attic", "plugin:host")] and len(watch_rows.staged(rig.service.db)) == 1
        rig.step(6)
        until("the second", lambda: taker.taken[1:] == [("cellar", "agent")])
        rig.step(60)
        assert len(taker.taken) == 2 and watch_rows.staged(rig.service.db) == []
        taker.close()


class Greedy(Part):
    """Wants more room in alerts.db than there is."""

    full = True

    def step(self, now_us: int) -> None:
        if self.full:
            self.hall.db.set_meta("greedy", bytes(1 << 20))


def test_B18_B61_what_a_full_disk_did_not_keep_is_not_ordered_and_forgets_no_message(rig: Rig, broker: Broker) -> None:
    """A restart whose removal from the list is rolled back would be ordered again in every second."""
    with Devices(broker.port) as devices:
        devices.device("attic")
        until("it", lambda: rig.service.hall.tree.device("attic") is not None)
        taker = Restarted(broker.port, "attic")
        rig.step()
        rig.service.desk.handlers["watch.restart"]({"machine": "attic", "what": "host"}, "anna")
        greedy = Greedy(rig.service.hall)
        rig.service.parts.append(greedy)
        [pages] = rig.service.db.rows("PRAGMA page_count")[0]
        rig.service.db.rows(f"PRAGMA max_page_count = {pages}")
        for _ in range(5):
            rig.step(700)  # the outbox's canary is due in each of them, too
        assert taker.taken == [] and len(watch_rows.staged(rig.service.db)) == 1
        with rig.service.db.writing():  # it gets the number that the canary of the last second had
            real = outbox_rows.add_message(rig.service.db, Message(
                0, "real", "sms", "", "alert", "critical", 1, "leak", "leak", False, "sent", rig.now_us, rig.now_us, 0,
                0, rig.now_us, ""), [])
        rig.service.db.rows("PRAGMA max_page_count = 1000000")
        greedy.full = False
        rig.step(11)
        until("it restarts", lambda: taker.taken == [("attic", "host")])
        rig.step(60)
        until("its line", lambda: not rig.step(1) and any(
            line.text == "host restarts" for line in logbook_rows.find(rig.service.db, Query(), 10)))
        assert taker.taken == [("attic", "host")] and watch_rows.staged(rig.service.db) == []
        assert outbox_rows.message(rig.service.db, real.id) is not None
        taker.close()


def test_a_canary_from_a_clock_that_was_ahead_does_not_hide_those_that_come_after(rig: Rig) -> None:
    ahead = rig.now_us + 86_400 * S
    rig.watch._note("attic", ahead, rig.now_us, *timed(None, ahead, rig.now_us))
    assert rig.watch.canaries["attic"].how == "skewed"
    later = rig.now_us + 3600 * S
    rig.watch._note("attic", later - 200_000, later, *timed(None, later - 200_000, later))
    one = rig.watch.canaries["attic"]
    assert (one.how, one.latency_us, one.t_us) == ("timed", 200_000, later - 200_000)


def test_canaries_keep_the_last_and_the_worst_of_the_day(rig: Rig) -> None:
    db = rig.service.db
    day = 86_400 * S
    noon = rig.now_us // day * day + day // 2
    for at_s, latency, last, worst in ((0, 300_000, 300_000, 300_000), (3600, 900_000, 900_000, 900_000),
                                       (7200, 200_000, 200_000, 900_000), (10800, None, None, 900_000)):
        assert watch_rows.note_canary(db, "attic", noon + at_s * S, noon + at_s * S, latency, "timed")
        one = watch_rows.canaries(db)["attic"]
        assert (one.latency_us, one.worst_us) == (last, worst)
    assert not watch_rows.note_canary(db, "attic", noon, noon, 5, "timed")  # an old one, sent again
    watch_rows.note_canary(db, "attic", noon + day, noon + day, 400_000, "timed")
    assert watch_rows.canaries(db)["attic"].worst_us == 400_000  # another day
    watch_rows.forget_canary(db, "attic")
    assert watch_rows.canaries(db) == {}


def test_the_hubs_own_device_says_lost_when_notify_is_killed_and_no_page_shows_it(rig: Rig, broker: Broker) -> None:
    with Devices(broker.port) as devices:
        devices.device("attic")
        seen = Retained(broker.port, "homie/5/hub/#")
        until("the device", lambda: len(rig.service.hall.tree.devices()) == 1)
        with rig.service.db.writing():
            watch_rows.note_canary(rig.service.db, "attic", rig.now_us, rig.now_us, 250_000, "timed")
        rig.watch.canaries = watch_rows.canaries(rig.service.db)
        rig.step()
        until("it", lambda: seen.seen.get("homie/5/hub/canary/attic") == b"0.25")
        until("ready", lambda: seen.seen.get("homie/5/hub/$state") == b"ready")
        assert seen.seen["homie/5/hub/watch/machines"] == b"2"
        rig.step()
        assert [device.id for device in rig.service.hall.tree.devices()] == ["attic"]
        line = rig.service.hall.client._client.socket()
        assert line is not None
        line.shutdown(socket.SHUT_RDWR)  # as a kill does: no DISCONNECT
        until("the will", lambda: seen.seen.get("homie/5/hub/$state") == b"lost", 20)
        until("it connects again", lambda: rig.service.hall.client.connected[0], 20)

        def back() -> bool:
            rig.step(0.1)
            return seen.seen.get("homie/5/hub/$state") == b"ready"

        until("ready again", back, 20, 0.1)
        seen.close()


def test_after_a_broker_that_brought_nothing_back_the_tree_is_read_anew(rig: Rig, broker: Broker) -> None:
    """An overloaded notify: Mosquitto drops what its queue cannot hold, and nobody would ever say it again."""
    with Devices(broker.port) as devices:
        devices.device("attic")
        tree = rig.service.hall.tree
        until("it", lambda: tree.device("attic") is not None and rig.watch._echo_age() < 5)
        syncs = tree.syncs
        tree.apply(topics.state("attic"), b"lost", retained=False, now_us=rig.now_us)  # its "ready" was dropped
        rig.watch._echo_sent_s = rig.watch._echo_s = time.monotonic() - 60
        rig.step()
        until("as the broker has it", lambda: tree.syncs == syncs + 1 and tree.device("attic").state == "ready")
        rig.watch._echo_sent_s = float("-inf")
        tree.apply(topics.state("attic"), b"lost", retained=False, now_us=rig.now_us)
        rig.step()
        until("another echo", lambda: rig.service.hall.client._marks == {})
        assert tree.device("attic").state == "lost"  # one that comes in time reads nothing


def test_a_homie_controller_finds_nothing_to_complain_about_in_the_hubs_device(rig: Rig, broker: Broker) -> None:
    with Devices(broker.port) as devices, Controller(broker.port) as controller:
        for device in ("attic", "cellar"):
            devices.device(device)
        until("both", lambda: len(rig.service.hall.tree.devices()) == 2)
        rig.step()
        for n, device in enumerate(("attic", "cellar", "attic"), 1):
            with rig.service.db.writing():
                rig.watch._note(device, rig.now_us, rig.now_us + 250_000 * n, 250_000 * n, "timed")
            rig.step(6)
        with rig.service.db.writing():
            watch_rows.forget_canary(rig.service.db, "cellar")  # taken off the fleet
        rig.watch.canaries = watch_rows.canaries(rig.service.db)
        rig.step()
        rig.watch.hub_device.end()
        controller.until("all of it", lambda: (hub := controller.devices.get("hub")) and hub.state == "disconnected")
        wrong = controller.final_problems("hub")
        assert [one for one in wrong if not one.startswith(("homie/5/attic/", "homie/5/cellar/"))] == []  # the lab's
        assert set(controller.devices["hub"].description["nodes"]["canary"]["properties"]) == {"attic"}


def test_conditions_and_the_disk_are_kept(rig: Rig) -> None:
    pulse = rig.settings.hub.run_dir / "pulse" / "web"
    pulse.parent.mkdir(exist_ok=True)
    pulse.write_text("999999999 1\n")  # it was killed, and nobody starts it again
    for _ in range(3):
        rig.step(1800)
    assert len(watch_rows.disk_points(rig.service.db)) in (1, 2)
    found = {one.key: one for one in rig.watch.conditions(rig.now_us)}
    assert found["hub:web"].severity == "error" and found["hub:web"].kept and found["hub:web"].do
    told = rig.service.desk.handlers["watch.report"]({}, "anna")
    assert told["machines"][0]["id"] == "hub"


def test_a_notifier_that_stands_still_is_seen(rig: Rig) -> None:
    """Here none runs: the canary's message waits in the outbox for ever."""
    rig.step()
    rig.step(110)
    assert "hub:outbox" not in {one.key for one in rig.watch.conditions(rig.now_us)}
    for _ in range(6):
        rig.step(10)
    found = {one.key: one for one in rig.watch.conditions(rig.now_us)}
    assert found["hub:outbox"].severity == "critical" and rig.watch._trouble == found["hub:outbox"].title
    for part in rig.service.parts:
        part.take([], rig.now_us)
    notifier = Notifier(rig.service.hall)
    rig.service.parts.append(notifier)
    notifier.begin()

    def over() -> bool:
        rig.step(5)
        return "hub:outbox" not in {one.key for one in rig.watch.conditions(rig.now_us)}

    until("it moves", over, 20)
    assert outbox_rows.open_messages(rig.service.db) == [] and outbox_rows.messages(rig.service.db, 10) == []
