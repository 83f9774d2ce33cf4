"""From one round of probes to one sentence: is the internet there, and if not, where to look. Pure."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from .config import Target, by_name
from .outcome import Judged, Outcome, printable

FAULTS = ("none", "cable", "no_route", "gateway", "line", "unknown", "dns", "captive_portal")


class Verdict(NamedTuple):
    """``gateway``: None where it was not asked, or could not be. ``text``: for a person; empty when all is well."""

    internet: bool
    gateway: bool | None
    portal: bool
    fault: str
    text: str


def decide(targets: dict[str, Target], judged: dict[str, Judged], gateway: Outcome | None) -> Verdict:
    """``judged``: every target by name; at least one."""
    names = {name for name, target in targets.items() if by_name(target)}
    pages = {name for name, target in targets.items() if target.kind == "http"}
    reached = {name for name in judged if judged[name].reached}
    liars = [name for name in judged if judged[name].intercepted]
    router = _gateway(gateway)
    if liars and not reached & pages:
        liar = liars[0]
        return Verdict(False, router if router is not False else None, True, "captive_portal",
                       f"somebody else answers for {liar} ({judged[liar].text}): log in at the portal, or the provider "
                       "has closed the line")
    if reached:
        # What lies behind the router was reached, so it is there, whatever it says to us.
        there = None if gateway is None else True
        if names & judged.keys() and not names & reached:
            return Verdict(True, there, False, "dns", "addresses are reached, names are not resolved: look at the DNS "
                                                      "server in /etc/resolv.conf and in the router")
        return Verdict(True, there, False, "none", "")
    where = printable(gateway.data) if gateway is not None else ""
    if gateway is None:
        return Verdict(False, None, False, "unknown", "no target answers; the router was not asked")
    if gateway.word == "no-carrier":
        return Verdict(False, False, False, "cable", f"no signal on {where or 'any interface'}: this device's own "
                                                     "cable or Wi-Fi, or the switch it ends in")
    if gateway.word == "no-route":
        return Verdict(False, False, False, "no_route", "the cable has a signal but no router was found: DHCP in the "
                                                        "router, or the address settings of this device")
    if router:
        return Verdict(False, True, False, "line", f"the router {where} answers, nothing behind it does: the modem, "
                                                   "the provider's line, or the provider")
    return Verdict(False, False, False, "gateway", f"the router {where} does not answer: its power, and the cables "
                                                   "between this device and it")


def _gateway(outcome: Outcome | None) -> bool | None:
    """A refusal is an answer: something with that address is alive."""
    return None if outcome is None else outcome.word in ("answered", "refused", "reset", "neighbour")


class Confirmed:
    """Turns rounds into a state: the first good one is believed, a bad one once it came ``rounds`` times in a row."""

    def __init__(self, rounds: int) -> None:
        self.reached: bool | None = None
        self.bad_rounds = 0
        self.since_us: int | None = None
        """When the first of the bad rounds began."""
        self._rounds = rounds

    def feed(self, internet: bool, began_us: int) -> None:
        if internet:
            self.reached, self.bad_rounds, self.since_us = True, 0, None
            return
        if self.since_us is None:
            self.since_us = began_us
        self.bad_rounds += 1
        if self.bad_rounds >= self._rounds:
            self.reached = False


class History:
    """The last probes of one target."""

    def __init__(self, window: int) -> None:
        self._reached: deque[bool] = deque(maxlen=window)

    def feed(self, reached: bool) -> float:
        """The loss in percent, with this probe."""
        self._reached.append(reached)
        return round(100.0 * self._reached.count(False) / len(self._reached), 1)
