"""The plugin against servers on loopback: pages, portals, black holes, closed ports, and routers in folders."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from agent.api import RetryLater
from agent.outages import Outages
from agent.testing import AtWork, at_work, io_over
from plugins.internet.config import InternetConfig, Target
from plugins.internet.plugin import Internet
from plugins.internet.prober import Prober
from plugins.internet.simulate import Loopback, Place, black_hole


class Town:
    """A router, a resolver and three targets on loopback."""

    def __init__(self) -> None:
        self.net = Loopback()
        self.router, self.resolver, self.port, self.name = (self.net.place() for _ in range(4))
        self.page = self.net.place()
        self.provider: tuple[Place, ...] = (self.resolver, self.port, self.page, self.name)

    def config(self, **more: object) -> InternetConfig:
        config = InternetConfig(
            targets={"page": Target(kind="http", address=f"http://localhost:{self.page.port}/generate_204"),
                     "port": Target(kind="tcp", address=f"127.0.0.1:{self.port.port}"),
                     "name": Target(kind="dns", address=f"127.0.0.1:{self.name.port}")},
            gateway=f"127.0.0.1:{self.router.port}", resolver=f"127.0.0.1:{self.resolver.port}",
            interval_s=0.1, retry_s=0.1, timeout_s=3.0)  # generous: a busy machine is no outage
        return msgspec.structs.replace(config, **more)


@pytest.fixture
def town() -> Iterator[Town]:
    made = Town()
    yield made
    made.net.close()


def reached(plugin: AtWork, state: bool, fault: str) -> None:
    plugin.until(f"internet_reached {state}, fault {fault}",
                 lambda: plugin.value("internet_reached") is state and plugin.value("fault") == fault)


def test_B41_the_providers_line_goes_and_comes_back_and_the_router_is_not_blamed(town: Town) -> None:
    with at_work(Internet, town.config()) as plugin:
        reached(plugin, True, "none")
        assert set(plugin.nodes) == {"page", "port", "name"}
        assert plugin.value("answer", "page") == "status 204" and plugin.value("answer", "name") == "192.0.2.80"
        assert all(ms > 0 for ms in plugin.values("latency_ms", "port"))
        town.net.refuse(*town.provider)
        reached(plugin, False, "line")
        assert plugin.value("gateway_reached") is True
        plugin.until("the alert", lambda: "the router 127.0.0.1 answers" in (plugin.alerts.get("x") or ""))
        assert plugin.value("answer", "port") == "refused" and plugin.value("loss_pct", "port") > 0
        town.net.accept(*town.provider)
        reached(plugin, True, "none")
        plugin.until("the outage is told", lambda: plugin.values("outage_s"))
    assert plugin.values("internet_event") == ["lost", "returned"]
    assert len(plugin.values("outage_s")) == 1 and plugin.alerts.get("x") is None
    assert plugin.lines.of("error") == []


def test_a_router_that_is_gone_too_is_named(town: Town) -> None:
    listener, waiting, port = black_hole()
    try:
        with at_work(Internet, town.config(gateway=f"127.0.0.1:{port}", timeout_s=0.2)) as plugin:
            reached(plugin, True, "none")
            assert plugin.value("gateway_reached") is True, "what lies behind it was reached"
            town.net.refuse(*town.provider)
            reached(plugin, False, "gateway")
            assert plugin.value("gateway_reached") is False
            plugin.until("the alert", lambda: "the router 127.0.0.1 does not answer" in (plugin.alerts.get("x") or ""))
    finally:
        for sock in (listener, *waiting):
            sock.close()


def test_B43_a_portal_that_answers_everything_is_no_internet(town: Town) -> None:
    with at_work(Internet, town.config()) as plugin:
        reached(plugin, True, "none")
        for place in (town.page, town.name, town.port):
            place.mode = "portal"
        reached(plugin, False, "captive_portal")
        assert plugin.value("captive_portal") is True
        assert plugin.value("reached", "port") is True, "a portal takes connections for everybody"
        assert plugin.value("answer", "page") == "status 302 to http://portal.example/login, expected 204"
        for place in (town.page, town.name, town.port):
            place.mode = "up"
        reached(plugin, True, "none")


def test_a_page_with_the_right_status_and_the_wrong_text_is_a_portals(town: Town) -> None:
    town.page.status, town.page.body = 200, b"success\n"
    target = Target(kind="http", address=f"http://127.0.0.1:{town.page.port}/", expect_status=200,
                    expect_body="success")
    with at_work(Internet, town.config(targets={"page": target})) as plugin:
        reached(plugin, True, "none")
        town.page.body = b"<html>buy an hour</html>"
        reached(plugin, False, "captive_portal")
        assert plugin.value("answer", "page") == "another page, expected 200 with 'success'"


def test_a_liar_of_a_name_server_is_found_where_the_right_address_is_known(town: Town) -> None:
    target = Target(kind="dns", address=f"127.0.0.1:{town.name.port}", expect_address="192.0.2.80")
    with at_work(Internet, town.config(targets={"name": target})) as plugin:
        reached(plugin, True, "none")
        town.name.mode = "portal"
        reached(plugin, False, "captive_portal")
        assert plugin.value("answer", "name") == "10.0.0.1, expected 192.0.2.80"


def test_B57_servers_that_take_all_and_say_nothing_end_at_the_deadline(town: Town) -> None:
    for place in town.provider:
        place.mode = "mute"
    with at_work(Internet, town.config(timeout_s=0.5)) as plugin:
        plugin.until("two rounds", lambda: len(plugin.values("reached", "page")) >= 2)
        assert plugin.values("answer", "page")[0] == plugin.values("answer", "name")[0] == "timeout"
        assert plugin.value("answer", "port") == "connected"


def test_names_that_are_not_resolved_are_a_fault_of_their_own(town: Town) -> None:
    page = Target(kind="http", address=f"http://connectivity.example:{town.page.port}/")
    config = town.config(targets={"page": page, "port": town.config().targets["port"]}, timeout_s=1.0)
    town.net.refuse(town.resolver)
    with at_work(Internet, config) as plugin:
        reached(plugin, True, "dns")
        plugin.until("the alert", lambda: "names are not resolved" in (plugin.alerts.get("x") or ""))
        assert plugin.value("answer", "page") == "timeout"


def test_a_name_is_resolved_by_a_question_of_our_own(town: Town, tmp_path: Path) -> None:
    """getaddrinfo has no time-out; the resolver here says 192.0.2.80 for all names, which leads nowhere."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").write_text("# ours\n127.0.0.1 page.example other.example # both\n")
    targets = {"hosts": Target(kind="http", address=f"http://page.example:{town.page.port}/"),
               "asked": Target(kind="tcp", address=f"elsewhere.example:{town.port.port}")}
    outcomes = once(town.config(targets={"hosts": targets["hosts"]}, gateway="none"), tmp_path)
    assert outcomes["hosts"].startswith(b"answered") and town.resolver.asked == 0
    town.resolver.mode = "mute"
    assert once(town.config(targets={"asked": targets["asked"]}, gateway="none"), tmp_path)["asked"] == b"timeout"
    assert town.resolver.asked == 1


