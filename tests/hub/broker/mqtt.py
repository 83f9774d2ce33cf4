"""A small MQTT 5 client for these tests: real paho against the real broker, with every answer kept."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

WAIT_S = 30.0


class Client:
    """``with Client(port) as client``; raises AssertionError when the broker does not take it within ``wait_s``."""

    def __init__(self, port: int, name: str = "", *, tls: tuple[Path, Path, Path] | None = None,
                 keep_session_s: int = 0, wait_s: float = WAIT_S) -> None:
        self.mqtt = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        self.got: list[tuple[str, bytes]] = []
        self.news = threading.Condition()
        self.connected = threading.Event()
        self.answers: dict[int, str] = {}
        self.granted: dict[int, list[str]] = {}
        self.present = False
        self.mqtt.on_connect = self._on_connect
        self.mqtt.on_message = lambda _c, _u, m: self._note(lambda: self.got.append((m.topic, bytes(m.payload))))
        # "No matching subscribers" is a success too (code 0x10)
        self.mqtt.on_publish = lambda _c, _u, mid, rc, _p: self._note(
            lambda: self.answers.update({mid: str(rc) if rc.is_failure else "Success"}))
        self.mqtt.on_subscribe = lambda _c, _u, mid, rcs, _p: self._note(
            lambda: self.granted.update({mid: [str(rc) for rc in rcs]}))
        if tls is not None:
            self.mqtt.tls_set(*(str(path) for path in tls))
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = keep_session_s
        self.mqtt.connect("127.0.0.1", port, 30, clean_start=not keep_session_s, properties=properties)
        self.mqtt.loop_start()
        if not self.connected.wait(wait_s):
            self.close()
            raise AssertionError("no CONNACK")

    def _on_connect(self, _client: object, _data: object, flags: paho.ConnectFlags, code: object, _p: object) -> None:
        self.present, self.code = flags.session_present, str(code)
        self.connected.set()

    def _note(self, change: object) -> None:
        with self.news:
            change()  # type: ignore[operator]
            self.news.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.mqtt.disconnect()
        self.mqtt.loop_stop()

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> str:
        """The broker's answer to a QoS 1 publish ("Success", "Not authorized")."""
        mid = self.mqtt.publish(topic, payload, 1, retain).mid
        with self.news:
            assert self.news.wait_for(lambda: mid in self.answers, WAIT_S), f"no PUBACK for {topic}"
        return self.answers[mid]

    def subscribe(self, *topics: str) -> list[str]:
        mid = self.mqtt.subscribe([(topic, paho.SubscribeOptions(qos=1)) for topic in topics])[1]
        with self.news:
            assert self.news.wait_for(lambda: mid in self.granted, WAIT_S), f"no SUBACK for {topics}"
        return self.granted[mid]

    def wait_for(self, topic: str, payload: bytes | None = None) -> bytes:
        """The first message on ``topic`` (with ``payload``), waiting for it."""
        def found() -> list[bytes]:
            return [p for t, p in self.got if t == topic and payload in (None, p)]
        with self.news:
            assert self.news.wait_for(found, WAIT_S), f"nothing on {topic}"
        return found()[0]
