"""A hub's page on loopback that goes away and comes back, with a real socket."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

UP_S, DOWN_S = 300.0, 60.0


class Page(http.server.BaseHTTPRequestHandler):
    timeout = 5

    def do_GET(self) -> None:
        body = b'{"alive": true}' if self.path.endswith("/alive") else b"{}"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


class FakeHub:
    """``start`` and ``stop`` as often as you like, on the same port."""

    def __init__(self) -> None:
        self.port = 0
        self._server: http.server.ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Page)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="simulated-hub",
                                        daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5.0)
        self._server = self._thread = None


@contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """Five minutes up, one minute down; judged faster than a real one, so that a demo shows it."""
    hub = FakeHub()
    hub.start()
    over = threading.Event()

    def live() -> None:
        while not over.wait(UP_S):
            hub.stop()
            if over.wait(DOWN_S):
                return
            hub.start()

    life = threading.Thread(target=live, name="simulated-hub-life", daemon=True)
    life.start()
    try:
        yield replace(config, url=f"http://127.0.0.1:{hub.port}", ca=None, interval_s=min(config.interval_s, 5.0),
                      dead_after_s=min(config.dead_after_s, 30.0), back_after_s=min(config.back_after_s, 5.0))
    finally:
        over.set()
        life.join(5.0)
        hub.stop()