def once(config: InternetConfig, root: Path) -> dict[str, bytes]:
    """One round of the real probes: name -> word, and bytes of the answer."""
    prober = Prober(config, root)
    try:
        prober.send(b"probe")
        wanted = len(config.targets) + (config.gateway != "none")
        found: dict[str, bytes] = {}
        deadline = time.monotonic() + 20
        while len(found) < wanted and time.monotonic() < deadline:
            for item in prober.receive():
                assert isinstance(item, bytes)
                name, _, word, _, *rest = item.split(b" ", 4)
                found[name.decode()] = b" ".join((word, *rest))
            time.sleep(0.01)
        return found
    finally:
        prober.close()


ROUTE = ("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
         "{rows}eth0\t0002A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n")
DEFAULT = "eth0\t00000000\t{router}\t0003\t0\t0\t{metric}\t00000000\t0\t0\t0\n"
HOME = "0100007F"  # 127.0.0.1, little-endian: the tests reach nothing but loopback


def machine(root: Path, route: str, carrier: dict[str, str], arp: str = "") -> Path:
    for name, state in carrier.items():
        (root / f"sys/class/net/{name}/device").mkdir(parents=True, exist_ok=True)
        (root / f"sys/class/net/{name}/carrier").write_text(state)
    (root / "proc/net").mkdir(parents=True, exist_ok=True)
    (root / "proc/net/route").write_text(ROUTE.format(rows=route))
    (root / "proc/net/arp").write_text("IP address HW type Flags HW address Mask Device\n" + arp)
    return root


