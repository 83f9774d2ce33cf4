"""Take a whole device off its broker, from outside of uplink: ``hutkeeper-agent forget`` and ``uninstall``.

Retained topics outlive the device that wrote them: Home Assistant would show its entities, and every controller the
device, for ever. Cleared are the Homie tree, the announcement to Home Assistant and ``reported``; what the hub has
stored stays. Read, emptied, and read again, because a broker may refuse a publish without a word to the sender's user.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from msgspec import Struct

from agent import bus
from agent.api import PluginError
from agent.settings import Settings
from agent.uplink.link import Link, Lost, Message
from agent.uplink.state_sweep import former_topics
from agent.wire import topics

QUIET_S = 2.0
"""Retained messages come right after the subscription; so long without one means that all have come."""
CONNECT_S = 20.0
TAKE_S = 30.0
AGAIN = "run hutkeeper-agent forget again when the broker is there"
DENIED = "the broker may not let this device write (its log says so)"


class ForgetError(PluginError):
    """Why nothing, or not everything, was cleared, and what to do."""


class Forgotten(Struct, frozen=True):
    """Topics that stood on the broker and do not any more."""

    device: str
    broker: str
    cleared: list[str]


def forget(settings: Settings, quiet_s: float = QUIET_S) -> Forgotten:
    """Clear everything retained of this device. Blocks for seconds. Raises ForgetError."""
    lock = _fence(settings)
    try:
        return _Forgetting(settings).run(quiet_s)
    finally:
        if lock is not None:
            os.close(lock)


def _fence(settings: Settings) -> int | None:
    """Keep uplink from starting meanwhile. It would publish everything again, and both have one MQTT client id."""
    path = settings.device.run_dir / "uplink.lock"
    if not path.exists():
        return None  # it never ran since the boot; a file made by root here would lock the agent's user out
    try:
        return bus.lock(settings.device.run_dir, "uplink")
    except bus.BusTaken as error:
        raise ForgetError(f"the agent is running and would publish everything again: {error}") from None
    except OSError as error:
        raise ForgetError(f"{path}: {error.strerror}; run this as the agent's user or as root") from None


class _Forgetting:
    def __init__(self, settings: Settings) -> None:
        self.device = settings.device.id
        # An empty will: if this process is killed, the device is gone, and not "lost".
        self.link = Link(settings.mqtt, self.device, (topics.state(self.device), b""), lambda: None)
        self.link.on_lost = self._on_lost
        self.link.on_message = self._on_message
        self._lost: Lost | None = None
        self._seen: set[str] = set()
        self._heard_s = 0.0
        self._filters = [topics.homie(self.device, "#"), topics.discovery(self.device, "+"),
                         topics.reported(self.device)]

    def run(self, quiet_s: float) -> Forgotten:
        try:
            self._until(lambda: self.link.connected, CONNECT_S, "no answer to the connect", AGAIN)
            stood = self._read(quiet_s)
            # The device's certificate may not let us read `reported`; it can be emptied all the same.
            for topic in [*former_topics(self.device, stood - {topics.reported(self.device)}),
                          topics.reported(self.device)]:
                self.link.publish(topic, b"", qos=1, retain=True)
            # Some brokers end the connection of who writes where it may not.
            self._until(lambda: self.link.backlog == 0, TAKE_S, "no acknowledgement", DENIED)
            left = self._read(quiet_s)
        finally:
            self.link.stop(5.0)
        if left:
            raise ForgetError(f"{self.link.where} still holds {len(left)} topics of {self.device}, the first is "
                              f"{min(left)}; {DENIED}")
        return Forgotten(self.device, self.link.where, sorted(stood))

    def _read(self, quiet_s: float) -> set[str]:
        """What stands there now: a broker sends it for a repeated subscription, too.

        Nothing is unsubscribed: an answer under way at the end would meet a closed socket, and the broker would take
        that for our death."""
        self._seen = set()
        self._heard_s = time.monotonic()
        for one in self._filters:
            self.link.subscribe(one)
        self._until(lambda: time.monotonic() - self._heard_s >= quiet_s, TAKE_S + quiet_s, "no end of messages", AGAIN)
        return self._seen

    def _on_message(self, message: Message) -> None:
        if message.retained and message.payload:
            self._seen.add(message.topic)
            self._heard_s = time.monotonic()

    def _on_lost(self, lost: Lost) -> None:
        self._lost = lost

    def _until(self, done: Callable[[], bool], timeout_s: float, problem: str, hint: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            fd = self.link.fileno()
            readable: list[int] = []
            writable: list[int] = []
            if fd is None:
                time.sleep(0.02)
            else:
                readable, writable, _ = select.select([fd], [fd] if self.link.want_write() else [], [], 0.05)
            self.link.step(time.monotonic(), readable=bool(readable), writable=bool(writable))
            if self._lost is not None:
                raise ForgetError(f"{self.link.where}: {self._lost.reason}; {hint}")
            if time.monotonic() > deadline:
                raise ForgetError(f"{self.link.where}: {problem} within {timeout_s:.0f} s; {hint}")
