"""A connection of our own to another broker: paho on one thread, its messages into an :class:`agent.api.Inbox`.

MQTT 3.1.1, which every broker speaks. The thread never ends on its own: what goes wrong is told as a message whose
topic begins with NUL (no MQTT topic can), and it connects again after 0..60 s (full jitter), ever longer."""

from __future__ import annotations

import os
import random
import select
import ssl
import threading
import time
from collections import deque
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from agent.api import ConfigError, Inbox, Message, RetryLater, mqtt_message

from .config import BrokerConfig

UP, DOWN, LOST = "\0up", "\0down", "\0lost"
"""Topics of what the connection itself tells; LOST: how many messages we were too slow for."""
CONNECT_S = 10.0
FIRST_S = 1.0
CAP_S = 60.0
STABLE_S = 30.0
"""A connection that lasted this long makes the waits short again."""
JOIN_S = 0.3


class BrokerSource:
    """:class:`agent.api.Source`."""

    def __init__(self, config: BrokerConfig, filters: tuple[str, ...], *, cap_s: float = CAP_S,
                 rng: random.Random | None = None) -> None:
        """Raises ConfigError (a certificate is none) or RetryLater (a file cannot be read)."""
        self._config = config
        self._filters = filters
        self._cap_s = cap_s
        self._rng = rng or random.SystemRandom()
        self._client = self._make()  # first: what it raises must leave no descriptor open
        self._inbox = Inbox()
        self._out: deque[tuple[str, bytes]] = deque(maxlen=100)
        self._wake, self._wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._closing = threading.Event()
        self._dropped = 0
        self._reason = ""
        self.connected = False
        self._thread = threading.Thread(target=self._run, name=f"mqtt {config.where}", daemon=True)
        self._thread.start()

    def _make(self) -> mqtt.Client:
        config = self._config
        name = config.client_id or f"hutkeeper-{os.urandom(4).hex()}"
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv311)
        client.connect_timeout = CONNECT_S
        try:
            if config.tls:
                context = ssl.create_default_context(cafile=str(config.ca) if config.ca else None)
                context.minimum_version = ssl.TLSVersion.TLSv1_2
                if config.cert is not None:
                    context.load_cert_chain(config.cert, config.key)
                client.tls_set_context(context)
            if config.username is not None:
                secret = config.password_file.read_text().strip() if config.password_file else None
                client.username_pw_set(config.username, secret)
        except ssl.SSLError as error:
            raise ConfigError(f"broker {config.where}: ca, cert or key is no PEM file of its kind: {error}") from None
        except (OSError, UnicodeDecodeError) as error:
            what = getattr(error, "filename", None) or config.password_file or config.ca or config.cert
            raise RetryLater(f"broker {config.where}: {what} cannot be read: {error}") from None
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    # --- Source -----------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._inbox.fileno()

    def receive(self) -> list[Message | bytes]:
        return self._inbox.receive()

    def send(self, data: bytes) -> None:
        if not self.connected:
            raise RetryLater(f"no connection to {self._config.where}: {self._reason or 'not yet'}")
        message = mqtt_message(data)
        self._out.append((message.topic, message.data))
        self._ring()

    def close(self) -> None:
        self._closing.set()
        self._ring()
        self._thread.join(JOIN_S)  # it may hang in a name server's answer; it is a daemon and holds nothing
        self._inbox.close()

    def _ring(self) -> None:
        try:
            os.write(self._wake_in, b"w")
        except OSError:
            return  # full (it wakes all the same), or closed

    # --- callbacks: on our thread, and none may raise ---------------------------------------------------------

    def _on_connect(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            self._reason = f"the broker refuses us: {code}"
            return
        self.connected, self._reason = True, ""
        for start in range(0, len(self._filters), 50):
            client.subscribe([(one, 1) for one in self._filters[start : start + 50]])
        self._tell(UP, "")

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        self._reason = self._reason or f"the connection was lost: {code}"

    def _on_message(self, client: Any, userdata: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "\ufffd"  # counted as bad by whoever reads
        self._inbox.put(Message(bytes(message.payload), _now_us(), topic, bool(message.retain)))
        if self._inbox.dropped != self._dropped:
            self._dropped = self._inbox.dropped
            self._tell(LOST, str(self._dropped))

    def _tell(self, topic: str, text: str) -> None:
        self._inbox.put(Message(text.encode("utf-8", "replace"), _now_us(), topic))

    # --- the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        try:
            while not self._closing.is_set():
                began = time.monotonic()
                try:
                    self._reason = ""
                    self._client.connect(self._config.host, int(self._config.where.rsplit(":", 1)[1]),
                                         keepalive=self._config.keepalive_s)
                    self._serve(began + CONNECT_S)
                except Exception as error:  # whatever paho, ssl or a resolver raises: this thread goes on
                    self._reason = _words(error)
                was, self.connected = self.connected, False
                self._out.clear()
                if self._closing.is_set():
                    break
                failures = 0 if was and time.monotonic() - began >= STABLE_S else failures + 1
                self._tell(DOWN, self._reason or "the connection was lost")
                ceiling = min(self._cap_s, FIRST_S * 2.0 ** min(failures - 1 if failures else 0, 16))
                self._closing.wait(self._rng.uniform(0.0, ceiling))
        finally:
            os.close(self._wake)
            wake_in, self._wake_in = self._wake_in, -1
            os.close(wake_in)

    def _serve(self, connected_by_s: float) -> None:
        """One connection, to its end."""
        client = self._client
        while (sock := client.socket()) is not None:
            if self._closing.is_set():
                client.disconnect()
                return
            if not self.connected and time.monotonic() > connected_by_s:
                raise TimeoutError(f"no answer to CONNECT in {CONNECT_S:.0f} s")
            while self._out and self.connected:
                topic, payload = self._out.popleft()
                client.publish(topic, payload, qos=1)
            held = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0  # decrypted already: select cannot see it
            fd: int = sock.fileno()
            ready, room, _ = select.select([fd, self._wake], [fd] if client.want_write() else [], [],
                                           0.0 if held else 1.0)
            if self._wake in ready:
                os.read(self._wake, 4096)
            if fd in ready or held:
                client.loop_read()
            if room:
                client.loop_write()
            client.loop_misc()


def _now_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is refused: {error.verify_message}"
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
