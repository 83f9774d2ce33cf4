"""Ingest's connection to the broker. Callbacks only put into a bounded queue; everything else is the writer's thread.

The queue is never waited for: what does not fit is left without a receipt, and the device sends it again. Nothing is
subscribed to before the hub's term is known, and the will says ``lost`` with that term.
"""

from __future__ import annotations

import logging
import queue
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.wire import messages, topics
from agent.wire.messages import HubState
from hub.settings import Settings, SettingsError

log = logging.getLogger(__name__)

QUEUE_MESSAGES = 20_000
QUEUE_BYTES = 128 << 20
CONNECT_TIMEOUT_S = 10.0
RECORDS = f"{topics.OURS}/+/records"
REPORTED = f"{topics.OURS}/+/reported"
LEDGER = f"{topics.HOMIE}/+/sys/ledger"
ADDRESS = f"{topics.HOMIE}/+/sys/address"


class Message(NamedTuple):
    topic: str
    payload: bytes
    received_us: int
    """The hub's wall clock."""
    received_s: float
    """The hub's monotonic clock."""


def _client(settings: Settings, client_id: str) -> mqtt.Client:
    to = settings.mqtt
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
    if to.username is not None:
        password = None
        if to.password_file is not None:
            try:
                password = to.password_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise SettingsError(f"hub.toml: mqtt.password_file: {error}") from None
        client.username_pw_set(to.username, password)
    if to.tls:
        try:
            context = ssl.create_default_context(cafile=str(to.ca) if to.ca else None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if to.cert is not None:
                context.load_cert_chain(to.cert, to.key)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"hub.toml: mqtt: a TLS file cannot be used: {error}") from None
        client.tls_set_context(context)
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.on_socket_open = _no_delay
    return client


def _no_delay(client: mqtt.Client, userdata: Any, sock: Any) -> None:
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, AttributeError):
        pass  # slower, not wrong


def look(settings: Settings, stopping: threading.Event) -> HubState | None:
    """The retained state of a hub, on a short connection of its own; None when there is none.

    Waits for the broker for as long as it takes, and gives None when ``stopping`` is set."""
    attempt = 0
    while not stopping.is_set():
        try:
            return _look_once(settings)
        except (OSError, ValueError, TimeoutError) as error:
            if attempt == 0:
                log.warning("no broker at %s:%d yet: %s", settings.broker_host, settings.broker_port, error)
            attempt += 1
            stopping.wait(random.uniform(0.1, min(8.0, 0.25 * 2**min(attempt, 6))))
    return None


