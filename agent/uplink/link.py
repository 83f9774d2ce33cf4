"""The MQTT connection: paho without its network thread, driven by uplink's one poll loop.

paho's sockets are polled with everything else, so all logic is on one thread, an idle device does not wake up once a
second for each thread, and there is no network thread that can die unseen (B64). Only name look-up, TCP connect and
TLS handshake, which block, run in a thread that lives as long as they do. Every connection is a new client object: what
was unacknowledged belongs to the spool and to the state plane, not to paho's memory.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from msgspec import Struct
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.settings import Mqtt
from agent.uplink.backoff import Backoff
from agent.uplink.client import NOT_AUTHORIZED, TAKEN_OVER, TOO_LARGE, Lost, close, lost, make, read_rest, words

__all__ = ["NOT_AUTHORIZED", "TAKEN_OVER", "TOO_LARGE", "Link", "Lost", "Message"]

log = logging.getLogger(__name__)

CONNACK_S = 15.0
CONNECT_STUCK_S = 120.0
"""A connect that does not come back, not even with an error, holds the process: it ends to be started anew (B64)."""
STATE_SLOTS = 10
"""QoS 1 publishes of the state plane in flight: the rest of the broker's receive maximum is for records."""
MAX_WAITING = 5000
MAX_INCOMING_BYTES = 1 << 20


class Message(Struct, frozen=True):
    """What the broker delivered."""

    topic: str
    payload: bytes
    retained: bool


