"""The plugin over real sockets, and a whole house whose hub is killed: the SMS leaves a modem on a pty."""

from __future__ import annotations

import contextlib
import signal
import urllib.request
from pathlib import Path

import psutil

from agent.bus import Done, Order
from agent.testing import at_work
from plugins.hub_watch.config import HubWatchConfig
from plugins.hub_watch.plugin import HubWatch
from plugins.hub_watch.simulate import FakeHub
from plugins.modem.fake_modem import FakeModem
from tests.house import House
from tests.waiting import until

ME = "+33612345678"
FAST = 'interval_s = 0.3\ntimeout_s = 2\ndead_after_s = 3\nback_after_s = 0.5\n'


def test_b71_an_sms_that_the_modem_refuses_is_tried_again_and_its_number_is_in_no_log(tmp_path: Path,
                                                                                      monkeypatch) -> None:
    monkeypatch.setattr("plugins.hub_watch.post.AGAIN_S", (0.1,))
    hub = FakeHub()
    hub.start()
    config = HubWatchConfig(url=f"http://127.0.0.1:{hub.port}", interval_s=0.1, timeout_s=2, dead_after_s=1,
                            back_after_s=0.2, to=(ME,))
    orders: list[Order] = []
    with at_work(HubWatch, config, root=tmp_path, run_dir=tmp_path) as plugin:
        def answered(ok: bool) -> bool:
            plugin.collect()
            fresh = [one for one in plugin.items if isinstance(one, Order) and one not in orders]
            for one in fresh:
                orders.append(one)
                plugin.worker.done(Done(one.id, ok, "" if ok else f"5 per 10 min to {ME}"))
            return bool(fresh)

        plugin.until("alive", lambda: plugin.value("hub_alive") is True)
        hub.stop()
        plugin.until("dead", lambda: plugin.value("state") == "dead")
        plugin.until("refused", lambda: answered(False))
        plugin.until("and again", lambda: answered(True))
        plugin.until("no debt", lambda: plugin.value("messages_waiting") == 0)
        assert [one.value["id"] for one in orders] == ["hub-watch-1-lost-0"] * 2
        assert orders[0].node == "modem" and orders[0].property == "send" and orders[0].value["to"] == ME
        assert "refuses connections" in str(plugin.alerts["x"])
        hub.start()
        plugin.until("back", lambda: answered(True))
        plugin.until("told", lambda: plugin.values("hub_event") == ["lost", "returned"])
        assert plugin.alerts["x"] is None
        assert ME not in str(plugin.lines.lines) and "612345678" not in str(plugin.readings)
        kept = plugin.worker.kept
    hub.stop()
    assert kept["episodes"] == 1 and kept["owed"] == []


def test_b71_all_processes_of_the_hub_are_killed_and_a_phone_gets_one_sms_and_one_when_it_is_back(
        tmp_path: Path) -> None:
    with FakeModem(tmp_path) as modem, House(tmp_path) as house:
        house.start_hub()
        until("the hub's page", lambda: _answers(house))
        house.start_agent("second", (
            f'[plugins.modem]\nport = "{modem.port}"\nbaudrate = 921600\ninterval_s = 1\n'
            f'[plugins.hub-watch]\nuse = "hub_watch"\nurl = "{house.url}"\nto = ["{ME}"]\n{FAST}'))
        log = tmp_path / "second/log/plugin-hub-watch.log"
        until("the hub has its samples", lambda: house.ledger("second"))
        assert modem.sent == []
        hub = [one for one in house.processes() if str(house.hub_toml) in " ".join(one.cmdline())
               or "mosquitto" in one.name() or "/h/" in " ".join(one.cmdline())]
        assert len(hub) >= 3
        house.roots.pop("hub").send_signal(signal.SIGKILL)
        for one in hub:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        until("the SMS", lambda: modem.sent, found=lambda: log.read_text()[-500:])
        assert "shows no life since" in modem.sent[0].text and "its page refuses connections" in modem.sent[0].text
        house.start_hub()
        until("the second SMS", lambda: len(modem.sent) >= 2, found=lambda: log.read_text()[-500:])
        assert "is back after" in modem.sent[1].text
        assert [one.to for one in modem.sent] == [ME, ME]
        assert "612345678" not in log.read_text()


def _answers(house: House) -> bool:
    try:
        with urllib.request.urlopen(f"{house.url}/alive", timeout=2) as page:
            return bool(page.status == 200)
    except OSError:
        return False