@pytest.mark.parametrize(("route", "carrier", "said"), [
    (DEFAULT.format(router=HOME, metric=100), {"eth0": "0\n"}, b"no-carrier eth0"),
    ("", {"eth0": "0\n", "wlan0": "0\n"}, b"no-carrier eth0+wlan0"),
    ("", {"eth0": "1\n", "wlan0": "0\n"}, b"no-route"),
    ("torn\tline\n" + DEFAULT.format(router="xyz", metric=1), {"eth0": "1\n"}, b"no-route"),
    # two default routes: the lower metric's router is asked, and refuses, so it lives
    (DEFAULT.format(router="0100A8C0", metric=600) + DEFAULT.format(router=HOME, metric=100), {"eth0": "1\n"},
     b"refused 127.0.0.1"),
])
def test_the_way_out_is_read_from_the_kernel(town: Town, tmp_path: Path, route: str, carrier: dict[str, str],
                                             said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))  # bound and not listening: refuses
    monkeypatch.setitem(__import__("plugins.internet.config", fromlist=["PORTS"]).PORTS, "gateway",
                        closed.getsockname()[1])
    root = machine(tmp_path, route, carrier)
    config = town.config(gateway="auto", targets={"port": town.config().targets["port"]})
    try:
        assert once(config, root)["gateway"] == said
    finally:
        closed.close()


def test_a_mute_router_that_the_arp_table_knows_is_there(town: Town, tmp_path: Path) -> None:
    listener, waiting, port = black_hole()
    root = machine(tmp_path, "", {}, "127.0.0.1 0x1 0x2 b8:27:eb:00:00:01 * eth0\n")
    targets = {"port": town.config().targets["port"]}
    config = town.config(gateway=f"127.0.0.1:{port}", timeout_s=0.2, targets=targets)
    try:
        assert once(config, root)["gateway"] == b"neighbour 127.0.0.1"
        machine(tmp_path, "", {}, "127.0.0.1 0x1 0x0 00:00:00:00:00:00 * eth0\n")
        assert once(config, root)["gateway"] == b"timeout 127.0.0.1"
    finally:
        for sock in (listener, *waiting):
            sock.close()


