"""``[plugins.<id>]`` of agent.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct

Number = Annotated[str, Meta(pattern=r"^\+?[0-9]{3,15}$")]


class HubWatchConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: str = ""
    """The hub's page, ``https://hub.example:8443``; its ``/alive`` is asked for. Empty: only receipts are looked at."""
    ca: Path | None = None
    """The CA that signed the hub's certificate, for https; left out: those of this machine."""
    interval_s: Annotated[float, Meta(ge=0.05, le=120)] = 30.0
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10.0
    dead_after_s: Annotated[float, Meta(gt=0, le=3600)] = 180.0
    """No sign of life for so long, and the hub is dead."""
    back_after_s: Annotated[float, Meta(ge=0, le=3600)] = 60.0
    """Signs of life for so long, and it is back."""
    name: str = "the hub"
    """What messages call it."""
    to: tuple[Number, ...] = ()
    """Who gets an SMS."""
    modem: str = "modem"
    """The instance of the plugin modem on this device."""
    internet: str = "internet"
    """The instance of the plugin internet on this device, for what messages say; it may be absent."""
    mains: str = "mains"
    """The instance of the plugin mains on this device; it may be absent."""

    def __post_init__(self) -> None:
        if not self.url:
            if self.ca is not None:
                raise ValueError("ca: only with a url")
            return
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError('url: expected "https://name:port" or "http://name:port"')
        if parts.username or parts.password:
            raise ValueError("url: /alive needs no user and no password, leave them out")
        if self.ca is not None and parts.scheme != "https":
            raise ValueError("ca: only with https")
        try:
            parts.port  # noqa: B018 - raises for what is no port
        except ValueError as error:
            raise ValueError(f"url: {error}") from None

    @property
    def secure(self) -> bool:
        return urlsplit(self.url).scheme == "https"

    @property
    def where(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), parts.port or (443 if self.secure else 80)

    @property
    def path(self) -> str:
        return urlsplit(self.url).path.rstrip("/") + "/alive"
