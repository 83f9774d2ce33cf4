"""Asks the hub's ``/alive``, on a thread of its own: a name that is not found may hang longer than any time-out."""

from __future__ import annotations

import errno
import http.client
import queue
import socket
import ssl
import threading
import time

from agent.api import ConfigError, Inbox, Message

from .config import HubWatchConfig
from .events import web_line

UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})
MOST = 4096


class Asker:
    """:class:`agent.api.Source`: ``send`` asks once, its outcome is one message."""

    def __init__(self, config: HubWatchConfig) -> None:
        self._config = config
        self._tls: ssl.SSLContext | None = None
        if config.secure:
            try:
                self._tls = ssl.create_default_context(cafile=str(config.ca) if config.ca else None)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(f"ca: {config.ca}: {error}") from None
        self._inbox = Inbox()
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="hub-watch", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        return self._inbox.fileno()

    def receive(self) -> list[Message | bytes]:
        return self._inbox.receive()

    def send(self, data: bytes) -> None:
        if self._asked.empty():  # one that hangs is not asked on top
            self._asked.put(True)

    def close(self) -> None:
        self._asked.put(False)
        self._inbox.close()
        self._thread.join(0.5)

    def _work(self) -> None:
        while self._asked.get():
            began = time.monotonic()
            word = self._ask()
            self._inbox.put(web_line(word, (time.monotonic() - began) * 1000))

    def _ask(self) -> str:
        config = self._config
        host, port = config.where
        connection = (http.client.HTTPSConnection(host, port, timeout=config.timeout_s, context=self._tls)
                      if self._tls is not None else http.client.HTTPConnection(host, port, timeout=config.timeout_s))
        try:
            connection.request("GET", config.path, headers={"User-Agent": "hutkeeper", "Connection": "close"})
            answer = connection.getresponse()
            body = answer.read(MOST)
            if answer.status == 200 and b'"alive"' in body:
                return "alive"
            return "not_ready" if answer.status == 503 else "foreign"
        except ssl.SSLError:
            return "tls"
        except TimeoutError:
            return "timeout"
        except socket.gaierror:
            return "no_name"
        except ConnectionRefusedError:
            return "refused"
        except ConnectionError:
            return "reset"
        except OSError as error:
            return "unreachable" if error.errno in UNREACHABLE else "error"
        except (http.client.HTTPException, ValueError):
            return "foreign"
        finally:
            connection.close()