@contextmanager
def serving(answer: bytes, pause_s: float = 0.0, close: bool = True) -> Iterator[int]:
    """A TCP server that says these bytes, one by one with ``pause_s`` between; then closes, or stays."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        with listener.accept()[0] as connection:
            connection.recv(1024)
            for start in range(len(answer) if pause_s else 1):
                try:
                    connection.sendall(answer[start : start + 1] if pause_s else answer)
                except OSError:
                    return
                if stop.wait(pause_s):
                    return
            if not close:
                stop.wait(10)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        thread.join(5)
        listener.close()


@pytest.mark.parametrize(("answer", "pause_s", "close", "word"), [
    (b"HTTP/1.1 204 No Content\r\n\r\n", 0.0, False, b"answered"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour", 0.0, False, b"answered"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nfour", 0.0, False, b"timeout"),
    (b"HTTP/1.1 204 No Content\r\nX-Drip: " + b"x" * 4000, 0.01, False, b"timeout"),
    (b"\xff\x00\x16\x03" * 5000, 0.0, False, b"answered"),
    (b"", 0.0, True, b"answered"),
])
def test_B53_any_answer_ends_within_the_deadline_and_is_bounded(
        town: Town, tmp_path: Path, answer: bytes, pause_s: float, close: bool, word: bytes) -> None:
    with serving(answer, pause_s, close) as port:
        target = Target(kind="http", address=f"http://127.0.0.1:{port}/")
        found = once(town.config(targets={"page": target}, gateway="none", timeout_s=0.3), tmp_path)["page"]
    assert found.partition(b" ")[0] == word and len(found) <= 8192 + 20


def test_the_forged_and_the_late_datagram_is_passed_over(town: Town, tmp_path: Path) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve() -> None:
        from plugins.internet import dns

        question, asker = server.recvfrom(512)
        other = bytes((question[0] ^ 1,)) + question[1:]
        server.sendto(dns.respond(other, "10.6.6.6"), asker)
        server.sendto(b"\x00" * 40, asker)
        server.sendto(dns.respond(question, "192.0.2.80"), asker)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    target = Target(kind="dns", address=f"127.0.0.1:{server.getsockname()[1]}")
    found = once(town.config(targets={"name": target}, gateway="none"), tmp_path)["name"]
    thread.join(5)
    server.close()
    assert found.startswith(b"answered") and found.endswith(bytes((192, 0, 2, 80)))


def test_stopped_in_the_middle_of_a_round_it_ends_at_once(town: Town) -> None:
    for place in town.provider:
        place.mode = "mute"
    with at_work(Internet, town.config(timeout_s=20.0, gateway="none")) as plugin:
        plugin.until("asked", lambda: town.page.asked or town.name.asked)
        plugin.worker.stop()
        plugin.worker.join(2)
        assert not plugin.worker.is_alive()


def test_B57_a_prober_that_tells_nothing_is_started_anew() -> None:
    config = InternetConfig(targets={"page": Target(kind="tcp", address="127.0.0.1:1")}, gateway="none")
    capture = b"< 0.0 page tcp refused 1.0\n< 400.0 page tcp refused 1.0\n"
    with io_over(capture) as io, pytest.raises(RetryLater) as caught:
        list(Internet(config).run(io))
    assert "no outcome of any probe within 6 s" in str(caught.value)


def test_an_outage_over_a_power_cut_is_timed_by_the_wall_clock() -> None:
    class Wall:
        """A clock that knows the time of day."""

        def __init__(self, boot_us: int, wall_us: int | None) -> None:
            self.boot_us, self.now_us = boot_us, wall_us

        def boottime_us(self) -> int:
            return self.boot_us

        def wall_us(self) -> int | None:
            return self.now_us

    with io_over(b"< 0.0 x\n") as io:
        io.clock = Wall(90_000_000, None)  # type: ignore[assignment]
        before = Outages()
        assert before.begin(io, 60_000_000) and not before.begin(io, 60_000_000)
        io.clock = Wall(100_000_000, 1_700_000_100_000_000)  # type: ignore[assignment]
        assert not before.begin(io, 60_000_000), "now the clock is known: the start is dated back"
        after = Outages()  # another boot: its clock starts anew
        io.clock = Wall(20_000_000, 1_700_000_360_000_000)  # type: ignore[assignment]
        assert not after.begin(io, 10_000_000)
        assert after.end(io, 20_000_000) == (True, 300.0)
        assert after.end(io, 20_000_000) == (False, None)
        io.kept["outage"] = {"began_wall_us": None}
        assert Outages().end(io, 5) == (True, None), "nobody knows how long"
        io.kept["outage"] = "torn"
        assert Outages().end(io, 5) == (True, None)


def test_a_capture_tells_its_targets_itself_and_a_device_needs_them_named() -> None:
    capture = b"page http answered 60 HTTP/1.1 204 No Content\nport tcp refused 3\npage http timeout 5000\n\xff\n"
    with io_over(capture) as io:
        found = [(item.node, item.value) for item in Internet(InternetConfig()).run(io)
                 if getattr(item, "property", "") == "reached"]
    assert found == [("page", True), ("port", False), ("page", False)]
    with at_work(Internet, InternetConfig()) as plugin:
        plugin.until("refused", lambda: "targets: at least one is needed" in str(plugin.worker.refused))
