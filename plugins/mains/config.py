"""``[plugins.<id>]`` of agent.toml."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

UPSD = "127.0.0.1:3493"


class MainsConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Give ``line``, or ``upsd``; with neither, upsd of this machine is asked."""

    line: str | None = None
    """An input that is active while the mains is there: ``GPIO22``, ``gpiochip0/22``."""
    signal: Literal["level", "pulses"] = "level"
    """``pulses``: an opto-coupler without a capacitor, one pulse for each half wave."""
    pull: Literal["none", "up", "down"] = "down"
    active_low: bool = False
    upsd: str | None = None
    """``address`` or ``address:port`` of NUT's upsd; an IP address or localhost."""
    ups: str = "auto"
    """Its name in ups.conf; ``auto``: the only one."""
    username: str = ""
    password: str = ""
    """Of upsd.users; upsd lets anybody read, as it comes."""
    lost_after_s: Annotated[float, Meta(ge=0, le=60)] | None = None
    """A shorter loss is a dip. Left out: 0.5 s for an input; a UPS is believed at once."""
    returned_after_s: Annotated[float, Meta(ge=0, le=600)] = 2.0
    """The mains counts as back once it has lasted so long."""
    resume_after_s: Annotated[float, Meta(ge=0, le=3600)] = 120.0
    """``restarts_held`` goes on for so long after the return, and after this machine's own start."""
    interval_s: Annotated[float, Meta(gt=0, le=600)] = 5.0
    """How often upsd is asked."""

    def __post_init__(self) -> None:
        if self.line is not None and self.upsd is not None:
            raise ValueError("line: not together with upsd; two inputs are two instances")
        if self.upsd is not None:
            try:
                address(self.upsd)
            except ValueError as error:
                raise ValueError(f"upsd: {error}") from None
        for key in ("ups", "username", "password"):
            if re.search(r"[\x00-\x20\x7f\"\\]", getattr(self, key)):
                raise ValueError(f"{key}: blanks, quotes and backslashes cannot be sent to upsd")
        if bool(self.username) != bool(self.password):
            raise ValueError(f"{'username' if self.password else 'password'}: needed with the other one")


def address(text: str) -> tuple[str, int]:
    """Host and port. Raises ValueError."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]+))(?::(\d{1,5}))?", text)
    host = (found[1] or found[2]) if found else ""
    port = int(found[3] or 3493) if found else 0
    host = "127.0.0.1" if host == "localhost" else host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{text!r}: expected address or address:port with an IP address (a name may not be found when "
                         "the mains is gone)") from None
    if not 1 <= port <= 65535:
        raise ValueError(f"{text!r}: a port is 1..65535")
    return host, port
