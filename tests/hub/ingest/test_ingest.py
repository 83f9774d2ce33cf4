"""Ingest as a process behind a real Mosquitto; each FAULTS row by its name."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from agent import bus
from agent.testing.broker import Broker, mosquitto_path
from agent.wire import messages, topics
from agent.wire.messages import HubState, LedgerCounts
from hub.store.verify import verify
from hub.store.writer import Writer
from tests.hub.ingest.lab import LONG, ROOT, Device, Hub
from tests.hub.store.lab import EPOCH, payload
from tests.waiting import until

pytestmark = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed: apt install mosquitto")


def batches(count: int, size: int = 100, start: int = 1) -> list[bytes]:
    return [payload(seq, {"meter/power_w": [(seq * 1_000_000 + n, float(n)) for n in range(size)]})
            for seq in range(start, start + count)]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as running:
        yield running


@pytest.fixture
def devices(broker: Broker) -> Iterator[list[Device]]:
    made: list[Device] = []
    yield made
    for device in made:
        device.close()


def test_samples_are_stored_receipted_told_and_counted(tmp_path: Path, broker: Broker, devices: list[Device]) -> None:
    with Hub(tmp_path / "hub", broker) as hub:
        hub.ready()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        pages = context.socket(zmq.SUB)
        pages.setsockopt(zmq.SUBSCRIBE, b"")
        pages.connect(bus.endpoint(hub.run, "committed"))
        device = Device(broker.port, batches=batches(30))
        devices.append(device)
        time.sleep(0.3)  # a subscription of ZeroMQ has no answer; a hint that is missed is no fault
        device.run()
        counts = LedgerCounts(EPOCH, 3000, 3000, {}, 0, 0, 30, 31)
        device.client.publish(topics.homie("dev", "sys", "ledger"), messages.encode(counts), qos=1, retain=True)
        (row,) = until("both sides of the ledger", lambda: [one for one in hub.reader.ledger()
                                                            if one.produced is not None])
        assert (row.stored, row.difference, row.upto) == (3000, 0, 30)
        assert device.receipts[-1].term == device.hub.term == hub.status().term == 1
        assert pages.poll(5000)
        told = msgspec.msgpack.decode(pages.recv())
        assert told["device"] == "dev" and len(told["series"][1]) == 3
        pages.close(0)
        context.term()
        until("the status file", lambda: hub.status().samples == 3000)
        assert hub.stop() == 0
        device.listen(1.0)
        assert device.hub.state == "stopped"
    assert verify(hub.reader).findings == []


def test_B05_B64_a_killed_ingest_loses_nothing_and_doubles_nothing(tmp_path: Path, broker: Broker,
                                                                   devices: list[Device]) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    count = 3000 if LONG else 250
    hub = Hub(tmp_path / "hub", broker)
    with hub:
        fleet = [Device(broker.port, f"dev-{n}", batches(count)) for n in range(2)]
        devices += fleet
        threads = [device.thread(600) for device in fleet]
        for _ in range(20 if LONG else 4):
            hub.ready()
            time.sleep(rng.random() * 0.6)
            hub.kill()
            hub.start()
        for thread in threads:
            thread.join(600)
        assert all(device.done for device in fleet)
        terms = [receipt.term for receipt in fleet[0].receipts]
        assert terms == sorted(terms)
        hub.stop()
    for row in hub.reader.ledger():
        assert (row.stored, row.quarantined, row.upto, row.above) == (count * 100, 0, count, [])
    report = verify(hub.reader)
    assert report.findings == [] and report.samples == 2 * count * 100


def test_B01_a_killed_broker_loses_nothing(tmp_path: Path, devices: list[Device]) -> None:
    """Without persistence, so that it forgets everything that it acknowledged."""
    with Broker(tmp_path, persistence=False) as broker, Hub(tmp_path / "hub", broker) as hub:
        hub.ready()
        device = Device(broker.port, batches=batches(4000 if LONG else 300))
        devices.append(device)
        thread = device.thread()
        for _ in range(20 if LONG else 2):
            have = len(device.settled)
            until("progress", lambda have=have: len(device.settled) > have or device.done)
            broker.kill9()
            broker.start()
        thread.join(120)
        assert device.done
        assert hub.ready().stop() == 0
    (row,) = hub.reader.ledger()
    assert (row.stored, row.upto) == (len(device.batches) * 100, len(device.batches))
    assert verify(hub.reader).findings == []


def test_B33_B35_B37_garbage_between_good_batches(tmp_path: Path, broker: Broker, devices: list[Device]) -> None:
    rng = random.Random(33)
    good = batches(100)
    with Hub(tmp_path / "hub", broker) as hub:
        hub.ready()
        device = Device(broker.port, batches=good)
        devices.append(device)
        until("the hub's state", lambda: device.listen(0.1) or device.hub)
        poisoned = unreadable = 0
        for seq, data in enumerate(good, 1):
            head, _, body = data.partition(b"\n")
            bad = rng.choice(["body", "head", "empty", "deep", "none", "none"])
            if bad == "body":
                device.publish(head.replace(b'"seq":%d,' % seq, b'"seq":%d,' % (1000 + poisoned)) + b"\n" + body[:-9])
                poisoned += 1
            elif bad != "none":
                device.publish({"head": rng.randbytes(100), "empty": b"", "deep": b"[" * 200_000}[bad])
                unreadable += 1
            device.publish(data)
        for topic in ("hutkeeper/1/UPPER/records", "hutkeeper/1/hub/records", "hutkeeper/1/dev/reported",
                      "homie/5/dev/sys/ledger", "hutkeeper/1/" + "x" * 5000 + "/records"):
            device.client.publish(topic, b"\xff\x00{", qos=1)
        device.run()
        assert poisoned > 5 and unreadable > 5
        until("all of it counted", lambda: hub.status().unreadable == unreadable)
        (row,) = hub.reader.ledger()
        assert (row.stored, row.quarantined) == (10_000, poisoned * 100)
        assert {event.code for event in hub.reader.events("dev")} == {"E_BAD_PAYLOAD", "E_BAD_HEADER"}
        assert [one.device for one in hub.reader.devices()] == ["dev"]
        assert hub.stop() == 0


def test_B34_a_payload_that_is_too_large_blocks_nothing(tmp_path: Path, broker: Broker, devices: list[Device]) -> None:
    with Hub(tmp_path / "hub", broker) as hub:
        hub.ready()
        device = Device(broker.port, batches=batches(10))
        devices.append(device)
        head = payload(11).partition(b"\n")[0]
        device.publish(head + b"\n" + bytes(10 << 20))
        device.run()
        until("its receipt", lambda: device.listen(0.1) or any(11 in range(a, b + 1) for receipt in device.receipts
                                                               for a, b in [*receipt.also, (1, receipt.upto)]))
        (held,) = hub.reader.quarantine()
        assert held.bytes > 10 << 20 and len(held.prefix) <= 256


def test_B13_the_hub_with_the_lower_term_falls_silent(tmp_path: Path, broker: Broker, devices: list[Device]) -> None:
    """Two hubs with a database each on one broker: the second one started has the higher term."""
    with Hub(tmp_path / "one", broker) as one:
        one.ready()
        with Hub(tmp_path / "two", broker) as two:
            two.ready()
            until("the first is silent", lambda: one.says("second"))
            assert "E_SECOND_HUB" in one.status().faults
            device = Device(broker.port, batches=batches(20))
            devices.append(device)
            device.run()
            assert {receipt.term for receipt in device.receipts} == {device.hub.term}
            assert device.hub.generation == two.status().generation
            assert two.reader.ledger()[0].stored == 2000
            assert not one.reader.devices()
            assert one.stop() == 0
            device.listen(0.5)
            assert device.hub.state == "ready"  # the end of the silent one says nothing


def test_B13_hubs_that_start_at_the_same_moment_agree_on_one(tmp_path: Path, broker: Broker) -> None:
    """Both may take the same term; then the generation decides."""
    with Hub(tmp_path / "one", broker) as one, Hub(tmp_path / "two", broker) as two:
        until("one of them is silent", lambda: one.says("second") or two.says("second"))
        other = two if one.says("second") else one
        other.ready()
        time.sleep(1)
        assert other.says("ready")


def test_B13_a_second_ingest_on_one_database_ends_with_a_line(tmp_path: Path, broker: Broker) -> None:
    with Hub(tmp_path / "one", broker) as one, Hub(tmp_path / "two", broker, data=one.data) as two:
        until("one of them ends", lambda: one.process.poll() is not None or two.process.poll() is not None)
        loser = one if one.process.poll() is not None else two
        assert loser.process.wait(30) == 1
        assert "E_SECOND_HUB another hub is active: process" in loser.log.read_text()


def test_B14_a_slow_ingest_is_waited_for(tmp_path: Path, broker: Broker, devices: list[Device]) -> None:
    with Hub(tmp_path / "hub", broker) as hub:
        hub.ready()
        device = Device(broker.port, batches=batches(300))
        devices.append(device)
        thread = device.thread()
        for _ in range(20 if LONG else 3):
            hub.signal(signal.SIGSTOP)
            time.sleep(0.3)
            unsettled = device.sent - len(device.settled)
            hub.signal(signal.SIGCONT)
            time.sleep(0.3)
            assert unsettled <= 2 * Device.WINDOW
        hub.signal(signal.SIGSTOP)
        time.sleep(Device.AGAIN_S + 0.5)  # longer than the device waits before it sends again
        hub.signal(signal.SIGCONT)
        thread.join(120)
        assert device.done
        (row,) = hub.reader.ledger()
        assert row.stored == 30_000


def test_B18_a_full_disk_is_said_on_the_state_topic_and_nothing_is_receipted(
    tmp_path: Path, broker: Broker, devices: list[Device]
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], capture_output=True,
                          timeout=30)
    if made.returncode:
        pytest.skip(f"no right to mount a tmpfs here: {made.stderr.decode().strip()}")
    try:
        with Hub(tmp_path / "hub", broker, data=small) as hub:
            hub.ready()
            device = Device(broker.port, batches=batches(300))
            devices.append(device)
            ballast = small / "ballast"
            thread = device.thread()
            until("first receipts", lambda: device.settled)
            with ballast.open("wb") as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(65536))
                    file.flush()
            until("full", lambda: hub.says("full") or device.done)
            assert not device.done and "E_DB_FULL" in hub.status().faults
            settled = len(device.settled)
            until("the device knows", lambda: device.hub.state == "full")
            time.sleep(1.5)
            assert len(device.settled) == settled
            ballast.unlink()
            thread.join(120)
            assert device.done
            until("the event", lambda: "E_DB_FULL" in {event.code for event in hub.reader.events("hub")})
            assert hub.stop() == 0
            assert verify(hub.reader).findings == []
            assert hub.reader.ledger()[0].stored == 30_000
    finally:
        subprocess.run(["umount", "-l", str(small)], timeout=30, check=True)


def test_B12_two_devices_with_one_identity_are_noticed(tmp_path: Path, broker: Broker, devices: list[Device]) -> None:
    with Hub(tmp_path / "hub", broker) as hub:
        hub.ready()
        device = Device(broker.port)
        devices.append(device)
        for address in ("10.0.0.7", "10.0.0.9"):
            device.client.publish(topics.homie("dev", "sys", "address"), address, qos=1)
        for turn in range(1, 4):
            for epoch in ("card-a", "card-b"):
                device.publish(payload(turn, {"cpu/load": [(turn, 1.0)]}, epoch=epoch))
        (event,) = until("the event", lambda: hub.reader.events("dev") if hub.data.exists() else None)
        assert event.code == "E_DUP_CLIENT_ID" and "10.0.0.7, 10.0.0.9" in event.text
        assert {row.epoch: row.stored for row in hub.reader.ledger()} == {"card-a": 3, "card-b": 3}


def test_B38_what_a_newer_agent_sends_is_receipted_and_kept(tmp_path: Path, broker: Broker,
                                                            devices: list[Device]) -> None:
    with Hub(tmp_path / "hub", broker) as hub:
        hub.ready()
        device = Device(broker.port, batches=[payload(n, {"cpu/load": [(n, 1.0)]}, version=2) for n in range(1, 4)])
        devices.append(device)
        device.run()
        (row,) = hub.reader.ledger()
        assert (row.quarantined, row.upto) == (3, 3)
        hub.stop()
        with Writer(hub.data / "samples.db") as writer:
            assert writer.db.execute("SELECT count(*), sum(n) FROM future").fetchone() == (3, 3)
        assert hub.start().ready().stop() == 0
        assert "3 wait for the next upgrade" in hub.log.read_text()


def test_B20_a_damaged_database_ends_ingest_with_what_to_do(tmp_path: Path, broker: Broker) -> None:
    hub = Hub(tmp_path / "hub", broker)
    hub.data.mkdir(parents=True)
    (hub.data / "samples.db").write_bytes(b"SQLite format 3\0" + bytes(8000))
    for _ in range(2):
        hub.start()
        assert hub.process.wait(60) == 1
    last = hub.log.read_text().splitlines()[-1]
    assert last.startswith("ingest: E_DB_CORRUPT") and "hutkeeper-hub restore" in last
    assert not (hub.data / "samples.db").exists()


def test_a_stale_will_is_answered_with_the_truth(tmp_path: Path, broker: Broker, devices: list[Device]) -> None:
    with Hub(tmp_path / "hub", broker) as hub:
        hub.ready()
        device = Device(broker.port)
        devices.append(device)
        until("ready", lambda: device.listen(0.1) or device.hub)
        told = hub.status()
        device.client.publish(topics.HUB_STATE, messages.encode(HubState("lost", told.term, told.generation)), qos=1,
                              retain=True)
        until("ready again", lambda: device.listen(0.1) or device.hub.state == "ready")
        device.client.publish(topics.HUB_STATE, b'{"state":"ready","term":0,"generation":"old"}', qos=1, retain=True)
        fresh = Device(broker.port, "other")
        devices.append(fresh)
        until("the right term for newcomers", lambda: fresh.listen(0.1) or (fresh.hub and fresh.hub.term == told.term))


def test_the_status_file_is_json_for_others(tmp_path: Path, broker: Broker) -> None:
    with Hub(tmp_path / "hub", broker) as hub:
        hub.ready()
        told = json.loads((hub.run / "ingest.json").read_text())
        assert told["state"] == "ready" and told["pid"] == hub.process.pid and told["faults"] == {}


SABOTAGED = """
import sys, time
from pathlib import Path
from hub import ingest, settings
from hub.ingest import link, service
from hub.store.writer import Writer
{sabotage}
ingest.main(settings.load(Path(sys.argv[1])))
"""


@pytest.mark.parametrize(("sabotage", "code", "line"), [
    ("def broken(self, payload): raise RuntimeError('out of order')\nlink.Link._heard = broken", 1,
     "ingest: on_message: RuntimeError: out of order"),
    ("def broken(**_): raise RuntimeError('gone')\nstart = link.Link.start\n"
     "def bad(self):\n  self._client.loop_forever = broken\n  start(self)\nlink.Link.start = bad", 1,
     "ingest: the network thread ended: RuntimeError: gone"),
    ("service.STUCK_S = 1.0\nWriter.commit = lambda self, items: time.sleep(1000)", 3, "ingest: no progress for"),
    ("def broken(self, items): raise RuntimeError('our own mistake')\nWriter.commit = broken", 1, "our own mistake"),
], ids=["callback", "thread", "hang", "bug"])
def test_B64_without_progress_the_process_ends_with_an_error(tmp_path: Path, broker: Broker, devices: list[Device],
                                                             sabotage: str, code: int, line: str) -> None:
    """And nothing was receipted: the next start gets it again."""
    hub = Hub(tmp_path / "hub", broker)
    device = Device(broker.port, batches=batches(2))
    devices.append(device)
    with hub.log.open("ab") as out:
        process = subprocess.Popen([sys.executable, "-c", SABOTAGED.format(sabotage=sabotage), str(hub.toml)], cwd=ROOT,
                                   stdout=out, stderr=out)
        try:
            until("the device knows its hub, or the hub has ended",
                  lambda: device.listen(0.1) or device.hub or process.poll() is not None)
            for data in device.batches:
                device.publish(data)
            assert process.wait(30) == code
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(30)
    assert line in hub.log.read_text().splitlines()[-1]
    device.listen(0.2)
    assert device.receipts == []
    with hub:
        hub.ready()
        device.run()
        assert hub.reader.ledger()[0].stored == 200


SLOW_STORE = """service.LAG_S = 1.0
commit = Writer.commit
def slow(self, items):
    if Path(sys.argv[1]).with_name("slow").exists():
        time.sleep(1.1)
    return commit(self, items)
