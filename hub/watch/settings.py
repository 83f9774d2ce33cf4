"""``[heartbeat]`` of hub.toml: an outside service that notices when this hub is dead (B71), in the way of Healthchecks.

```toml
[heartbeat]
url_file = "/etc/hutkeeper/heartbeat.url"   # one line, mode 0600: the URL to call
every_s = 60
```
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct


class Heartbeat(Struct, frozen=True, kw_only=True):
    """Called with GET while notify, ingest and the broker make progress; ``<url>/fail`` when the hub is in trouble."""

    url: str | None = None
    """It holds a secret: better ``url_file``."""
    url_file: Path | None = None
    every_s: Annotated[int, Meta(ge=10, le=3600)] = 60
    timeout_s: Annotated[float, Meta(ge=1, le=60)] = 10.0

    def __post_init__(self) -> None:
        if self.url is not None and self.url_file is not None:
            raise ValueError("url: url_file is set too, one of them is enough")
        if self.url is not None:
            check(self.url)

    def read(self) -> str | None:
        """The URL; None: there is none. Raises ValueError and OSError."""
        if self.url_file is None:
            return self.url
        return check(self.url_file.read_text(encoding="utf-8").strip())


def check(url: str) -> str:
    """Raises ValueError that does not repeat the URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
        raise ValueError("url: expected http:// or https:// and a host")
    return url


def shown(url: str) -> str:
    """Without what opens it: host only."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}/…"
