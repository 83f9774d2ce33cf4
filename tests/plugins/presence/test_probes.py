"""Ping and ARP on a network of our own: an ordinary user's ICMP sockets, the kernel's neighbours, a canary."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from plugins.presence.neighbours import parse
from plugins.presence.ping import checksum
from plugins.presence.probes import ProbeSource
from plugins.presence.settings import PingSign
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]
SPACES = ["unshare", "-rn"]


def can_have_a_network() -> bool:
    try:
        return subprocess.run([*SPACES, "ip", "link", "add", "va", "type", "veth", "peer", "name", "vb"],
                              capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


def test_ping_and_arp_tell_here_from_gone_from_blind() -> None:
    if not can_have_a_network():
        pytest.skip("no network name spaces with veth here (unshare -rn)")
    done = subprocess.run([*SPACES, sys.executable, "-m", "tests.plugins.presence.netns_lab"], cwd=ROOT, text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["datagram"], "no root: net.ipv4.ping_group_range is enough"
    there = found["there"]
    assert there["ping 127.0.0.1"] is there["ping 10.77.0.2"] is there["arp 10.77.0.2 77"] is True
    assert there["ping 10.77.0.9"] is there["arp 10.77.0.9"] is there["arp 10.77.0.2 01"] is False
    assert "no.such.invalid: " in there["ping no.such.invalid"], "a name that does not resolve says nothing of its host"
    assert found["left"] == {"ping 10.77.0.2": False, "arp 10.77.0.2 77": False}
    assert found["canary silent"] == {
        "ping 127.0.0.1": True, "ping 10.77.0.2": "10.77.0.9 (the canary) does not answer"}
    assert all("unreachable" in why for why in found["own network down"].values())


def test_a_neighbour_without_a_link_address_has_not_answered() -> None:
    header = struct.pack("=BxxxiHBB", 2, 3, 0x20, 0, 1)
    address = struct.pack("=HH4B", 8, 1, 10, 0, 0, 7)
    assert parse(header + address) is None
    mac = struct.pack("=HH6s2x", 10, 2, bytes.fromhex("020000000007"))
    entry = parse(header + address + mac + struct.pack("=HH4I", 20, 3, 250, 0, 0, 0))
    assert entry is not None and entry[:2] == ("10.0.0.7", "02:00:00:00:00:07") and entry.confirmed_s == 2.5
    for cut in range(40):
        parse((header + address + mac)[:cut])


def test_the_checksum_of_rfc_1071() -> None:
    packet = bytes.fromhex("0800f7ff 0000 0000".replace(" ", ""))
    assert checksum(packet) == 0


def test_two_signs_of_one_host_are_asked_for_as_often_as_the_more_impatient_one_wants() -> None:
    """Else its source counts as dead three of its own turns later."""
    probes = ProbeSource((PingSign(host="127.0.0.1", every_s=1), PingSign(host="127.0.0.1", every_s=3600)))
    try:
        told: list[object] = []
        until("a second turn", lambda: told.extend(probes.receive()) or len(told) >= 2)
    finally:
        probes.close()
