"""The link under faults, with the real process, a real Mosquitto and a TCP fault proxy between them."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agent.settings import Mqtt
from agent.testing.broker import Broker, free_port, mosquitto_path
from agent.uplink.backoff import CAP_S, Backoff
from agent.uplink.link import Link
from tests.agent.uplink.hub import SmallHub
from tests.agent.uplink.rig import Rig
from tests.fakes.faultproxy import FaultProxy
from tests.waiting import until

LONG = os.environ.get("HUTKEEPER_LONG") == "1"
needs_mosquitto = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


def test_B08_full_jitter_from_the_first_try_and_never_above_the_cap() -> None:
    backoff = Backoff(random.Random(1))
    waits = [[Backoff(random.Random(seed)).wait_s() for seed in range(200)]]
    assert max(waits[0]) <= 1.0 and min(waits[0]) < 0.05 and max(waits[0]) > 0.9, "the first try is spread too"
    series = [backoff.wait_s() for _ in range(40)]
    assert all(wait <= min(CAP_S, 2.0**n) for n, wait in enumerate(series)) and max(series) <= CAP_S
    assert max(series[10:]) > 100


def test_B06_back_off_is_forgotten_only_after_thirty_stable_seconds() -> None:
    backoff = Backoff(random.Random(1))
    for _ in range(8):
        backoff.wait_s()
        backoff.connected_for(29.0)
    assert backoff.failures == 8
    backoff.connected_for(30.0)
    assert backoff.failures == 0


@needs_mosquitto
def test_B06_a_flapping_link_leaks_no_descriptor_and_no_thread(broker: Broker, tmp_path: Path) -> None:
    hub = SmallHub(broker.port, "flap")
    # the test's own process would wait 2^n s between tries: here the sleeps are cut to a thousandth
    env = {"HUTKEEPER_TEST_BACKOFF": "1"}
    with FaultProxy(broker.port) as proxy, Rig(tmp_path, proxy.port, device="flap", env=env) as rig:
        plugin = rig.start().plugin()
        plugin.make(10)
        plugin.wait_acked()
        until("first samples", lambda: hub.samples >= 10, 20)
        process = psutil.Process(rig.pid)
        until("at rest", lambda: process.num_threads() <= 4, 10)
        before = process.num_fds(), process.num_threads()
        for _ in range(50 if LONG else 4):
            seen = proxy.accepted
            proxy.refuse = True
            proxy.cut()
            time.sleep(0.05)
            proxy.refuse = False
            until("connected again", lambda seen=seen: proxy.accepted > seen, 60)  # type: ignore[misc]
        plugin.make(10)
        plugin.wait_acked()
        until("samples after it", lambda: hub.samples >= 20, 60)
        until("nothing leaked", lambda: (process.num_fds(), process.num_threads()) <= before, 15)
    hub.close()


@needs_mosquitto
def test_B03_half_open_is_noticed_within_two_keepalives_and_named(broker: Broker, tmp_path: Path) -> None:
    hub = SmallHub(broker.port, "half")
    with FaultProxy(broker.port) as proxy, Rig(tmp_path, proxy.port, device="half", keepalive=2) as rig:
        plugin = rig.start().plugin()
        plugin.make(5)
        plugin.wait_acked()
        until("first samples", lambda: hub.samples >= 5, 20)
        proxy.black_hole = True
        plugin.make(5)
        plugin.wait_acked()
        until("E_BROKER_STALL", lambda: any("E_BROKER_STALL" in line["message"] for line in rig.log()), 20)
        assert rig.process is not None and rig.process.poll() is None
        proxy.black_hole = False
        proxy.cut()
        until("the rest", lambda: hub.samples >= 10, 60)
        until("the alert is over", lambda: "broker-stall" not in rig.status()["faults"], 10)
        assert sorted(hub.values) == list(range(10))
    hub.close()


@needs_mosquitto
def test_B12_twins_name_themselves(broker: Broker, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    env = {"HUTKEEPER_TEST_BACKOFF": "1"}
    with Rig(one, broker.port, device="twin", env=env) as first, Rig(two, broker.port, device="twin", env=env) as other:
        first.start()
        other.start()
        until("E_DUP_CLIENT_ID", lambda: any("E_DUP_CLIENT_ID" in line["message"]
                                             for line in first.log() + other.log()), 60)
        assert first.process and other.process and first.process.poll() is None and other.process.poll() is None
        epochs = [until("a status", lambda rig=rig: rig.status().get("ledger"), 20)["epoch"]  # type: ignore[misc]
                  for rig in (first, other)]
        assert epochs[0] != epochs[1], "both data sets are kept apart"


@needs_mosquitto
def test_B39_publishes_that_the_broker_refuses_raise_the_alert_and_lose_nothing(tmp_path: Path) -> None:
    acl = tmp_path / "acl.conf"
    acl.write_text("topic readwrite homie/#\ntopic read #\ntopic readwrite hutkeeper/1/hub/#\n"
                   "topic readwrite hutkeeper/1/acl/receipt\ntopic readwrite hutkeeper/1/acl/reported\n"
                   "topic readwrite homeassistant/#\n")
    with Broker(tmp_path, extra=[f"acl_file {acl}"]) as broker, Rig(
            tmp_path, broker.port, device="acl", env={"HUTKEEPER_TEST_BACKOFF": "1"}) as rig:
        hub = SmallHub(broker.port, "acl")
        plugin = rig.start().plugin()
        plugin.make(10)
        plugin.wait_acked()
        until("E_NO_RECEIPT", lambda: any("E_NO_RECEIPT" in line["message"] for line in rig.log()), 60)
        until("everything is kept", lambda: rig.status().get("ledger", {}).get("produced") == 10, 10)
        acl.write_text("topic readwrite #\n")
        os.kill(broker.pid, signal.SIGHUP)
        until("nothing lost", lambda: hub.samples >= 10, 60)
        until("the alert is over", lambda: rig.status()["faults"] == {}, 10)
        hub.close()


@needs_mosquitto
def test_B07_a_slow_link_makes_progress_with_a_large_backlog(broker: Broker, tmp_path: Path) -> None:
    hub = SmallHub(broker.port, "slow")
    with FaultProxy(broker.port) as proxy, Rig(tmp_path, proxy.port, device="slow", keepalive=3) as rig:
        proxy.bytes_per_s = 6000.0
        proxy.delay_s = 0.3
        plugin = rig.start().plugin()
        rng = random.Random(7)
        for _ in range(6):  # one batch alone takes longer than two keepalives
            plugin.make(500, values=[rng.randbytes(40).hex() for _ in range(500)])
            plugin.wait_acked()
        until("something arrives", lambda: hub.samples > 300, 60)
        proxy.bytes_per_s = 200_000.0
        until("all of it", lambda: hub.samples >= 3000, 90)
        assert hub.samples == 3000 and len({str(value) for value in hub.values}) == 3000
        until("a quiet ledger", lambda: rig.status()["ledger"]["receipted"] == 3000, 20)
    hub.close()


@needs_mosquitto
def test_no_broker_is_named_and_sigterm_ends_it_all_the_same(tmp_path: Path) -> None:
    with Rig(tmp_path, 1, device="alone") as rig:
        plugin = rig.start().plugin()
        plugin.make(10)
        plugin.wait_acked()
        until("it says so", lambda: any("no connection to 127.0.0.1:1" in line["message"] for line in rig.log()), 10)
        assert rig.stop() == 0
        assert rig.status()["ledger"]["produced"] == 10


@needs_mosquitto
def test_a_clean_end_is_clean_although_messages_are_under_way(broker: Broker) -> None:
    """A socket closed with unread bytes resets the connection: the broker would not see DISCONNECT."""
    where = Mqtt(host="127.0.0.1", port=broker.port, tls=False)
    feeder = Link(where, "feeder", ("ends/feeder", b"lost"), lambda: None)
    words: list[bytes] = []
    feeder.on_message = lambda message: words.append(message.payload)

    def step(link: Link) -> None:
        link.step(time.monotonic(), readable=link.fileno() is not None, writable=True)

    until("connected", lambda: step(feeder) or feeder.connected)  # type: ignore[func-returns-value]
    feeder.subscribe("ends/leaver")
    for n in range(200):
        feeder.publish(f"many/{n}", b"x" * 2000, qos=1, retain=True)
        step(feeder)
    until("stored", lambda: step(feeder) or feeder.backlog == 0)  # type: ignore[func-returns-value]
    for _ in range(5):
        leaver = Link(where, "leaver", ("ends/leaver", b"lost"), lambda: None)
        until("connected", lambda link=leaver: step(link) or link.connected)  # type: ignore[misc]
        leaver.subscribe("many/+")
        leaver.publish("ends/leaver", b"disconnected", qos=0, retain=False)
        leaver.stop(5.0)
    until("the last word", lambda: step(feeder) or words.count(b"disconnected") == 5)  # type: ignore[func-returns-value]
    for n in range(20):
        feeder.publish("ends/leaver", b"after", qos=1, retain=False)
        until("the marker", lambda n=n: step(feeder) or words.count(b"after") == n + 1)  # type: ignore[misc]
    feeder.stop(5.0)
    assert b"lost" not in words


def certificates(folder: Path) -> None:
    """A CA, a broker certificate for 127.0.0.1 and a device certificate, by the ``openssl`` program."""
    def run(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=30)

    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA", "-days", "2")
    for name, subject, extension in (("broker", "/CN=127.0.0.1", "subjectAltName=IP:127.0.0.1"),
                                     ("device", "/CN=safe", "subjectAltName=DNS:safe")):
        run("req", *ec, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        (folder / "ext").write_text(extension)
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-out", f"{name}.pem", "-extfile", "ext")


@needs_mosquitto
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_mutual_tls_end_to_end_and_a_stranger_is_refused_in_one_line(tmp_path: Path) -> None:
    certificates(tmp_path)
    secure = free_port()
    with Broker(tmp_path, extra=[
        f"listener {secure} 127.0.0.1", f"cafile {tmp_path}/ca.pem", f"certfile {tmp_path}/broker.pem",
        f"keyfile {tmp_path}/broker.key", "require_certificate true", "use_identity_as_username true",
    ]) as broker, Rig(tmp_path, secure, device="safe") as rig, Rig(tmp_path, secure, device="odd") as odd:
        files = {"ca": "ca.pem", "cert": "device.pem", "key": "device.key"}
        tls = "\n".join(["keepalive_s = 10", *(f'{key} = "{tmp_path}/{name}"' for key, name in files.items())])
        rig.toml.write_text(rig.toml.read_text().replace("keepalive_s = 10", tls))
        odd.toml.write_text(odd.toml.read_text().replace("keepalive_s = 10", tls.replace("ca.pem", "device.pem")))
        hub = SmallHub(broker.port, "safe")
        plugin = rig.start().plugin()
        for _ in range(40):
            plugin.make(50)
        plugin.wait_acked()
        until("all stored", lambda: hub.samples >= 2000, 30)
        assert sorted(hub.values) == list(range(2000))
        odd.start()
        refusal = "the broker's certificate is refused"
        until("a reason", lambda: any(refusal in line["message"] for line in odd.log()), 20)
        hub.close()
