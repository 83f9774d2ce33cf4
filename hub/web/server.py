"""The web process: cheroot with one thread a request, HTTPS with the hub's certificate, and an end that is noticed.

Ends with code 1 when the live tree's threads have died (B64): its supervisor starts it anew, and a page that showed
a dead tree as live would be worse than none.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server
from msgspec import DecodeError, msgpack

from hub import ca
from hub.hearing import Hearing
from hub.live import Connection, Feed, LiveClient, LiveTree
from hub.logbook import handler
from hub.settings import Settings, SettingsError
from hub.watch.pulse import Pulse
from hub.web.accounts import Accounts
from hub.web.app import create_app
from hub.web.history import History
from hub.web.house import Hut
from hub.web.limits import LoginLimits
from hub.web.logged import Logged
from hub.web.sse import HEARTBEAT_S, MAX_STREAMS, Streams

log = logging.getLogger(__name__)

ORDINARY_THREADS = 12
"""For requests that are no streams; a stream holds a thread of its own."""
SEND_TIMEOUT_S = 10
CHECK_S = 5.0


def make_hut(
    settings: Settings, *, accounts: Accounts | None = None, history: History | None = None,
    limits: LoginLimits | None = None, now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    streams: int = MAX_STREAMS, heartbeat_s: float = HEARTBEAT_S,
) -> Hut:
    """Everything but the network: nothing is started. What is left out is as in production.

    Raises StoreError, SettingsError."""
    feed = Feed()
    tree = LiveTree(feed)
    hut = Hut(
        settings, accounts=accounts or Accounts(settings.web_db), tree=tree, feed=feed,
        client=LiveClient(connection(settings), tree, feed), history=history or History(settings.samples_db),
        streams=Streams(feed, cap=streams, heartbeat_s=heartbeat_s), limits=limits, now_us=now_us,
    )
    hut.client.term = hut.own_term
    return hut


def connection(settings: Settings) -> Connection:
    """Where the broker is and as whom. Raises SettingsError when the password file cannot be read."""
    mqtt = settings.mqtt
    password = None
    if mqtt.password_file is not None:
        try:
            password = mqtt.password_file.read_text().strip()
        except OSError as error:
            raise SettingsError(f"hub.toml: mqtt.password_file: {error.strerror}: {mqtt.password_file}") from None
    return Connection(
        settings.broker_host, settings.broker_port, mqtt.ca, mqtt.cert, mqtt.key, mqtt.username, password,
        mqtt.keepalive_s, tls=mqtt.tls,
    )


def make_server(hut: Hut) -> Server:
    """A prepared server: ``prepare()`` binds, ``serve()`` serves. Raises SettingsError for a bad certificate."""
    web = hut.settings.web
    server = Server(
        (web.host, web.port), create_app(hut), numthreads=ORDINARY_THREADS + hut.streams.cap,
        server_name="hutkeeper", request_queue_size=128, timeout=SEND_TIMEOUT_S,
    )
    server.max_request_body_size = 2 * 1024 * 1024
    server.max_request_header_size = 32 * 1024
    try:
        if files := ca.web_files(hut.settings):
            server.ssl_adapter = BuiltinSSLAdapter(*(str(path) for path in files))
    except OSError as error:
        own = f"the hub's own certificate in {ca.folder(hut.settings.hub.data_dir)}"
        raise SettingsError(f"hub.toml: {'web.cert, web.key' if web.cert else own}: {error}") from None
    return server


class Committed(Hearing):
    """Hears from ingest what was stored, so that charts go on."""

    def __init__(self, settings: Settings, feed: Feed) -> None:
        super().__init__(settings.hub.run_dir, "committed", self.take)
        self._feed = feed

    def take(self, payload: bytes) -> None:
        try:
            told: Any = msgpack.decode(payload)
            device, series = str(told["device"]), list(told["series"])
        except (DecodeError, KeyError, TypeError):
            return  # from a newer ingest, perhaps: a chart that does not go on by itself is all that is lost
        self._feed.touch(device, *(("s", one) for one in series))


def main(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; 0, or 1 when it had to give up."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.install(settings.hub.run_dir, "web")
    hut = make_hut(settings)
    server = make_server(hut)
    committed, logged = Committed(settings, hut.feed), Logged(settings, hut.feed)
    stopping = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stopping.set())
    try:
        server.prepare()
    except OSError as error:
        web = settings.web
        print(f"web: cannot listen on {web.host} port {web.port} ({error}): set [web] port to a free one",
              file=sys.stderr)
        return 1
    hut.client.start()
    committed.start()
    logged.start()
    serving = threading.Thread(target=_serve, args=(server, stopping), name="serve", daemon=True)
    serving.start()
    _welcome(hut)
    pulse = Pulse(settings.hub.run_dir, "web")
    try:
        while not stopping.wait(CHECK_S):
            if server.requests.idle > 0:  # else every thread is held by somebody: no page comes any more
                pulse.beat()
            if hut.client.fault is not None or not serving.is_alive():
                log.critical("%s: ending, to be started anew", hut.client.fault or "the server's thread ended")
                return 1
        return 0
    finally:
        hut.feed.close()  # ends the open streams, so that their threads come back
        committed.stop()
        logged.stop()
        hut.client.stop()
        server.stop()
        hut.history.close()
        hut.alerts.close()
        hut.accounts.close()


def _serve(server: Server, stopping: threading.Event) -> None:
    try:
        server.serve()
    except Exception:
        if not stopping.is_set():
            log.exception("the server ended")


def _welcome(hut: Hut) -> None:
    web = hut.settings.web
    scheme = "https" if web.https else "http"
    url = web.public_url or f"{scheme}://{web.host}:{web.port}"
    log.info("the pages are at %s (at most %d live pages at once)", url, MAX_STREAMS)
    code = hut.accounts.first_code()
    if code is not None:
        print(f"One-time code for the first admin (good for 24 h): {code}   at {url}/login", flush=True)


__all__ = ["main", "make_hut", "make_server"]
