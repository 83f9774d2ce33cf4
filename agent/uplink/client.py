"""A paho client as uplink wants it, and paho's answers in our words."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections import deque
from typing import Any

import paho.mqtt.client as mqtt
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from agent.settings import Mqtt

CONNECT_S = 10.0
TAKEN_OVER = 0x8E
TOO_LARGE = 0x95
NOT_AUTHORIZED = 0x87
KEEP_ALIVE = 0x8D


class Lost(Struct, frozen=True):
    """The connection ended, or could not be made. ``code`` is MQTT 5's reason where the broker gave one."""

    reason: str
    code: int = 0
    was_connected: bool = False
    silent: bool = False
    """TCP stood, but nothing came for two keepalives (B03)."""


def make(settings: Mqtt, device: str, will: tuple[str, bytes], events: deque[Any]) -> mqtt.Client:
    """A new client whose callbacks put what came into ``events`` and do nothing else, so that none can raise.

    Raises OSError (a certificate or password file that cannot be read) or ValueError."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=device, protocol=mqtt.MQTTv5)
    client.connect_timeout = CONNECT_S
    client.max_inflight_messages_set(0)  # we keep to the broker's receive maximum ourselves
    client.will_set(will[0], will[1], qos=1, retain=True)
    if settings.tls:
        context = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.cert is not None:
            context.load_cert_chain(settings.cert, settings.key)
        client.tls_set_context(context)
    if settings.username is not None:
        word = settings.password_file.read_text().strip() if settings.password_file else None
        client.username_pw_set(settings.username, word)
    client.on_socket_open = _no_delay
    client.on_connect = lambda c, u, flags, code, properties: events.append(("connack", c, code, properties))
    client.on_disconnect = lambda c, u, flags, code, properties: events.append(("lost", c, code))
    client.on_message = lambda c, u, message: events.append(("message", c, message))
    client.on_publish = lambda c, u, mid, code, properties: events.append(("sent", c, mid, code))
    client.on_subscribe = lambda c, u, mid, codes, properties: events.append(("subscribed", c, codes))
    return client


def _no_delay(client: Any, userdata: Any, sock: Any) -> None:
    """Nagle's algorithm would hold every small publish back until the last one is acknowledged."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def read_rest(sock: socket.socket | None, deadline_s: float) -> None:
    """Read until the broker has closed its end: a socket closed with unread bytes resets the connection, and the
    broker throws DISCONNECT away with it and sends the will."""
    if sock is None:
        return
    with sock:
        sock.settimeout(max(0.1, min(2.0, deadline_s - time.monotonic())))
        sock.shutdown(socket.SHUT_WR)
        while time.monotonic() < deadline_s and sock.recv(65536):
            pass


def close(client: mqtt.Client) -> None:
    """Close the socket without a DISCONNECT, so that the will is published."""
    sock = client.socket()
    client.on_disconnect = None
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.close()


def lost(code: Any, connected: bool) -> Lost:
    value = code.value if isinstance(code, ReasonCode) else int(code or 0)
    text = str(code)
    # paho 2 gives its own word for a missed keepalive
    silent = "eep alive" in text or value == KEEP_ALIVE or code == MQTTErrorCode.MQTT_ERR_KEEPALIVE
    return Lost("nothing came from the broker for two keepalives" if silent else f"the broker ended it: {text}",
                value, connected, silent)


def words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is refused: {error.verify_message}"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror or error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
