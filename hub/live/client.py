"""The web process's one MQTT client: feeds the tree, asks devices, clears what was removed.

paho's callbacks only put into a queue; one worker thread of ours applies what came. If either thread dies, ``fault``
says so and the process is to end with an error (B64): a page that lives on with a dead tree would lie.
"""

from __future__ import annotations

import logging
import queue
import random
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.wire import messages, topics
from hub.live.feed import FLEET, Feed
from hub.live.tree import LiveTree

log = logging.getLogger(__name__)

QUEUE = 200_000
CONNECT_TIMEOUT_S = 10.0
QUIET_S = 4.0
MARK = topics.response(topics.HUB, "web-mark")
"""We publish here to ourselves: when it comes back, everything retained that we subscribed to before it has come."""
ANSWERS = f"{topics.OURS}/+/response/+"
STATES = "+/5/+/$state"


class NotConnected(RuntimeError):
    """There is no connection to the broker, or no answer in time; the text says what to do."""


class Connection(Struct, frozen=True):
    """Where the broker is. ``ca`` None: plain (loopback only)."""

    host: str
    port: int
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    username: str | None = None
    password: str | None = None
    keepalive_s: int = 10
    client_id: str = "hub-web"
    tls: bool = False


class LiveClient:
    """Keeps ``tree`` true. ``start`` returns at once; the broker may come and go."""

    def __init__(self, connection: Connection, tree: LiveTree, feed: Feed, *, also: tuple[str, ...] = (),
                 on_other: Callable[[str, bytes, bool], None] = lambda topic, payload, retained: None,
                 on_synced: Callable[[], None] = lambda: None, will: tuple[str, bytes] | None = None,
                 term: Callable[[], int | None] = lambda: None) -> None:
        """``also``: further topics, whose messages go to ``on_other`` (topic, payload, retained). ``on_synced``: all
        that is retained has come, after each connect. Both are called on a thread of ours. ``term``: our own hub's,
        from its store; never taken from the broker, where it may be another hub's (B13). ``will``: topic and payload,
        retained."""
        self.connection = connection
        # B13: the pages of two hubs at one broker must not throw each other out, so each process has an id of its own
        self.client_id = f"{connection.client_id}-{secrets.token_hex(4)}"
        self.tree = tree
        self.feed = feed
        self._also = also
        self._on_other = on_other
        self._on_synced = on_synced
        self.term = term
        self._will = will
        self._mark_topic = f"{MARK}-{self.client_id}"
        self.fault: str | None = None
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(QUEUE)
        self._overflow = False
        self._lock = threading.Lock()
        self._connected = False
        self._connected_since_us: int | None = None
        self._marks: dict[str, Callable[[], None]] = {}
        self._answers: dict[str, queue.Queue[messages.Response]] = {}
        self._collecting: dict[str, set[str]] = {}
        self._subscribed: set[str] = set()
        self._stopping = threading.Event()
        self._client = self._make()
        self._threads = [
            threading.Thread(target=self._guard, args=(self._network,), name="live-mqtt", daemon=True),
            threading.Thread(target=self._guard, args=(self._work,), name="live-tree", daemon=True),
        ]

    def _make(self) -> mqtt.Client:
        to = self.connection
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self.client_id, protocol=mqtt.MQTTv5)
        if to.username is not None:
            client.username_pw_set(to.username, to.password)
        if to.tls:
            context = ssl.create_default_context(cafile=str(to.ca) if to.ca else None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if to.cert is not None:
                context.load_cert_chain(to.cert, to.key)
            client.tls_set_context(context)
        if self._will is not None:
            client.will_set(*self._will, qos=1, retain=True)
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.reconnect_delay_set(1, 8)
        client.max_inflight_messages_set(1000)  # a mark must not overtake what was sent before it
        client.on_socket_open = _no_delay
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self.connected[0]:
            self._quiet()
        self._client.disconnect()
        self._put("stop", None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(5)

    def _quiet(self) -> None:
        """A socket that is closed with something unread in it resets the connection: the broker then may not see our
        last messages and the DISCONNECT, and publishes the will of one that ended in good order."""
        done = threading.Event()
        self._client.on_unsubscribe = lambda *_: done.set()
        with self._lock:
            filters = list(self._subscribed)
        if filters and self._client.unsubscribe(filters)[0] == mqtt.MQTT_ERR_SUCCESS:
            done.wait(QUIET_S)

    @property
    def connected(self) -> tuple[bool, int | None]:
        """Whether the broker is there, and since when (hub's wall clock, us)."""
        with self._lock:
            return self._connected, self._connected_since_us

    # --- asking ------------------------------------------------------------------------------------------

    def request(self, device: str, name: str, args: dict[str, Any], timeout_s: float = 5.0) -> messages.Response:
        """Ask a device and wait for its answer. Raises NotConnected."""
        if not topics.is_id(device):
            raise NotConnected(f"{device} is not a device that takes requests")
        ask = messages.Request(
            secrets.token_hex(8), time.time_ns() // 1000, min(timeout_s, messages.MAX_TTL_S), self.term() or 0, args,
        )
        answer: queue.Queue[messages.Response] = queue.Queue(1)
        with self._lock:
            self._answers[ask.id] = answer
        try:
            self._publish(topics.request(device, name), messages.encode(ask), retain=False)
            return answer.get(timeout=timeout_s)
        except queue.Empty:
            raise NotConnected(f"{device} did not answer within {timeout_s:.0f} s: is it connected?") from None
        finally:
            with self._lock:
                self._answers.pop(ask.id, None)

    def clear_device(self, device: str, timeout_s: float = 5.0) -> int:
        """Remove everything retained of a device: state first (Homie 5, "Removing a device"), then tree and
        announcements, then what is ours. Returns the number of topics. Raises NotConnected."""
        if not topics.is_id(device):
            raise NotConnected(f"{device} was not announced under homie/: remove it where it comes from")
        found = self.retained([f"{topics.HOMIE}/{device}/#", f"{topics.DISCOVERY}/device/{device}/#",
                               f"{topics.OURS}/{device}/#"], timeout_s)
        state = topics.state(device)
        try:
            sent = [self._publish(topic, b"", retain=True) for topic in [state, *sorted(found - {state})]]
            for one in sent:
                one.wait_for_publish(timeout_s)
        except (ValueError, RuntimeError) as error:
            raise NotConnected(f"the broker went away in the middle ({error}): try again") from None
        if not all(one.is_published() for one in sent):
            raise NotConnected(f"the broker did not take all of it within {timeout_s:.0f} s: try again")
        return len(sent)

    def retained(self, filters: list[str], timeout_s: float = 5.0) -> set[str]:
        """Topics that hold a retained message now. Raises NotConnected."""
        done = threading.Event()
        mark = secrets.token_hex(8)
        found: set[str] = set()
        with self._lock:
            self._collecting[mark] = found
        try:
            # retain handling 0: the broker sends what is retained even to a subscription that exists already
            self._subscribe(filters)
            self._mark(mark, done.set)
            if not done.wait(timeout_s):
                raise NotConnected(f"the broker did not answer within {timeout_s:.0f} s: try again")
        finally:
            with self._lock:
                self._collecting.pop(mark, None)
                self._marks.pop(mark, None)
                extra = [f for f in filters if f not in self._subscribed]
            if extra:
                self._client.unsubscribe(extra)
        return {topic for topic in found if any(mqtt.topic_matches_sub(f, topic) for f in filters)}

    def echo(self, then: Callable[[], None]) -> None:
        """Send a message to ourselves; ``then`` is called, on a thread of ours, when the broker has brought it back.
        Raises NotConnected."""
        self._mark(secrets.token_hex(8), then)

    def read_anew(self) -> None:
        """Read all that is retained again: the broker may have left something out."""
        self._put("anew", None)

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """At least once. Raises NotConnected."""
        self._publish(topic, payload, retain=retain)

    def _publish(self, topic: str, payload: bytes, *, retain: bool) -> mqtt.MQTTMessageInfo:
        if not self.connected[0]:
            raise NotConnected("no connection to the broker: try again when it is back")
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc != mqtt.MQTT_ERR_SUCCESS:
            raise NotConnected(f"the broker did not take the message ({mqtt.error_string(info.rc)}): try again")
        return info

    def _subscribe(self, filters: Iterable[str]) -> None:
        options = SubscribeOptions(qos=1, retainAsPublished=False, retainHandling=0)
        self._client.subscribe([(f, options) for f in filters])

    def _mark(self, mark: str, then: Callable[[], None]) -> None:
        with self._lock:
            self._marks[mark] = then
        self._publish(self._mark_topic, mark.encode(), retain=False)

    # --- paho's thread: only put --------------------------------------------------------------------------

    def _put(self, what: str, value: Any) -> None:
        try:
            self._queue.put_nowait((what, value))
        except queue.Full:
            self._overflow = True

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._put("connected" if not reason.is_failure else "refused", str(reason))

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._put("disconnected", str(reason))

    def _on_message(self, client: Any, userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._put("message", message)

    # --- our threads --------------------------------------------------------------------------------------

    def _guard(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:
            log.exception("the live tree's thread ended")
            self.fault = f"the live tree's thread ended: {error!r}"
        else:
            if not self._stopping.is_set():
                self.fault = "the live tree's MQTT loop ended by itself"

    def _network(self) -> None:
        to = self.connection
        told = False
        while not self._stopping.is_set():
            try:
                self._client.connect(to.host, to.port, to.keepalive_s)
            except (OSError, ValueError) as error:
                if not told:
                    log.warning("no connection to the broker %s:%d: %s; trying on", to.host, to.port, error)
                    told = True
                self._put("disconnected", str(error))
                self._stopping.wait(random.uniform(0.2, 2.0))
                continue
            told = False
            self._client.loop_forever(retry_first_connection=True)

    def _work(self) -> None:
        while True:
            what, value = self._queue.get()
            if what == "stop":
                return
            if self._overflow:
                # we were too slow and lost messages: a new connection brings the whole retained state again
                self._overflow = False
                log.warning("more than %d messages waited: reading the whole tree anew", QUEUE)
                self._begin()
            match what:
                case "message":
                    self._message(value)
                case "anew":
                    self._begin()
                case "connected":
                    log.info("connected to the broker %s:%d", self.connection.host, self.connection.port)
                    self._set_connected(True)
                    self._begin()
                case "refused" | "disconnected":
                    if self._set_connected(False) and not self._stopping.is_set():
                        log.warning("lost the broker %s:%d: %s", self.connection.host, self.connection.port, value)

    def _set_connected(self, connected: bool) -> bool:
        with self._lock:
            changed = self._connected != connected or self._connected_since_us is None
            if changed:
                self._connected, self._connected_since_us = connected, time.time_ns() // 1000
            if not connected:
                self._marks.clear()
        if changed:
            self.feed.touch(FLEET, ("hub",))
        return changed

    def _begin(self) -> None:
        """Subscribe anew. Two marks: after the first all ``$state`` have come and so all devices are subscribed
        to; after the second all of their topics have come, and what did not come is gone."""
        with self._lock:
            self._subscribed = {STATES, topics.HUB_STATE, f"{topics.OURS}/+/reported", ANSWERS, *self._also}
        self.tree.begin_sync()
        try:
            self._subscribe(self._subscribed)
            known = [f"{d.domain}/5/{d.id.rpartition('.')[2]}/#" for d in self.tree.devices()]
            for start in range(0, len(known), 100):
                self._follow(known[start : start + 100])
            self._mark(secrets.token_hex(8), self._second_mark)
        except NotConnected:
            pass  # the connection went again; the next one begins anew

    def _second_mark(self) -> None:
        try:
            self._mark(secrets.token_hex(8), self._end_sync)
        except NotConnected:
            pass  # as above

    def _end_sync(self) -> None:
        self.tree.end_sync()
        self._on_synced()

    def _follow(self, filters: list[str]) -> None:
        with self._lock:
            self._subscribed.update(filters)
        self._subscribe(filters)

    def _message(self, message: mqtt.MQTTMessage) -> None:
        try:
            topic, payload = message.topic, bytes(message.payload)
        except UnicodeDecodeError:
            return  # B35: a topic that is not UTF-8 cannot be one of ours
        if topic == self._mark_topic:
            with self._lock:
                then = self._marks.pop(payload.decode("ascii", "replace"), None)
            if then is not None:
                then()
            return
        if topic.startswith(topics.OURS) and "/response/" in topic:
            self._answer(payload)
            return
        if message.retain and payload and self._collecting:
            with self._lock:
                for found in self._collecting.values():
                    found.add(topic)
        if any(mqtt.topic_matches_sub(one, topic) for one in self._also):
            self._on_other(topic, payload, bool(message.retain))
            if not topic.startswith("homie/5/"):
                return
        new = self.tree.apply(topic, payload, retained=bool(message.retain), now_us=time.time_ns() // 1000)
        if new is not None:
            self._follow([f"{new}/#"])

    def _answer(self, payload: bytes) -> None:
        try:
            response = messages.decode(payload, messages.Response)
        except ValueError:
            return  # not an answer of ours; nobody waits for it
        with self._lock:
            waiting = self._answers.pop(response.id, None)
        if waiting is not None:
            waiting.put(response)


def _no_delay(client: Any, userdata: Any, sock: Any) -> None:
    """paho does not set it; without it a small message waits for the ACK of the one before (40 ms)."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        pass  # not TCP, or closed already: nothing to speed up
