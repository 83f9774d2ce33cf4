"""The connection of our own to another broker: a real Mosquitto, plain and TLS, refused, killed, silent, flooded."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.api import ConfigError, Message, RetryLater, mqtt_line
from agent.testing.broker import Broker, free_port, mosquitto_path
from hub import ca
from plugins.foreign_mqtt.broker import DOWN, LOST, UP, BrokerSource
from plugins.foreign_mqtt.config import BrokerConfig
from tests.waiting import until

from .world import Client

pytestmark = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed")


class Heard:
    """A source that is read as the runner reads it."""

    def __init__(self, config: BrokerConfig, *filters: str) -> None:
        self.source = BrokerSource(config, filters or ("tele/#",), cap_s=0.3, rng=random.Random(1))
        self.messages: list[Message] = []

    def of(self, topic: str) -> list[Message]:
        for item in self.source.receive():
            assert isinstance(item, Message)
            self.messages.append(item)
        return [one for one in self.messages if one.topic == topic]

    def wait(self, topic: str, timeout_s: float = 20) -> Message:
        return until(repr(topic), lambda: self.of(topic), timeout_s, 0.01, lambda: self.messages)[-1]

    def __enter__(self) -> Heard:
        return self

    def __exit__(self, *_: Any) -> None:
        self.source.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("plain")) as broker:
        yield broker


def at(port: int, **more: Any) -> BrokerConfig:
    return BrokerConfig(host="127.0.0.1", port=port, **more)


def test_it_hears_tells_what_was_retained_speaks_and_ends_at_once(broker: Broker) -> None:
    client = Client(broker.port, ("cmnd/#",))
    client.say("tele/a/LWT", "Online", retain=True)
    with Heard(at(broker.port)) as heard:
        heard.wait(UP)
        assert heard.wait("tele/a/LWT").retained
        client.say("tele/a/SENSOR", "{}")
        sample = heard.wait("tele/a/SENSOR")
        assert (sample.data, sample.retained) == (b"{}", False) and (sample.t_us or 0) > 0
        heard.source.send(mqtt_line("cmnd/a b/POWER", b"ON"))
        until("the command", lambda: ("cmnd/a b/POWER", "ON") in client.heard)
        threads = [one for one in threading.enumerate() if one.name.startswith("mqtt 127")]
    assert len(threads) == 1 and not threads[0].is_alive()
    client.close()


def test_B06_killed_and_back_it_subscribes_again(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, Heard(at(broker.port)) as heard:
        heard.wait(UP)
        broker.kill9()
        heard.wait(DOWN)
        with pytest.raises(RetryLater, match="no connection to 127"):
            until("it notices", lambda: heard.source.send(mqtt_line("cmnd/a", b"")), 5)
        heard.messages.clear()
        broker.start()
        heard.wait(UP)
        client = Client(broker.port, ())
        client.say("tele/b/SENSOR", "{}")
        heard.wait("tele/b/SENSOR")
        client.close()


def test_nobody_there_and_a_name_that_is_none_are_told_and_tried_again() -> None:
    with Heard(at(free_port())) as heard:
        assert b"refused" in heard.wait(DOWN).data
        until("tried again", lambda: len(heard.of(DOWN)) > 2, 20)
    with Heard(BrokerConfig(host="no-such-host.invalid")) as heard:
        assert heard.wait(DOWN).data


def test_B03_a_server_that_never_answers_does_not_hold_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.foreign_mqtt.broker.CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        with Heard(at(mute.getsockname()[1])) as heard:
            assert b"no answer to CONNECT" in heard.wait(DOWN).data
        with Heard(at(mute.getsockname()[1])) as heard:
            thread = heard.source._thread
        until("it ended", lambda: not thread.is_alive(), 5)


def test_who_speaks_no_mqtt_is_no_broker() -> None:
    def serve(server: socket.socket) -> None:
        while True:
            try:
                peer, _ = server.accept()
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20)
                time.sleep(0.05)
                peer.close()
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        with Heard(at(server.getsockname()[1])) as heard:
            assert heard.wait(DOWN).data


def test_a_wrong_password_is_said_in_the_brokers_words(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("")
    word = tmp_path / "word"
    word.write_text("secret\n")
    port = free_port()
    extra = (f"listener {port} 127.0.0.1", "allow_anonymous false", f"password_file {tmp_path}/passwd")
    with (Broker(tmp_path, port=port, listeners=False, extra=extra),
          Heard(at(port, username="me", password_file=word)) as heard):
        said = heard.wait(DOWN).data.decode()
        assert "refuses us" in said and "secret" not in said


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, Path]]:
    folder = tmp_path_factory.mktemp("tls")
    ca.ensure(folder, ["localhost"])
    own, port = folder / "ca", free_port()
    with Broker(folder, port=port, listeners=False, extra=(
            f"listener {port} 127.0.0.1", "allow_anonymous true", f"cafile {own}/ca.pem", f"certfile {own}/hub.pem",
            f"keyfile {own}/hub.key")) as broker:
        yield broker, own


def test_tls_with_the_right_authority(tls: tuple[Broker, Path]) -> None:
    broker, own = tls
    config = BrokerConfig(host="localhost", port=broker.port, tls=True, ca=own / "ca.pem")
    with Heard(config, "x/#") as heard:
        heard.wait(UP)
        heard.source.send(mqtt_line("x/y", b"z" * 100_000))  # several TLS records: none may wait for the next packet
        assert len(heard.wait("x/y").data) == 100_000


def test_tls_with_another_authority_is_refused(tls: tuple[Broker, Path], tmp_path: Path) -> None:
    broker, _ = tls
    ca.ensure(tmp_path, ["localhost"])
    with Heard(BrokerConfig(host="localhost", port=broker.port, tls=True, ca=tmp_path / "ca/ca.pem")) as heard:
        assert b"the broker's certificate is refused" in heard.wait(DOWN).data
    with Heard(BrokerConfig(host="localhost", port=broker.port)) as heard:
        assert heard.wait(DOWN).data  # plain where TLS is spoken


def test_files_that_are_missing_or_no_certificates(tmp_path: Path) -> None:
    with pytest.raises(RetryLater, match=r"absent\.pem cannot be read"):
        BrokerSource(BrokerConfig(host="x", tls=True, ca=tmp_path / "absent.pem"), ())
    (tmp_path / "no.pem").write_text("hello")
    with pytest.raises(ConfigError, match="no PEM file"):
        BrokerSource(BrokerConfig(host="x", tls=True, ca=tmp_path / "no.pem"), ())
    with pytest.raises(RetryLater, match=r"absent\.txt cannot be read"):
        BrokerSource(BrokerConfig(host="x", username="me", password_file=tmp_path / "absent.txt"), ())


def test_a_reader_that_is_too_slow_loses_the_oldest_and_is_told(broker: Broker) -> None:
    client = Client(broker.port, ())
    with Heard(at(broker.port), "flood/#") as heard:
        heard.wait(UP)
        for n in range(10_050):
            client.client.publish("flood/x", str(n), qos=0)
        client.say("flood/end", "x")
        until("all of it came", lambda: heard.source._inbox._queue and heard.source._inbox._queue[-1].topic in (
            "flood/end", LOST) and any(one.topic == "flood/end" for one in list(heard.source._inbox._queue)[-3:]), 30)
        lost = int(heard.wait(LOST).data)
        kept = [int(one.data) for one in heard.of("flood/x")]
        assert kept[-1] == 10_049 and lost > 0 and len(kept) <= 10_000
    client.close()
