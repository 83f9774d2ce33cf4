"""The embedded broker, with the real Mosquitto: B01 (killed), B02 (state file damaged), ports, leftovers."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from agent.testing.broker import free_port
from hub.broker import BrokerError, Keeper, events, ports
from hub.broker.conf import MAX_PACKET_BYTES
from hub.settings import SettingsError, load
from tests.hub.broker.conftest import Process, needs_mosquitto
from tests.hub.broker.mqtt import Client
from tests.waiting import until

pytestmark = needs_mosquitto
LONG = bool(os.environ.get("HUTKEEPER_LONG"))
DAMAGES = 200 if LONG else 20

HUB = """\
[hub]
data_dir = "data"
run_dir = "run"
[broker]
port = {port}
"""


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def fill(port: int) -> None:
    """Retained values, a durable session and messages that wait for it: every kind of chunk in the state file."""
    with Client(port, "sleeper", keep_session_s=3600) as sleeper:
        sleeper.subscribe("q/#")
    with Client(port, "writer") as writer:
        for n in range(20):
            assert writer.publish(f"homie/5/rig/node/p{n}", f"value {n}".encode() * 20, retain=True) == "Success"
            writer.publish(f"q/{n}", b"waits")


def test_B01_kill_9_loses_nothing_that_was_saved(keeper: Callable[..., Keeper]) -> None:
    """Each change is saved by itself at once, but just after its acknowledgement: so wait for the file."""
    one = keeper()
    one.start()
    fill(one.plan.port)
    until("all is saved", lambda: one.database.exists() and one.database.read_bytes().count(b"waits") >= 20)
    assert one.child
    one.child.process.kill()
    one.child.process.wait()
    one.start()
    with Client(one.plan.port, "sleeper", keep_session_s=3600) as sleeper:
        assert sleeper.present
        for n in range(20):
            sleeper.wait_for(f"q/{n}", b"waits")
    with Client(one.plan.port) as reader:
        reader.subscribe("homie/#")
        assert reader.wait_for("homie/5/rig/node/p19") == b"value 19" * 20
    assert not events.take(one.plan.run_dir)


def test_B01_saving_by_the_clock_spares_the_card_and_keeps_what_is_older(keeper: Callable[..., Keeper]) -> None:
    one = keeper(save_s=1)
    one.start()
    fill(one.plan.port)
    until("it is saved", lambda: one.database.exists() and b"value 19" in one.database.read_bytes())
    assert one.child
    one.child.process.kill()
    one.child.process.wait()
    one.start()
    with Client(one.plan.port) as reader:
        reader.subscribe("homie/#")
        assert reader.wait_for("homie/5/rig/node/p19") == b"value 19" * 20


def test_B02_a_damaged_state_file_never_keeps_the_broker_from_starting(
    keeper: Callable[..., Keeper], tmp_path: Path
) -> None:
    """Zeros from one of four places on, or 1 to 200 flipped bits: it starts, and works, every time."""
    seed = int(os.environ.get("HUTKEEPER_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
    print(f"HUTKEEPER_SEED={seed}")
    rng = random.Random(seed)
    one = keeper()
    one.start()
    fill(one.plan.port)
    one.stop()
    good = one.database.read_bytes()
    assert len(good) > 4000
    resets = 0
    for n in range(DAMAGES):
        damaged = bytearray(good)
        if n % 2:
            begin = (0, 15, len(good) // 2, len(good) - 100)[n // 2 % 4]
            damaged[begin:] = bytes(len(good) - begin)
        else:
            for _ in range(rng.choice((1, 10, 200))):
                damaged[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        one.database.write_bytes(damaged)
        one.start()
        with Client(one.plan.port) as client:
            assert client.publish("hutkeeper/1/rig/records", b"still flows") == "Success"
        one.stop()
        for path, event in events.take(one.plan.run_dir):
            resets += 1
            assert event.code == "E_BROKER_STATE_RESET" and str(one.database) + ".bad" in event.line
            path.unlink()
    assert resets >= DAMAGES // 8, "a file of zeros cannot be read, so resets must have happened"
    assert Path(f"{one.database}.bad").exists()


def test_B02_a_good_state_file_is_not_blamed_for_something_else(keeper: Callable[..., Keeper]) -> None:
    one = keeper()
    one.start()
    fill(one.plan.port)
    one.stop()
    good = one.database.read_bytes()
    one.mosquitto = "/bin/false"
    with pytest.raises(BrokerError, match="exit 1"):
        one.start()
    assert one.database.read_bytes() == good
    assert not events.take(one.plan.run_dir)


def test_a_taken_port_names_its_holder_and_the_setting(broker_process: Callable[..., Process]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = broker_process(HUB.format(port=port))
        assert process.process.wait(60) == 1
    (line,) = process.log.read_text().splitlines()
    assert line.startswith(f"broker: port {port} is taken by ") and f"(process {os.getpid()})" in line
    assert "set [broker] port in hub.toml" in line


def test_B01_a_killed_broker_comes_back_and_sigterm_ends_both(broker_process: Callable[..., Process]) -> None:
    port = free_port()
    process = broker_process(HUB.format(port=port))
    process.wait_for("listens on")
    (child,) = psutil.Process(process.process.pid).children()
    child.kill()
    process.wait_for("listens on", times=2)
    (second,) = psutil.Process(process.process.pid).children()
    assert second.pid != child.pid
    with Client(port) as client:
        assert client.publish("a/b") == "Success"
    process.process.terminate()
    assert process.process.wait(30) == 0
    assert gone(second.pid) and ports.holder_of(port) is None


@pytest.mark.parametrize("stopped", [False, True])
def test_B58_no_broker_outlives_its_keeper(broker_process: Callable[..., Process], stopped: bool) -> None:
    """Also one that is stopped (SIGSTOP) and would obey nothing but SIGKILL."""
    port = free_port()
    process = broker_process(HUB.format(port=port))
    process.wait_for("listens on")
    (child,) = psutil.Process(process.process.pid).children()
    if stopped:
        child.send_signal(signal.SIGSTOP)
    process.process.kill()
    until("the broker ends", lambda: gone(child.pid))
    successor = broker_process(HUB.format(port=port), "again.toml")
    successor.wait_for("listens on")


def test_only_this_machine_reaches_the_plain_listener(keeper: Callable[..., Keeper]) -> None:
    one = keeper()
    one.start()
    assert one.child
    addresses = {c.laddr.ip for c in psutil.Process(one.child.pid).net_connections() if c.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}
    assert (one.plan.state_dir.stat().st_mode & 0o777) == 0o700


def test_B34_a_packet_over_the_limit_is_refused_and_a_batch_passes(keeper: Callable[..., Keeper]) -> None:
    one = keeper()
    one.start()
    topic = "hutkeeper/1/rig/records"
    with Client(one.plan.port) as reader:
        reader.subscribe(topic)
        with Client(one.plan.port) as client:
            assert client.publish(topic, bytes(256 << 10)) == "Success"
            assert client.publish(topic, bytes(MAX_PACKET_BYTES - 100)) == "Success"
        with Client(one.plan.port) as client:
            lost: list[str] = []
            client.mqtt.on_disconnect = lambda _c, _u, _f, code, _p: lost.append(str(code))
            client.mqtt.publish(topic, bytes(MAX_PACKET_BYTES + 1), 1)
            until("the refusal", lambda: lost)
            # the reset of a connection with unread bytes may overtake the broker's reason, so the reader is the proof
            assert lost[0] in ("Packet too large", "Unspecified error")
            client.mqtt.loop_stop()  # or it would send the same again and again
        with Client(one.plan.port) as client:
            assert client.publish(topic, b"the next one passes") == "Success"
        reader.wait_for(topic, b"the next one passes")
        assert [len(payload) for _, payload in reader.got] == [256 << 10, MAX_PACKET_BYTES - 100, 19]


def test_no_broker_at_all_says_what_to_install(monkeypatch: pytest.MonkeyPatch, keeper: Callable[..., Keeper]) -> None:
    monkeypatch.setattr("hub.broker.keeper.find_mosquitto", lambda: None)
    monkeypatch.setattr("hub.broker.keeper.have_iotcore", lambda: False)
    with pytest.raises(BrokerError, match="apt-get install mosquitto"):
        keeper()


def test_another_broker_in_hub_toml_is_not_replaced(broker_process: Callable[..., Process]) -> None:
    process = broker_process('[mqtt]\nhost = "10.0.0.1"\n')
    assert process.process.wait(60) == 1
    assert "10.0.0.1" in process.log.read_text()


def test_the_pip_broker_stands_in_where_mosquitto_is_absent(keeper: Callable[..., Keeper]) -> None:
    pytest.importorskip("iotcore", reason="iotcore is not installed (pip install hutkeeper[broker])")
    one = keeper(program="iotcore")
    one.start()
    with Client(one.plan.port, "reader") as reader, Client(one.plan.port, "writer") as writer:
        reader.subscribe("hutkeeper/1/+/records")
        assert writer.publish("hutkeeper/1/rig/records", bytes(256 << 10)) == "Success"
        assert len(reader.wait_for("hutkeeper/1/rig/records")) == 256 << 10
    assert one.child
    assert subprocess.run(["pgrep", "-P", str(one.child.pid)], capture_output=True).returncode == 1


@pytest.mark.parametrize("foreign, said", [
    ('read = ["#"]', "read: '#': begins with a plain word, as in tele/#"),
    ('write = ["hutkeeper/1/attic/records"]', "every device has its own part of that tree and no more"),
    ('write = ["homie/5/attic/#"]', "every device has its own part of that tree and no more"),
    ('device = "+"', "broker.foreign.0.device"),
])
def test_rights_that_are_not_to_be_given_are_refused(tmp_path: Path, foreign: str, said: str) -> None:
    (tmp_path / "hub.toml").write_text(f"[[broker.foreign]]\n{foreign}\n")
    with pytest.raises(SettingsError) as error:
        load(tmp_path / "hub.toml")
    assert said in str(error.value)
