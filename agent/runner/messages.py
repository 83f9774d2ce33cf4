"""A plugin's own source of messages behind :class:`agent.api.MessageStream`: the waits are the worker's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from agent.api import Message, PluginError, RetryLater, Source, mqtt_message
from agent.runner.worker import Worker, boottime_us

Wait = Callable[[float, int | None], bool]
"""``wait(seconds, fd)``: True as soon as fd is readable, False after the time or when the plugin is to stop."""


class SourceStream:
    """One open source. What came is given before the error that ended it."""

    def __init__(self, source: Source, wait: Wait) -> None:
        self._source = source
        self._wait = wait
        self._ready: deque[Message] = deque()
        self._error: Exception | None = None
        """What ended the source; raised once everything was given that came before it."""
        self._closed = False

    def read(self, timeout_s: float) -> Message | None:
        if not self._ready and self._error is not None:
            raise self._error
        if self._closed:
            raise RetryLater("the source was closed")
        if not self._ready and self._wait(timeout_s, self._source.fileno()):
            try:
                for item in self._source.receive():
                    message = item if isinstance(item, Message) else Message(item)
                    if message.t_us is None:
                        message = Message(message.data, boottime_us(), message.topic, message.retained)
                    self._ready.append(message)
            except OSError as error:
                self._error = RetryLater(f"the source is gone: {error}")
            except PluginError as error:
                self._error = error
            if not self._ready and self._error is not None:
                raise self._error
        return self._ready.popleft() if self._ready else None

    def write(self, data: bytes) -> None:
        if self._closed:
            raise RetryLater("the source was closed")
        try:
            self._source.send(data)
        except OSError as error:
            raise RetryLater(f"the source is gone: {error}") from None

    def close(self) -> None:
        self._closed = True
        self._source.close()


class MqttSource:
    """:class:`agent.api.Source` over uplink's connection to our broker."""

    def __init__(self, worker: Worker, filters: tuple[str, ...]) -> None:
        self._worker = worker
        self._inbox = worker.listen(filters)

    def fileno(self) -> int:
        return self._inbox.fileno()

    def receive(self) -> Iterable[Message | bytes]:
        return self._inbox.receive()

    def send(self, data: bytes) -> None:
        message = mqtt_message(data)
        self._worker.publish(message.topic, message.data)

    def close(self) -> None:
        self._worker.listen_no_more(self._inbox)