def _look_once(settings: Settings) -> HubState | None:
    client = _client(settings, f"hub-look-{random.getrandbits(32):08x}")
    found: list[HubState] = []
    done = threading.Event()

    def on_connect(c: mqtt.Client, userdata: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if not reason.is_failure:
            # Retained messages of the first topic come before the answer to the second: the wait has a sure end.
            c.subscribe(topics.HUB_STATE, qos=1)
            c.subscribe(f"{topics.OURS}/{topics.HUB}/look", qos=1)

    def on_message(c: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        state = _state(bytes(message.payload))
        if state is not None:
            found.append(state)

    answers = []

    def on_subscribe(c: mqtt.Client, userdata: Any, mid: int, reasons: Any, properties: Any) -> None:
        answers.append(mid)
        if len(answers) == 2:
            done.set()

    client.on_connect, client.on_message, client.on_subscribe = on_connect, on_message, on_subscribe
    client.connect(settings.broker_host, settings.broker_port, keepalive=settings.mqtt.keepalive_s)
    client.loop_start()
    try:
        if not done.wait(CONNECT_TIMEOUT_S):
            raise TimeoutError(f"no answer within {CONNECT_TIMEOUT_S:.0f} s")
    finally:
        client.disconnect()
        client.loop_stop()
    return max(found, key=lambda state: state.term, default=None)


def _state(payload: bytes) -> HubState | None:
    try:
        state: HubState = messages.decode(payload, HubState)
        return state
    except Exception:  # anything may lie on a topic
        return None


class Link:
    """The long connection. ``inbox`` is read by one thread; ``problem`` says why the process must end (B64)."""

    def __init__(self, settings: Settings, term: int, generation: str) -> None:
        self.settings = settings
        self.term = term
        self.generation = generation
        self.inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.state = "ready"
        self.connected = False
        self.overflowed = 0
        self.taken_bytes = 0
        """Bytes that the reader took out of ``inbox``; written by the reader only."""
        self.problem: str | None = None
        self.rival: HubState | None = None
        """A hub with a higher term: this one must be silent (B13)."""
        self._put_bytes = 0
        self._stopping = False
        self._client = _client(settings, f"hub-ingest-{generation[:8]}")
        self._client.will_set(topics.HUB_STATE, self._said("lost"), qos=1, retain=True)
        self._client.reconnect_delay_set(1, 8)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._thread = threading.Thread(target=self._network, name="ingest-mqtt", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, say: bool = True) -> None:
        """Say that the hub is gone (unless a rival speaks) and leave."""
        self._stopping = True
        if say and self.connected:
            self.say("stopped").wait_for_publish(2.0)
        self._client.disconnect()
        self._thread.join(5.0)

    def alive(self) -> bool:
        return self._thread.is_alive()

    def say(self, state: str) -> mqtt.MQTTMessageInfo:
        """Publish the hub's state; agents drain only while it is ``ready``."""
        self.state = state
        return self._client.publish(topics.HUB_STATE, self._said(state), qos=1, retain=True)

    def receipt(self, device: str, receipt: messages.Receipt) -> None:
        self._client.publish(topics.receipt(device), messages.encode(receipt), qos=1)

    def waiting(self) -> tuple[int, int]:
        """Messages and bytes in the inbox."""
        return self.inbox.qsize(), self._put_bytes - self.taken_bytes

    def _said(self, state: str) -> bytes:
        return messages.encode(HubState(state, self.term, self.generation))

    # --- the network thread: nothing here may raise or wait ---------------------------------------------------

    def _network(self) -> None:
        try:
            to = self.settings
            self._client.connect_async(to.broker_host, to.broker_port, keepalive=to.mqtt.keepalive_s)
            self._client.loop_forever(retry_first_connection=True)
        except BaseException as error:
            self.problem = f"the network thread ended: {type(error).__name__}: {error}"
        finally:
            if not self._stopping and self.problem is None:
                self.problem = "the network thread ended without a reason"
            self.inbox.put(None)

    def _guarded(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # a callback that raises would end the thread behind an open socket (M8)
            self.problem = f"{what}: {type(error).__name__}: {error}"
            self.inbox.put(None)

    def _on_connect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        def action() -> None:
            if reason.is_failure:
                log.error("the broker at %s:%d refuses us: %s", self.settings.broker_host, self.settings.broker_port,
                          reason)
                return
            # Retained state as it is now; records as they come. Records with QoS 0: a device keeps a batch until our
            # receipt whatever the broker says, and a persistent broker would write its whole file for each of them
            # (measured: 200 batches/s with QoS 1, 1,400/s with QoS 0, behind autosave_on_changes).
            plain = SubscribeOptions(qos=1)
            client.subscribe([(topics.HUB_STATE, plain), (REPORTED, plain), (LEDGER, plain), (ADDRESS, plain),
                              (RECORDS, SubscribeOptions(qos=0))])

        self._guarded("on_connect", action)

    def _on_subscribe(self, client: mqtt.Client, userdata: Any, mid: int, reasons: list[ReasonCode],
                      properties: Any) -> None:
        def action() -> None:
            refused = [str(reason) for reason in reasons if reason.is_failure]
            if refused:
                self.problem = f"the broker refuses a subscription ({', '.join(refused)}): check its ACL for the hub"
                self.inbox.put(None)
                return
            self.connected = True
            log.info("connected to %s:%d", self.settings.broker_host, self.settings.broker_port)
            if self.rival is None:
                self.say(self.state)
            self.inbox.put(None)  # the loop tells it to the status file

        self._guarded("on_subscribe", action)

    def _on_disconnect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: ReasonCode,
                       properties: Any) -> None:
        def action() -> None:
            if self.connected and not self._stopping:
                log.warning("lost the broker at %s:%d: %s", self.settings.broker_host, self.settings.broker_port,
                            reason)
            self.connected = False
            self.inbox.put(None)

        self._guarded("on_disconnect", action)

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
            if topic == topics.HUB_STATE:
                self._heard(bytes(message.payload))
                return
            payload = bytes(message.payload)
            if self.inbox.qsize() >= QUEUE_MESSAGES or self._put_bytes - self.taken_bytes > QUEUE_BYTES:
                self.overflowed += 1
                return
            self._put_bytes += len(payload)
            self.inbox.put(Message(topic, payload, time.time_ns() // 1000, time.monotonic()))
        except UnicodeDecodeError:  # a topic that is no UTF-8 (B35)
            self.overflowed += 1
        except Exception as error:
            self.problem = f"on_message: {type(error).__name__}: {error}"
            self.inbox.put(None)

    def _heard(self, payload: bytes) -> None:
        state = _state(payload)
        if state is None or (state.term, state.generation) == (self.term, self.generation):
            if state is not None and state.state != self.state and self.rival is None and not self._stopping:
                self.say(self.state)  # the will of a connection of ours that the broker gave up late
            return
        if (state.term, state.generation) > (self.term, self.generation):
            self.rival = state
            self.inbox.put(None)
        elif self.rival is None and not self._stopping:
            self.say(self.state)  # an older hub spoke last: agents that come now must find us
