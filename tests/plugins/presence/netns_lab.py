"""Run by test_probes.py as ``unshare -rn python -m tests.plugins.presence.netns_lab``: a network of our own, where an
ordinary user may ping, with a neighbour in a second name space that can be switched off. Prints one JSON object."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

from plugins.presence import probes
from plugins.presence.events import decode
from plugins.presence.ping import Pinger
from plugins.presence.settings import ArpSign, PingSign

THEM, NOBODY = "10.77.0.2", "10.77.0.9"
found: dict[str, object] = {}


def sh(line: str) -> None:
    subprocess.run(["sh", "-ec", line], check=True, stdout=subprocess.DEVNULL)


def heard(signs: tuple[PingSign | ArpSign, ...], canary: str | None = None) -> dict[str, object]:
    """The first word on each probe: True, False, or why it could not be made."""
    source = probes.ProbeSource(signs, canary)
    words: dict[str, object] = {}
    deadline = time.monotonic() + 10
    try:
        while len(words) < len(signs) and time.monotonic() < deadline:
            for message in source.receive():
                event = decode(message.data)  # type: ignore[union-attr]
                name = f"{event.probe} {event.host} {event.mac[-2:]}".strip()
                words.setdefault(name, event.here if event.down is None else event.down)
            time.sleep(0.05)
    finally:
        source.close()
    return words


def main() -> None:
    sh("ip link set lo up; ip link add va type veth peer name vb address 02:00:00:00:00:77")
    sh("ip addr add 10.77.0.1/24 dev va; ip link set va up")
    other = subprocess.Popen(["unshare", "-n", "sleep", "60"])
    try:
        while Path(f"/proc/{other.pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
            time.sleep(0.02)
        within = f"nsenter -t {other.pid} -n ip"
        sh(f"ip link set vb netns {other.pid}; {within} addr add 10.77.0.2/24 dev vb; {within} link set vb up")
        for name, value in (("delay_first_probe_time", 1), ("base_reachable_time_ms", 500), ("retrans_time_ms", 300)):
            Path(f"/proc/sys/net/ipv4/neigh/va/{name}").write_text(str(value))
        probes.CONFIRM_S, probes.ANSWER_S = 1.6, 0.3
        Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 0")
        pinger = Pinger(socket.AF_INET)
        found["datagram"] = not pinger._raw
        pinger.close()
        arp = (ArpSign(host=THEM, mac="02:00:00:00:00:77"), ArpSign(host=NOBODY),
               ArpSign(host=THEM, mac="02:00:00:00:00:01"))
        pings = tuple(PingSign(host=host) for host in ("127.0.0.1", THEM, NOBODY, "no.such.invalid"))
        found["there"] = heard((*arp, *pings))
        sh(f"{within} addr del 10.77.0.2/24 dev vb")
        time.sleep(1.2)  # what the kernel heard before that is too old to count
        found["left"] = heard((*arp[:1], PingSign(host=THEM)))
        found["canary silent"] = heard((PingSign(host=THEM), PingSign(host="127.0.0.1")), canary=NOBODY)
        sh("ip link set va down")
        found["own network down"] = heard((*arp[:1], PingSign(host=THEM)))
    finally:
        other.kill()
        other.wait()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
