"""What access points and DHCP servers write into files. Pure."""

from __future__ import annotations

import re

MAC = re.compile(r"(?<![0-9A-Fa-f:])([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5})(?![0-9A-Fa-f:])")
LOG = re.compile(r"AP-STA-(CONNECTED|DISCONNECTED) +([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5})")
FLAGS = re.compile(r"^flags=(.*)$", re.M)
INACTIVE = re.compile(r"inactive time:\s*(\d+) ms")
IDLE_MS = 300_000
"""A station that said nothing for so long is no longer there, although the access point still lists it."""


def stations(text: str) -> set[str]:
    """The MACs of a list of stations, lower case: ``iw dev wlan0 station dump``, ``hostapd_cli all_sta``, or any text
    with a MAC a station. With flags, only those that are associated; with idle times, only those that spoke lately."""
    found: set[str] = set()
    at = [match for match in MAC.finditer(text) if _begins(text, match.start())]
    for match, following in zip(at, [*at[1:], None][: len(at)], strict=True):
        about = text[match.end() : following.start() if following else len(text)]
        flags, inactive = FLAGS.search(about), INACTIVE.search(about)
        if (flags is None or "[ASSOC]" in flags[1]) and (inactive is None or int(inactive[1]) < IDLE_MS):
            found.add(match[1].lower())
    return found


def _begins(text: str, at: int) -> bool:
    """A station's own MAC begins its line, alone or after a word; in ``key=`` and ``key:`` it is a detail (a BSSID)."""
    before = text[text.rfind("\n", 0, at) + 1 : at]
    return "=" not in before and ":" not in before


def log_words(text: str) -> dict[str, bool]:
    """The last word of a hostapd log on each MAC: True for connected."""
    return {mac.lower(): word == "CONNECTED" for word, mac in LOG.findall(text)}


def leases(text: str) -> dict[str, str]:
    """dnsmasq's leases: MAC to the time at which the lease ends (``expiry mac ip hostname client-id`` a line)."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 4 and words[0].isdigit() and MAC.fullmatch(words[1]):
            found[words[1].lower()] = words[0]
    return found
