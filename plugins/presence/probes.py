"""Pings and neighbour look-ups on a thread of their own: names resolve slowly, and hosts answer when they like."""

from __future__ import annotations

import errno
import select
import socket
import threading
import time

from agent.api import Inbox, Message

from .events import Event, encode
from .neighbours import poke, table
from .ping import NotAllowed, Pinger
from .settings import ArpSign, PingSign

ANSWER_S = 2.0
"""A phone that wakes for a ping takes a second."""
CONFIRM_S = 8.0
"""The kernel confirms an entry that it has 5 s after it was used (delay_first_probe_time), in up to 3 s."""
TICK_S = 0.2
OWN_NETWORK = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EPERM, errno.EACCES})


class ProbeSource:
    """:class:`agent.api.Source`: an event (JSON) for every probe that was answered, was not, or could not be made.

    ``canary``: a host that is always there; while it does not answer, the others are not said to be absent."""

    def __init__(self, probes: tuple[PingSign | ArpSign, ...], canary: str | None = None) -> None:
        self._inbox = Inbox()
        self._pings: dict[str, float] = {}
        self._arps: dict[tuple[str, str], float] = {}
        for sign in probes:  # of two signs of one host the more impatient one sets the pace, else it is found silent
            if isinstance(sign, PingSign):
                self._pings[sign.host] = min(sign.every_s, self._pings.get(sign.host, sign.every_s))
            else:
                at = sign.host, (sign.mac or "").lower()
                self._arps[at] = min(sign.every_s, self._arps.get(at, sign.every_s))
        self._canary = canary
        self._ending = threading.Event()
        self.fileno, self.receive = self._inbox.fileno, self._inbox.receive
        self._thread: threading.Thread | None = None
        if probes:
            self._thread = threading.Thread(target=self._run, name="presence-probes", daemon=True)
            self._thread.start()

    def send(self, data: bytes) -> None:
        return  # a Source has it; probes ask by themselves

    def close(self) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join(0.5)  # a name that is being looked up may take longer; it is a daemon
        self._inbox.close()

    # --- the thread -----------------------------------------------------------------------------------------------

    def _say(self, kind: str, host: str, here: bool, down: str | None, mac: str = "") -> None:
        """Who answers is here, whatever else is wrong."""
        if not self._ending.is_set():
            known = here or down is None
            event = Event(probe=kind, host=host, mac=mac, here=here if known else None, down=None if known else down)
            self._inbox.put(Message(encode(event), time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000))

    def _run(self) -> None:
        pings, pokes = dict.fromkeys(self._pings, 0.0), dict.fromkeys(self._arps, 0.0)
        looks: dict[tuple[str, str], float] = {}
        while not self._ending.is_set():
            now = time.monotonic()
            for wanted in [wanted for wanted, at in pokes.items() if now >= at]:
                pokes[wanted] = now + self._arps[wanted]
                down = trouble(wanted[0])
                if down is None:
                    looks[wanted] = now + CONFIRM_S
                else:
                    self._say("arp", wanted[0], False, down, wanted[1])
            turn = [host for host, at in pings.items() if now >= at]
            for host in turn:
                pings[host] = now + self._pings[host]
            ready = [wanted for wanted, at in looks.items() if now >= at]
            if turn or ready:
                answers = self._ping(list(dict.fromkeys([*turn, *([self._canary] if self._canary else [])])))
                lost = None
                if self._canary and not answers[self._canary][0]:
                    lost = f"{self._canary} (the canary) does not answer"
                for host in turn:
                    here, down = answers[host]
                    self._say("ping", host, here, down or lost)
                for wanted in ready:
                    del looks[wanted]
                self._look(ready, lost)
            self._ending.wait(TICK_S)

    def _look(self, asked: list[tuple[str, str]], lost: str | None) -> None:
        """What became of the questions to hosts (and MACs)."""
        if not asked:
            return
        try:
            neighbours = {entry.address: entry for entry in table()}
        except OSError as error:
            neighbours, lost = {}, f"the kernel's neighbours: {error}"
        for host, mac in asked:
            entry = neighbours.get(host)
            here = entry is not None and entry.confirmed_s <= CONFIRM_S + 1.0 and mac in ("", entry.mac)
            self._say("arp", host, here, lost, mac)

    def _ping(self, hosts: list[str]) -> dict[str, tuple[bool, str | None]]:
        """Host -> (answered, why it could not be asked)."""
        found: dict[str, tuple[bool, str | None]] = {}
        pingers: dict[socket.AddressFamily, Pinger] = {}
        open_: dict[int, str] = {}
        try:
            for sequence, host in enumerate(hosts):
                try:
                    family, _, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)[0]
                    if family not in pingers:
                        pingers[family] = Pinger(family)
                    pingers[family].send(str(address[0]), sequence)
                    open_[sequence] = host
                    found[host] = False, None
                except NotAllowed as error:
                    found[host] = False, str(error)
                except socket.gaierror as error:
                    found[host] = False, f"{host}: {error.strerror}"
                except OSError as error:
                    found[host] = False, str(error) if error.errno in OWN_NETWORK else None
            until = time.monotonic() + ANSWER_S
            while open_ and not self._ending.is_set() and (left := until - time.monotonic()) > 0:
                ready = select.select([pinger.socket for pinger in pingers.values()], [], [], min(left, TICK_S))[0]
                for pinger in pingers.values():
                    if pinger.socket in ready:
                        for _, sequence in pinger.receive():
                            host = open_.pop(sequence, "")
                            if host:
                                found[host] = True, None
        finally:
            for pinger in pingers.values():
                pinger.close()
        return found


def trouble(host: str) -> str | None:
    """Ask the kernel to look for a host; why it cannot."""
    try:
        poke(host)
    except OSError as error:
        return str(error) if error.errno in OWN_NETWORK else None
    return None