Writer.commit = slow"""


def test_B14_an_ingest_that_is_behind_says_so_until_it_has_caught_up(tmp_path: Path, broker: Broker,
                                                                     devices: list[Device]) -> None:
    hub = Hub(tmp_path / "hub", broker, extra="[store]\ncommit_s = 0.01\n")
    slow = hub.toml.with_name("slow")
    slow.touch()
    device = Device(broker.port, batches=batches(2))
    devices.append(device)
    with hub.log.open("ab") as out:
        hub.process = subprocess.Popen([sys.executable, "-c", SABOTAGED.format(sabotage=SLOW_STORE), str(hub.toml)],
                                       cwd=ROOT, stdout=out, stderr=out)
    try:
        hub.ready()
        until("the device knows its hub", lambda: device.listen(0.1) or device.hub)
        device.publish(device.batches[0])
        told = until("the fault", lambda: hub.status().faults.get("W_INGEST_LAG"))
        assert told.startswith("W_INGEST_LAG ingest is ") and "samples wait on the devices' disks" in told
        slow.unlink()
        device.publish(device.batches[1])
        until("it has caught up", lambda: "W_INGEST_LAG" not in hub.status().faults)
        until("the event", lambda: "W_INGEST_LAG" in {event.code for event in hub.reader.events("hub")})
        assert hub.stop() == 0
    finally:
        hub.kill()
