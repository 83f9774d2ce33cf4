"""``[plugins.<id>]`` of agent.toml: whom to ask, and what the right answer is."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from . import dns

PORTS = {"tcp": 443, "dns": 53, "gateway": 53}
"""Where an address names no port."""
RESERVED = "gateway"


class Address(Struct, frozen=True):
    """A host (a name, IPv4 or IPv6) and a port."""

    host: str
    port: int


class Target(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One host that is asked in every round."""

    kind: Literal["tcp", "http", "dns"]
    """tcp: a connection is made and closed. http: one page is fetched. dns: one name is asked for, over UDP."""
    address: str
    """tcp, dns: ``host:port``, ``host`` or ``[IPv6]:port``. http: ``http://host[:port]/path``."""
    expect_status: Annotated[int, Meta(ge=100, le=599)] = 204
    """http: the only right status; any other answer is a login page's or a proxy's."""
    expect_body: str = ""
    """http: text that must be in the page too, where the right status is 200."""
    query: str = "example.org"
    """dns: the name that is asked for."""
    expect_address: str = ""
    """dns: the right address; another one is a liar's. Left out, every address is right."""


class InternetConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>]`` of agent.toml."""

    targets: dict[str, Target] = {}
    """Two or three at different firms, one of them ``http``: only a page shows a login portal."""
    interval_s: Annotated[float, Meta(ge=0.1, le=3600)] = 60.0
    """From round to round while all is well."""
    retry_s: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    """From round to round once something failed."""
    timeout_s: Annotated[float, Meta(gt=0, le=30)] = 5.0
    """A probe without an answer for so long has failed."""
    confirm_rounds: Annotated[int, Meta(ge=1, le=100)] = 2
    """So many rounds in a row without any target are an outage."""
    loss_window: Annotated[int, Meta(ge=2, le=1000)] = 20
    """``loss_pct`` is over the last so many probes of a target."""
    gateway: str = "auto"
    """The router: ``auto`` (the default route's), ``none``, an address or ``address:port``."""
    resolver: str = "system"
    """Who resolves the names of targets: ``system`` (those of /etc/resolv.conf) or ``host:port``."""

    def __post_init__(self) -> None:
        for name, target in self.targets.items():
            if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?", name) or name == RESERVED:
                raise ValueError(f"targets: {name!r} is no name for a target: a-z, 0-9 and -, at most 30, "
                                 f"not {RESERVED!r}")
            try:
                check_target(target)
            except ValueError as error:
                raise ValueError(f"targets: {name}: {error}") from None
        if self.gateway not in ("auto", "none"):
            try:
                if not is_ip(address_of(self.gateway, PORTS["gateway"]).host):
                    raise ValueError("an IP address is needed, a name could not be resolved without it")
            except ValueError as error:
                raise ValueError(f"gateway: {error}") from None
        if self.resolver != "system":
            try:
                if not is_ip(address_of(self.resolver, PORTS["dns"]).host):
                    raise ValueError("an IP address is needed")
            except ValueError as error:
                raise ValueError(f"resolver: {error}") from None


def is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def address_of(text: str, port: int) -> Address:
    """``host``, ``host:port``, ``[IPv6]:port`` or a bare IPv6. Raises ValueError."""
    if is_ip(text):
        return Address(text, port)
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?", text)
    if found is None or (found[1] and not is_ip(found[1])):
        raise ValueError(f"{text!r}: expected host, host:port or [IPv6]:port")
    number = int(found[3]) if found[3] else port
    if not 1 <= number <= 65535:
        raise ValueError(f"{text!r}: a port is 1..65535")
    host = found[1] or found[2]
    if not is_ip(host):
        dns.encode_name(host)
    return Address(host, number)


class Page(Struct, frozen=True):
    """An http address taken apart; ``host_header`` is the page's own spelling."""

    address: Address
    host_header: str
    path: str


def page_of(url: str) -> Page:
    """Raises ValueError."""
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        raise ValueError(f"{url!r}: expected http://host/path") from None
    if parts.scheme == "https":
        raise ValueError("https is not asked: it fails for a wrong clock too, and hides the portal; use http, or tcp "
                         "with port 443")
    if parts.scheme != "http" or not parts.hostname or not url.isascii() or re.search(r"\s", url):
        raise ValueError(f"{url!r}: expected http://host/path")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.hostname
    return Page(address_of(f"[{host}]" if ":" in host else host, port), parts.netloc.rpartition("@")[2], path)


def check_target(target: Target) -> None:
    """Raises ValueError."""
    if target.kind == "http":
        page_of(target.address)
        return
    address_of(target.address, PORTS[target.kind])
    if target.kind == "dns":
        dns.encode_name(target.query)
        if target.expect_address and not is_ip(target.expect_address):
            raise ValueError(f"expect_address {target.expect_address!r}: an IP address is needed")


def found_target(kind: str) -> Target:
    """One that a capture tells of and no configuration, with the usual right answer."""
    if kind == "http":
        return Target(kind="http", address="http://192.0.2.1/")
    return Target(kind="dns" if kind == "dns" else "tcp", address="192.0.2.1")


def by_name(target: Target) -> bool:
    """Whether the target is found through the resolver, or is one."""
    if target.kind == "dns":
        return True
    host = page_of(target.address).address.host if target.kind == "http" else address_of(target.address, 443).host
    return not is_ip(host)
