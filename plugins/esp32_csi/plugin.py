"""Line or datagrams to readings: opens the way in, keeps the links, says what is wrong with the line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

from agent.api import (
    ByteStream,
    CommandRefused,
    ConfigError,
    Io,
    MessageStream,
    Node,
    Plugin,
    RetryLater,
    Value,
    Yielded,
)
from firmware_bridges.esp32_csi import BadLine, Chip, CsiRow, LineDecoder, Other

from .properties import LINK_PROPERTIES, PROPERTIES, RAW
from .watch import LineWatch

if TYPE_CHECKING:
    from .link import Link, Raw

READ_S = 0.25
READ_BYTES = 65_536
"""More than a port holds: a read takes what is there, tens of rows at once."""
CONFIRM_ROWS = 20
"""Rows of one sender, within ``CONFIRM_S``, that make a link: a flipped bit in an address makes none."""
CONFIRM_S = 10.0
FEW_ROWS = 3
"""As many do at the end of a capture, where no more will come."""
MAX_CANDIDATES = 256
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
POLAR_NAME = "polar"


class Esp32CsiConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>]`` of agent.toml."""

    transport: Literal["serial", "udp"] = "serial"
    port: str = "/dev/ttyUSB0"
    """Serial: better a name that stays, /dev/serial/by-id/..."""
    baudrate: Annotated[int, Meta(ge=9600, le=6_000_000)] = 921_600
    udp_port: Annotated[int, Meta(ge=0, le=65_535)] = 5500
    udp_address: str = ""
    """The address of ours to listen on; empty: all."""
    chip: Literal["auto", "esp32", "esp32s2", "esp32s3", "esp32c3", "esp32c5", "esp32c6"] = "auto"
    """Of the receiver: which sub-carriers are null."""
    links: dict[str, str] = {}
    """Sender's MAC -> name. Left out: whoever sends enough, up to ``max_links``."""
    max_links: Annotated[int, Meta(ge=1, le=64)] = 4
    interval_s: Annotated[float, Meta(ge=1, le=3600)] = 10.0
    """Motion is told at once; everything else as often as this."""
    hold_s: Annotated[float, Meta(ge=0, le=600)] = 3.0
    """Motion stays on for as long after it was last seen."""
    raw: Literal["none", "amplitudes", "values"] = "none"
    """Policy: whether channel state itself may be stored."""
    raw_hz: Annotated[float, Meta(gt=0, le=200)] = 1.0


