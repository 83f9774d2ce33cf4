"""Apprise: push, mail, chats and a hundred more, by one URL. It is imported on the thread that sends, so that the
process starts fast.

The service's own object is called, not ``Apprise().notify``: that one sends over a small pool shared by all, and a few
providers that hang would hold up every other one.
"""

from __future__ import annotations

import logging
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

from hub.notify.channels import Ack, Outcome
from hub.notify.settings import Channel
from hub.store.outbox_rows import Message

CONNECT_S = 5.0
GRACE_S = 10.0
"""Beyond the read timeout: a service may need two calls."""
HIDDEN = "…"
LEAST = 4
"""A shorter piece of a URL is no secret."""


class Lines(logging.Handler):
    """What Apprise says about a failed send, by thread; nothing of it goes to the hub's log, for it may hold URLs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        ident = threading.get_ident()
        if len(self.said) < 1000:
            self.said.setdefault(ident, record.getMessage())

    def take(self) -> str:
        return self.said.pop(threading.get_ident(), "")


_lines = Lines()


def _library() -> Any:
    import apprise

    own = logging.getLogger("apprise")
    if _lines not in own.handlers:
        own.handlers = [_lines]
        own.propagate = False
        own.setLevel(logging.WARNING)
    return apprise


class UrlWay:
    def __init__(self, channel: Channel, place: str) -> None:
        self._channel = channel
        self._place = place
        self.limit_s = channel.timeout_s + CONNECT_S + GRACE_S
        self.fault = ""
        self._url = ""
        try:
            self._url = read_url(channel)
        except ValueError as error:
            self.fault = str(error)
        self.about = self._url.partition("://")[0].lower()[:20]
        self._service: Any = None

    def send(self, message: Message, ack: Ack) -> Outcome:
        if self.fault:
            return Outcome(False, self.fault)
        _lines.take()
        try:
            library = _library()
            if self._service is None:
                self._service = self._make(library)
            if self._service is None:
                return Outcome(False, without(f"Apprise does not take the URL: {_lines.take() or 'unknown kind'}",
                                              self._url))
            body = f"{message.text}\n\nAcknowledge without a login: {ack.link}" if ack.link else message.text
            kinds = library.NotifyType
            kind = {"critical": kinds.FAILURE, "error": kinds.FAILURE, "warning": kinds.WARNING}.get(
                message.severity, kinds.INFO)
            done = self._service.notify(title=message.title, body=body, notify_type=kind)
        except Exception as error:  # 100 services of other people: whatever they raise, the message is tried again
            return Outcome(False, without(f"{type(error).__name__}: {error}", self._url), unsure=True)
        said = _lines.take()
        if not done:  # a result object of newer versions is falsy too, and never `is False`
            return Outcome(False, without(said or "not taken, without a reason", self._url),
                           unsure="timed out" in said.lower() or "connection error" in said.lower())
        return Outcome(True)

    def _make(self, library: Any) -> Any:
        asset = library.AppriseAsset(async_mode=False, app_id="Hutkeeper", app_desc=self._place)
        service = library.Apprise.instantiate(self._url, asset=asset)
        if service is not None:
            if "cto=" not in self._url:
                service.socket_connect_timeout = CONNECT_S
            if "rto=" not in self._url:
                service.socket_read_timeout = self._channel.timeout_s
        return service


def read_url(channel: Channel) -> str:
    """Raises ValueError, one line with what to do."""
    if channel.url is not None:
        return channel.url.strip()
    path = channel.url_file
    assert path is not None
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ValueError(f"{path}: {reason}: it is to hold the channel's URL, for the user that runs the hub") from None
    if mode & 0o077:
        raise ValueError(f"{path}: others can read it: chmod 600 {path}")
    if "://" not in text or len(text.split()) != 1:
        raise ValueError(f"{path}: expected one line, an Apprise URL like ntfys://ntfy.sh/topic")
    return text


def without(text: str, url: str) -> str:
    """``text`` on one line, without any piece of the URL that may be a secret."""
    try:
        parts = urlsplit(url)
        pieces = {url, parts.username or "", parts.password or "", parts.query, *parts.path.split("/")}
        if parts.scheme in ("ntfy", "ntfys") and ("." not in parts.netloc or not parts.path.strip("/")):
            pieces |= {parts.netloc.rpartition("@")[2]}  # a topic of ntfy.sh: who knows it reads along
        if parts.scheme not in ("json", "jsons", "form", "forms", "xml", "xmls", "mailto", "mailtos", "ntfy", "ntfys"):
            pieces |= {parts.hostname or "", parts.netloc.rpartition("@")[2]}  # there it is no host, but a key
        pieces |= {value for pair in parts.query.split("&") for value in pair.split("=")[1:]}
    except ValueError:
        pieces = {url}
    pieces |= {unquote(piece) for piece in pieces}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= LEAST:
            text = text.replace(piece, HIDDEN)
    return " ".join(text.split())[:300]