class Link:
    """``on_connect()``, ``on_lost(Lost)``, ``on_message(Message)`` and ``on_sent(token, code)`` are called from
    :meth:`step`, on the caller's thread. ``code`` is the PUBACK's reason (below 0x80: taken by the broker)."""

    def __init__(self, settings: Mqtt, device: str, will: tuple[str, bytes], wake: Callable[[], None]) -> None:
        self.settings = settings
        self.device = device
        self.will = will
        self.on_connect: Callable[[], None] = lambda: None
        self.on_lost: Callable[[Lost], None] = lambda why: None
        self.on_message: Callable[[Message], None] = lambda message: None
        self.on_sent: Callable[[int, int], None] = lambda token, code: None
        self.backoff = Backoff()
        self.connected = False
        self.since_s: float | None = None
        """When this connection began, or when the last one was lost (monotonic)."""
        self.max_packet = 1 << 28
        self.receive_max = 20
        self.tries = 0
        self._wake = wake
        self._client: mqtt.Client | None = None
        self._thread: threading.Thread | None = None
        self._began_s = 0.0
        self._next_try_s = time.monotonic() + self.backoff.wait_s()
        self._events: deque[Any] = deque()
        """Filled by callbacks and by the connecting thread; emptied by step()."""
        self._tokens: dict[int, int] = {}
        """mid -> token of records in flight."""
        self._state_mids: set[int] = set()
        self._ordered: deque[tuple[str, bytes, int, bool]] = deque()
        """Publishes of the state plane that wait for a slot."""
        self._stopping = False

    # --- the poll loop's handles ---------------------------------------------------------------------------

    def fileno(self) -> int | None:
        """The socket to poll, once paho runs on it."""
        if self._client is None or self._thread is not None:
            return None
        sock = self._client.socket()
        return None if sock is None else sock.fileno()

    def want_write(self) -> bool:
        return self._client is not None and self._thread is None and bool(self._client.want_write())

    def pending(self) -> bool:
        """TLS may hold decrypted bytes that no poll reports."""
        sock = self._client.socket() if self._client is not None and self._thread is None else None
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def due_s(self, now_s: float) -> float:
        """When :meth:`step` has something to do without any event (monotonic)."""
        client = self._client
        if client is None:
            return self._next_try_s
        if not self.connected:
            return now_s + 0.5
        keep_s = float(self.settings.keepalive_s)
        # When paho has to ping, or to give up on the answer. Without a look at its own notes we would have to wake up
        # several times a keepalive to be as punctual.
        asked_s = float(getattr(client, "_ping_t", 0.0) or 0.0)
        due_s = keep_s + (asked_s or min(
            float(getattr(client, name, now_s)) for name in ("_last_msg_out", "_last_bytes_received")))
        return max(due_s + 0.01, now_s + 0.05)

    def step(self, now_s: float, readable: bool = False, writable: bool = False) -> None:
        """Do what is due. Raises nothing of the network's; RuntimeError when a connect hangs (B64)."""
        if self._thread is not None:
            self._watch_thread(now_s)
        client = self._client
        if client is not None and self._thread is None:
            try:
                if readable or self.pending():
                    self._read(client)
                if (writable or client.want_write()) and client.socket() is not None:
                    client.loop_write()
                if client.socket() is not None:
                    client.loop_misc()
            except Exception as error:  # paho on bytes of a broken peer: the connection is over, not the process
                log.warning("MQTT connection given up: %s: %s", type(error).__name__, error)
                self._events.append(Lost(f"{type(error).__name__}: {error}"))
            if not self.connected and now_s - self._began_s > CONNACK_S and client is self._client:
                self._events.append(Lost("the broker accepted the connection and did not answer", silent=True))
        self._empty()
        if self.connected and self.since_s is not None:
            self.backoff.connected_for(now_s - self.since_s)
            self._pump()
        if self._client is None and not self._stopping and now_s >= self._next_try_s:
            self._begin(now_s)

    def _read(self, client: mqtt.Client) -> None:
        """Everything that is there, but a flood must not hold up the spool for ever."""
        for _ in range(200):
            if client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
                return
            sock = client.socket()
            if isinstance(sock, ssl.SSLSocket) and sock.pending():
                continue
            if sock is None or not select.select([sock], [], [], 0)[0]:
                return

    # --- connecting ------------------------------------------------------------------------------------------

    def _begin(self, now_s: float) -> None:
        self.tries += 1
        self._began_s = now_s
        try:
            self._client = make(self.settings, self.device, self.will, self._events)
        except (OSError, ValueError) as error:  # a certificate file that is missing or unreadable
            self._client = None
            self._fail(Lost(f"{error}"))
            return
        self._thread = threading.Thread(target=self._connect, args=(self._client,), name="connect", daemon=True)
        self._thread.start()

    def _connect(self, client: mqtt.Client) -> None:
        """In its own thread: what blocks. Raises nothing."""
        try:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = MAX_INCOMING_BYTES
            client.connect(self.settings.host, self.settings.port, keepalive=self.settings.keepalive_s,
                           clean_start=True, properties=properties)
            self._events.append(("opened", client))
        except Exception as error:
            self._events.append(("failed", client, words(error)))
        with contextlib.suppress(Exception):
            self._wake()

    def _watch_thread(self, now_s: float) -> None:
        if now_s - self._began_s > CONNECT_STUCK_S:
            raise RuntimeError(f"connecting to {self.where} hangs for {CONNECT_STUCK_S:.0f} s")

    @property
    def where(self) -> str:
        return f"{self.settings.host}:{self.settings.port}"

    # --- what came -------------------------------------------------------------------------------------------

    def _empty(self) -> None:
        while self._events:
            event = self._events.popleft()
            if isinstance(event, Lost):
                self._fail(event)
                continue
            kind, client = event[0], event[1]
            if client is not self._client:
                if kind == "opened":
                    close(client)
                continue
            if kind in ("opened", "failed"):
                self._thread = None
                if kind == "failed":
                    self._fail(Lost(event[2]))
            elif kind == "connack":
                self._connack(event[2], event[3])
            elif kind == "lost":
                self._fail(lost(event[2], self.connected))
            elif kind == "message":
                message = event[2]
                self.on_message(Message(message.topic, bytes(message.payload), bool(message.retain)))
            elif kind == "sent":
                self._sent(event[2], event[3])
            elif kind == "subscribed" and any(code.is_failure for code in event[2]):
                log.warning("the broker refused a subscription: %s", ", ".join(str(code) for code in event[2]))

    def _connack(self, code: ReasonCode, properties: Properties | None) -> None:
        if code.is_failure:
            self._fail(Lost(f"refused: {code}", code.value))
            return
        self.max_packet = int(getattr(properties, "MaximumPacketSize", 1 << 28))
        self.receive_max = int(getattr(properties, "ReceiveMaximum", 65535))
        self.connected = True
        self.since_s = time.monotonic()
        self._clear()
        self.on_connect()

    def _clear(self) -> None:
        self._tokens.clear()
        self._state_mids.clear()
        self._ordered.clear()

    def _fail(self, why: Lost) -> None:
        client, self._client = self._client, None
        was, self.connected = self.connected, False
        if client is not None and self._thread is None:
            close(client)
        self._thread = None
        self._clear()
        if was or self.since_s is None:
            self.since_s = time.monotonic()
        self._next_try_s = time.monotonic() + self.backoff.wait_s()
        self.on_lost(Lost(why.reason, why.code, was, why.silent))

    def _sent(self, mid: int, code: Any) -> None:
        value = code.value if isinstance(code, ReasonCode) else 0
        if (token := self._tokens.pop(mid, None)) is not None:
            self.on_sent(token, value)
        elif mid in self._state_mids:
            self._state_mids.discard(mid)
            if value >= 0x80:
                log.warning("the broker refused a publish that was no sample: %s; its access rules must allow it", code)

    # --- publishing (the state plane's Publisher) ----------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        """State plane: bounded, in order."""
        if not self.connected:
            return
        if qos == 0:
            self._client_publish(topic, payload, 0, retain)
        elif len(self._ordered) < MAX_WAITING:
            self._ordered.append((topic, payload, qos, retain))
            self._pump()
        else:
            log.warning("%d publishes wait for the broker, the one on %s is left out", len(self._ordered), topic)

    def _pump(self) -> None:
        slots = max(1, min(STATE_SLOTS, self.receive_max // 2))
        while self._ordered and len(self._state_mids) < slots and self.connected:
            topic, payload, qos, retain = self._ordered.popleft()
            mid = self._client_publish(topic, payload, qos, retain)
            if mid is not None:
                self._state_mids.add(mid)

    @property
    def backlog(self) -> int:
        """State publishes that the broker has not taken yet."""
        return len(self._ordered) + len(self._state_mids)

    def record_slots(self) -> int:
        """How many more records the broker allows in flight."""
        return max(1, self.receive_max - min(STATE_SLOTS, self.receive_max // 2)) - len(self._tokens)

    def send_record(self, topic: str, payload: bytes, token: int) -> bool:
        """QoS 1, not retained; ``on_sent(token, code)`` follows. False when it cannot be sent now."""
        mid = self._client_publish(topic, payload, 1, False)
        if mid is None:
            return False
        self._tokens[mid] = token
        return True

    def _client_publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> int | None:
        client = self._client
        if client is None or not self.connected:
            return None
        try:
            info = client.publish(topic, payload, qos=qos, retain=retain)
        except (ValueError, OSError) as error:
            log.warning("%s was not published: %s", topic[:200], error)
            return None
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def subscribe(self, topic: str, *, commands: bool = False) -> None:
        """``commands``: a retained one is told as retained also the first time ("retain as published"), for it would
        come again after every reconnect; anything else is told as retained where it stood there before."""
        client = self._client
        if client is not None and self.connected:
            client.subscribe(topic, options=SubscribeOptions(qos=1, retainAsPublished=commands))

    def unsubscribe(self, topic: str) -> None:
        client = self._client
        if client is not None and self.connected:
            client.unsubscribe(topic)

    def address(self) -> str:
        """This device's own address towards the broker, or ``""``."""
        sock = self._client.socket() if self._client is not None and self.connected else None
        try:
            return str(sock.getsockname()[0]) if isinstance(sock, socket.socket) else ""
        except OSError:
            return ""

    # --- the end -----------------------------------------------------------------------------------------------

    def stop(self, timeout_s: float) -> None:
        """Wait for what is published, then DISCONNECT (the broker then keeps the will to itself)."""
        self._stopping = True
        deadline = time.monotonic() + timeout_s
        while self.connected and (self.backlog or self.want_write()) and time.monotonic() < deadline:
            fd = self.fileno()
            if fd is not None:
                select.select([fd], [fd] if self.want_write() else [], [], 0.05)
            self.step(time.monotonic(), readable=True, writable=True)
        client = self._client
        if client is not None and self._thread is None:
            with contextlib.suppress(OSError, ValueError):
                # paho closes its socket with DISCONNECT; a second descriptor keeps the connection for what is unread
                rest = socket.socket(fileno=os.dup(fd)) if (fd := self.fileno()) is not None else None
                client.disconnect()
                client.loop_write()
                read_rest(rest, deadline)
            self._client, self.connected = None, False
            close(client)

    def drop(self, reason: str) -> None:
        """Give the connection up, as if the network had."""
        self._events.append(Lost(reason))