class Esp32Csi(Plugin, name="esp32_csi"):
    """Motion by Wi-Fi channel state, and the health of the link that shows it."""

    title = "Wi-Fi motion"
    Config = Esp32CsiConfig
    properties = PROPERTIES

    def __init__(self, config: Esp32CsiConfig) -> None:
        super().__init__(config)
        self._names = {mac.strip().lower().replace("-", ":"): name for mac, name in config.links.items()}
        for mac, name in self._names.items():
            if MAC.match(mac) is None and mac != POLAR_NAME:
                raise ConfigError(f"links: {mac!r} is no MAC address, expected aa:bb:cc:dd:ee:ff (or polar)")
            if NAME.match(name) is None or len(name) > 32:
                raise ConfigError(f"links: {name!r} is no name, expected a-z, 0-9 and - (at most 32)")
        if len(set(self._names.values())) < len(self._names):
            raise ConfigError("links: two senders have the same name")
        self._links: dict[str, Link] = {}
        self._candidates: dict[str, list[tuple[CsiRow, str, float]]] = {}
        """Rows of senders that are not sure yet: none is lost when one is."""
        self._candidates_s = 0.0
        self._decoders: dict[str, LineDecoder] = {}
        udp = config.transport == "udp"
        self._line = LineWatch(f"udp port {config.udp_port}" if udp else config.port, config.interval_s,
                               None if udp else config.baudrate)
        self._two_receivers = False

    def run(self, io: Io) -> Iterator[Yielded]:
        config: Esp32CsiConfig = self.config
        try:
            from .link import Link  # noqa: F401  (numpy: only a running plugin pays for it)
        except ImportError as error:
            raise ConfigError(f"channel state needs numpy, which is not installed ({error}): "
                              "pip install hutkeeper[csi]") from None
        self._decoders.clear()
        if config.transport == "udp":
            from .udp import UdpSource

            messages = io.messages(lambda: UdpSource(config.udp_address, config.udp_port))
            yield from self._until_closed(io, messages, self._datagram)
        else:
            stream = io.serial(config.port, baudrate=config.baudrate)
            yield from self._until_closed(io, stream, self._chunk)

    def _until_closed(self, io: Io, stream: Any, take: Any) -> Iterator[Yielded]:
        self._line.opened(_now_s(io))
        try:
            while not io.stopping:
                try:
                    yield from take(io, stream)
                except RetryLater:
                    # The port is gone, but not what it had sent: a last row may be whole.
                    yield from self._ending(io)
                    for link in self._links.values():
                        link.detector.gap()
                    raise
                yield from self._tick(io)
            yield from self._ending(io)
            yield from self._all_there_was(io)
            self._line.ended(io)
        finally:
            stream.close()

    def _chunk(self, io: Io, stream: ByteStream) -> Iterator[Yielded]:
        data = stream.read(READ_BYTES, READ_S)
        if data:
            yield from self._take(io, self._decoder("").feed(data), "", _now_s(io))
            self._line.bytes += len(data)

    def _datagram(self, io: Io, stream: MessageStream) -> Iterator[Yielded]:
        message = stream.read(READ_S)
        if message is not None:
            decoder = self._decoder(message.topic)
            events = decoder.feed(message.data) + decoder.finish()  # a datagram is whole
            t_s = _now_s(io) if message.t_us is None else message.t_us / 1e6
            yield from self._take(io, events, message.topic, t_s)
            self._line.bytes += len(message.data)

    def _ending(self, io: Io) -> Iterator[Yielded]:
        for peer, decoder in self._decoders.items():
            yield from self._take(io, decoder.finish(), peer, _now_s(io))

    def _decoder(self, peer: str) -> LineDecoder:
        if peer not in self._decoders and len(self._decoders) >= 64:
            self._decoders.clear()
        return self._decoders.setdefault(peer, LineDecoder())

    # --- rows ---------------------------------------------------------------------------------------------------

    def _take(self, io: Io, events: Iterable[Any], peer: str, t_s: float) -> Iterator[Yielded]:
        for event in events:
            if isinstance(event, CsiRow):
                self._line.row(t_s)
                mac = event.mac or POLAR_NAME
                if mac not in self._links and not self._sure(mac, event, peer, t_s):
                    continue
                for row, of_peer, row_s in self._candidates.pop(mac, [(event, peer, t_s)]):
                    yield from self._row(io, mac, row, of_peer, row_s)
            elif isinstance(event, BadLine):
                self._line.bad += 1
                io.log.debug("bad line: %s: %r", event.reason, event.text)
            elif isinstance(event, Other):
                self._line.other += 1

    def _row(self, io: Io, mac: str, row: CsiRow, peer: str, t_s: float) -> Iterator[Yielded]:
        """One row of a sender that is followed."""
        link = self._links.get(mac) or self._new_link(mac)
        if link.peer is None:
            link.peer = peer
            yield Node(id=link.id, title=f"Link {link.id}", properties=self._link_properties())
            link.restore(io.kept.get("taught", {}).get(mac), row)
        elif peer != link.peer:
            if t_s - link.heard_s < CONFIRM_S:
                self._line.ignored += 1
                if not self._two_receivers:
                    self._two_receivers = True
                    io.log.warning("%s: %s and %s both report this sender: give each receiver its own "
                                   "udp_port and its own [plugins.<id>]", link.id, link.peer, peer)
                return
            link.peer = peer
        yield from link.add(io, row, t_s)
        self._keep(io, mac, link)

    def _sure(self, mac: str, row: CsiRow, peer: str, t_s: float) -> bool:
        """Whether a sender that is not followed yet becomes a link now."""
        config: Esp32CsiConfig = self.config
        if mac in self._names:
            return True
        if self._names or len(self._links) >= config.max_links:
            self._line.ignored += 1
            return False
        if t_s - self._candidates_s > CONFIRM_S or len(self._candidates) > MAX_CANDIDATES:
            self._line.ignored += sum(map(len, self._candidates.values()))
            self._candidates.clear()
            self._candidates_s = t_s
        rows = self._candidates.setdefault(mac, [])
        rows.append((row, peer, t_s))
        return len(rows) >= CONFIRM_ROWS or mac == POLAR_NAME

    def _new_link(self, mac: str) -> Link:
        from .link import Link

        config: Esp32CsiConfig = self.config
        chip: Chip | None = None if config.chip == "auto" else config.chip
        raw: Raw = config.raw
        link = self._links[mac] = Link(
            self._names.get(mac) or mac.replace(":", ""), interval_s=config.interval_s, hold_s=config.hold_s,
            chip=chip, raw=raw, raw_hz=config.raw_hz)
        return link

    def _all_there_was(self, io: Io) -> Iterator[Yielded]:
        """The end of a replay, or a stop: a short capture has told nothing yet, and whoever sent most of it is sure."""
        if not self._links and self._candidates:
            mac, rows = max(self._candidates.items(), key=lambda item: len(item[1]))
            if len(rows) >= FEW_ROWS:
                for row, peer, t_s in rows:
                    yield from self._row(io, mac, row, peer, t_s)
        for link in self._links.values():
            yield from link.ended()
        if self._line.rows:
            yield from self._line.now(io, _now_s(io), len(self._links), stranger=bool(self._names) and not self._links)

    def _link_properties(self) -> tuple[Any, ...]:
        return LINK_PROPERTIES if self.config.raw == "none" else (*LINK_PROPERTIES, RAW)

    def _keep(self, io: Io, mac: str, link: Link) -> None:
        kept = link.kept()
        taught = io.kept.get("taught", {})
        if kept is not None and taught.get(mac) != kept:
            io.kept["taught"] = {**taught, mac: kept}

    def _tick(self, io: Io) -> Iterator[Yielded]:
        now = _now_s(io)
        for link in self._links.values():
            yield from link.tick(now, 3 * self.config.interval_s)
        heard = sum(not link.absent for link in self._links.values())
        yield from self._line.look(io, now, heard, stranger=bool(self._names) and not self._links)

    # --- commands -----------------------------------------------------------------------------------------------

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        if property_name != "calibrate":
            raise CommandRefused(f"{property_name} cannot be set")
        if not self._links:
            raise CommandRefused("no link is known yet: nothing to calibrate")
        for link in self._links.values():
            self._teach(io, link, value)
        return value

    def node_command(self, io: Io, node: str, property_name: str, value: Value) -> Value:
        link = next((link for link in self._links.values() if link.id == node), None)
        if link is None or property_name != "calibrate":
            raise CommandRefused(f"{node}/{property_name} cannot be set")
        return self._teach(io, link, value)

    def _teach(self, io: Io, link: Link, value: Value) -> Value:
        """True: the next ten seconds are quiet. False: forget what was taught, learn anew."""
        from .link import TEACH_S

        if value is True:
            link.detector.teach(TEACH_S)
        else:
            link.detector.restart()
            io.kept["taught"] = {mac: kept for mac, kept in io.kept.get("taught", {}).items()
                                 if self._links.get(mac) is not link}
        return value

    # --- captures and the simulated receiver --------------------------------------------------------------------

    @classmethod
    def captured(cls, config: Any, data: bytes) -> Iterable[tuple[float, bytes]] | None:
        from .captures import stamped  # only a replay pays for it

        return stamped(data)

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)


def _now_s(io: Io) -> float:
    return io.clock.boottime_us() / 1e6
