"""A TCP proxy between an MQTT client and its broker that misbehaves on command: black hole, cut, delay, slow, repeat.

Runs in a thread of the test. ``delay_s``, ``bytes_per_s`` and ``loss`` hold in both directions (a lost segment is what
TCP makes of it: everything behind it waits for its repetition); ``repeat`` sends each PUBLISH of
the client that many times (only whole MQTT packets are repeated), which is what a broker may do with QoS 1."""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import struct
import threading
import time
from collections import deque

CHUNK = 16384
SEGMENT = 536
"""The least a TCP segment holds (RFC 9293, section 3.7.1), as links this slow use it."""
RETRANSMIT_S = 1.0
"""First retransmission time-out (RFC 6298, section 2)."""


class _Pipe:
    """One direction of one connection."""

    def __init__(self, proxy: FaultProxy, source: socket.socket, target: socket.socket, upward: bool) -> None:
        self.proxy, self.source, self.target, self.upward = proxy, source, target, upward
        self.queue: deque[tuple[float, bytes]] = deque()
        self.stalled_until_s = 0.0
        self.segment = 0
        self.partial = b""
        self.tokens = 0.0
        self.filled_s = time.monotonic()

    def take(self, data: bytes) -> None:
        if self.upward and self.proxy.repeat > 1:
            self.partial += data
            while (size := _packet(self.partial)) and size <= len(self.partial):
                packet, self.partial = self.partial[:size], self.partial[size:]
                times = self.proxy.repeat if packet[0] >> 4 == 3 else 1
                self.proxy.repeated += times - 1
                for _ in range(times):
                    self.queue.append((time.monotonic() + self.proxy.delay_s, packet))
            return
        self.queue.append((time.monotonic() + self.proxy.delay_s, data))

    def give(self) -> None:
        """Send what is due; raises OSError when the other side is gone."""
        now = time.monotonic()
        rate = self.proxy.bytes_per_s
        self.tokens = min(max(rate, 1.0), self.tokens + (now - self.filled_s) * rate) if rate else 1e12
        self.filled_s = now
        while self.queue and self.queue[0][0] <= now and self.tokens >= 1 and not self.proxy.black_hole:
            if now < self.stalled_until_s:
                return
            due, data = self.queue.popleft()
            part = data[: int(min(len(data), self.tokens))]
            try:
                sent = self.target.send(part)
            except BlockingIOError:
                sent = 0
            self.tokens -= sent
            self.segment += sent
            if self.segment >= SEGMENT:
                self.segment = 0
                if self.proxy.loss and self.proxy.rng.random() < self.proxy.loss:
                    self.proxy.lost += 1
                    self.stalled_until_s = now + RETRANSMIT_S
            if sent < len(data):
                self.queue.appendleft((due, data[sent:]))
                return


def _packet(data: bytes) -> int:
    """Size of the MQTT packet that begins here, 0 while its length is not known (MQTT 5, 1.5.5)."""
    size = shift = 0
    for index in range(1, min(5, len(data))):
        size |= (data[index] & 127) << shift
        shift += 7
        if not data[index] & 128:
            return 1 + index + size
    return 0


class FaultProxy:
    """``with FaultProxy(broker.port) as proxy: connect(proxy.port)``."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.delay_s = 0.0
        self.bytes_per_s = 0.0
        self.loss = 0.0
        """Share of segments."""
        self.lost = 0
        self.rng = random.Random(7)
        self.black_hole = False
        """Connections stay open and nothing moves."""
        self.refuse = False
        self.repeat = 1
        self.repeated = 0
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._pipes: list[_Pipe] = []
        self._stop = threading.Event()
        self._cut = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def cut(self) -> None:
        """Reset every connection (RST)."""
        self._cut.set()
        while self._cut.is_set() and self._thread.is_alive():
            time.sleep(0.002)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self._close_all()
        self._listener.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._cut.is_set():
                self._close_all(reset=True)
                self._cut.clear()
            self._accept()
            with selectors.DefaultSelector() as selector:
                selector.register(self._listener, selectors.EVENT_READ)
                for pipe in self._pipes:
                    if sum(len(data) for _, data in pipe.queue) < 65536 and not self.black_hole:
                        selector.register(pipe.source, selectors.EVENT_READ, pipe)
                busy = any(pipe.queue for pipe in self._pipes)
                for key, _ in selector.select(0.005 if busy else 0.05):
                    if key.data is not None:
                        self._read(key.data)
            for pipe in list(self._pipes):
                try:
                    pipe.give()
                except OSError:
                    self._close(pipe)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            client, _ = self._listener.accept()
            self.accepted += 1
            if self.refuse:
                client.close()
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port), timeout=2)
            except OSError:
                client.close()
                return
            for sock in (client, server):
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pipes += [_Pipe(self, client, server, True), _Pipe(self, server, client, False)]

    def _read(self, pipe: _Pipe) -> None:
        try:
            data = pipe.source.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            pipe.take(data)
        else:
            self._close(pipe)

    def _close(self, pipe: _Pipe) -> None:
        for other in [other for other in self._pipes if other.source in (pipe.source, pipe.target)]:
            self._pipes.remove(other)
            other.source.close()

    def _close_all(self, reset: bool = False) -> None:
        for pipe in self._pipes:
            if reset:
                with contextlib.suppress(OSError):
                    pipe.source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            pipe.source.close()
        self._pipes.clear()
